"""Several workers for one measurement: processes, cards and machines that share its parts.

task         what all workers are asked to do, as data
places       where workers run: cards, or processes on the processor
records      what each worker is doing now
launch       start a worker in each place, replace those that die, report them as one
cluster      the same on the nodes of a Ray cluster
worker       `python -m core.workers.worker`: one of them
"""
