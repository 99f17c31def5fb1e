"""Small charts in plain HTML that follow a slider; the browser sanitises the HTML again.

A Plotly figure costs the browser 40 to 100 ms per change, these cost one or two. The Select page, where everything
moves at once, uses them; the Explore page, where bars are clicked, uses Plotly. Sizes are percentages, so a chart
fills any column; text takes the theme's colour and font. Names from a pool are escaped here.
"""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from core.schema import IntArray
from pages.ui.charts.scales import LAYERS, axis_transform, format_number, space_labels, tick_values
from pages.ui.data.bins import Values
from pages.ui.theme import GRID, HIGHLIGHT, RANDOM, REST, SELECTED, WARNING, faint

FONT = "font-size:0.8rem;line-height:1.2;"
NUMBERS = "font-variant-numeric:tabular-nums;"
QUIET = "opacity:0.65;"


# Shares


def share_bars(
    names: Sequence[str],
    subset: Values,
    pool: Values,
    low: Values,
    high: Values,
    *,
    label: str,
    highlight: Values | None = None,
    pick: str | None = None,
) -> str:
    """Draw shares of the subset as bars with figures, of the pool as ticks, of random subsets as a pale band.

    All arrays (T,) in 0..1, top to bottom; `low` to `high` is the range of random subsets of the same budget. A bar
    that ends inside it is pale. `highlight`: the shares of the highlighted rows, as diamonds; beyond the axis, as a
    triangle at its end. `label` names the table for screen readers. `pick`: lines can be picked (controls.pick_bars),
    each by this prefix and its number.
    """
    top = max(float(np.max([subset, pool, high], initial=0.0)), 1e-9)
    lit = [None] * len(names) if highlight is None else [float(v) for v in highlight]
    lines = [
        _line(name, *(float(v) for v in values), top, lit[k], "" if pick is None else pick_attributes(f"{pick}{k}"))
        for k, (name, *values) in enumerate(zip(names, subset, pool, low, high, strict=True))
    ]
    return f'<div role="table" aria-label="{escape(label)}" style="{FONT}">{"".join(lines)}</div>'


def pick_attributes(key: str, *, tab: bool = True) -> str:
    """Return the attributes of an element that can be picked, by mouse and keyboard, in `controls.pick_bars`.

    `tab`: the Tab key stops at it.
    """
    return f' data-pick="{escape(key)}" tabindex="{0 if tab else -1}"'


def _line(
    name: str, subset: float, pool: float, low: float, high: float, top: float, highlight: float | None, pick: str
) -> str:
    colour = faint(SELECTED, 0.45) if low - 1e-12 <= subset <= high + 1e-12 else SELECTED
    hover = (
        f"{name}: {100 * subset:.1f}% of the selection, {100 * pool:.1f}% of the pool, "
        f"random selections {100 * low:.1f} to {100 * high:.1f}%"
    )
    band = box(low / top, max((high - low) / top, 0.004), faint(RANDOM, 0.38), "top:0;height:100%")
    bar = box(0, subset / top, colour, "top:22%;height:56%")
    tick = box(pool / top, 0, REST, "top:0;height:100%;width:2px;margin-left:-1px")
    mark = _diamond(highlight / top) if highlight else ""
    hover += "" if highlight is None else f", {100 * highlight:.1f}% of the highlighted rows"
    return (
        f'<div role="row" title="{escape(hover)}"{pick} style="display:flex;align-items:center;height:22px;gap:8px">'
        f'<div role="rowheader" style="flex:0 0 36%;text-align:right;overflow:hidden;white-space:nowrap;'
        f'text-overflow:ellipsis">{escape(name)}</div>'
        f'<div style="flex:1 1 auto;position:relative;height:16px">{band}{bar}{tick}{mark}</div>'
        f'<div role="cell" style="flex:0 0 3.4em;text-align:right;{NUMBERS}">{_share(subset)}</div></div>'
    )


def _diamond(place: float) -> str:
    """Draw the mark of the highlighted rows at 0..1 of the axis; a triangle at its end if they lie beyond."""
    shape = "50% 0,100% 50%,50% 100%,0 50%" if place <= 1 else "0 0,100% 50%,0 100%"
    look = f"top:3px;height:10px;width:10px;margin-left:-5px;clip-path:polygon({shape})"
    return box(min(place, 1), 0, HIGHLIGHT, look)


def _share(value: float) -> str:
    return f"{100 * value:.1f}%" if value else f'<span style="{QUIET}">0%</span>'


def box(left: float, width: float, colour: str, more: str) -> str:
    """Draw a coloured box; left edge and width in 0..1 of the whole."""
    place = f"left:{100 * left:.2f}%;width:{100 * width:.2f}%"
    return f'<div style="position:absolute;{place};background:{colour};{more}"></div>'


# One column of scores


def histogram(
    edges: Values,
    layers: Mapping[str, IntArray],
    *,
    title: str,
    marks: Mapping[float, float],
    cut: float | None,
    log: bool = False,
    highlight: IntArray | None = None,
    height: int = 150,
) -> str:
    """Draw rows per bin, stacked in the order of `layers` (names of LAYERS), with quantiles and the cut.

    The same figure as the Plotly histogram, for use where nothing is clickable.
    """
    to_x = axis_transform(log)
    x = to_x(edges.astype(np.float64))
    wide = float(x[-1] - x[0])

    def left(value: float) -> float:
        place = (float(to_x(np.array([value]))[0]) - float(x[0])) / wide
        return 100 * min(max(place, 0.0), 1.0)

    placed = space_labels({share: left(value) for share, value in marks.items()}, 100)
    lines = "".join(_mark(place, name) for place, name in placed)
    lines += "" if cut is None else _cut(left(cut), cut)
    ticks = "".join(axis_tick(left(value), text) for value, text in tick_values(edges, log))
    return (
        f'<div role="img" aria-label="{escape(_describe(layers, title, cut))}" style="{FONT}">'
        f'<div style="position:relative;height:{height}px;margin-top:18px;border-bottom:1px solid {GRID}">'
        f"{_areas(list(layers.items()), highlight)}{lines}</div>"
        f'<div style="position:relative;height:18px;{QUIET}">{ticks}</div>'
        f'<div style="text-align:center;{QUIET}">{escape(title)}</div></div>'
    )


def _areas(layers: Sequence[tuple[str, IntArray]], highlight: IntArray | None) -> str:
    """Draw one stepped shape per layer, the tallest behind, as clipped boxes that scale to any size."""
    sums = np.cumsum([counts for _, counts in layers], axis=0)
    top = max(int(sums.max()), 1)
    shapes = [(LAYERS[name], total) for (name, _), total in reversed(list(zip(layers, sums, strict=True)))]
    areas = "".join(_shape(step_outline(heights / top), colour) for colour, heights in shapes)
    return areas + ("" if highlight is None else outlined_area(highlight / top, HIGHLIGHT))


def outlined_area(heights: Values, colour: str) -> str:
    """Draw a stepped outline of heights (B,) in 0..1 with a pale fill, over whatever lies below."""
    corners = step_outline(heights)
    back = ["calc({} + 1.5px) calc({} + 1.5px)".format(*corner.split()) for corner in reversed(corners)]
    # the outline follows the corners, and returns 1.5 px off them
    return _shape(corners, faint(colour, 0.25)) + _shape(corners + back, colour)


def _shape(corners: Sequence[str], colour: str) -> str:
    look = f"background:{colour};clip-path:polygon({','.join(corners)})"
    return f'<div style="position:absolute;inset:0;{look}"></div>'


def step_outline(heights: Values) -> list[str]:
    """Return the corners of a stepped outline of heights (B,) in 0..1, each as two percentages of the box."""
    x = np.repeat(np.linspace(0, 100, len(heights) + 1), 2)
    y = 100 * (1 - np.concatenate([[0.0], np.repeat(heights, 2), [0.0]]))
    return [f"{a:.4g}% {b:.4g}%" for a, b in zip(x, y, strict=True)]


def _mark(left: float, name: str) -> str:
    return (
        f'<div style="position:absolute;left:{left:.2f}%;top:0;height:100%;border-left:1px dotted {REST}"></div>'
        f'<div style="position:absolute;left:{left:.2f}%;top:-17px;transform:translateX(-50%);{QUIET}">{name}</div>'
    )


def _cut(left: float, value: float) -> str:
    """Draw the cut with its value, on the side with room."""
    side = f"right:{100 - left:.2f}%;margin-right:6px" if left > 80 else f"left:{left:.2f}%;margin-left:6px"
    return (
        f'<div data-cut="{left:.2f}" style="position:absolute;left:{left:.2f}%;margin-left:-1px;top:0;height:100%;'
        f'width:2px;background:{WARNING}"></div>'
        f'<div style="position:absolute;{side};top:0;background:{WARNING};color:#fff;padding:0 4px;'
        f'border-radius:3px;font-weight:600">cutoff {format_number(value)}</div>'
    )


def axis_tick(left: float, text: str) -> str:
    """Draw an axis label at `left` percent of the width."""
    return f'<div style="position:absolute;left:{left:.2f}%;top:3px;transform:translateX(-50%)">{escape(text)}</div>'


def _describe(layers: Mapping[str, IntArray], title: str, cut: float | None) -> str:
    parts = ", ".join(f"{int(counts.sum()):,} {name}" for name, counts in layers.items())
    return f"{title}: {parts}" + ("" if cut is None else f"; cutoff at {format_number(cut)}")


def legend(names: Mapping[str, str], lead: str = "") -> str:
    """Draw coloured squares with their meaning, after an optional introduction."""
    items = [
        f'<span style="white-space:nowrap"><span style="display:inline-block;width:10px;height:10px;'
        f'background:{colour};margin-right:5px"></span>{escape(name)}</span>'
        for name, colour in names.items()
    ]
    words = f'<span style="{QUIET}">{escape(lead)}</span>' if lead else ""
    return f'<div style="{FONT}display:flex;flex-wrap:wrap;gap:4px 16px">{words}{"".join(items)}</div>'


def colour_bar(stops: Sequence[str], ticks: Sequence[str], title: str) -> str:
    """Draw a bar of colours from left to right with numbers below it, after its title."""
    numbers = "".join(f"<span>{escape(tick)}</span>" for tick in ticks)
    return (
        f'<div style="{FONT}max-width:420px"><div>{escape(title)}</div><div style="height:10px;margin:3px 0;'
        f'background:linear-gradient(90deg,{",".join(stops)})"></div>'
        f'<div style="display:flex;justify-content:space-between;{NUMBERS}">{numbers}</div></div>'
    )
