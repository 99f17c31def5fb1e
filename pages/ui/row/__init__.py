"""Rows to look through, and all that is known of the one that is open."""
