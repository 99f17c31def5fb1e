"""From an order to selected rows: everything a recipe decides, without torch.

budget         how many rows of an order a budget or a threshold allows
selection      pins, and the selected prefix of an order
filters        conditions on columns: which rows are eligible
filter_syntax  a filter as one line of text
tags           free labels on rows, each a column to filter by
text_search    search of text columns for words and patterns, in bounded time
used_rows      rows used already, which a selection tops up
holdout        rows held out of training, by group and task
recipe         the whole selection as data, and its application
"""
