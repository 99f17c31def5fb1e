"""Parts of the Compare page: several orders of the same rows, set side by side.

contenders    which contenders exist, which are compared, and how each is labelled
entries       contenders with their orders, and their overlap at one budget and at every budget
picker        controls: contenders, reference, and contenders to add
overlap       what the contenders share: headline, overlap curves, tables of pairs, sets of rows
difference    a table of what each subset is made of, next to the pool and to random subsets
groups        shares of each subset by task, length, activation cluster or planted fault
read          rows to read: combinations of contenders, and disagreements of two
combine       several contenders combined into one method, and put into use
"""
