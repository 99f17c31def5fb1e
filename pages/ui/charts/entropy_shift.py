"""Figures of ΔNLL and ΔH, as plain dicts from aggregates: against each other, and by task."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.figures import Figure, escape_label
from pages.ui.charts.scales import LAYERS, format_number
from pages.ui.data.bins import Grid, Values
from pages.ui.data.planes import HIGHLIGHTED
from pages.ui.theme import BAND, EXTRA, HIGHLIGHT, REST, SELECTED, WARNING, faint

BAND_NAME = "ΔNLL band"
TASKS_HEIGHT = 340  # of a figure with one line per task
DIAMOND = {"symbol": "diamond", "size": 9, "line": {"width": 1, "color": "white"}}


# Two columns


def plane(
    density: Grid,
    points: Mapping[str, tuple[Values, Values, IntArray]],
    *,
    band: tuple[float, float] | None,
    cut: float | None,
    titles: tuple[str, str],
    ends: tuple[str, str] = ("", ""),
    height: int = 420,
) -> Figure:
    """Plot density of all rows, a sample of dots, the selected band of x shaded and the threshold on y as a line.

    `points`: layer (of LAYERS, or HIGHLIGHTED) -> x, y and row numbers; the dots carry the row numbers as customdata.
    `ends`: text at low and high y.
    """
    x_low, x_high, y_low, y_high = density.frame
    shade = [[round(float(np.log10(n + 1)), 3) if n else None for n in line] for line in density.counts.tolist()]
    scale = {"colorscale": [[0, faint(REST, 0.06)], [1, faint(REST, 0.7)]], "showscale": False, "hoverinfo": "skip"}
    heat = {"type": "heatmap", "x": density.x.tolist(), "y": density.y.tolist(), "z": shade} | scale
    dots = [_dots(name, *points[name]) for name in (*reversed(LAYERS), HIGHLIGHTED) if name in points]
    shapes = [figures.line_shape(y=0, color=faint(REST, 0.9)), figures.line_shape(x=0, color=faint(REST, 0.9))]
    notes = [
        figures.annotation(text, x=1, xref="x domain", xanchor="right", y=y, yref="y domain", yanchor=anchor)
        for text, y, anchor in ((ends[0], 0.0, "bottom"), (ends[1], 1.0, "top"))
        if text
    ]
    if band is not None:
        shapes.insert(0, _band(max(band[0], x_low), min(band[1], x_high)))
        square = {"symbol": "square", "size": 10, "color": faint(BAND, 0.5)}
        dots.insert(0, figures.scatter("markers", [None], [None], name=BAND_NAME, marker=square))  # for the legend
    if cut is not None and y_low <= cut <= y_high:
        shapes.append(figures.line_shape(y=cut, color=WARNING, width=2))
        notes.append(
            figures.line_label(f"cutoff {format_number(cut)}", y=cut, x=0, xref="x domain", yanchor="bottom", yshift=2)
        )
    return figures.base_figure(
        [heat, *dots],
        height,
        xaxis=figures.fixed_axis(titles[0], range=[x_low, x_high], fixedrange=False),
        yaxis=figures.fixed_axis(titles[1], range=[y_low, y_high], fixedrange=False),
        shapes=shapes,
        annotations=notes,
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "traceorder": "reversed",
            "itemsizing": "constant",
        },
    )


def _dots(name: str, x: Values, y: Values, rows: IntArray) -> dict[str, Any]:
    lit = name == HIGHLIGHTED
    size, opacity = (6, 0.9) if lit else (5, 0.9) if name == "selected" else (4, 0.7)
    marker = {"size": size, "color": HIGHLIGHT if lit else LAYERS[name], "opacity": opacity}
    look = {"name": name, "marker": marker, "unselected": {"marker": {"opacity": opacity if lit else 0.3}}}
    look["selected"] = {"marker": {"opacity": 1, "size": 8}}
    places = (np.round(side.astype(np.float64), 5).tolist() for side in (x, y))
    hover = [f"{format_number(a)}, {format_number(b)}<br>{name}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    return figures.scatter("markers", *places, customdata=rows.tolist(), **figures.hover_texts(hover), **look)


def _band(low: float, high: float) -> dict[str, Any]:
    area = {"type": "rect", "x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "y domain", "layer": "below"}
    return area | {"fillcolor": faint(BAND, 0.13), "line": {"color": faint(BAND, 0.7), "width": 1}}


# One line per task


INSIDE = {"color": "#16202B"}  # of text on the bars
HIGHLIGHT_NAMES = ("expansion, highlighted rows", "median, highlighted rows")
PART_COLOURS = {"expansion": EXTRA[1], "compression": faint(REST, 0.35), "expansion, selected rows": SELECTED}


Lit = tuple[IntArray, Values]  # highlighted rows of each task (T,), and the value of these rows (T,)


def expansion(
    names: Sequence[str], shares: Values, counts: IntArray, selected: Values, highlight: Lit | None = None
) -> Figure:
    """Plot per task the share of rows that expand (ΔH < 0) and compress; a diamond marks the selected rows.

    All arrays (T,), top to bottom. Shares refer to the `counts` rows with a ΔH; NaN: none. `highlight`: the
    highlighted rows, marked by a circle at their share.
    """
    places = list(range(len(names)))
    labels = _count_labels(names, counts)
    percent, among = np.round(100 * shares, 1), figures.nullable(np.round(100 * selected, 1))
    text = {"text": [f"{p:.0f}%" if np.isfinite(p) else "" for p in percent], "textangle": 0}
    look = {"orientation": "h", "textposition": "inside", "insidetextanchor": "start", "insidetextfont": INSIDE}
    expand, compress, selection = PART_COLOURS.values()
    traces = [
        figures.bars(figures.nullable(percent), places, expand, **look, **text),
        figures.bars(figures.nullable(100 - percent), places, compress, **look),
        figures.scatter("markers", among, places, marker=DIAMOND | {"color": selection}, cliponaxis=False),
    ]
    for name, trace in zip(PART_COLOURS, traces, strict=True):
        hover = f"%{{hovertext}}<br>%{{x:.1f}}% {name}<extra></extra>"
        trace |= {"name": name, "hovertext": labels, "hovertemplate": hover}
    if highlight is not None:
        traces.append(figures.highlight_marks(100 * highlight[1], places, highlight[0], counts))
    return _task_figure(traces, labels, xaxis=figures.fixed_axis(ticksuffix="%", nticks=6, range=[0, 100]))


def _count_labels(names: Sequence[str], counts: IntArray) -> list[str]:
    return [f"{escape_label(name)} · {count:,}" for name, count in zip(names, counts, strict=True)]


def _task_figure(traces: list[dict[str, Any]], labels: list[str], **more: Any) -> Figure:
    look = {"showlegend": False, "margin": {"l": 4, "r": 10, "t": 8, "b": 4}}
    return figures.base_figure(
        traces, TASKS_HEIGHT, yaxis=figures.task_axis(list(range(len(labels))), labels), **look, **more
    )


SPREAD_COLOURS = {"25–75% of rows": faint(EXTRA[1], 0.6), "median": REST, "median, selected rows": SELECTED}


def spread(
    names: Sequence[str],
    quantiles: Values,
    shares: Values,
    counts: IntArray,
    selected: Values,
    highlight: Lit | None = None,
) -> Figure:
    """Plot ΔH per task: 25% to 75% quantile as a bar, 5% to 95% as a line, medians as marks.

    quantiles (5, T); shares (T,) of rows that expand, for the hover text; selected (T,) medians of the selected rows.
    NaN: none. `highlight`: the highlighted rows, marked by a circle at their median.
    """
    places = list(range(len(names)))
    labels = _count_labels(names, counts)
    low, first, middle, third, high = quantiles
    hover = figures.hover_texts(
        [
            f"{label}<br>median {format_number(m)}, {100 * share:.1f}% expand"
            for label, m, share in zip(labels, middle, shares, strict=True)
        ]
    )
    ends = {"type": "data", "array": figures.nullable(high - middle), "arrayminus": figures.nullable(middle - low)}
    whisker = ends | {"color": faint(REST, 0.8), "thickness": 1, "width": 0}
    half, median, selection = SPREAD_COLOURS.values()
    dash = {"symbol": "line-ns-open", "size": 13, "color": median, "line": {"width": 2}}
    traces = [
        figures.bars(
            figures.nullable(third - first),
            places,
            half,
            orientation="h",
            base=figures.nullable(first),
            width=0.6,
            **hover,
        ),
        figures.scatter("markers", figures.nullable(middle), places, marker=dash, error_x=whisker, **hover),
        figures.scatter("markers", figures.nullable(selected), places, marker=DIAMOND | {"color": selection}, **hover),
    ]
    if highlight is not None:
        traces.append(figures.highlight_marks(highlight[1], places, highlight[0], counts))
    zero = figures.line_shape(x=0, color=faint(REST, 0.9))
    axis = figures.fixed_axis("ΔH (nats per response token)", nticks=6)
    return _task_figure(traces, labels, xaxis=axis, shapes=[zero])
