"""Figures of influence: histograms of several targets, influence against length, pair accuracy against guessing."""

from itertools import pairwise

import numpy as np
import pytest

from pages.ui.charts import influence
from pages.ui.charts.influence import PairAccuracy, Ridge
from pages.ui.charts.scales import LAYERS
from pages.ui.data import bins
from pages.ui.theme import WARNING

EDGES = np.array([-0.2, -0.1, 0.0, 0.1])


def ridge(name="a", cut=None):
    counts = dict(zip(LAYERS, (np.array([0, 1, 4]), np.array([3, 2, 0]), np.array([1, 0, 0])), strict=True))
    return Ridge(name, "55 % help", counts, cut)


def axes(figure, letter):
    return [about for name, about in sorted(figure["layout"].items()) if name.startswith(f"{letter}axis")]


@pytest.mark.parametrize("targets", [1, 2, 3, 8])
def test_histograms_are_stacked_with_room_for_a_name(targets):
    figure = influence.ridges(EDGES, [ridge(str(k)) for k in range(targets)], title="Influence")
    domains = [about["domain"] for about in axes(figure, "y")]
    height = figure["layout"]["height"] - influence.AROUND
    assert domains[0][1] == pytest.approx(1 - influence.NAME_HEIGHT / height, abs=1e-3) and domains[-1][0] == 0
    for above, below in pairwise(domains):
        assert above[0] - below[1] == pytest.approx(influence.NAME_HEIGHT / height, abs=1e-3)
    names = [note["y"] for note in figure["layout"]["annotations"]]
    assert names == pytest.approx([top for _, top in domains], abs=1e-3)


def test_every_bar_carries_its_target_and_its_bin():
    figure = influence.ridges(EDGES, [ridge("a"), ridge("b")], title="Influence")
    assert [trace["customdata"][2][:2] for trace in figure["data"]] == [[0, 2]] * 3 + [[1, 2]] * 3
    assert [trace["yaxis"] for trace in figure["data"]] == ["y"] * 3 + ["y2"] * 3
    assert [trace["showlegend"] for trace in figure["data"]] == [True] * 3 + [False] * 3
    assert figure["data"][0]["x"] == pytest.approx([-0.15, -0.05, 0.05])


@pytest.mark.parametrize(("cut", "x"), [(0.05, 0.05), (0.7, 0.1), (-0.7, -0.2)])
def test_the_cut_is_in_its_own_histogram_and_inside_the_frame(cut, x):
    figure = influence.ridges(EDGES, [ridge("a"), ridge("b", cut)], title="Influence")
    red = [shape for shape in figure["layout"]["shapes"] if shape["line"].get("color") == WARNING]
    assert [(shape["x0"], shape["yref"]) for shape in red] == [(x, "y2 domain")]


@pytest.mark.parametrize(("cut", "side"), [(-0.15, "left"), (0.05, "right"), (0.7, "right")])
def test_the_cut_label_is_inside_the_frame(cut, side):
    figure = influence.ridges(EDGES, [ridge("a", cut)], title="Influence")
    assert [note["xanchor"] for note in figure["layout"]["annotations"] if note["text"].startswith("cut")] == [side]


def test_a_name_is_escaped():
    figure = influence.ridges(EDGES, [ridge("<i>a</i>")], title="Influence")
    assert "<i>" not in str(figure) and "&lt;i&gt;" in figure["layout"]["annotations"][0]["text"]


def test_lengths_are_labelled_in_tokens_on_a_logarithmic_axis():
    x, y, rows = np.log10([10.0, 100.0, 1000.0]), np.array([0.1, -0.1, 0.0]), np.arange(3)
    figure = influence.length_plane(bins.count_grid(x, y), {"selected": (x, y, rows)}, cut=0.05)
    axis = figure["layout"]["xaxis"]
    assert dict(zip(axis["ticktext"], axis["tickvals"], strict=True))["100"] == pytest.approx(2)
    assert figure["data"][1]["hovertext"] == [
        "influence 0.1, 10 tokens<br>selected",
        "influence −0.1, 100 tokens<br>selected",
        "influence 0, 1,000 tokens<br>selected",
    ]
    assert {shape["y0"] for shape in figure["layout"]["shapes"]} == {0, 0.05}  # without a line at one token


def test_the_guessing_band_narrows_with_more_pairs():
    curves = (np.array([0.5, 0.6, 0.7]), np.array([0.4, np.nan]))
    figure = influence.accuracy_lines([PairAccuracy("a", 25, *curves), PairAccuracy("b", 10_000, *curves)])
    bands = {s["xref"]: (s["y0"], s["y1"]) for s in figure["layout"]["shapes"] if s["type"] == "rect"}
    assert bands["x domain"] == pytest.approx((30.4, 69.6)) and bands["x2 domain"] == pytest.approx((49.02, 50.98))
    assert figure["data"][0]["y"] == [50, 60, 70] and figure["data"][1]["y"] == [40, None]
    assert figure["data"][1]["x"] == [1, 2] and figure["data"][2]["xaxis"] == "x2"
    left, right = (about["domain"] for about in axes(figure, "x"))
    assert left[0] == 0 and right[1] == 1 and right[0] - left[1] == pytest.approx(influence.GAP)
