"""The product's decisions and values: pure, no clock, no I/O."""
