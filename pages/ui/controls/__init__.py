"""Widgets that change the selection, on several pages.

budget      the method, its live parameters, the budget, the threshold, undo and redo
filters     the filters, and those in force
dragging    a range dragged over a histogram: rows to read, a filter or a threshold
"""
