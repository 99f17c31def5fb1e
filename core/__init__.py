"""Winnow's engine: knows nothing of the screen."""

__version__ = "0.2.0"
