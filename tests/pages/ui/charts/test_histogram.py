"""Figures as plain dicts; their look is not tested."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from pages.ui import theme
from pages.ui.charts import entropy_shift, histogram, scales
from pages.ui.data import bins

VALUES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
NAN = np.nan
ORDER = np.arange(8)  # lowest first


def scores(selected: int = 3, cut: float | None = 0.3, **more):
    binned = bins.bin_values(VALUES, bins=4)
    layers = {"selected": binned.counts(ORDER[:selected]), "unselected": binned.counts(ORDER[selected:])}
    return histogram.histogram(binned.edges, layers, title="ΔH", cut=cut, **more)


def lines(figure):
    return [shape for shape in figure["layout"]["shapes"] if shape["type"] == "line"]


def valid(figure):
    """Return the figure; fail if Plotly rejects it or JSON cannot hold it."""
    json.dumps(figure, allow_nan=False)
    return go.Figure(**figure)


def test_the_cut_line_is_at_the_score_of_the_last_selected_row():
    selected = 3
    (cut,) = lines(scores(selected, cut=VALUES[ORDER[selected - 1]]))
    assert cut["x0"] == cut["x1"] == pytest.approx(0.3)


def test_the_cut_line_is_at_the_same_value_on_a_logarithmic_axis():
    values = np.arange(1, 1_001)
    binned = bins.bin_values(values, log=True)
    layers = {"selected": binned.counts()}
    figure = histogram.histogram(binned.edges, layers, title="tokens", cut=100.0, log=True)
    (cut,) = lines(figure)
    assert cut["x0"] == pytest.approx(2.0)  # 10 ** 2
    ticks = figure["layout"]["xaxis"]
    assert ticks["ticktext"][ticks["tickvals"].index(2.0)] == "100"


def test_a_cut_beyond_the_frame_is_drawn_at_its_edge():
    (cut,) = lines(scores(cut=99.0))
    assert cut["x0"] == pytest.approx(0.8, abs=0.01)


def test_bars_have_the_counts_of_their_layer():
    figure = scores(3)
    heights = {trace["name"]: sum(trace["y"]) for trace in figure["data"]}
    assert heights == {"selected": 3, "unselected": 5}
    assert figure["layout"]["barmode"] == "stack"


def test_a_bar_carries_the_number_of_its_bin():
    for trace in scores()["data"]:
        assert [data[0] for data in trace["customdata"]] == [0, 1, 2, 3]


def test_quantiles_are_marked_and_the_median_keeps_its_label_if_they_are_close():
    figure = scores(cut=None, marks={0.25: 0.401, 0.5: 0.4, 0.95: 0.75})
    assert len(lines(figure)) == 3
    names = [note["text"] for note in figure["layout"]["annotations"]]
    assert names == ["median", "95%"]


@pytest.mark.parametrize(("cut", "side"), [(0.11, "left"), (0.3, "left"), (0.79, "right")])
def test_the_cut_label_is_inside_the_plot(cut, side):
    (name,) = scores(cut=cut)["layout"]["annotations"]
    assert name["text"] == f"cutoff {cut}" and name["xanchor"] == side
    assert name["xshift"] == (5 if side == "left" else -5)


@pytest.mark.parametrize(("place", "words"), [(0, "below 0.275"), (1, "0.275 to 0.45"), (3, "0.625 and above")])
def test_a_bin_is_named_by_its_limits(place, words):
    assert scales.describe_bin(np.array([0.1, 0.275, 0.45, 0.625, 0.8]), place) == words


@pytest.mark.parametrize(("value", "words"), [(0, "0"), (-0.01234, "−0.0123"), (1234.6, "1,235"), (2.5, "2.5")])
def test_numbers_keep_three_digits(value, words):
    assert scales.format_number(value) == words


def shift(**more):
    x, y = np.random.default_rng(0).normal(size=(2, 200))
    dots = {"selected": (x[:5], y[:5], np.arange(5)), "excluded": (x[5:9], y[5:9], np.arange(5, 9))}
    given = {"band": (-0.5, 0.5), "cut": -1.0, "titles": ("ΔNLL", "ΔH")} | more
    return entropy_shift.plane(bins.count_grid(x, y), dots, **given)


def test_the_selected_band_is_shaded_from_its_lowest_to_its_highest_value():
    (band,) = [s for s in shift()["layout"]["shapes"] if s["type"] == "rect"]
    assert (band["x0"], band["x1"]) == (-0.5, 0.5)
    assert entropy_shift.BAND_NAME in [trace.get("name") for trace in shift()["data"]]


def test_a_band_wider_than_the_frame_is_drawn_to_its_edges():
    figure = shift(band=(-99.0, 99.0))
    (band,) = [s for s in figure["layout"]["shapes"] if s["type"] == "rect"]
    assert [band["x0"], band["x1"]] == figure["layout"]["xaxis"]["range"]


def test_without_a_band_nothing_is_shaded():
    assert not [s for s in shift(band=None)["layout"]["shapes"] if s["type"] == "rect"]
    assert entropy_shift.BAND_NAME not in [trace.get("name") for trace in shift(band=None)["data"]]


def test_dots_carry_their_row_numbers_and_the_selected_ones_are_drawn_last():
    figure = shift()
    dots = [trace for trace in figure["data"] if "customdata" in trace]
    assert [(d["name"], d["customdata"]) for d in dots] == [("excluded", [5, 6, 7, 8]), ("selected", [0, 1, 2, 3, 4])]


def test_empty_cells_of_the_density_are_left_blank():
    heat = shift()["data"][0]
    counts = np.array([[1.0 if v is None else v for v in row] for row in heat["z"]])
    assert any(None in row for row in heat["z"])
    assert (counts > 0).all()


def test_expansion_and_compression_of_a_task_add_up():
    figure = entropy_shift.expansion(["a", "b"], np.array([0.25, 1.0]), np.array([8, 2]), np.array([0.5, NAN]))
    first, second, selected = figure["data"]
    assert np.add(first["x"], second["x"]).tolist() == [100, 100]
    assert selected["x"] == [50, None]
    assert figure["layout"]["yaxis"]["ticktext"] == ["a · 8", "b · 2"]


def spread(**more):
    quantiles = np.array([[-0.4, -0.2, 0.0, 0.1, 0.5], [NAN] * 5]).T
    given = {"shares": np.array([0.5, NAN]), "counts": np.array([9, 0]), "selected": np.array([-0.3, NAN])}
    return entropy_shift.spread(["a", "b"], quantiles, **(given | more))


def test_a_spread_covers_the_middle_half_with_whiskers_to_5_and_95_percent():
    half, median, selected = spread()["data"]
    assert (half["base"][0], half["base"][0] + half["x"][0]) == pytest.approx((-0.2, 0.1))
    whisker = median["error_x"]
    reach = (median["x"][0] - whisker["arrayminus"][0], median["x"][0] + whisker["array"][0])
    assert reach == pytest.approx((-0.4, 0.5))
    assert selected["x"] == [-0.3, None]


def test_a_task_without_a_score_has_no_spread():
    half, median, _ = spread()["data"]
    assert half["x"][1] is None and half["base"][1] is None and median["x"][1] is None


def test_tasks_with_equally_shortened_names_keep_separate_bars():
    names = ["the same long beginning, and then one", "the same long beginning, and then two"]
    figure = entropy_shift.expansion(names, np.array([0.2, 0.4]), np.array([5, 5]), np.array([NAN, NAN]))
    assert figure["data"][0]["y"] == [0, 1]


def test_a_task_without_a_score_has_no_bar():
    figure = entropy_shift.expansion(["a"], np.array([NAN]), np.array([0]), np.array([NAN]))
    assert figure["data"][0]["x"] == [None]


def test_a_strong_correlation_is_highlighted():
    figure = histogram.correlations(["length", "NLL"], np.array([-0.7, 0.2]), strong=0.6)
    assert figure["data"][0]["marker"]["color"] == [theme.WARNING, theme.REST]
    assert figure["data"][0]["text"] == ["−0.70", "+0.20"]


HOSTILE = "<img src=x onerror=alert(1)> & <b>bold</b>"


def test_names_from_a_pool_are_escaped():
    one = np.array([0.5])
    for figure in (
        entropy_shift.expansion([HOSTILE], one, np.array([4]), one),
        entropy_shift.spread([HOSTILE], np.zeros((5, 1)), one, np.array([4]), one),
    ):
        assert "<img" not in json.dumps(figure)


@pytest.mark.parametrize(
    "figure",
    [
        scores(),
        scores(cut=None, marks={0.5: 0.4}),
        shift(),
        entropy_shift.expansion(["a", "b"], np.array([0.2, NAN]), np.array([5, 0]), np.array([NAN, 1])),
        spread(),
        histogram.correlations(["a", "b"], np.array([0.1, np.nan])),
    ],
    ids=["histogram", "quantiles", "plane", "expansion", "spread", "correlations"],
)
def test_plotly_accepts_every_figure(figure):
    assert valid(figure).data
