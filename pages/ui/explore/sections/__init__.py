"""Sections of the Explore page, each drawn by the `draw` of its module.

A section writes its verdict under the page's heading as soon as it is known. Rows picked in a figure become the
highlight, which every figure of the page lights up and the table at the end lists; a clicked dot opens the reader.

answers          dispersion and directions of generated answers, and semantic bins
catalogue        available sections, the open one, and the function that draws each
coverage         coverage of the selection, and activation clusters
embedding_map    the map of the rows, and actions for a lasso
entropy_shift    ΔNLL against ΔH, and by task
influence        influence on each target, length, rows at both ends, agreement, pair accuracy
score            distribution and correlations of one column
tasks            confidence by task, and the allocation of the budget
"""
