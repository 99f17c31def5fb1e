"""Benchmarks: whole runs, timed side by side; `make bench`. `__main__` lists every module with what it measures."""
