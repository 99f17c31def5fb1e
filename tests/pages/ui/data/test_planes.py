"""Dots of a plane, split into layers."""

from types import SimpleNamespace

import numpy as np
import pytest

from pages.ui.data import planes

N = 2000
X, Y = np.arange(float(N)), np.ones(N)


def live(highlight=None):
    order = SimpleNamespace(rows=np.arange(0, N, 2))  # odd rows are excluded
    return SimpleNamespace(selection=SimpleNamespace(rows=order.rows[:100], order=order), highlight=highlight)


def split(dots, highlight=None, x=X):
    return {name: rows.tolist() for name, (_, _, rows) in planes.split_by_layer(live(highlight), dots, x, Y).items()}


def test_dots_are_split_by_what_the_selection_does_with_their_rows():
    assert split(np.array([0, 1, 198, 200, 1999])) == {"selected": [0, 198], "unselected": [200], "excluded": [1, 1999]}


def test_each_highlighted_dot_is_in_one_layer_and_few_are_filled_up(monkeypatch):
    monkeypatch.setattr(planes, "MIN_HIGHLIGHTED", 10)
    highlight = np.zeros(N, np.bool_)
    highlight[:50] = True
    layers = split(np.array([0, 1, 100]), highlight)
    assert layers["selected"] == [100] and layers["excluded"] == layers["unselected"] == []
    assert {0, 1} <= set(layers["highlighted"]) <= set(range(50)) and len(layers["highlighted"]) == 10
    assert len(split(np.arange(30), highlight)["highlighted"]) == 30  # all of the sample, however many


@pytest.mark.parametrize("count", [0, 3])
def test_highlighted_rows_without_a_value_have_no_dot(count):
    highlight = np.zeros(N, np.bool_)
    highlight[:3] = count > 0
    assert split(np.array([5]), highlight, np.where(np.arange(N) < 2, np.nan, X))["highlighted"] == [2][:count]
