"""Parts of the Measure page.

forms    widgets for methods, their parameters, the model and how it reads a row
start    what a measurement costs, its job, its result, and other measurements
"""
