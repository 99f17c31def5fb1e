"""Algorithms behind the methods, on arrays only: no model, no files.

active_neurons       sparse lists of the active neurons of each row
greedy_coverage      greedy coverage of active neurons: an order in which every prefix covers most
activation_clusters  clusters of rows with similar active neurons
apportionment        Webster seats: a budget of rows shared over tasks by weight
task_clusters        derived tasks: named clusters of prompts, for pools without labels
semantic_bins        nested bins of similar instructions
answer_geometry      dispersion and anisotropy of the generated answers to one instruction
influences           influence of rows on the sub-tasks of targets
paired_comparison    intervals and verdicts of models trained on different rows, over seeds
correlation          Pearson's r and Spearman's ρ with a bootstrap interval
kmeans               k-means with reproducible labels, numbered by size
similar_vectors      groups of vectors in nearly the same direction
vector_blocks        vectors that are read block by block, and their seeded sample
"""
