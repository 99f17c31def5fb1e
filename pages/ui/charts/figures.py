"""The parts that all Plotly figures are built of: layout, axes, traces, lines and labels; and the training loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.schema import IntArray
from pages.ui import theme
from pages.ui.charts.scales import LAYERS
from pages.ui.data.bins import Values

Figure = dict[str, Any]
CONFIG = {"displayModeBar": False}  # no toolbar over the figure


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Return the common layout: small margins, faint grid, no toolbar."""
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "bargap": 0.04,
        "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
        "hovermode": "x unified",
        **more,
    }


def axis(**more: Any) -> dict[str, Any]:
    """Return an axis with a faint grid that makes room for its own labels."""
    return {"gridcolor": theme.GRID, "zerolinecolor": theme.GRID, "automargin": True, **more}


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


def highlight_bars(counts: IntArray, edges: Values, data: Any) -> dict[str, Any]:
    """Return the highlighted rows of each bin as bars over the others, which pick the same bin when clicked."""
    x, width = ((edges[:-1] + edges[1:]) / 2).tolist(), np.diff(edges).tolist()
    look = {"name": "highlighted", "width": width, "base": 0, "opacity": 0.6}  # with a base bars are not stacked
    hover = {"customdata": data, "hovertemplate": "%{y:,} highlighted<extra></extra>"}
    return bars(x, counts.tolist(), theme.HIGHLIGHT, **look, **hover)


def highlight_marks(x: Values, places: Sequence[int], counts: IntArray, of: IntArray) -> dict[str, Any]:
    """Return a round mark at x (T,) on each line with highlighted rows: `counts` of its `of` rows."""
    marker = {"color": theme.HIGHLIGHT, "size": 10, "line": {"width": 1, "color": "white"}}
    look = {"marker": marker, "cliponaxis": False} | hover_texts(highlight_words(counts, of))
    return scatter("markers", nullable(np.where(counts > 0, x, np.nan)), places, **look)


def highlight_words(counts: IntArray, of: IntArray) -> list[str]:
    """Return "3 of 81 rows highlighted" for each group of rows."""
    return [f"{n:,} of {rows:,} rows highlighted" for n, rows in zip(counts.tolist(), of.tolist(), strict=True)]


def highlight_line(x: Values, shares: Values, what: str) -> dict[str, Any]:
    """Return shares of highlighted rows (0..1) by budget (0..1) as a dotted line, both in percent. `what`: its name."""
    line = {"color": theme.HIGHLIGHT, "width": 3, "dash": "dot"}
    hover = f"%{{x:.3g}}% of the rows: %{{y:.1f}}% {what}<extra></extra>"
    both = (nullable(np.round(100 * side, 3)) for side in (x, shares))
    return scatter("lines", *both, name=what, line=line, hovertemplate=hover)


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
    look = {"bgcolor": theme.WARNING, "borderpad": 2, "font": {"size": 11, "color": "#fff"}}
    return annotation(text, xanchor="right" if left else "left", xshift=-5 if left else 5, **look) | place


def nullable(values: Values) -> list[float | None]:
    """Replace NaN by None, because JSON has no NaN."""
    return [float(v) if np.isfinite(v) else None for v in values]


def loss_figure(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Plot training loss by step, one line per round, with the raw steps behind their running mean."""
    data: list[dict[str, Any]] = []
    for number, losses in enumerate(rounds):
        colour = (theme.SELECTED, theme.BAND, theme.RANDOM)[number % 3]
        name = f"round {number + 1}" if len(rounds) > 1 else "loss"
        steps = np.arange(1, len(losses) + 1)
        mode = "lines" if len(losses) > 1 else "markers"  # a line through one step would not be seen
        line = {"type": "scatter", "mode": mode, "x": steps, "name": name}
        raw = {"y": losses, "line": {"color": theme.faint(colour, 0.35), "width": 1}, "hoverinfo": "skip"}
        mean = {"y": running_mean(losses), "line": {"color": colour, "width": 2}, "hovertemplate": "%{y:.3f} nats"}
        data += [line | raw | {"showlegend": False}, line | mean | {"showlegend": len(rounds) > 1}]
    x, y = (axis(title={"text": text}) for text in ("training step", "nats per response token"))
    return {"data": data, "layout": layout(220, xaxis=x, yaxis=y)}


def running_mean(values: Sequence[float], share: int = 20) -> NDArray[Any]:
    """Average each value with those just before it, over a window of 1/share of all values, at least 5."""
    given = np.asarray(values, np.float64)
    window = max(5, len(given) // share)
    total = np.cumsum(np.concatenate([[0.0], given]))
    at = np.arange(1, len(given) + 1)
    start = np.maximum(at - window, 0)
    return (total[at] - total[start]) / (at - start)


def shorten(label: str, longest: int = 24) -> str:
    """Shorten a label that is too long."""
    return label if len(label) <= longest else label[: longest - 1] + "…"


def escape_label(label: str, longest: int = 24) -> str:
    """Escape a label from a pool, because Plotly interprets < and & as markup."""
    return shorten(label, longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
