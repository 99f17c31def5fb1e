"""Layout, axes and labels that all Plotly figures share, and the training loss figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pages.ui import theme

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


def loss_figure(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Plot training loss by step, one line per round, with the raw steps behind their running mean."""
    data: list[dict[str, Any]] = []
    for number, losses in enumerate(rounds):
        colour = (theme.SELECTED, theme.BAND, theme.RANDOM)[number % 3]
        name = f"round {number + 1}" if len(rounds) > 1 else "loss"
        steps = np.arange(1, len(losses) + 1)
        line = {"type": "scatter", "mode": "lines", "x": steps, "name": name}
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
