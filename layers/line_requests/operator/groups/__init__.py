"""The commands' signatures, one module for each group."""
