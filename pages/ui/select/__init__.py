"""Parts of the Select page.

subset    size and composition of the selection, and its rows
saved     selections saved under a name
"""
