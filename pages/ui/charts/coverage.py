"""Figures of activation coverage, as plain dicts: coverage by budget, and the share selected from each cluster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.figures import Figure, escape_label
from pages.ui.data.bins import Values
from pages.ui.theme import HIGHLIGHT, RANDOM, REST, SELECTED, WARNING, faint

HEIGHT = 380
CLUSTERS_HEIGHT = 360
GREEDY = "greedy search (near the maximum)"
RANDOM_ROWS = "chance range of random selections"
RANDOM_RANGE = "chance range"
HIGHLIGHT_FOUND = "highlighted rows selected"
CHANCE_COLOUR = "#86A3BE"  # a pale SELECTED, for light and dark backgrounds
CLUSTER_COLOURS = {
    "selected, outside the chance range": SELECTED,
    "selected, within the chance range": CHANCE_COLOUR,
    RANDOM_RANGE: faint(RANDOM, 0.38),
    "of all rows": WARNING,
}


@dataclass(frozen=True, eq=False)
class Line:
    """One curve: share of the pool's rows (A,) and coverage reached (A,), both in 0..1."""

    name: str
    x: Values
    y: Values


def coverage_curves(
    lines: Mapping[str, Line],
    low: Values,
    high: Values,
    x: Values,
    *,
    budget: float,
    reached: float,
    highlight: Values | None = None,
) -> Figure:
    """Plot coverage by budget, with a band from `low` to `high` over `x` for random rows and a line at the budget.

    `lines`: "own" is the current order, "greedy" is present only if it is another order. All shares in 0..1.
    `highlight`: share of the highlighted rows among the first rows of the current order, at its lengths.
    """
    traces = [*_band(x, low, high)]
    if "greedy" in lines:
        traces.append(_line(lines["greedy"], {"color": REST, "width": 2, "dash": "dash"}))
    traces.append(_line(lines["own"], {"color": SELECTED, "width": 3}))
    if highlight is not None:
        traces.append(figures.highlight_line(np.append(0, lines["own"].x), np.append(0, highlight), HIGHLIGHT_FOUND))
    traces.append(_mark(budget, reached))
    coverage_title = "coverage of the pool's neurons"
    label_place = {"x": 100 * budget, "y": 0, "yref": "y domain", "yanchor": "bottom", "yshift": 4}
    return figures.base_figure(
        traces,
        HEIGHT,
        xaxis=figures.fixed_axis("budget (share of the pool's rows)", range=[0, 100], ticksuffix="%", dtick=20),
        yaxis=figures.fixed_axis(coverage_title, range=[0, 102], ticksuffix="%", dtick=20),
        shapes=[figures.line_shape(x=100 * budget, color=WARNING, width=2)],
        annotations=[figures.line_label(f"budget {format_share(budget)}", across=budget, **label_place)],
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"},
        margin={"l": 4, "r": 26, "t": 44, "b": 4},
    )


def format_share(share: float) -> str:
    """Format a share in 0..1 as a percentage; small values get one decimal."""
    value = 100 * share
    return f"{value:.1f}%" if 0 < value < 9.95 and abs(value - round(value)) > 0.049 else f"{value:.0f}%"


def _line(curve: Line, style: dict[str, Any]) -> dict[str, Any]:
    look = {"name": escape_label(curve.name, 60), "line": style | {"shape": "spline", "smoothing": 0.6}}
    hover = "%{x:.3g}% of the rows cover %{y:.1f}%<extra></extra>"
    return figures.scatter("lines", _from_zero(curve.x), _from_zero(curve.y), hovertemplate=hover, **look)


def _band(x: Values, low: Values, high: Values) -> list[dict[str, Any]]:
    """Fill the area between the lowest and the highest random order."""
    if not len(x):
        return []
    edge = {"line": {"color": faint(RANDOM, 0.9), "width": 1}, "hoverinfo": "skip"}
    bottom, top = (figures.scatter("lines", _from_zero(x), _from_zero(y), **edge) for y in (low, high))
    area = {"fill": "tonexty", "fillcolor": faint(RANDOM, 0.45), "name": RANDOM_ROWS}
    return [bottom | {"showlegend": False}, top | area]


def _mark(budget: float, reached: float) -> dict[str, Any]:
    x, y = [round(100 * budget, 3)], figures.nullable(np.array([round(100 * reached, 3)]))
    marker = {"color": SELECTED, "size": 11, "line": {"color": "white", "width": 2}}
    hover = "current: %{x:.3g}% of the rows cover %{y:.1f}%<extra></extra>"
    return figures.scatter("markers", x, y, marker=marker, showlegend=False, hovertemplate=hover)


def _percent(shares: Values) -> list[float | None]:
    return figures.nullable(np.round(100 * np.asarray(shares, np.float64), 3))


def _from_zero(shares: Values) -> list[float | None]:
    return _percent(np.append(0, shares))


def cluster_shares(
    names: Sequence[str],
    sizes: IntArray,
    selected: IntArray,
    low: IntArray,
    high: IntArray,
    *,
    share: float,
    hover: Sequence[str] = (),
    highlight: IntArray | None = None,
) -> Figure:
    """Plot the share selected from each cluster, its range expected by chance, and the cluster sizes below.

    All arrays (T,). `low` to `high`: rows that random subsets select; `share`: selected share of all rows; `hover`:
    more text per cluster; `highlight`: highlighted rows, as bars over the sizes.
    """
    places = list(range(len(names)))
    whole = np.maximum(sizes, 1)
    more = [f"<br>{escape_label(text, 60)}" for text in hover] or [""] * len(names)
    texts = figures.hover_texts(
        [
            f"cluster {escape_label(name)}: {n:,} of {size:,} rows selected<br>random selections: {a:,} to {b:,}{m}"
            for name, n, size, a, b, m in zip(names, selected, sizes, low, high, more, strict=True)
        ]
    )
    colours = [CHANCE_COLOUR if a <= n <= b else SELECTED for n, a, b in zip(selected, low, high, strict=True)]
    band, band_colour = _percent(np.maximum(high - low, 0) / whole), CLUSTER_COLOURS[RANDOM_RANGE]
    traces = [
        figures.bars(places, band, band_colour, base=_percent(low / whole), width=0.96, **texts),
        figures.bars(places, _percent(selected / whole), colours, width=0.5, **texts),
        figures.bars(places, sizes.tolist(), faint(REST, 0.75), yaxis="y2", width=0.5, **texts),
    ]
    if highlight is not None:
        lit = figures.hover_texts(figures.highlight_words(highlight, sizes))
        traces.append(figures.bars(places, highlight.tolist(), HIGHLIGHT, yaxis="y2", width=0.5, **lit))
    top = 100 * max(float(np.max(np.maximum(selected, high) / whole, initial=0.0)), share)
    font = {"size": 11 if len(names) <= 30 else 9}
    x_ticks = {"tickvals": places, "ticktext": [escape_label(name) for name in names], "tickfont": font}
    y_range, y_look = [0, 1.12 * top], {"ticksuffix": "%", "rangemode": "tozero"}
    return figures.base_figure(
        traces,
        CLUSTERS_HEIGHT,
        barmode="overlay",
        showlegend=False,
        xaxis=figures.fixed_axis(
            "activation cluster, largest first", **x_ticks, tickangle=0, anchor="y2", showgrid=False
        ),
        yaxis=figures.fixed_axis("selected share", domain=[0.34, 1], nticks=5, range=y_range, **y_look),
        yaxis2=figures.fixed_axis("rows", domain=[0, 0.26], nticks=3, rangemode="tozero"),
        shapes=[figures.line_shape(y=100 * share, color=WARNING, width=2)],
        margin={"l": 4, "r": 8, "t": 10, "b": 4},
    )
