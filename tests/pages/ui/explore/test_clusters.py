"""What a subset takes from each activation cluster, beside chance."""

import numpy as np
import pytest

from pages.ui.data.grouping import Grouping
from pages.ui.explore import clusters

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, -1])


def test_rows_are_counted_by_cluster_beside_the_least_and_most_of_random_ones():
    known = clusters.count_by_cluster(LABELS, np.array([0, 4]), [np.array([0, 1]), np.array([6, 4]), np.array([7, 0])])
    assert known.names == ("1", "2", "3")
    assert known.sizes.tolist() == [4, 2, 1]
    assert known.subset.tolist() == [1, 1, 0]
    assert known.low.tolist() == [0, 0, 0] and known.high.tolist() == [2, 1, 1]
    assert known.touches == (2, pytest.approx(np.log(2) / np.log(3)))
    words = clusters.describe(known)
    assert "**2 of 3** clusters, evenness **0.63**; random rows touch 1 to 2, evenness 0.00 to 0.63." in words


def test_small_clusters_are_put_together_in_the_picture_but_counted_each():
    labels = np.arange(clusters.MAX_BARS + 5)
    known = clusters.count_by_cluster(labels, np.array([0, 1, 44]), [])
    assert len(known.names) == clusters.MAX_BARS and known.names[-1] == "6 more"
    assert known.sizes[-1] == 6 and known.subset[-1] == 1
    assert known.clusters == clusters.MAX_BARS + 5 and known.touches[0] == 3
    assert (known.high == 0).all()


def test_an_empty_subset_touches_nothing():
    known = clusters.count_by_cluster(LABELS, np.empty(0, np.int64), [np.empty(0, np.int64)])
    assert clusters.describe(known) == "The subset touches **0 of 3** clusters."


def test_a_cluster_is_said_to_be_mostly_of_its_commonest_task():
    tasks = Grouping("k", ("sums", None), np.array([0, 0, 0, 1, 1, 1, 0, 0]))
    assert clusters.main_tasks(LABELS, tasks) == ["75 % sums", "100 % no task", "100 % sums"]
