"""Histogram and correlation figures: aggregates in, plain Plotly dicts out.

Text colours come from the theme; colours with a meaning from `pages.ui.theme`. Names from a pool are escaped, because
Plotly would interpret tags in them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.figures import Figure
from pages.ui.charts.scales import axis_transform, describe_bin, format_number, space_labels, tick_values
from pages.ui.data.bins import Values
from pages.ui.theme import REST, WARNING, faint

# One column of scores


def histogram(
    edges: Values,
    layers: Mapping[str, IntArray],
    *,
    title: str,
    marks: Mapping[float, float] | None = None,
    cut: float | None = None,
    log: bool = False,
    highlight: IntArray | None = None,
    height: int = 320,
) -> Figure:
    """Plot rows per bin as stacked bars, one colour per layer (of LAYERS).

    `edges` (B + 1,), each layer (B,). `marks`: share -> value of the quantiles to mark. `cut`: the score of the last
    selected row. The customdata of a bar is its bin number and the bin's range. `highlight` (B,): the highlighted rows
    of each bin, as bars over the others.
    """
    to_x = axis_transform(log)
    places = to_x(edges)
    low, high = float(places[0]), float(places[-1])
    data = [[i, describe_bin(edges, i)] for i in range(len(edges) - 1)]
    shapes, notes = _marks(marks or {}, to_x, high - low)
    if cut is not None:
        x = float(np.clip(to_x(np.array([cut]))[0], low, high))
        shapes.append(figures.line_shape(x=x, color=WARNING, width=2))
        across = (x - low) / (high - low)
        notes.append(
            figures.line_label(f"cutoff {format_number(cut)}", across=across, x=x, y=1, yref="y domain", yanchor="top")
        )
    return figures.base_figure(
        [
            *figures.layer_bars(layers, places, data, "%{customdata[1]}"),
            *([figures.highlight_bars(highlight, places, data)] if highlight is not None else ()),
        ],
        height,
        xaxis=figures.fixed_axis(title, range=[low, high], showgrid=False, **_ticks(tick_values(edges, log), to_x)),
        yaxis=figures.fixed_axis("rows", nticks=5),
        bargap=0.04,
        shapes=shapes,
        annotations=notes,
        selectdirection="h",
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.1, "yanchor": "bottom", "traceorder": "normal"},
        margin={"l": 4, "r": 8, "t": 44, "b": 4},
    )


def _marks(
    marks: Mapping[float, float], to_x: Callable[[Values], Values], width: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return dotted lines at quantiles, with their names above."""
    placed = space_labels({share: float(to_x(np.array([value]))[0]) for share, value in marks.items()}, width)
    shapes = [figures.line_shape(x=x, color=faint(REST, 0.9), dash="dot") for x, _ in placed]
    notes = [figures.annotation(name, x=x, y=1, yref="y domain", yanchor="bottom") for x, name in placed if name]
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
    text = [f"{v:+.2f}".replace("-", "−") if np.isfinite(v) else "undefined" for v in values]
    look = {"text": text, "textposition": "outside", "cliponaxis": False, "hoverinfo": "skip"}
    traces = [figures.bars(figures.nullable(np.round(values, 3)), list(names), colours, orientation="h", **look)]
    lines = {-strong: faint(REST, 0.3), 0.0: faint(REST, 0.9), strong: faint(REST, 0.3)}
    return figures.base_figure(
        traces,
        60 + 26 * len(names),
        xaxis=figures.fixed_axis(range=[-1.4, 1.4], tickvals=[-1, 0, 1]),
        yaxis=figures.fixed_axis(autorange="reversed", showgrid=False, ticklabelstandoff=6),
        shapes=[figures.line_shape(x=x, color=colour) for x, colour in lines.items()],
        showlegend=False,
        margin={"l": 4, "r": 8, "t": 8, "b": 4},
    )
