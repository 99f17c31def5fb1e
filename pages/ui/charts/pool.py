"""Charts of a pool as plain HTML: lengths of its texts, and sizes of its tasks.

They are the first thing a visitor sees, so the browser need not load Plotly first.
"""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

import numpy as np

from core.schema import BoolArray, IntArray
from pages.ui.charts import html_bars
from pages.ui.charts.html_bars import FONT, NUMBERS, QUIET
from pages.ui.charts.scales import tick_values
from pages.ui.data import bins
from pages.ui.data.bins import Values
from pages.ui.theme import GRID, HIGHLIGHT, REST, SELECTED
from pages.ui.words import format_rows, task_label

BINS = 48
HEIGHT = 250  # height of the histogram in pixels
MIN_TICKS = 3  # with fewer ticks than this the axis gets even steps instead
MAX_TICKS = 7  # with more ticks than this only 1, 10, 100, ... are labelled
MAX_TASKS = 15  # drawn; the others are counted below them


def length_histogram(prompt: IntArray, response: IntArray, highlight: BoolArray | None = None) -> str:
    """Draw rows by the characters of their prompt and response (N,), on a logarithmic axis, without empty ones.

    A bin shows its counts on hover. `highlight`: (N,) the highlighted rows, drawn by their response, or by their prompt
    if no row has a response.
    """
    both = np.concatenate([prompt[prompt > 0], response[response > 0]])
    low, high = (float(both.min()), float(both.max())) if len(both) else (1.0, 1.0)
    edges = np.geomspace(low, max(high, low * 1.5, 2.0) * 1.0001, BINS + 1)
    series = {"prompt": (prompt, REST), "response": (response, SELECTED)}
    if highlight is not None:
        name = "response" if response.any() else "prompt"
        series[f"highlighted {name}"] = (series[name][0][highlight], HIGHLIGHT)
    counts = {name: np.histogram(values, edges)[0] for name, (values, _) in series.items()}
    top = 1.04 * max(1, *(int(bins.max()) for bins in counts.values()))
    areas = "".join(html_bars.outlined_area(bins / top, series[name][1]) for name, bins in counts.items())
    description = "; ".join(_describe_lengths(name, values[values > 0]) for name, (values, _) in series.items())
    return (
        f'<div role="img" aria-label="Lengths in characters: {escape(description)}" style="{FONT}">'
        f"{html_bars.legend({name: colour for name, (_, colour) in series.items()}, 'Rows by length.')}"
        f'<div style="position:relative;height:{HEIGHT}px;margin:10px 8px 0 46px;border-bottom:1px solid {GRID}">'
        f"{_grid(top)}{areas}{_bins(edges, counts)}</div>"
        f'<div style="position:relative;height:18px;margin:0 8px 0 46px;{QUIET}">{_ticks(edges)}</div>'
        f'<div style="text-align:center;{QUIET}">characters</div></div>'
    )


def _describe_lengths(name: str, values: IntArray) -> str:
    if not len(values):
        return f"no {name} has any"
    return f"{name} {values.min():,} to {values.max():,}, half of them up to {np.median(values):,.0f}"


def _bins(edges: Values, counts: dict[str, IntArray]) -> str:
    boxes = []
    for k, (start, end) in enumerate(pairwise(np.ceil(edges).astype(np.int64))):
        if start == end:
            continue  # too narrow to contain a whole number of characters
        span = f"{start:,}" if end == start + 1 else f"{start:,} to {end - 1:,}"
        text = ", ".join(f"{int(bins[k]):,} {name}s" for name, bins in counts.items())
        boxes.append(
            f'<div title="{span} characters: {text}" style="position:absolute;top:0;bottom:0;'
            f'left:{100 * k / BINS:.3f}%;width:{100 / BINS:.3f}%"></div>'
        )
    return "".join(boxes)


def _grid(top: float) -> str:
    lines = []
    for value, text in _whole_ticks(0.0, top, 4):
        up = f"bottom:{100 * value / top:.2f}%"
        name = f"position:absolute;right:100%;margin-right:8px;{up};transform:translateY(50%);{QUIET}{NUMBERS}"
        lines.append(f'<div style="position:absolute;left:0;right:0;{up};border-bottom:1px solid {GRID}"></div>')
        lines.append(f'<div style="{name}">{text}</div>')
    return "".join(lines)


def _whole_ticks(low: float, high: float, count: int) -> list[tuple[float, str]]:
    """Return about `count` round whole numbers, because rows and characters have no halves."""
    ticks = tick_values(np.array([low, high]), log=False, count=count)
    return [(value, f"{value:,.0f}") for value, _ in ticks if abs(value - round(value)) < 1e-9]


def _ticks(edges: Values) -> str:
    ticks = tick_values(edges, log=True)
    if len(ticks) < MIN_TICKS:
        ticks = _whole_ticks(edges[0], edges[-1], 6)
    if len(ticks) > MAX_TICKS:
        ticks = [(value, text) for value, text in ticks if text.startswith("1")]
    wide = np.log(edges[-1] / edges[0])
    return "".join(html_bars.axis_tick(100 * float(np.log(value / edges[0]) / wide), text) for value, text in ticks)


def task_bars(names: Sequence[str | None], counts: IntArray, highlight: IntArray | None = None) -> str:
    """Draw rows per task in the given order, largest first; tasks beyond the limit are one line without a bar.

    `highlight`: the highlighted rows of each task, as the lower part of its bar. A line is picked by its number.
    """
    lit = None if highlight is None else bins.fold(highlight, MAX_TASKS + 1)
    rows, top = bins.fold(counts, MAX_TASKS + 1), max(1, *map(int, counts))
    labels = bins.fold_names([task_label(name) for name in names], MAX_TASKS + 1)
    if len(names) > MAX_TASKS:
        labels[-1] = count_rest(names)
    lines = "".join(
        _task(k, label, int(rows[k]), None if lit is None else int(lit[k]), 0 if k == MAX_TASKS else 1 / top)
        for k, label in enumerate(labels)
    )
    return f'<div role="table" aria-label="Rows per task" style="{FONT}">{lines}</div>'


def count_rest(names: Sequence[str | None]) -> str:
    """Return the tasks beyond the limit in words."""
    rest = len(names) - MAX_TASKS
    return f"{rest:,} more {'task' if rest == 1 else 'tasks'}"


def _task(number: int, name: str, rows: int, highlighted: int | None, scale: float) -> str:
    """Draw one line; a row is `scale` wide, in 0..1 of the whole."""
    hover = f"{name}: {format_rows(rows)}" + ("" if highlighted is None else f", {highlighted:,} highlighted")
    bars = _bar(14, rows * scale, SELECTED)
    if highlighted and scale:
        bars += _bar(6, highlighted * scale, f"{HIGHLIGHT};margin-top:-6px")
    return (
        f'<div role="row" title="{escape(hover)}"{html_bars.pick_attributes(str(number))} '
        f'style="display:flex;align-items:center;height:21px;gap:8px">'
        f'<div role="rowheader" style="flex:0 0 36%;text-align:right;overflow:hidden;white-space:nowrap;'
        f'text-overflow:ellipsis">{escape(name)}</div><div style="flex:1 1 auto">{bars}</div>'
        f'<div role="cell" style="flex:0 0 4.5em;text-align:right;{NUMBERS}">{rows:,}</div></div>'
    )


def _bar(height: int, share: float, look: str) -> str:
    return f'<div style="height:{height}px;width:{100 * share:.2f}%;background:{look}"></div>'
