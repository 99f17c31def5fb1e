"""Parts of the Select page.

subset         size of the selection, its scores, and its rows
composition    tasks, lengths and known bad rows of the selection
used           rows used already, which the selection tops up
saved          selections saved under a name
"""
