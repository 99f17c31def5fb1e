"""Figures of a proof: where marks, intervals and the smallest effect lie, and what is averaged in the curves."""

import numpy as np
import pytest

from core.algorithms.paired_comparison import BETTER, NONE, WORSE
from pages.ui import theme
from pages.ui.charts.proof import Effect, Group, forest, format_interval, loss_curves

GOOD = Effect("arm a", "a", -0.2, -0.3, -0.1, BETTER, 5, {"1e-3": -0.25})
GROUPS = [
    Group("", "Average over tasks", [GOOD, Effect("arm b", "b", 0.0, -0.1, 0.1, NONE, 5)], 0.02),
    Group("sums", "<b>sums</b>", [Effect("arm a", "a", 0.4, 0.3, 0.6, WORSE, 5)]),
]


def draw(groups=GROUPS, **options):
    return forest(groups, title="nats", **({"lower_is_better": True} | options))


def traces(figure):
    return {trace["name"]: trace for trace in figure["data"]}


def test_every_effect_is_a_mark_with_its_interval_on_a_line_of_its_own():
    figure = draw()
    marks = [traces(figure)[verdict] for verdict in (BETTER, NONE, WORSE)]
    assert [(trace["x"], trace["y"]) for trace in marks] == [([-0.2], [1]), ([0.0], [2]), ([0.4], [4])]
    bars = [trace["error_x"] for trace in marks]
    assert np.allclose([bar["array"] for bar in bars], [[0.1], [0.1], [0.2]])
    assert np.allclose([bar["arrayminus"] for bar in bars], [[0.1], [0.1], [0.1]])
    assert [trace["customdata"] for trace in marks] == [[["arm a", ""]], [["arm b", ""]], [["arm a", "sums"]]]
    axis = figure["layout"]["yaxis"]
    labels = dict(zip(axis["tickvals"], axis["ticktext"], strict=True))
    assert {0: "<b>Average over tasks</b>", 1: "a", 2: "b", 4: "a"}.items() <= labels.items()


def test_a_name_from_a_pool_is_no_markup():
    text = str(draw())
    assert "<b>sums" not in text and "&lt;b&gt;sums&lt;/b&gt;" in text


def test_random_is_the_zero_line_and_the_smallest_effect_a_band_around_it():
    shapes = draw()["layout"]["shapes"]
    lines = [shape for shape in shapes if shape["type"] == "line"]
    bands = [shape for shape in shapes if shape["type"] == "rect"]
    assert [(line["x0"], line["line"]["color"]) for line in lines] == [(0, theme.RANDOM)]
    assert [(band["x0"], band["x1"], band["y0"], band["y1"]) for band in bands] == [(-0.02, 0.02, 0.5, 2.5)]
    assert "<b>random</b>" in [note["text"] for note in draw()["layout"]["annotations"]]


@pytest.mark.parametrize(("lower", "left"), [(True, "better"), (False, "worse")])
def test_the_sides_are_named_after_the_direction_of_the_figure(lower, left):
    texts = [note["text"] for note in draw(lower_is_better=lower)["layout"]["annotations"]]
    assert f"← {left}" in texts


def test_differences_at_other_learning_rates_are_ticks_on_the_same_line():
    ticks = traces(draw())["at other learning rates"]
    assert (ticks["x"], ticks["y"]) == ([-0.25], [1])


def test_everything_lies_on_the_axis():
    low, high = draw()["layout"]["xaxis"]["range"]
    assert low < -0.3 and high > 0.6


def test_an_indication_is_an_open_mark():
    figure = draw([Group("t", "t", [Effect("arm a", "a", 0.1, 0.0, 0.2, f"indication: {NONE}", 3)])])
    assert traces(figure)[f"indication: {NONE}"]["marker"]["symbol"] == "circle-open"


def test_an_interval_has_signs():
    assert format_interval(-0.22, 0.18) == "−0.220 to +0.180"
    assert format_interval(-0.0001, 12.34, 1) == "+0.0 to +12.3"


def test_curves_are_means_over_the_seeds_that_reach_a_step():
    figure = loss_curves({"Random": [[4.0, 2.0]], "a": [[1.0, 1.0, 1.0], [3.0]]}, "Random")
    by_name = traces(figure)
    assert by_name["Random (1 seed)"]["line"]["color"] == theme.RANDOM
    assert by_name["Random (1 seed)"]["y"] == [4.0, 3.0]  # the running mean
    assert by_name["a (2 seeds)"]["y"] == [2.0, 1.5, pytest.approx(1.3333, abs=1e-4)]
