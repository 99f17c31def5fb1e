"""Parts of the Pool page: Home, what is in the open pool, and ways to open another.

home            what Winnow does, why, how far the visitor is, and the next step
opening         drop a file, or choose a recent pool, a file in the allowed folders, a path or a hub id
contents        headline, lengths and tasks, skipped rows, and mapping
rows            the rows of the pool: searched, of one task, ticked
benchmarks      which rows a benchmark contains, the texts side by side, and the job that compares
outside_scores  scores from other tools: what a file holds, its import, and the imported columns
storage         what the workspace holds, and its deletion
"""
