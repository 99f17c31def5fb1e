"""Widgets that change the selection, on several pages.

budget       the method, its live parameters, the budget, the threshold, undo and redo
drag_budget  the slider of the budget, which follows the drag
filters      the choice of filters, and the active ones
dragging     a range dragged over a histogram: rows to read, a filter or a threshold
"""
