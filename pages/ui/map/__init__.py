"""The map of the Explore page.

colours          colours of the rows: by a score or a category
dots             colour, size and stacking order of the dots
figure           the Plotly figure, and the lasso read from its events
job              jobs that make a missing map
lasso            actions for the rows inside a lasso
lasso_compare    scores, tasks and words that distinguish these rows from the rest
picture          the map as a chart on the page, with the user's lasso
view             available embeddings, positions of the rows, and the share of the map reached
"""
