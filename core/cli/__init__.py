"""Command line of Winnow.

app        the typer commands
commands   their work, without the terminal: recipe in, facts out
arguments  conversion between options and recipes
proofs     the work of `prove`
reports    facts about pools, runs and known bad rows
display    the same facts for people: labels, units, tables
storage    contents of a workspace, and their deletion
terminal   lines and tables on a terminal
"""
