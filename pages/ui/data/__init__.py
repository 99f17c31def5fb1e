"""Data: what pages show, cached by content ids and shared by all visitors.

cached            Loads pools, measurements, scores, tasks and target sets.
live_selection    Computes the selection of the current settings, its composition and what is expected by chance.
distribution      Computes bins, quantiles and densities of score columns.
bins              Counts rows in bins and on grids, and finds those inside a lasso.
planes            Splits the dots of two columns into layers, and finds those inside a lasso.
grouping          Chooses the tasks that rows are grouped by: labels or derived ones.
"""
