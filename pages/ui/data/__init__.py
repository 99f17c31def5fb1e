"""What pages show, cached by content ids and shared by all visitors.

cached            pools, measurements, scores, tasks and target sets
live_selection    the selection of the current settings, its composition, and what is expected by chance
proofs            proofs of a pool, and the one that judges a selection
distribution      bins, quantiles and densities of score columns
bins              rows counted in bins and on grids, and the rows inside a lasso
planes            dots of two columns split into layers, and those inside a lasso
grouping          tasks that rows are grouped by: labels or derived ones
"""
