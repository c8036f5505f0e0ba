"""HTTP in and out: who calls, what they ask, what they are answered."""
