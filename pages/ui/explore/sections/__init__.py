"""Sections of the Explore page, each drawn by the `draw` of its module.

A section writes its verdict under the page's heading as soon as it is known. Clickable figures are in a fragment of
their own, so a click redraws nothing else.

answers          dispersion and directions of generated answers, and semantic bins
catalogue        available sections, the open one, and the function that draws each
coverage         coverage of the selection, and activation clusters
embedding_map    the map of the rows, and actions for a lasso
entropy_shift    ΔNLL against ΔH, and by task
influence        influence on each target, length, both ends, agreement, pair accuracy
score            distribution and correlations of one column
tasks            confidence by task, and the allocation of the budget
"""
