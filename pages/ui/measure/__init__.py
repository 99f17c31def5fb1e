"""Parts of the Measure page.

status   every method: measured, running, or what it would take
costs    costs of methods by earlier trials, and the table of an estimate
methods  the list of methods to tick
forms    widgets for the parameters of the ticked methods, the model and how it reads a row
workers  the number of processes, or a Ray cluster
start    the button that measures, and its progress
results  what was measured
"""
