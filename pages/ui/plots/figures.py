"""Figures of the Pool and Score pages: aggregates in, Plotly figures as plain data out."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pages.ui import theme

BINS = 48
CONFIG = {"displayModeBar": False}  # no tool bar over the figure
TASKS = 12  # bars before the rest is put together


def layout(height: int, **more: Any) -> dict[str, Any]:
    """What all figures share: small margins, quiet grid, no tool bar clutter."""
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
    """An axis with a quiet grid that makes room for its own labels."""
    return {"gridcolor": theme.GRID, "zerolinecolor": theme.GRID, "automargin": True, **more}


def lengths(prompt: NDArray[Any], response: NDArray[Any]) -> dict[str, Any]:
    """How long prompts and responses are, in characters, on a logarithmic axis; empty ones left out."""
    both = np.concatenate([prompt[prompt > 0], response[response > 0]])
    top = float(both.max()) if len(both) else 1.0
    low = float(both.min()) if len(both) else 1.0
    edges = np.geomspace(max(low, 1.0), max(top, low * 1.5, 2.0) * 1.0001, BINS + 1)
    middle = np.sqrt(edges[:-1] * edges[1:])
    words = [f"{a:,.0f} to {b:,.0f} characters" for a, b in pairwise(edges)]
    series = (("prompt", prompt, theme.REST), ("response", response, theme.SELECTED))
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": middle,
                "y": np.histogram(values[values > 0], edges)[0],
                "line": {"shape": "hvh", "color": colour, "width": 1.5},
                "fill": "tozeroy",
                "fillcolor": theme.faint(colour, 0.25),
                "text": words,
                "hovertemplate": "%{y:,} rows, %{text}",
            }
            for name, values, colour in series
        ],
        "layout": layout(
            260,
            xaxis=axis(type="log", title={"text": "characters"}, hoverformat=",.0f", dtick=1),
            yaxis=axis(title={"text": "rows"}, rangemode="tozero"),
        ),
    }


def tasks(names: Sequence[str | None], counts: NDArray[Any]) -> dict[str, Any]:
    """Rows per task, largest first; what does not fit is one bar at the end."""
    shown = [("no task" if name is None else name, int(n)) for name, n in zip(names, counts, strict=True)]
    if len(shown) > TASKS:
        rest = sum(n for _, n in shown[TASKS - 1 :])
        shown = [*shown[: TASKS - 1], (f"{len(names) - TASKS + 1:,} more tasks", rest)]
    labels = [plain(name) for name, _ in shown]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [n for _, n in shown],
                "y": list(range(len(shown))),
                "marker": {"color": theme.SELECTED},
                "text": [f"{n:,}" for _, n in shown],
                "textposition": "auto",
                "cliponaxis": False,
                "hovertext": labels,
                "hovertemplate": "%{hovertext}: %{x:,} rows<extra></extra>",
            }
        ],
        "layout": layout(
            260,
            hovermode="closest",
            xaxis=axis(rangemode="tozero", showticklabels=False, showgrid=False),
            yaxis=axis(
                autorange="reversed",
                tickmode="array",
                tickvals=list(range(len(shown))),
                ticktext=labels,
                showgrid=False,
                zeroline=False,
            ),
        ),
    }


def loss(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Training loss by step, one line a round; the raw steps behind their running mean."""
    data: list[dict[str, Any]] = []
    for number, losses in enumerate(rounds):
        colour = (theme.SELECTED, theme.BAND, theme.RANDOM)[number % 3]
        name = f"round {number + 1}" if len(rounds) > 1 else "loss"
        steps = np.arange(1, len(losses) + 1)
        line = {"type": "scatter", "mode": "lines", "x": steps}
        data.append(
            line
            | {
                "y": losses,
                "line": {"color": theme.faint(colour, 0.35), "width": 1},
                "name": name,
                "showlegend": False,
                "hoverinfo": "skip",
            }
        )
        data.append(
            line
            | {
                "y": running_mean(losses),
                "line": {"color": colour, "width": 2},
                "name": name,
                "showlegend": len(rounds) > 1,
                "hovertemplate": "%{y:.3f} nats",
            }
        )
    return {
        "data": data,
        "layout": layout(
            220,
            xaxis=axis(title={"text": "training step"}),
            yaxis=axis(title={"text": "nats per response token"}),
        ),
    }


def running_mean(values: Sequence[float], share: int = 20) -> NDArray[Any]:
    """The mean of each value and those just before it, over a window of 1/share of all, at least 5."""
    given = np.asarray(values, np.float64)
    window = max(5, len(given) // share)
    total = np.cumsum(np.concatenate([[0.0], given]))
    at = np.arange(1, len(given) + 1)
    start = np.maximum(at - window, 0)
    return (total[at] - total[start]) / (at - start)


def plain(label: str, longest: int = 24) -> str:
    """Data as an axis label: Plotly would read < and & as markup."""
    short = label if len(label) <= longest else label[: longest - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
