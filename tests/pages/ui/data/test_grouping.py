"""Filters on groups of rows, against the rows of each group."""

import numpy as np
import pytest

from core.selection.filters import apply_filters
from pages.ui.data import bins
from pages.ui.data.grouping import Grouping

NAMES = ("sums", None, "words", "facts", "5")
PLACES = np.array([0, 0, 0, 1, 1, 2, 2, 3, 4])
GROUPINGS = {
    "task": Grouping("labels", NAMES, PLACES),
    "derived_task": Grouping("derived", NAMES, PLACES, by="a model"),
    "shift_group": Grouping("groups", ("a", "b", "c", "d", None), PLACES, field="category"),
}
COLUMNS = {
    "task": np.array(NAMES, object)[PLACES],
    "derived_task": np.array(NAMES, object)[PLACES],
    "shift_group": np.where(PLACES == 4, -1, PLACES),  # as measured: −1 is no group
}


@pytest.mark.parametrize("column", GROUPINGS)
def test_a_group_is_filtered_by_its_own_column(column):
    groups = GROUPINGS[column]
    for group in range(5):
        mask = apply_filters([groups.filter(group)], COLUMNS)
        assert groups.filter(group).column == column
        assert np.flatnonzero(mask).tolist() == np.flatnonzero(np.equal(PLACES, group)).tolist()


@pytest.mark.parametrize("column", GROUPINGS)
@pytest.mark.parametrize("limit", [2, 3, 4, 5, 9])
def test_the_last_of_many_groups_stands_for_all_others(column, limit):
    groups = GROUPINGS[column]
    folded = np.minimum(PLACES, limit - 1)
    for place in range(len(bins.fold_names(groups.labels, limit))):
        mask = apply_filters([groups.filter(place, limit)], COLUMNS)
        assert np.flatnonzero(mask).tolist() == np.flatnonzero(folded == place).tolist()
