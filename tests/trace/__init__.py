"""Recorded runs of the local stack, checked against the explorer's invariants."""
