"""Target sets of preference influence, on the Measure page.

facts     figures of one set, and in words
pairs     the pairs of a set, to read
picker    the sets in use, and ways to add one
"""
