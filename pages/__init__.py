"""One script per page; what they share is in `ui`.

pool       what is in the dataset
measure    what to measure, and what it costs
explore    how scores are distributed, and the rows behind them
compare    how far methods agree
select     how many rows, and exactly which
export     the selection as files for a trainer
"""
