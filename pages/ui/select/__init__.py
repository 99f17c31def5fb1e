"""Parts of the Select page.

subset    size and make-up of the selection, and rows to read
saved     selections saved under a name
"""
