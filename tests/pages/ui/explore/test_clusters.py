"""Rows of a selection by activation cluster, compared with random subsets."""

import numpy as np
import pytest

from pages.ui.data.grouping import Grouping
from pages.ui.explore import clusters

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, -1])


def test_rows_are_counted_by_cluster_with_the_range_of_random_subsets():
    counts = clusters.count_by_cluster(LABELS, np.array([0, 4]), [np.array([0, 1]), np.array([6, 4]), np.array([7, 0])])
    assert counts.names == ("1", "2", "3")
    assert counts.sizes.tolist() == [4, 2, 1]
    assert counts.subset.tolist() == [1, 1, 0]
    assert counts.random_low.tolist() == [0, 0, 0] and counts.random_high.tolist() == [2, 1, 1]
    assert counts.touched == (2, pytest.approx(np.log(2) / np.log(3)))
    words = clusters.describe(counts)
    assert (
        "**2 of 3** clusters (evenness **0.63**); random selections have rows from 1 to 2 (evenness 0.00 to 0.63)."
        in words
    )


def test_small_clusters_are_combined_in_the_figure_but_counted_separately():
    labels = np.arange(clusters.MAX_BARS + 5)
    counts = clusters.count_by_cluster(labels, np.array([0, 1, 44]), [])
    assert len(counts.names) == clusters.MAX_BARS and counts.names[-1] == "6 more"
    assert counts.sizes[-1] == 6 and counts.subset[-1] == 1
    assert counts.clusters == clusters.MAX_BARS + 5 and counts.touched[0] == 3
    assert (counts.random_high == 0).all()


def test_an_empty_subset_touches_nothing():
    counts = clusters.count_by_cluster(LABELS, np.empty(0, np.int64), [np.empty(0, np.int64)])
    assert clusters.describe(counts) == "The selection has rows from **0 of 3** clusters."


def test_a_cluster_is_described_by_its_most_frequent_task():
    tasks = Grouping("k", ("sums", None), np.array([0, 0, 0, 1, 1, 1, 0, 0]))
    assert clusters.main_tasks(LABELS, tasks) == ["75% sums", "100% no task", "100% sums"]
