"""Winnow's engine: knows nothing of the screen."""

__version__ = "0.1.0"
