"""One script per page; what they share is in `ui`.

pool       what Winnow does, how far the visitor is, and what is in the pool
measure    what to measure, and what it costs
explore    how scores are distributed, and the rows behind them
compare    how far methods agree
select     how many rows, and exactly which
proof      whether a selection trains a better model than random rows
export     the selection as files for a trainer
"""
