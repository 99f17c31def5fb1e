"""Figures of ΔNLL and ΔH, as plain dicts from aggregates: against each other, and by task."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.charts.figures import escape_label
from pages.ui.charts.histogram import Figure, annotation, base_figure, fixed_axis, line_label, line_shape, nullable
from pages.ui.charts.scales import LAYERS, format_number
from pages.ui.data.bins import Grid, Values
from pages.ui.theme import BAND, EXTRA, REST, SELECTED, WARNING, faint

LASSO_CONFIG = {
    "displaylogo": False,
    "scrollZoom": False,
    "modeBarButtonsToRemove": ["toImage", "autoScale2d", "zoomIn2d", "zoomOut2d"],
}


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

    `points`: layer (of LAYERS) -> x, y and row numbers; the dots carry the row numbers as customdata. `ends`: text at
    low and high y.
    """
    x_low, x_high, y_low, y_high = density.frame
    counts = density.counts.tolist()
    heat = {
        "type": "heatmap",
        "x": density.x.tolist(),
        "y": density.y.tolist(),
        "z": [[round(float(np.log10(n + 1)), 3) if n else None for n in line] for line in counts],
        "colorscale": [[0, faint(REST, 0.06)], [1, faint(REST, 0.7)]],
        "showscale": False,
        "hoverinfo": "skip",
    }
    dots = [_dots(name, *points[name]) for name in reversed(LAYERS) if name in points]
    shapes = [line_shape(y=0, color=faint(REST, 0.9)), line_shape(x=0, color=faint(REST, 0.9))]
    notes = [
        annotation(text, x=1, xref="x domain", xanchor="right", y=y, yref="y domain", yanchor=anchor)
        for text, y, anchor in ((ends[0], 0.0, "bottom"), (ends[1], 1.0, "top"))
        if text
    ]
    if band is not None:
        shapes.insert(0, _band(max(band[0], x_low), min(band[1], x_high)))
        notes.append(annotation("kept band", x=max(band[0], x_low), xanchor="left", xshift=3, y=1, yref="y domain",
                           yanchor="top", font={"size": 12, "color": BAND}))  # fmt: skip
    if cut is not None and y_low <= cut <= y_high:
        shapes.append(line_shape(y=cut, color=WARNING, width=2))
        notes.append(line_label(f"cut {format_number(cut)}", y=cut, x=0, xref="x domain", yanchor="bottom", yshift=2))
    return base_figure(
        [heat, *dots],
        height,
        xaxis=fixed_axis(titles[0], range=[x_low, x_high], fixedrange=False),
        yaxis=fixed_axis(titles[1], range=[y_low, y_high], fixedrange=False),
        shapes=shapes,
        annotations=notes,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "reversed"},
        dragmode="lasso",
        hovermode="closest",
        clickmode="event+select",
    )


def _dots(name: str, x: Values, y: Values, rows: IntArray) -> dict[str, Any]:
    is_selected = name == "selected"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": np.round(x.astype(np.float64), 5).tolist(),
        "y": np.round(y.astype(np.float64), 5).tolist(),
        "customdata": rows.tolist(),
        "marker": {"size": 5 if is_selected else 4, "color": LAYERS[name], "opacity": 0.9 if is_selected else 0.7},
        "unselected": {"marker": {"opacity": 0.15}},
        "hovertemplate": f"%{{x:.3g}}, %{{y:.3g}}<br>{name}<extra></extra>",
    }


def _band(low: float, high: float) -> dict[str, Any]:
    area = {"type": "rect", "x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "y domain", "layer": "below"}
    return area | {"fillcolor": faint(BAND, 0.13), "line": {"color": faint(BAND, 0.7), "width": 1}}


# One line per task


PART_COLOURS = {"expansion": EXTRA[1], "compression": faint(REST, 0.35), "expansion among the selected": SELECTED}


def expansion(
    names: Sequence[str], shares: Values, counts: IntArray, selected: Values, *, height: int | None = None
) -> Figure:
    """Plot per task the share of rows that expand (ΔH < 0) and compress; a diamond marks the selected rows.

    All arrays (T,), top to bottom. Shares refer to the `counts` rows with a ΔH; NaN: none.
    """
    places = list(range(len(names)))
    labels = [f"{escape_label(name)} · {count:,}" for name, count in zip(names, counts, strict=True)]
    percent = np.round(100 * shares, 1)
    diamonds = {
        "type": "scatter",
        "mode": "markers",
        "x": nullable(np.round(100 * selected, 1)),
        "marker": {"symbol": "diamond", "size": 9, "line": {"width": 1, "color": "white"}},
        "cliponaxis": False,
    }
    text = {"text": [f"{p:.0f} %" if np.isfinite(p) else "" for p in percent], "textangle": 0}
    bar = {"type": "bar", "orientation": "h", "textposition": "inside", "insidetextanchor": "start"}
    traces = [bar | {"x": nullable(percent)} | text, bar | {"x": nullable(100 - percent)}, diamonds]
    for (name, colour), trace in zip(PART_COLOURS.items(), traces, strict=True):
        trace |= {"name": name, "y": places, "hovertext": labels}
        trace["marker"] = {"color": colour, "line": {"width": 0}} | trace.get("marker", {})
        trace["hovertemplate"] = f"%{{hovertext}}<br>%{{x:.1f}} % {name}<extra></extra>"
    return base_figure(
        traces,
        height or 50 + 24 * max(len(labels), 2),
        xaxis=fixed_axis(ticksuffix=" %", nticks=6, range=[0, 100]),
        yaxis=fixed_axis(autorange="reversed", showgrid=False, ticklabelstandoff=6, tickvals=places, ticktext=labels),
        showlegend=False,
        margin={"l": 4, "r": 10, "t": 8, "b": 4},
    )


SPREAD_COLOURS = {"middle half of the rows": faint(EXTRA[1], 0.6), "median": REST, "median of the selected": SELECTED}


def spread(
    names: Sequence[str],
    quantiles: Values,
    shares: Values,
    counts: IntArray,
    selected: Values,
    *,
    height: int | None = None,
) -> Figure:
    """Plot ΔH per task: 25 % to 75 % quantile as a bar, 5 % to 95 % as a line, medians as marks.

    quantiles (5, T); shares (T,) of rows that expand, for the hover text; selected (T,) medians of the selected rows.
    NaN: none.
    """
    places = list(range(len(names)))
    labels = [f"{escape_label(name)} · {count:,}" for name, count in zip(names, counts, strict=True)]
    low, first, middle, third, high = quantiles
    hover = [
        f"{label}<br>median {format_number(m)}, {100 * share:.1f} % expand"
        for label, m, share in zip(labels, middle, shares, strict=True)
    ]
    ends = {"type": "data", "array": nullable(high - middle), "arrayminus": nullable(middle - low)}
    common = {"y": places, "hovertext": hover, "hovertemplate": "%{hovertext}<extra></extra>"}
    marks = common | {"type": "scatter", "mode": "markers"}
    bar = {"type": "bar", "orientation": "h", "base": nullable(first), "x": nullable(third - first), "width": 0.6}
    colours = list(SPREAD_COLOURS.values())
    traces = [
        common | bar | {"marker": {"color": colours[0], "line": {"width": 0}}},
        marks
        | {
            "x": nullable(middle),
            "marker": {"symbol": "line-ns-open", "size": 13, "color": colours[1], "line": {"width": 2}},
            "error_x": ends | {"color": faint(REST, 0.8), "thickness": 1, "width": 0},
        },
        marks
        | {
            "x": nullable(selected),
            "marker": {"symbol": "diamond", "size": 9, "color": colours[2], "line": {"width": 1, "color": "white"}},
        },
    ]
    return base_figure(
        traces,
        height or 50 + 24 * max(len(labels), 2),
        xaxis=fixed_axis("ΔH", nticks=6),
        yaxis=fixed_axis(autorange="reversed", showgrid=False, ticklabelstandoff=6, tickvals=places, ticktext=labels),
        shapes=[line_shape(x=0, color=faint(REST, 0.9))],
        showlegend=False,
        margin={"l": 4, "r": 10, "t": 8, "b": 4},
    )
