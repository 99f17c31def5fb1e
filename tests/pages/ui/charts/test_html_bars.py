"""HTML charts: positions of their parts, and escaping of names from a pool."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from pages.ui import theme
from pages.ui.charts import html_bars
from pages.ui.data import bins

VALUES = np.array([0.1, 0.2, 0.35, 0.45, 0.55, 0.65, 0.75, 0.9])


def shares(subset, pool=(0.3, 0.2), low=(0.25, 0.15), high=(0.35, 0.25), names=("a", "b")):
    return html_bars.share_bars(names, *(np.array(v) for v in (subset, pool, low, high)), label="Tasks")


def boxes(html, colour):
    """Return left edge and width, in percent, of all boxes of one colour."""
    matches = re.findall(rf"left:([\d.]+)%;width:([\d.]+)%;background:{re.escape(colour)}", html)
    return [(float(left), float(width)) for left, width in matches]


def scores(cut=0.3, marks=None, log=False, values=VALUES, selected=3):
    binned = bins.bin_values(values, bins=4, log=log)
    rows = np.arange(len(values))
    layers = {"selected": binned.counts(rows[:selected]), "unselected": binned.counts(rows[selected:])}
    return html_bars.histogram(binned.edges, layers, title="score", marks=marks or {}, cut=cut, log=log)


def cut_at(html):
    return float(re.search(r'data-cut="([\d.]+)"', html)[1])


def corners(html):
    """Return one list of (x, y) per shape, in percent from the upper left, hindmost first."""
    shapes = re.findall(r"clip-path:polygon\((.*?)\)", html)
    return [[tuple(float(v) for v in re.findall(r"([\d.e-]+)%", pair)) for pair in s.split(",")] for s in shapes]


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.names, self.open = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_bars_are_as_long_as_their_share_of_the_longest():
    html = shares((0.4, 0.1), pool=(0.2, 0.2), low=(0.1, 0.3), high=(0.3, 0.4))
    assert boxes(html, theme.SELECTED) == [(0, 100), (0, 25)]
    assert "40.0%" in html and "10.0%" in html


def test_a_bar_is_pale_where_random_subsets_reach_as_far():
    html = shares((0.30, 0.40))
    pale = theme.faint(theme.SELECTED, 0.45)
    assert len(boxes(html, pale)) == len(boxes(html, theme.SELECTED)) == 1


def test_the_pool_tick_and_the_random_band_are_at_their_shares():
    html = shares((0.5, 0.0), pool=(0.3, 0.2), low=(0.25, 0.15), high=(0.35, 0.25))
    assert [left for left, _ in boxes(html, theme.REST)] == [60, 40]
    assert boxes(html, theme.faint(theme.RANDOM, 0.38)) == [(50, 20), (30, 20)]


def test_the_share_of_the_highlighted_rows_is_a_diamond_or_beyond_the_axis_a_triangle():
    names, values = ("a", "b", "c"), (np.array([0.5, 0.25, 0.25]), np.full(3, 0.1))
    html = html_bars.share_bars(names, *values, *values, label="Tasks", highlight=np.array([0.25, 0.75, 0.0]))
    marks = re.findall(rf"left:([\d.]+)%;width:0.00%;background:{theme.HIGHLIGHT};[^>]*polygon\(([^)]*)\)", html)
    assert [float(left) for left, _ in marks] == [50, 100]  # of an axis to 0.5; none where no row is highlighted
    assert [len(shape.split(",")) for _, shape in marks] == [4, 3]
    assert "random selections 50.0 to 10.0%, 25.0% of the highlighted rows" in html
    assert theme.HIGHLIGHT not in shares((0.4, 0.1))


def test_lines_can_be_picked_by_their_number_and_a_prefix():
    html = html_bars.share_bars(["a", "b"], *[np.full(2, 0.5)] * 4, label="Tasks", pick="2.")
    assert re.findall(r'data-pick="([^"]*)" tabindex="0"', html) == ["2.0", "2.1"]
    assert "data-pick" not in shares((0.4, 0.1))
    assert html_bars.pick_attributes('"><b>') == ' data-pick="&quot;&gt;&lt;b&gt;" tabindex="0"'


def test_highlighted_rows_are_outlined_over_the_layers():
    binned = bins.bin_values(VALUES, bins=4)
    layers = {"selected": binned.counts()}
    html = html_bars.histogram(
        binned.edges, layers, title="score", marks={}, cut=None, highlight=binned.counts(np.array([0]))
    )
    area, outline = corners(html)[-2:]
    assert theme.faint(theme.HIGHLIGHT, 0.25) in html and theme.HIGHLIGHT in html
    assert area == outline[: len(area)] and max(100 - y for _, y in area) == 50  # one of the two rows of the first bin


def test_an_empty_subset_is_drawn_too():
    assert "0%" in shares((0.0, 0.0))
    assert html_bars.share_bars([], *[np.zeros(0)] * 4, label="none")


def test_the_cut_is_at_the_score_of_the_last_selected_row():
    selected = 3
    assert cut_at(scores(cut=VALUES[selected - 1])) == pytest.approx(100 * (0.35 - 0.1) / 0.8)


def test_the_cut_is_at_the_same_value_on_a_logarithmic_axis():
    assert cut_at(scores(cut=100, log=True, values=np.arange(1, 10_001))) == pytest.approx(50)


def test_a_cut_beyond_the_frame_is_at_its_edge():
    assert cut_at(scores(cut=-5.0)) == 0
    assert cut_at(scores(cut=5.0)) == 100


def test_without_a_cut_none_is_drawn():
    assert "data-cut" not in scores(cut=None)


def test_layers_are_stacked_to_the_height_of_their_counts():
    behind, front = corners(scores(selected=1))  # 4 bins of 2 rows each; one of the first two is selected
    assert min(y for _, y in behind) == 0
    assert min(y for _, y in front) == 50
    assert {y for x, y in front if x > 25} == {100}


def test_a_histogram_has_a_text_description():
    assert 'aria-label="score: 3 selected, 5 unselected; cutoff at 0.3"' in scores()


HOSTILE = '<img src=x onerror=alert(1)> "quoted" & more'


@pytest.mark.parametrize(
    "html",
    [
        shares((0.5, 0.2), names=(HOSTILE, "b")),
        html_bars.legend({HOSTILE: theme.SELECTED}),
        scores(marks={0.5: 0.4, 0.95: 0.8}),
    ],
    ids=["against", "legend", "histogram"],
)
def test_only_boxes_and_text_are_drawn_and_names_are_escaped(html):
    tags = Tags(html)
    assert tags.names <= {"div", "span"}
    assert not tags.open
