"""Analysis of selections and scores, on arrays; maps also read stored embeddings.

composition     what a subset is made of, compared with the pool and random selections
comparison      overlap, correlation and differences of several orders
score_checks    warnings about scores: mostly length, constant, saturated, missing
nearest_rows    rows with the most similar embeddings
projection      axes, PCA and UMAP layouts, samples and grids for charts
map_clusters    clusters of a map by density, and where their names belong
maps            layouts of stored embeddings, computed once per pool
bins            bins and quantiles of a column
axes            positions, round values and number formats of axes
raster          dots of a map as a PNG image
coverage_curve  coverage of the first k rows of an order, for any k
allocation      rows per task as the budget grows
prefix_counts   rows, tokens and groups of the first k rows of an order, for many k at once
"""
