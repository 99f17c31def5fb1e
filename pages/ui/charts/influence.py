"""Figures of influence: a histogram per target, the score against length, training on halves, pair accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.entropy_shift import plane
from pages.ui.charts.figures import Figure, escape_label
from pages.ui.charts.scales import describe_bin, format_number, tick_values
from pages.ui.data.bins import Grid, Values
from pages.ui.data.planes import Points
from pages.ui.theme import EXTRA, RANDOM, REST, SELECTED, WARNING, faint

EACH, AROUND = 112, 96  # heights of one histogram, and of the margins around all of them
NAME_HEIGHT = 26  # pixels above a histogram for its name
LENGTH_HEIGHT = 400  # height; also the minimum height of the histograms next to it
ACCURACY_HEIGHT, CHECK_HEIGHT = 210, 260
GAP = 0.05  # of the width, between two plots
SIGMAS = 1.96
LINE_COLOURS = {"chosen answer preferred": SELECTED, "margin increased": EXTRA[1]}
GUESSING_COLOURS = {"95% range of random guessing": faint(RANDOM, 0.3)}


# Every target


@dataclass(frozen=True, eq=False)
class Ridge:
    """Histogram of one target."""

    name: str
    summary: str  # text after the name
    layers: Mapping[str, IntArray]  # name in LAYERS -> rows in each bin
    cut: float | None  # score of the last selected row, if rows are ranked by this score
    highlight: IntArray | None = None  # highlighted rows in each bin


def ridges(edges: Values, targets: Sequence[Ridge], *, title: str) -> Figure:
    """Plot one histogram per target over the same bins `edges` (B + 1,), each scaled to its own maximum.

    The customdata of a bar is the target's number, the bin's number and the bin's range.
    """
    bars, axes, shapes, notes = [], {}, [], []
    height = max(LENGTH_HEIGHT, AROUND + EACH * len(targets))
    for k, target in enumerate(targets):
        axis, bottom = f"y{k + 1}" if k else "y", 1 - (k + 1) / len(targets)
        top = bottom + 1 / len(targets) - NAME_HEIGHT / (height - AROUND)
        axes[f"yaxis{k + 1}" if k else "yaxis"] = figures.fixed_axis(
            domain=[round(bottom, 4), round(top, 4)], nticks=3, rangemode="tozero", anchor="x"
        )
        shapes.append(figures.line_shape(x=0, color=faint(REST, 0.9)) | {"yref": f"{axis} domain"})
        bars += _bars(edges, k, target, axis)
        notes.append(_name(target.name, target.summary, x=0, y=top))
        if target.cut is not None:
            x = float(np.clip(target.cut, edges[0], edges[-1]))
            shapes.append(figures.line_shape(x=x, color=WARNING, width=2) | {"yref": f"{axis} domain"})
            place = {"across": (x - edges[0]) / (edges[-1] - edges[0]), "x": x, "y": 1, "yref": f"{axis} domain"}
            notes.append(figures.line_label(f"cutoff {format_number(target.cut)}", **place, yanchor="top"))
    ticks = tick_values(edges, False)
    look = {"range": [float(edges[0]), float(edges[-1])], "showgrid": False, "anchor": "free", "position": 0}
    look |= {"tickvals": [value for value, _ in ticks], "ticktext": [name for _, name in ticks]}
    axes["xaxis"] = figures.fixed_axis(title, **look)
    return figures.base_figure(
        bars, height, **axes, bargap=0.04, shapes=shapes, annotations=notes, margin={"l": 4, "r": 8, "t": 44, "b": 4}
    )


def _bars(edges: Values, number: int, target: Ridge, axis: str) -> list[dict[str, Any]]:
    data = [[number, i, describe_bin(edges, i)] for i in range(len(edges) - 1)]
    about = f"{escape_label(target.name)} %{{customdata[2]}}"
    traces = figures.layer_bars(target.layers, edges, data, about)
    if target.highlight is not None:
        traces.append(figures.highlight_bars(target.highlight, edges, data))
    return [bar | {"legendgroup": bar["name"], "showlegend": number == 0, "yaxis": axis} for bar in traces]


def _name(name: str, summary: str, *, x: float, y: float) -> dict[str, Any]:
    """Place a target's name above its plot, at x and y of the figure."""
    style = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "font": {"size": 12}}
    return figures.annotation(f"<b>{escape_label(name)}</b> · {summary}", x=x, y=y, **style)


# Influence by length


def length_plane(density: Grid, points: Points, *, cut: float | None) -> Figure:
    """Plot influence (y) against log10 of the response tokens (x); `density` and `points` use the same units."""
    figure = plane(density, points, band=None, cut=cut, titles=("response length (tokens)", "influence"),
                   ends=("away from the target ↓", "towards the target ↑"), height=LENGTH_HEIGHT)  # fmt: skip
    layout = figure["layout"]
    layout["shapes"] = [shape for shape in layout["shapes"] if shape["y0"] == shape["y1"]]
    low, high = (10.0**x for x in density.frame[:2])
    ticks = tick_values(np.array([low, high]), True)
    layout["xaxis"] |= {"tickvals": [np.log10(v) for v, _ in ticks], "ticktext": [name for _, name in ticks]}
    for dots in figure["data"][1:]:
        both = zip(dots["x"], dots["y"], strict=True)
        dots["hovertext"] = [f"influence {format_number(y)}, {10**x:,.0f} tokens<br>{dots['name']}" for x, y in both]
    return figure


# Influence check


def check_dots(predicted: Sequence[float], measured: Sequence[float]) -> Figure:
    """Plot the fall of the target's loss (y, nats) against the summed influence (x) of each random half."""
    both = zip(predicted, measured, strict=True)
    hover = [f"influence {format_number(x)}<br>fall of the loss {format_number(y)} nats" for x, y in both]
    dots = figures.scatter(
        "markers",
        list(predicted),
        list(measured),
        marker={"color": SELECTED, "size": 8},
        hovertext=hover,
        hoverinfo="text",
    )
    return figures.base_figure(
        [dots],
        CHECK_HEIGHT,
        xaxis=figures.fixed_axis("summed influence of the half"),
        yaxis=figures.fixed_axis("fall of the loss (nats)"),
        showlegend=False,
        margin={"l": 4, "r": 8, "t": 8, "b": 4},
    )


# Pair accuracy


@dataclass(frozen=True, eq=False)
class PairAccuracy:
    """Pair accuracy of one target, before the warm-up and after each epoch."""

    name: str
    pairs: int
    accuracy: Values  # (E + 1,) share of pairs whose chosen answer is likelier than the rejected one
    margin_accuracy: Values  # (E,) share of pairs whose margin has grown since before the warm-up


def accuracy_lines(targets: Sequence[PairAccuracy]) -> Figure:
    """Plot the pair accuracy of each target side by side, in percent; 50% is guessing."""
    wide = (1 - GAP * (len(targets) - 1)) / len(targets)
    shapes, notes = [figures.line_shape(y=50, color=WARNING, width=2) | {"xref": "paper"}], []
    traces, axes = [], {}
    for k, target in enumerate(targets):
        axis, left = f"x{k + 1}" if k else "x", k * (wide + GAP)
        place = {"domain": [round(left, 4), round(left + wide, 4)], "range": [-0.3, len(target.accuracy) - 0.7]}
        look = {"dtick": 1, "showgrid": False, "anchor": "y"}
        axes[f"xaxis{k + 1}" if k else "xaxis"] = figures.fixed_axis("epochs of warm-up training", **place, **look)
        traces += _lines(axis, target)
        shapes.insert(0, _guessing(axis, target.pairs))
        notes.append(_name(target.name, f"{target.pairs:,} pairs", x=left, y=1))
    return figures.base_figure(
        traces,
        ACCURACY_HEIGHT,
        **axes,
        yaxis=figures.fixed_axis(range=[0, 103], ticksuffix="%", dtick=25),
        shapes=shapes,
        annotations=notes,
        showlegend=False,
        margin={"l": 4, "r": 8, "t": 24, "b": 4},
    )


def _guessing(axis: str, pairs: int) -> dict[str, Any]:
    reach = 100 * SIGMAS * np.sqrt(0.25 / max(pairs, 1))
    place = {"xref": f"{axis} domain", "x0": 0, "x1": 1, "y0": max(50 - reach, 0), "y1": min(50 + reach, 100)}
    look = {"layer": "below", "line": {"width": 0}, "fillcolor": GUESSING_COLOURS["95% range of random guessing"]}
    return {"type": "rect"} | place | look


def _lines(axis: str, target: PairAccuracy) -> list[dict[str, Any]]:
    about, epochs, traces = escape_label(target.name), np.arange(len(target.accuracy)), []
    both = (epochs, target.accuracy, "solid", "circle"), (epochs[1:], target.margin_accuracy, "dash", "diamond")
    for (name, colour), (x, y, dash, mark) in zip(LINE_COLOURS.items(), both, strict=True):
        look = {"line": {"color": colour, "width": 2, "dash": dash}}
        look |= {"marker": {"color": colour, "symbol": mark, "size": 7}}
        hover = f"{about}, after epoch %{{x}}<br>%{{y:.0f}}% {name}<extra></extra>"
        y = figures.nullable(np.round(100 * y, 1))
        traces.append(
            figures.scatter("lines+markers", x.tolist(), y, name=name, xaxis=axis, hovertemplate=hover, **look)
        )
    return traces
