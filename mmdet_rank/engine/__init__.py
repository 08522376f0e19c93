"""Hooks and wrappers for training."""
