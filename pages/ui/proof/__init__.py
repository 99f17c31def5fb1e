"""Parts of the Proof page.

words      names of arms, figures and settings of a proof
picker     the proof that is shown, of those of this pool
view       which target, figure and amount of work is shown, and its numbers
plan       a plan as tables
results    forest plot, figures, curves and costs of a proof
rows       rows on which the models of two arms differ most
arms       arms of a new proof
files      files to train on or to evaluate on, added by the visitor
setup      the form of a new proof, as a command
line       the proof of the current selection, in one line
start      the plan, its cost, and the job
"""
