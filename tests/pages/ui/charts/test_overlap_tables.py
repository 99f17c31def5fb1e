"""Contender names, which users choose, in HTML and in Plotly figures."""

import html
import re

import numpy as np
import pytest

from pages.ui.charts import overlap, overlap_tables

NAMES = ["tom & jerry", "<b>bold</b>", 'said "so"', "x" * 100]


@pytest.fixture
def looks():
    return overlap.looks(NAMES, [""] * len(NAMES))


def shortened(label):
    return label if len(label) <= overlap.MAX_NAME_LENGTH else label[: overlap.MAX_NAME_LENGTH - 1] + "…"


def test_the_legend_shows_names_unchanged(looks):
    items = re.findall(r"</span> (.*?)</span>", overlap_tables.legend(looks))
    assert [html.unescape(item) for item in items] == [shortened(name) for name in NAMES]


@pytest.mark.parametrize(("at", "side"), [(10, "left"), (95, "right")])
def test_the_budget_label_is_inside_the_plot(looks, at, side):
    x = np.array([0.0, 100.0])
    (name,) = overlap.overlap_curves(x, [(looks[0], x)], x, x, at=at, unit="rows")["layout"]["annotations"]
    assert (name["text"], name["xanchor"]) == (f"budget {at}%", side)


def test_figures_show_names_unchanged(looks):
    x = np.array([0.0, 100.0])
    curves = overlap.overlap_curves(x, [(look, x) for look in looks], x, x, at=10, unit="rows")["data"][1:]
    assert [html.unescape(curve["name"]) for curve in curves] == [shortened(name) for name in NAMES]
    assert not any("<" in curve["name"] for curve in curves)


def test_highlighted_rows_do_not_stretch_the_axis(looks):
    low, all_rows = np.array([0.1, 0.0]), np.array([1.0, 0.1])
    plain = overlap_tables.group_shares(["a", "b"], [(looks[0], low)], low, low, low, "shares")
    lit = overlap_tables.group_shares(
        ["a", "b"], [(looks[0], low), (overlap.highlight_look(), all_rows)], low, low, low, "shares"
    )
    axis = re.findall(r">(\d+)%</span>", plain)
    assert axis and re.findall(r">(\d+)%</span>", lit) == axis
    assert (lit.count("▶"), lit.count("◉")) == (1, 1)
    assert "Highlighted rows 100.0%" in lit
