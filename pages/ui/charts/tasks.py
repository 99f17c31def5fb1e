"""Figures of tasks, as plain dicts: mean confidence by task, and the allocation as the budget grows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.coverage import format_share
from pages.ui.charts.figures import Figure, escape_label
from pages.ui.charts.scales import mix_colours
from pages.ui.data.bins import Values
from pages.ui.theme import HIGHLIGHT, REST, WARNING, contrast, faint

LINE_HEIGHT = 24  # pixels per task
HEIGHT = 420
MIN_BAND = 0.045  # share of the selection from which a band has room for its name
NAME_PLACES = (0.8, 0.7, 0.6, 0.5, 0.4)  # candidate positions of names, as shares of the width
# From dark to light: lightness alone distinguishes bands, for every colour vision and background.
RAMP = ("#34518F", "#22708F", "#3C9690", "#7DBB8C", "#C9DE9E")
TRANSPARENT = "rgba(0, 0, 0, 0)"
TEXT_COLOURS = ("#FFFFFF", "#000000")  # of text on a dark and on a light band


def confidence(
    names: Sequence[str],
    mean: Values,
    error: Values,
    prompts: IntArray,
    colours: Sequence[str],
    highlight: tuple[IntArray, IntArray] | None = None,
) -> Figure:
    """Plot the mean confidence of each task with its standard error, top to bottom; mark tasks without an error.

    All arrays (T,); mean in 0..1; error NaN if fewer than two prompts were measured. The whole line of a task can be
    clicked. `highlight`: highlighted and all rows of each task (T,); the line is filled by the share of the former.
    """
    places = list(range(len(names)))
    labels = [
        f"{escape_label(name, 40)} · {n:,}{'' if n > 1 else ', no error bar'}"
        for name, n in zip(names, prompts, strict=True)
    ]
    hover = [_hover(label, *values) for label, *values in zip(names, mean, error, prompts, strict=True)]
    low, high = _frame(mean, error)
    opaque = {"unselected": {"marker": {"opacity": 1}}}
    whole_line = {"orientation": "h", "base": low, "width": 1} | opaque
    whole_line |= {"selected": {"marker": {"color": faint(REST, 0.25), "opacity": 1}}}
    marker = {"color": list(colours), "size": 12, "opacity": 1, "line": {"width": 1, "color": "white"}}
    whisker = {"type": "data", "array": figures.nullable(np.round(error, 4)), "color": REST, "thickness": 2, "width": 5}
    text = {"text": [f"{m:.2f}" if np.isfinite(m) else "not measured" for m in mean], "textposition": "middle left"}
    text |= {"unselected": {"textfont": {"color": REST}}, "hoverinfo": "skip"}
    mean_places = figures.nullable(np.round(mean, 4))
    lit = []
    if highlight is not None:
        counts, sizes = highlight
        hover = [f"{a}<br>{b}" for a, b in zip(hover, figures.highlight_words(counts, sizes), strict=True)]
        filled = np.round((high - low) * counts / np.maximum(sizes, 1), 5).tolist()
        look = {"orientation": "h", "base": low, "width": 0.9, "hoverinfo": "skip"} | opaque
        lit = [figures.bars(filled, places, faint(HIGHLIGHT, 0.35), **look)]
    traces = [
        *lit,
        figures.bars([high - low] * len(places), places, TRANSPARENT, **whole_line, **figures.hover_texts(hover)),
        figures.scatter("markers", mean_places, places, marker=marker, error_x=whisker, hoverinfo="skip", **opaque),
        figures.scatter("text", [high] * len(places), places, **text),
    ]
    return figures.base_figure(
        traces,
        50 + LINE_HEIGHT * max(len(names), 3),
        xaxis=figures.fixed_axis("mean confidence (0 to 1)", range=[low, high], nticks=6),
        yaxis=figures.task_axis(places, labels),
        showlegend=False,
        margin={"l": 4, "r": 10, "t": 4, "b": 4},
    )


def _frame(mean: Values, error: Values) -> tuple[float, float]:
    """Return an x range that holds all error bars, with room for the figures at the right."""
    measured = np.isfinite(mean)
    if not measured.any():
        return 0.0, 1.0
    errors = np.nan_to_num(error[measured])
    low, high = float((mean[measured] - errors).min()), float((mean[measured] + errors).max())
    room = max(high - low, 0.02)
    return max(0.0, low - 0.08 * room), high + 0.25 * room


def _hover(name: str, mean: float, error: float, prompts: int) -> str:
    if not np.isfinite(mean):
        return f"{escape_label(name, 60)}<br>not measured"
    text = f"{escape_label(name, 60)}<br>{mean:.3f}"
    if np.isfinite(error):
        return f"{text} ± {error:.3f}, from {prompts:,} prompts"
    return f"{text} from {prompts} prompt, without a standard error"


def allocation(
    names: Sequence[str],
    at: IntArray,
    counts: IntArray,
    shares: Values,
    colours: Sequence[str],
    rows: int,
    budget: int,
    highlight: Values | None = None,
) -> Figure:
    """Plot the share of each task over all budgets as stacked bands, the first at the bottom, and the budget.

    counts and shares (T, H) at lengths `at` (H,); `rows`: rows of the pool; `budget`: rows selected.
    `highlight` (H,): share of the selection that is highlighted, as a line.
    """
    x = np.round(100 * at / rows, 3)
    share = np.round(100 * shares, 2)
    look = {"stackgroup": "tasks", "line": {"width": 0.8, "color": "rgba(255, 255, 255, 0.75)"}, "hoverinfo": "skip"}
    areas = [
        figures.scatter("lines", x.tolist(), figures.nullable(one), fillcolor=colour, **look)
        for one, colour in zip(share, colours, strict=True)
    ]
    touch = [_hover_bars(*one, x) for one in zip(names, counts, share, strict=True)]
    if highlight is not None:
        line = figures.highlight_line(at / rows, highlight, "of the selection highlighted")
        touch += [line | {"line": {"color": "#FFFFFF", "width": 5}, "hoverinfo": "skip"}, line]
    end = float(x[-1]) if len(x) else 100.0
    percent = 100 * budget / rows
    place = {"across": percent / end, "x": percent, "y": 1, "yref": "y domain", "yanchor": "bottom", "xshift": 0}
    label = figures.line_label(f"budget {format_share(percent / 100)}", **place)
    return figures.base_figure(
        [*areas, *touch],
        HEIGHT,
        xaxis=figures.fixed_axis(
            "budget (share of the pool's rows)", range=[0, end], ticksuffix="%", dtick=20, showgrid=False
        ),
        yaxis=figures.fixed_axis("share of the selection", range=[0, 100], ticksuffix="%", dtick=20, showgrid=False),
        shapes=[
            figures.line_shape(x=percent, color="#FFFFFF", width=4),
            figures.line_shape(x=percent, color=WARNING, width=2),
        ],
        annotations=[label, *_band_names(names, x, share, colours)],
        bargap=0,
        showlegend=False,
        margin={"l": 4, "r": 26, "t": 24, "b": 4},
    )


def _hover_bars(name: str, counts: IntArray, share: Values, x: Values) -> dict[str, Any]:
    """Return invisible bars, one per budget, that carry the hover text."""
    edges = np.concatenate([[0.0], (x[1:] + x[:-1]) / 2, x[-1:]])
    middles, widths = np.round((edges[1:] + edges[:-1]) / 2, 3).tolist(), np.round(np.diff(edges), 3).tolist()
    data = [[int(n), float(p)] for n, p in zip(counts, x, strict=True)]
    text = f"<b>{escape_label(name, 60)}</b><br>%{{customdata[0]:,}} rows, %{{y:.1f}}% of the selection"
    hover = {"hovertemplate": f"{text}<br>at a budget of %{{customdata[1]:.3g}}%<extra></extra>"}
    hover |= {"customdata": data, "hoverlabel": {"namelength": 0}}
    return figures.bars(middles, figures.nullable(share), TRANSPARENT, width=widths, **hover)


def _band_names(names: Sequence[str], x: Values, share: Values, colours: Sequence[str]) -> list[dict[str, Any]]:
    """Place the name of each band that is thick enough inside it, where the bands are most level."""
    if not len(x):
        return []
    tops = np.cumsum(np.nan_to_num(share), axis=0)
    place = _find_level(x / x[-1], tops)
    labels = []
    for name, top, thickness, colour in zip(names, tops[:, place], share[:, place], colours, strict=True):
        if thickness >= 100 * MIN_BAND:
            at = {"x": float(x[place]), "y": float(top - thickness / 2), "yanchor": "middle"}
            font = {"size": 11, "color": text_colour(colour)}
            labels.append(figures.annotation(escape_label(name, 44), font=font, **at))
    return labels


def _find_level(x: Values, tops: Values) -> int:
    """Return the index, among the candidate positions, around which the band tops (T, H) change least; x (H,)."""
    moves = []
    for at in NAME_PLACES:
        a, b = np.searchsorted(x, (at - 0.15, at + 0.15))
        moves.append(float(np.ptp(tops[:, a : b + 1], axis=1).sum()))
    return int(np.searchsorted(x, NAME_PLACES[int(np.argmin(moves))]))


def band_colours(tasks: int, ranked: int) -> list[str]:
    """Return the colours of stacked tasks: the first `ranked` from dark to light, the rest grey."""
    return [*mix_colours(RAMP, ranked), *[REST] * (tasks - ranked)]


def text_colour(colour: str) -> str:
    """Return the text colour with the better contrast on this colour."""
    return max(TEXT_COLOURS, key=lambda text: contrast(text, colour))
