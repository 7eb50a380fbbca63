"""Decides. No I/O, no clock, no chance: they enter as values."""
