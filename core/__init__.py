"""Winnow's engine, independent of any user interface."""

__version__ = "0.2.0"
