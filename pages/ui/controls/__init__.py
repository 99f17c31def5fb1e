"""Widgets that change the selection, on several pages.

budget       the method, its live parameters, the budget, the threshold, undo and redo
drag_budget  the slider of the budget, which follows the drag
combination  the methods of a combination, their order, the rule and the weights
contenders   methods, variants, imported scores and saved selections that are compared or combined
imported     imported scores of the pool, and the runs that rank by one
pick_bars    bars of plain HTML of which one can be picked
filters      the choice of filters, and the active ones
tags         the tags of the pool, and the filters by them
dragging     a range dragged over a histogram: rows to read, a filter or a threshold
"""
