"""Controls: widgets that change the selection, on several pages.

budget      Draws the method, its live parameters, the budget, the threshold, undo and redo.
filters     Draws the filters, and lists those in force.
dragging    Turns a dragged range of a histogram into rows, a filter or a threshold.
"""
