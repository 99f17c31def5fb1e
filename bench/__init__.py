"""Benchmarks: whole runs, timed side by side; `make bench`."""
