"""The frame of every page: title, bar, content, and the reader at the right.

layout       the places of a page: heading, bar, body; and the reader, docked beside the body
bar          method, budget, settings, filters, undo and highlight, the same on every page that shows a selection
highlight    the highlighted rows: every view lights them up
chips        the search, and the terms of the highlight
actions      what can be done with the highlighted rows
"""
