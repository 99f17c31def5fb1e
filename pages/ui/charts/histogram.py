"""Histogram and correlation figures, and the parts all figures are built of: aggregates in, plain Plotly dicts out.

Text colours come from the theme; colours with a meaning from `pages.ui.theme`. Names from a pool are escaped, because
Plotly would interpret tags in them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.charts.figures import axis, layout
from pages.ui.charts.scales import LAYERS, axis_transform, describe_bin, format_number, space_labels, tick_values
from pages.ui.data.bins import Values
from pages.ui.theme import REST, WARNING, faint

Figure = dict[str, Any]


def base_figure(traces: list[dict[str, Any]], height: int, **more: Any) -> Figure:
    """Return a figure of these traces in the common style; `more` goes into its layout."""
    look = {
        "margin": {"l": 4, "r": 8, "t": 34, "b": 4},
        "barmode": "stack",
        "dragmode": False,
        "hovermode": "closest",
        "showlegend": True,
        "uirevision": "fixed",
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"},
    }
    return {"data": traces, "layout": layout(height, **(look | more))}


def fixed_axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Return an axis that cannot be dragged or zoomed."""
    return axis(**({"title": {"text": title}, "zeroline": False, "fixedrange": True} | more))


def task_axis(places: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Return the y axis of a figure with one line per task, top to bottom."""
    return fixed_axis(autorange="reversed", showgrid=False, ticklabelstandoff=6, tickvals=places, ticktext=labels)


def scatter(mode: str, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """Return a trace of "lines", "markers" or "text"."""
    return {"type": "scatter", "mode": mode, "x": x, "y": y, **more}


def bars(x: Any, y: Any, colour: Any, **more: Any) -> dict[str, Any]:
    """Return a trace of bars without an outline."""
    return {"type": "bar", "x": x, "y": y, "marker": {"color": colour, "line": {"width": 0}}, **more}


def layer_bars(layers: Mapping[str, IntArray], edges: Values, data: Any, hover: str) -> list[dict[str, Any]]:
    """Return bars of rows per bin, one trace per layer (of LAYERS); `hover` precedes the count."""
    x, width = ((edges[:-1] + edges[1:]) / 2).tolist(), np.diff(edges).tolist()
    return [
        bars(x, counts.tolist(), LAYERS[name], name=name, width=width, customdata=data,
             hovertemplate=f"{hover}<br>%{{y:,}} {name}<extra></extra>")
        for name, counts in layers.items()
    ]  # fmt: skip


def hover_texts(texts: list[str]) -> dict[str, Any]:
    """Return what shows one text per bar or dot on hover, and nothing else."""
    return {"hovertext": texts, "hovertemplate": "%{hovertext}<extra></extra>"}


def line_shape(*, x: float | None = None, y: float | None = None, **line: Any) -> dict[str, Any]:
    """Return a straight line across the whole plot, at one x or one y."""
    upright = {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "y domain"}
    level = {"y0": y, "y1": y, "x0": 0, "x1": 1, "xref": "x domain"}
    return {"type": "line", "line": {"width": 1} | line} | (level if x is None else upright)


def annotation(text: str, **more: Any) -> dict[str, Any]:
    """Return a text annotation; `more` gives its position."""
    return {"text": text, "showarrow": False, "font": {"size": 11}} | more


def line_label(text: str, *, across: float = 0, **place: Any) -> dict[str, Any]:
    """Label a red line at `across` (0..1 of the plot's width), on the side with more room.

    Its background keeps it readable over any trace.
    """
    left = across > 0.7
    look = {"bgcolor": WARNING, "borderpad": 2, "font": {"size": 11, "color": "#fff"}}
    return annotation(text, xanchor="right" if left else "left", xshift=-5 if left else 5, **look) | place


def nullable(values: Values) -> list[float | None]:
    """Replace NaN by None, because JSON has no NaN."""
    return [float(v) if np.isfinite(v) else None for v in values]


# One column of scores


def histogram(
    edges: Values,
    layers: Mapping[str, IntArray],
    *,
    title: str,
    marks: Mapping[float, float] | None = None,
    cut: float | None = None,
    log: bool = False,
    height: int = 320,
) -> Figure:
    """Plot rows per bin as stacked bars, one colour per layer (of LAYERS).

    `edges` (B + 1,), each layer (B,). `marks`: share -> value of the quantiles to mark. `cut`: the score of the last
    selected row. The customdata of a bar is its bin number and the bin's range.
    """
    to_x = axis_transform(log)
    places = to_x(edges)
    low, high = float(places[0]), float(places[-1])
    data = [[i, describe_bin(edges, i)] for i in range(len(edges) - 1)]
    shapes, notes = _marks(marks or {}, to_x, high - low)
    if cut is not None:
        x = float(np.clip(to_x(np.array([cut]))[0], low, high))
        shapes.append(line_shape(x=x, color=WARNING, width=2))
        across = (x - low) / (high - low)
        notes.append(line_label(f"cut {format_number(cut)}", across=across, x=x, y=1, yref="y domain", yanchor="top"))
    return base_figure(
        layer_bars(layers, places, data, "%{customdata[1]}"),
        height,
        xaxis=fixed_axis(title, range=[low, high], showgrid=False, **_ticks(tick_values(edges, log), to_x)),
        yaxis=fixed_axis("rows", nticks=5),
        bargap=0.04,
        shapes=shapes,
        annotations=notes,
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.1, "yanchor": "bottom", "traceorder": "normal"},
        margin={"l": 4, "r": 8, "t": 44, "b": 4},
    )


def _marks(
    marks: Mapping[float, float], to_x: Callable[[Values], Values], width: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return dotted lines at quantiles, with their names above."""
    placed = space_labels({share: float(to_x(np.array([value]))[0]) for share, value in marks.items()}, width)
    shapes = [line_shape(x=x, color=faint(REST, 0.9), dash="dot") for x, _ in placed]
    notes = [annotation(name, x=x, y=1, yref="y domain", yanchor="bottom") for x, name in placed if name]
    return shapes, notes


def _ticks(ticks: list[tuple[float, str]], to_x: Callable[[Values], Values]) -> dict[str, Any]:
    values = to_x(np.array([value for value, _ in ticks], np.float64))
    return {"tickvals": values.tolist(), "ticktext": [name for _, name in ticks]}


# Correlations


def correlations(names: Sequence[str], values: Values, *, strong: float = 0.6, expected: Sequence[bool] = ()) -> Figure:
    """Plot Spearman correlations as bars from −1 to 1, those from `strong` in the warning colour. NaN: no bar.

    `expected`: columns whose correlation is no reason for a warning.
    """
    quiet = expected or [False] * len(names)
    colours = [WARNING if abs(v) >= strong and not q else REST for v, q in zip(values, quiet, strict=True)]
    text = [f"{v:+.2f}".replace("-", "−") if np.isfinite(v) else "not measured" for v in values]
    look = {"text": text, "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip"}
    traces = [bars(nullable(np.round(values, 3)), list(names), colours, orientation="h", **look)]
    lines = {-strong: faint(REST, 0.3), 0.0: faint(REST, 0.9), strong: faint(REST, 0.3)}
    return base_figure(
        traces,
        60 + 26 * len(names),
        xaxis=fixed_axis(range=[-1.4, 1.4], tickvals=[-1, 0, 1]),
        yaxis=fixed_axis(autorange="reversed", showgrid=False, ticklabelstandoff=6),
        shapes=[line_shape(x=x, color=colour) for x, colour in lines.items()],
        showlegend=False,
        margin={"l": 4, "r": 8, "t": 8, "b": 4},
    )
