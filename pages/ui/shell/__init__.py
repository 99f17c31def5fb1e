"""What surrounds every page: the session, the sidebar, jobs and the web server.

state          everything that pages need of the session, collected from the modules below
current        the open pool, and the run, method, budget and recipe of its settings
visitors       who the visitor is, and the folder of their own files
settings       the settings of a pool, and their file in the workspace
contender      an entry of a comparison
terms          terms of the highlight: the rows that a visitor has picked in a view
changes        changes of the settings, pins, undo and redo
used_rows      lists of rows used already
tags           tags of rows: adding, removing, renaming and deleting them
differences    the difference between two settings in words, for undo
saved          saving, loading, renaming and deleting selections under a name
saved_files    the files of saved selections
recent         the pools that the visitor may open, last opened first
address        the open view in the address bar
view_choices   what pages show, in the tab and in the address
copy_link      the button that copies the address
links          what an address names, and the settings that it names by hash
open_row       the row that is open in the reader, and the list of rows that it steps through
visit          the first values of a session, and the view that a link names
widgets        values of widgets, and a notice to show once
show           text, messages, buttons, choices, files and formatted numbers on screen
context        the sidebar
term_dialog    the glossary as a dialog, opened by a button or by a word that links to its entry
imports        pools that a job reads for a tab
running        measurements at work: their progress, for the pages that wait for them
workers        the workers of a job: where each is, what it does, which were replaced
jobs           jobs on screen: plan, start, cancel, resume
road           the steps from a pool to an export, with their status
hints          three hints beside what they explain, until they are dismissed
data_files     files in the allowed folders that are offered for choice
roots          files and servers that a browser may name
sign_in        the OIDC login, where it is configured
visitor_cookie the signed cookie of visitors who do not sign in
access         hosts, origins and the token: who may talk to the server
server         headers, downloads and startup of the web server
warmup         the caches that every first visit needs
"""
