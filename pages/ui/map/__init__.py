"""The map of the Explore page.

view             available embeddings, positions of the rows, and the share of the map reached
job              jobs that make a missing map
clusters         clusters by density or by activations, named by their words
colours          colours of the rows: by any measured column, or by a category
dots             which rows are sent to the browser, with colour and flags of each
canvas           the map in the browser: canvas.js draws it and reports what is lassoed, clicked and zoomed to
legend           what the colours mean
comparison       scores, tasks and words that distinguish the highlighted rows from the others
"""
