"""Figures of coverage, clusters and tasks as plain dicts."""

import json
from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
import pytest

from pages.ui import theme
from pages.ui.charts import coverage, tasks
from pages.ui.charts.coverage import Line
from pages.ui.charts.scales import mix_colours

NAN = np.nan
HOSTILE = "<img src=x onerror=alert(1)> & <b>bold</b>"
X = np.array([0.1, 0.5, 1.0])


def curve(**more):
    lines = {
        "own": Line("Longest", X, np.array([0.2, 0.6, 1.0])),
        "greedy": Line("greedy", X, np.array([0.5, 0.8, 1.0])),
    }
    low, high = np.array([0.3, 0.7, 1.0]), np.array([0.4, 0.75, 1.0])
    return coverage.coverage_curves(lines, low, high, X, **({"budget": 0.1, "reached": 0.2} | more))


def bars(**more):
    sizes, selected, low, high = (np.array(v) for v in ([10, 4], [1, 4], [0, 0], [3, 2]))
    return coverage.cluster_shares(["1", "2"], sizes, selected, low, high, **({"share": 0.35} | more))


def confidence_figure(names=("a", "b", "c")):
    mean, error, prompts = np.array([0.2, 0.5, NAN]), np.array([0.05, NAN, NAN]), np.array([9, 1, 0])
    return tasks.confidence(names, mean, error, prompts, tasks.band_colours(3, 2))


def allocation_figure(names=("a", "b"), **more):
    counts = np.array([[1, 3, 6], [1, 1, 2]])
    given = {"rows": 16, "budget": 4} | more
    return tasks.allocation(
        names, np.array([2, 4, 8]), counts, counts / counts.sum(axis=0), tasks.band_colours(2, 2), **given
    )


def test_curves_start_at_zero_and_the_budget_is_marked_on_the_order():
    low, high, greedy, own, mark = curve()["data"]
    assert own["x"] == [0, 10, 50, 100] and own["y"] == [0, 20, 60, 100]
    assert (mark["x"], mark["y"]) == ([10], [20])
    assert greedy["line"]["dash"] == "dash"
    assert low["y"][1] == 30 and high["y"][1] == 40 and high["fill"] == "tonexty"
    (line,) = curve()["layout"]["shapes"]
    assert line["x0"] == 10


def test_without_random_rows_there_is_no_band():
    empty = np.empty(0)
    figure = coverage.coverage_curves({"own": Line("a", X, X)}, empty, empty, empty, budget=0.0, reached=NAN)
    assert [trace["mode"] for trace in figure["data"]] == ["lines", "markers"]


def test_a_cluster_is_drawn_by_its_selected_share_and_its_size():
    band, selected, size = bars()["data"]
    assert selected["y"] == [10, 100]
    assert size["y"] == [10, 4] and size["yaxis"] == "y2"
    assert (band["base"], band["y"]) == ([0, 0], [30, 50])
    assert selected["marker"]["color"] == [coverage.CHANCE_COLOUR, theme.SELECTED]  # inside the band, and above it
    (line,) = bars()["layout"]["shapes"]
    assert line["y0"] == 35


def test_tasks_without_an_error_or_a_value_are_marked():
    touch, dots, figures = confidence_figure()["data"]
    assert dots["x"] == [0.2, 0.5, None]
    assert dots["error_x"]["array"] == [0.05, None, None]
    assert figures["text"] == ["0.20", "0.50", "not measured"]
    assert confidence_figure()["layout"]["yaxis"]["ticktext"] == ["a · 9", "b · 1, no error bar", "c · 0, no error bar"]
    assert touch["hovertext"] == [
        "a<br>0.200 ± 0.050, from 9 prompts",
        "b<br>0.500 from 1 prompt, without a standard error",
        "c<br>not measured",
    ]


def test_task_bands_add_up_at_every_budget_and_hover_shows_their_rows():
    first, second, touch, _ = allocation_figure()["data"]
    assert np.add(first["y"], second["y"]).tolist() == [100, 100, 100]
    assert first["x"] == [12.5, 25, 50]
    assert [rows for rows, _ in touch["customdata"]] == [1, 3, 6]
    assert {line["x0"] for line in allocation_figure()["layout"]["shapes"]} == {25}
    assert allocation_figure()["layout"]["xaxis"]["range"] == [0, 50]


def test_hover_bars_have_no_gaps():
    touch = allocation_figure()["data"][2]
    ends = [(x - w / 2, x + w / 2) for x, w in zip(touch["x"], touch["width"], strict=True)]
    assert ends[0][0] == 0 and ends[-1][1] == 50
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(ends))


def test_only_bands_with_room_are_labelled():
    thin = np.array([[96, 96, 96], [4, 4, 4]])
    figure = tasks.allocation(
        ["thick", "thin"], np.array([10, 50, 100]), thin, thin / 100, tasks.band_colours(2, 2), rows=100, budget=10
    )
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["budget 10%", "thick"]


@pytest.mark.parametrize(("budget", "side"), [(10, "left"), (95, "right")])
def test_the_budget_label_is_inside_the_plot(budget, side):
    whole = np.full((1, 2), 100)
    figure = tasks.allocation(
        ["all"], np.array([50, 100]), whole, whole / 100, tasks.band_colours(1, 1), rows=100, budget=budget
    )
    (name,) = (note for note in figure["layout"]["annotations"] if note["text"].startswith("budget"))
    assert name["xanchor"] == side


@pytest.mark.parametrize(("budget", "side"), [(0.1, "left"), (0.95, "right")])
def test_the_budget_label_is_inside_the_coverage_plot(budget, side):
    own = Line("a", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    figure = coverage.coverage_curves({"own": own}, own.y, own.y, own.x, budget=budget, reached=budget)
    assert [note["xanchor"] for note in figure["layout"]["annotations"]] == [side]


def test_colours_run_from_dark_to_light_and_unranked_tasks_are_grey():
    colours = tasks.band_colours(6, 5)
    light = [int(c[1:3], 16) + int(c[3:5], 16) + int(c[5:7], 16) for c in colours[:5]]
    assert light == sorted(light)
    assert colours[5] == theme.REST
    assert mix_colours(tasks.RAMP, 1) == [tasks.RAMP[0]]
    assert tasks.text_colour(colours[0]) == "#FFFFFF" != tasks.text_colour(colours[4])


def test_names_from_a_pool_are_escaped():
    for figure in (confidence_figure([HOSTILE] * 3), allocation_figure([HOSTILE] * 2), bars(hover=[HOSTILE] * 2)):
        assert "<img" not in json.dumps(figure)
        assert "<b>bold" not in json.dumps(figure)


NOTHING = np.empty(0, np.int64)


@pytest.mark.parametrize(
    "figure",
    [
        curve(),
        curve(budget=0.9),
        bars(),
        bars(hover=["a", "b"]),
        confidence_figure(),
        allocation_figure(),
        allocation_figure(budget=0),
        tasks.allocation(["a"], NOTHING, np.empty((1, 0)), np.empty((1, 0)), ["#34518F"], rows=9, budget=0),
        tasks.confidence(["a"], np.array([NAN]), np.array([NAN]), np.array([0]), [theme.REST]),
        coverage.cluster_shares([], NOTHING, NOTHING, NOTHING, NOTHING, share=0.0),
    ],
)
def test_plotly_accepts_every_figure(figure):
    json.dumps(figure, allow_nan=False)
    assert go.Figure(**figure).data
