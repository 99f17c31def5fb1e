"""Figures of a report as SVG: arrays in, text out. Colours are classes of the page, which has a light and a dark theme.

All text is escaped here. Sizes are in pixels of the figure, which shrinks with the page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from core.analysis.axes import axis_transform, format_number, space_labels, tick_values
from core.analysis.bins import Values
from core.schema import IntArray

WIDTH, HEIGHT = 720, 210  # of the histogram
PANEL_WIDTH, PANEL_HEIGHT = 230, 150  # of one curve
LINE = 30  # height of one line of the forest plot
NAME_WIDTH, NAME_LENGTH = 190, 30  # of names beside the forest plot: pixels, characters


def _figure(width: float, height: float, words: str, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img"'
    return f'{head} aria-label="{escape(words)}">{"".join(parts)}</svg>'


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(words: str, x: float, y: float, anchor: str = "middle", name: str = "") -> str:
    kind = f' class="{name}"' if name else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _shape(name: str, points: Sequence[tuple[float, float]]) -> str:
    return f'<polygon class="{name}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _path(name: str, x: Values, y: Values) -> str:
    """Draw a line; it is broken where `y` is NaN."""
    steps, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        steps.append(f"{pen}{a:.1f} {b:.1f}" if np.isfinite(b) else "")
        pen = "L" if np.isfinite(b) else "M"
    return f'<path class="{name}" d="{"".join(steps)}"/>'


# One column of scores


def histogram(
    edges: Values,
    layers: Mapping[str, IntArray],
    *,
    title: str,
    marks: Mapping[float, float],
    cutoff: float | None,
    log: bool,
) -> str:
    """Draw rows per bin, stacked in the order of `layers` (class -> (B,) counts), with quantiles and the cutoff."""
    to_x = axis_transform(log)
    places = to_x(edges.astype(np.float64))
    left, right, top, bottom = 8.0, WIDTH - 8.0, 26.0, HEIGHT - 40.0

    def across(value: float) -> float:
        place = to_x(np.clip([value], edges[0], edges[-1]))[0]
        return left + (right - left) * float((place - places[0]) / (places[-1] - places[0]))

    sums = np.cumsum(list(layers.values()), axis=0)
    tallest = max(int(sums.max(initial=0)), 1)
    parts = [
        _shape(name, _steps(left, right, bottom, bottom - (bottom - top) * total / tallest))
        for name, total in reversed(list(zip(layers, sums, strict=True)))
    ]
    for x, name in space_labels({share: across(value) for share, value in marks.items()}, WIDTH):
        parts += [_line("quantile", x, top, x, bottom), _text(name, x, top - 6, name="quiet")]
    parts.append(_line("axis", left, bottom, right, bottom))
    parts += [_text(name, across(value), bottom + 15, name="quiet") for value, name in tick_values(edges, log)]
    parts.append(_text(title, WIDTH / 2, HEIGHT - 6))
    if cutoff is not None:
        x, words = across(cutoff), f"cutoff {format_number(cutoff)}"
        anchor, shift = ("end", -6) if x > WIDTH / 2 else ("start", 6)
        parts += [_line("cutoff", x, top, x, bottom), _text(words, x + shift, top + 12, anchor, "cutoff")]
    counts = ", ".join(f"{int(values.sum()):,} {name}" for name, values in layers.items())
    return _figure(WIDTH, HEIGHT, f"Histogram of {title}: {counts} rows", parts)


def _steps(left: float, right: float, bottom: float, heights: Values) -> list[tuple[float, float]]:
    x = np.repeat(np.linspace(left, right, len(heights) + 1), 2)
    y = np.concatenate([[bottom], np.repeat(heights, 2), [bottom]])
    return list(zip(x.tolist(), y.tolist(), strict=True))


# Overlap at every budget


def overlap_curve(shares: Values, jaccard: Values, low: Values, high: Values, *, at: float, title: str) -> str:
    """Draw the overlap at budgets `shares` (G,), in 0..1, over its chance range; a dotted line at the budget `at`."""
    left, right, top, bottom = 34.0, PANEL_WIDTH - 8.0, 24.0, PANEL_HEIGHT - 22.0
    x = left + (right - left) * shares

    def up(values: Values) -> Values:
        return np.asarray(bottom - (bottom - top) * values)

    ranged = np.isfinite(low) & np.isfinite(high)
    upper = list(zip(x[ranged].tolist(), up(high)[ranged].tolist(), strict=True))
    lower = list(zip(x[ranged].tolist(), up(low)[ranged].tolist(), strict=True))
    parts = [_shape("chance", [*upper, *reversed(lower)]), _line("axis", left, bottom, right, bottom)]
    for share in (0, 0.5, 1):
        parts.append(_text(f"{share:.0%}", left - 4, float(up(np.array(share))) + 4, "end", "quiet"))
        anchor = "end" if share == 1 else "middle"
        parts.append(_text(f"{share:.0%}", left + (right - left) * share, bottom + 14, anchor, "quiet"))
    place = left + (right - left) * at
    parts += [_line("quantile", place, top, place, bottom), _path("curve", x, up(jaccard))]
    parts.append(_text(_shorten(title, 34), left, 14, "start", "name"))
    words = f"Overlap with {title} by budget, and the overlap expected by chance"
    return _figure(PANEL_WIDTH, PANEL_HEIGHT, words, parts)


# Differences from random


@dataclass(frozen=True)
class Effect:
    """One line of a forest plot."""

    name: str
    difference: float
    low: float
    high: float
    kind: str  # class of the mark: better, none or worse
    words: str  # the figures, at the right
    own: bool = False  # whether it is the subject of the report


def forest(effects: Sequence[Effect], *, smallest: float, title: str, lower_is_better: bool) -> str:
    """Draw differences with their intervals around zero; `smallest`: the effect of interest, shaded."""
    ends = [0.0, smallest, -smallest, *(end for each in effects for end in (each.low, each.high))]
    low, high = min(ends), max(ends)
    left, right, top = NAME_WIDTH + 10.0, WIDTH - 210.0, 34.0
    bottom = top + LINE * len(effects)
    room = 0.06 * (high - low) or 1.0

    def across(value: float) -> float:
        return left + (right - left) * (value - low + room) / (high - low + 2 * room)

    box = [(across(-smallest), top), (across(smallest), top), (across(smallest), bottom), (across(-smallest), bottom)]
    zero = across(0)
    parts = [_shape("smallest", box), _line("random", zero, top - 6, zero, bottom), _text("random", zero, top - 10)]
    words = ("← better", "worse →") if lower_is_better else ("← worse", "better →")
    parts += [_text(words[0], left, 12, "start", "quiet"), _text(words[1], right, 12, "end", "quiet")]
    for place, effect in enumerate(effects):
        y, x = top + LINE * (place + 0.5), across(effect.difference)
        parts.append(_text(_shorten(effect.name, NAME_LENGTH), NAME_WIDTH, y + 4, "end", "name" if effect.own else ""))
        parts.append(_line(effect.kind, across(effect.low), y, across(effect.high), y))
        parts.append(_mark(effect.kind, x, y))
        parts.append(_text(effect.words, right + 10, y + 4, "start", "quiet"))
    parts.append(_text(title, (left + right) / 2, bottom + 20))
    return _figure(WIDTH, bottom + 28, f"{title}: " + "; ".join(f"{e.name} {e.words}" for e in effects), parts)


def _mark(kind: str, x: float, y: float) -> str:
    """Draw a diamond for better, a square for worse, a disc for neither: the shape says what the colour does."""
    if kind == "none":
        return f'<circle class="none" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    corners = ((0, -7), (7, 0), (0, 7), (-7, 0)) if kind == "better" else ((-5, -5), (5, -5), (5, 5), (-5, 5))
    return _shape(kind, [(x + dx, y + dy) for dx, dy in corners])


def _shorten(text: str, length: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
