"""Figures of answer divergence: dispersion against anisotropy, and the share selected from each semantic bin."""

from collections.abc import Sequence

import numpy as np

from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.entropy_shift import plane
from pages.ui.charts.figures import Figure
from pages.ui.charts.scales import format_number, tick_values
from pages.ui.data.bins import Grid
from pages.ui.data.planes import Points
from pages.ui.theme import EXTRA, HIGHLIGHT, RANDOM, REST, SELECTED, WARNING, faint

HEIGHT = 500  # of the plane
BINS_HEIGHT = 270  # of the figure of bins
LINES = 5  # lines of equal score, approximately
MIN_LINE_LENGTH = 0.25  # of a side of the frame; shorter lines only cut off a corner and are omitted
CHANCE_COLOUR = "#86A3BE"  # a pale SELECTED, for light and dark backgrounds
TEXT_ROOM = 0.09  # of the frame, added above and below for the corner texts
CORNERS = {  # position in the plane, and a description of answers there
    (0.01, 0.01): "similar answers",
    (0.99, 0.01): "far apart, all on one line",
    (0.99, 0.99): "far apart, in several directions",
}
OUTSIDE, WITHIN, NONE_SELECTED = "outside the chance range", "within the chance range", "no row selected"
CHANCE_RANGE = "chance range"
BIN_COLOURS = {
    OUTSIDE: SELECTED,
    WITHIN: CHANCE_COLOUR,
    NONE_SELECTED: faint(REST, 0.9),
    CHANCE_RANGE: faint(RANDOM, 0.25),
}
SIGMAS = 1.96  # half-width of a 95% interval in standard deviations
Point = tuple[float, float]
Frame = tuple[float, float, float, float]  # x low, x high, y low, y high


# D against I


def divergence_plane(
    density: Grid, points: Points, *, weight: float, score: tuple[float, float], titles: tuple[str, str]
) -> Figure:
    """Plot D (x) against I (y), with lines of equal  weight · D + (1 − weight) · I  within the `score` range."""
    figure = plane(density, points, band=None, cut=None, titles=titles, height=HEIGHT)
    layout = figure["layout"]
    layout["shapes"], frame = [], _extend_frame(density.frame)
    layout["yaxis"]["range"] = list(frame[2:])
    layout["xaxis"]["showgrid"] = layout["yaxis"]["showgrid"] = False
    lines = [(name, clip_score_line(weight, value, frame)) for value, name in _score_levels(score)]
    labelled = [(name, ends) for name, ends in lines if ends is not None and _length(*ends, frame) > MIN_LINE_LENGTH]
    figure["data"][1:1] = [_line_trace(*ends) for _, ends in labelled]
    layout["annotations"] = [_line_label(name, ends[0], frame) for name, ends in labelled] + [
        figures.annotation(text, x=x, xref="x domain", xanchor="left" if x < 0.5 else "right", y=y, yref="y domain",
             yanchor="bottom" if y < 0.5 else "top", font={"size": 13, "weight": 600})
        for (x, y), text in CORNERS.items()
    ]  # fmt: skip
    return figure


def _extend_frame(frame: Frame) -> Frame:
    """Extend the frame above and below to make room for text."""
    left, right, low, high = frame
    room = TEXT_ROOM * (high - low)
    return left, right, low - room, high + room


def _score_levels(score: tuple[float, float]) -> list[tuple[float, str]]:
    """Return round scores within the range."""
    low, high = score
    return tick_values(np.array([low, high]), False, count=LINES) if high > low else [(low, format_number(low))]


def clip_score_line(weight: float, value: float, frame: Frame) -> tuple[Point, Point] | None:
    """Clip the line  weight · x + (1 − weight) · y = value  to a frame (x low, x high, y low, y high).

    Return its upper left and its lower right end; None if it misses the frame or only meets a corner.
    """
    left, right, low, high = frame
    rest = 1 - weight
    if rest == 0:
        return ((value, high), (value, low)) if left < value < right else None
    if weight == 0:
        return ((left, value), (right, value)) if low < value < high else None
    start = max(left, (value - rest * high) / weight)
    end = min(right, (value - rest * low) / weight)
    return ((start, (value - weight * start) / rest), (end, (value - weight * end) / rest)) if start < end else None


def _line_trace(a: Point, b: Point) -> Figure:
    look = {"line": {"color": EXTRA[1], "width": 2, "dash": "dot"}, "hoverinfo": "skip", "showlegend": False}
    return figures.scatter("lines", [a[0], b[0]], [a[1], b[1]], **look)


def _length(a: Point, b: Point, frame: Frame) -> float:
    """Return the length of a line, with the frame scaled to a unit square."""
    return float(np.hypot((b[0] - a[0]) / (frame[1] - frame[0]), (b[1] - a[1]) / (frame[3] - frame[2])))


def _line_label(text: str, end: Point, frame: Frame) -> Figure:
    """Label a line with its score inside the frame, next to its upper left end."""
    look = {"xshift": 4, "yanchor": "bottom"} if end[0] == frame[0] else {"xshift": 16, "yanchor": "top"}
    return figures.annotation(text, x=end[0], y=end[1], xanchor="left", font={"size": 12}, **look)


# Bins


def bin_shares(
    sizes: IntArray, counts: IntArray, names: Sequence[str], *, share: float, highlight: IntArray | None = None
) -> Figure:
    """Plot the share selected from each bin (y) by bin size (x, logarithmic), with the range expected by chance.

    All arrays (B,), any number of bins; the horizontal line is `share`, that of all rows. The band holds about 95% of
    random selections: share ± 1.96 √(share (1 − share) / size). It is approximate: small bins change in steps of a row.
    `highlight` (B,): highlighted rows, as a ring around the bin, larger for a larger share of the bin.
    """
    x_low, x_high = 0.8 * float(sizes.min()), 1.25 * float(sizes.max())
    dots = []
    for name, members in _groups(sizes, counts, share).items():
        x, y = sizes[members].tolist(), (100 * counts[members] / sizes[members]).round(3).tolist()
        symbol, outline = ("circle-open", 2) if name == NONE_SELECTED else ("circle", 0)
        marker = {"size": 8, "opacity": 0.85, "color": BIN_COLOURS[name], "symbol": symbol, "line": {"width": outline}}
        look = {"name": name, "marker": marker, "unselected": {"marker": {"opacity": 0.3}}}
        look |= figures.hover_texts([f"{names[k]}: {counts[k]:,} of {sizes[k]:,} rows selected" for k in members])
        dots.append(figures.scatter("markers", x, y, customdata=members.tolist(), **look))
    if highlight is not None and highlight.any():
        dots.append(_rings(sizes, counts, names, highlight))
    usual = share + SIGMAS * np.sqrt(share * (1 - share) / np.median(sizes))  # upper end of the band at the median size
    top = 100 * float(np.max(counts / np.maximum(sizes, 1), initial=usual))
    return figures.base_figure(
        [*_funnel(share, x_low, x_high), *dots],
        BINS_HEIGHT,
        xaxis=figures.fixed_axis("bin size (rows)", type="log", range=[float(np.log10(x_low)), float(np.log10(x_high))],
                    **_decades(x_low, x_high)),
        yaxis=figures.fixed_axis(
            "selected share", ticksuffix="%", range=[-0.06 * top - 0.1, min(106.0, 1.1 * top + 0.1)], nticks=6
        ),
        shapes=[figures.line_shape(y=100 * share, color=WARNING, width=2) | {"layer": "below"}],
        showlegend=False,
        clickmode="event+select",
        margin={"l": 4, "r": 8, "t": 10, "b": 4},
    )  # fmt: skip


def _rings(sizes: IntArray, counts: IntArray, names: Sequence[str], highlight: IntArray) -> Figure:
    lit = np.flatnonzero(highlight)
    x, y = sizes[lit].tolist(), (100 * counts[lit] / sizes[lit]).round(3).tolist()
    ring_sizes = (11 + 9 * highlight[lit] / sizes[lit]).round(1).tolist()
    marker = {"size": ring_sizes, "color": HIGHLIGHT, "symbol": "circle-open", "line": {"width": 2.5}}
    words = figures.highlight_words(highlight[lit], sizes[lit])
    texts = figures.hover_texts([f"{names[k]}: {text}" for k, text in zip(lit, words, strict=True)])
    return figures.scatter("markers", x, y, customdata=lit.tolist(), marker=marker, **texts)


def _groups(sizes: IntArray, counts: IntArray, share: float) -> dict[str, IntArray]:
    """Group the bins by name (a key of the bin colours)."""
    unusual = np.abs(counts - share * sizes) > SIGMAS * np.sqrt(share * (1 - share) * sizes) + 0.5  # half a row
    touched = counts > 0
    masks = {WITHIN: touched & ~unusual, OUTSIDE: touched & unusual}
    return {n: np.flatnonzero(mask & (sizes > 0)) for n, mask in (masks | {NONE_SELECTED: ~touched}).items()}


def _funnel(share: float, low: float, high: float) -> list[Figure]:
    x = np.geomspace(low, high, 60)
    half_width = SIGMAS * np.sqrt(share * (1 - share) / x)
    bottom, top = (
        figures.scatter(
            "lines", x.round(3).tolist(), figures.nullable(100 * np.clip(y, 0, 1)), hoverinfo="skip", line={"width": 0}
        )
        for y in (share - half_width, share + half_width)
    )
    return [bottom, top | {"fill": "tonexty", "fillcolor": BIN_COLOURS[CHANCE_RANGE]}]


def _decades(low: float, high: float) -> dict[str, list[float] | list[str]]:
    """Return ticks at 1, 2, 5, 10, ..., or only at powers of ten if there would be many."""
    values = [float(t * 10**p) for p in range(7) for t in (1, 2, 5) if low <= t * 10**p <= high]
    values = values if len(values) <= 9 else [v for v in values if str(v)[0] == "1"]
    return {"tickvals": values, "ticktext": [f"{v:,.0f}" for v in values]}
