"""Command line of Winnow.

app        the typer commands
commands   what they do, without the terminal: recipe in, facts out
arguments  conversion between options and recipes
reports    facts about pools, runs and planted faults
storage    what a workspace holds, and its deletion
terminal   tables
"""
