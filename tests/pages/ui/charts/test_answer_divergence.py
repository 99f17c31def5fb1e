"""Figures of answer divergence: lines of equal score, and bins against the share expected by chance."""

import numpy as np
import pytest

from pages.ui.charts import answer_divergence
from pages.ui.charts.answer_divergence import NONE_SELECTED, OUTSIDE, WITHIN, clip_score_line
from pages.ui.data import bins
from pages.ui.theme import HIGHLIGHT

SQUARE = (0.0, 1.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("weight", "value", "ends"),
    [
        (0.5, 0.25, ((0, 0.5), (0.5, 0))),
        (0.5, 0.75, ((0.5, 1), (1, 0.5))),
        (1, 0.3, ((0.3, 1), (0.3, 0))),
        (0, 0.3, ((0, 0.3), (1, 0.3))),
        (0.5, 1.1, None),
        (0.5, -0.1, None),
        (0.5, 0, None),
        (1, 1.5, None),
        (0, -1, None),
    ],
)
def test_a_line_of_equal_score_ends_at_the_frame(weight, value, ends):
    chord = clip_score_line(weight, value, SQUARE)
    assert chord == ends if ends is None else np.allclose(chord, ends)


@pytest.mark.parametrize("weight", [0.0, 0.2, 0.6, 0.99, 1.0])
def test_both_ends_have_the_score_and_are_on_the_frame(weight):
    frame = (-0.1, 0.8, 0.05, 0.7)
    for value in np.linspace(0, 0.8, 17):
        for x, y in clip_score_line(weight, value, frame) or ():
            assert weight * x + (1 - weight) * y == pytest.approx(value)
            assert frame[0] - 1e-9 <= x <= frame[1] + 1e-9 and frame[2] - 1e-9 <= y <= frame[3] + 1e-9


def plane(weight):
    x, y = np.linspace(0, 1, 50), np.linspace(0, 1, 50)[::-1]
    rows = np.arange(50)
    return answer_divergence.divergence_plane(
        bins.count_grid(x, y), {"selected": (x, y, rows)}, weight=weight, score=(0.0, 1.0), titles=("D", "I")
    )


def lines(figure):
    return [trace for trace in figure["data"] if trace.get("mode") == "lines"]


def test_lines_turn_with_the_weight():
    def slope(line):
        return (line["y"][1] - line["y"][0]) / (line["x"][1] - line["x"][0])

    assert {round(slope(line), 6) for line in lines(plane(0.5))} == {-1}
    assert {round(slope(line), 6) for line in lines(plane(0.75))} == {-3}
    assert all(line["x"][0] == line["x"][1] for line in lines(plane(1.0)))


def test_each_line_and_each_corner_is_labelled():
    figure = plane(0.5)
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert len(lines(figure)) == len(texts) - 3 >= 3
    assert {"similar answers", "far apart, all on one line", "far apart, in several directions"} <= set(texts)


def test_a_plane_of_one_score_has_at_most_one_line():
    x = np.full(5, 0.5)
    figure = answer_divergence.divergence_plane(
        bins.count_grid(x, x), {}, weight=0.6, score=(0.5, 0.5), titles=("D", "I")
    )
    assert len(lines(figure)) <= 1


def dots(figure):
    return {trace["name"]: trace for trace in figure["data"] if trace.get("mode") == "markers"}


def test_unexpected_and_untouched_bins_have_their_own_markers():
    sizes, bin_traces = np.array([1000, 100, 100, 100, 4]), np.array([100, 10, 40, 0, 0])
    chord = dots(answer_divergence.bin_shares(sizes, bin_traces, list("abcde"), share=0.1))
    assert chord[WITHIN]["customdata"] == [0, 1]
    assert chord[OUTSIDE]["customdata"] == [2]
    assert chord[NONE_SELECTED]["customdata"] == [3, 4]
    assert chord[OUTSIDE]["y"] == [40.0]
    assert chord[WITHIN]["hovertext"][0] == "a: 100 of 1,000 rows selected"


def test_the_figure_size_is_independent_of_the_number_of_bins():
    heights = set()
    for count in (1, 40, 2000):
        sizes = np.arange(count, 0, -1) + 10
        figure = answer_divergence.bin_shares(sizes, sizes // 10, [str(k) for k in range(count)], share=0.1)
        assert sum(len(trace["x"]) for trace in dots(figure).values()) == count
        heights.add(figure["layout"]["height"])
    assert len(heights) == 1


def test_all_or_no_rows_can_be_selected():
    sizes = np.array([5, 3])
    assert dots(answer_divergence.bin_shares(sizes, sizes, ["a", "b"], share=1.0))[WITHIN]["y"] == [100, 100]
    assert dots(answer_divergence.bin_shares(sizes, 0 * sizes, ["a", "b"], share=0.0))[NONE_SELECTED]["y"] == [0, 0]


def test_highlighted_rows_are_rings_that_grow_with_their_share():
    sizes, counts = np.array([40, 20, 10]), np.array([4, 2, 0])
    figure = answer_divergence.bin_shares(sizes, counts, ["a", "b", "c"], share=0.1, highlight=np.array([0, 5, 10]))
    rings = next(trace for trace in figure["data"] if trace.get("marker", {}).get("color") == HIGHLIGHT)
    assert rings["customdata"] == [1, 2] and rings["y"] == [10, 0]
    assert rings["marker"]["size"][0] < rings["marker"]["size"][1]
    assert rings["hovertext"] == ["b: 5 of 20 rows highlighted", "c: 10 of 10 rows highlighted"]
