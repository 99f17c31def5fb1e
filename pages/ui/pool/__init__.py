"""Parts of the Pool page: what is in the open pool, and ways to open another.

contents    headline, lengths and tasks, rows set aside, mapping, and a table of rows
opening     open the demo, a path or hub id, an upload, or a recent pool
storage     what the workspace holds, and its deletion
"""
