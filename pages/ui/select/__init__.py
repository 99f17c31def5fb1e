"""Parts of the Select page and of the Export page: one selection, its controls, what it is made of, how it leaves."""
