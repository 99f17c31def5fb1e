"""Command line of Winnow.

app        the typer commands
commands   what they do, without the terminal: recipe in, facts out
arguments  conversion between options and recipes
reports    facts about pools, runs and planted faults
terminal   tables
"""
