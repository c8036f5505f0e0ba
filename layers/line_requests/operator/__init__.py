"""The console script for operators."""
