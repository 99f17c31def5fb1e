"""Parts of the Compare page: several orders of the same rows, compared with each other.

entries       contenders with their orders, and their overlap at one budget and at every budget
picker        controls: contenders, reference, and contenders to add
tabs          the three tabs of the page; only the open one is computed
overlap       what the contenders share: the verdict, and tables of pairs
curves        overlap at every budget, at most three curves in colour
sets          sets of rows by exactly which contenders select them
difference    a table of the composition of each selection, the pool and random selections
groups        shares of each selection by task, length, activation cluster or kind of known bad row
read          rows: those selected by exactly some contenders, and disagreements of two
"""
