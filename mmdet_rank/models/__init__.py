"""Heads and detectors that state a ranking problem."""
