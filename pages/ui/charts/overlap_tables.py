"""Tables of pairs and group shares on the Compare page, as plain HTML that follows the budget.

A Plotly figure costs the browser 40 to 100 ms per change, these cost one or two.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape

import numpy as np

from pages.ui.charts.figures import shorten
from pages.ui.charts.html_bars import FONT, NUMBERS, QUIET, box, pick_attributes
from pages.ui.charts.overlap import Look
from pages.ui.charts.scales import tick_values
from pages.ui.data.bins import Values
from pages.ui.theme import GRID, HIGHLIGHT, RANDOM, REST, SELECTED, WARNING, faint

Cell = Callable[[int, int], str]
GLYPHS = {  # the markers of `overlap` as letters, with font sizes in pixels that make them look equally large
    "circle": ("●", 17),
    "square": ("■", 17),
    "diamond": ("◆", 16),
    "triangle-up": ("▲", 15),
    "cross": ("✚", 12),
    "x": ("✖", 12),
    "star": ("★", 14),
    "hexagon": ("⬢", 15),
    "highlight": ("◉", 17),
    "beyond": ("▶", 12),
}
LINE_HEIGHT = 26  # pixels
LARGE = "font-size:clamp(0.8rem,1.3vw,1rem);line-height:1.7;"
ITEM = "display:inline-flex;align-items:center;gap:5px;white-space:nowrap"


def overlap_table(
    names: Sequence[str],
    share: Values,
    chance: Values,
    low: Values,
    high: Values,
    highlighted: Sequence[int] | None = None,
    *,
    large: bool = True,
) -> str:
    """Draw the overlap (C, C) of each pair with the overlap expected by chance.

    Blue above the chance range, grey within it, red below it. A cell can be picked (controls.pick_bars) by the numbers
    of its pair, such as "0.2". `highlighted` (1 + C,): the number of highlighted rows,
    and how many of them each selects, as a last line. `large`: with the expected overlaps, which else show on hover.
    """
    label, size = "Overlap of each pair, and expected by chance", LARGE if large else ""

    def cell(i: int, j: int) -> str:
        value, expected = float(share[i, j]), float(chance[i, j])
        colour = REST if low[i, j] <= value <= high[i, j] else SELECTED if value > expected else WARNING
        strength = 0.12 + 0.5 * value if colour == SELECTED else 0.2
        text = f"{names[i]} and {names[j]}: overlap {100 * value:.1f}%, expected by chance {100 * expected:.1f}%"
        html = _percent(value) + (f' <span style="{QUIET}">({_percent(expected)})</span>' if large else "")
        return _cell(
            html, faint(colour, round(strength, 3)), text, pick_attributes(f"{i}.{j}", tab=i < j)
        )  # each pair once

    return _table(names, share, cell, label, size, _highlighted(names, highlighted))


def correlation_table(names: Sequence[str], rho: Values) -> str:
    """Draw the rank correlation (C, C) of each pair of orders: blue if positive, red if negative."""

    def cell(i: int, j: int) -> str:
        value = float(rho[i, j])
        colour = faint(SELECTED if value > 0 else WARNING, round(0.6 * abs(value), 3))
        html = f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")
        return _cell(html, colour, f"{names[i]} and {names[j]}: {value:.3f}")

    return _table(names, rho, cell, "Rank correlation of each pair")


def _highlighted(names: Sequence[str], counts: Sequence[int] | None) -> str:
    """Draw how many highlighted rows each selects, as a line of a table."""
    if counts is None:
        return ""
    total, *each = counts
    cells = "".join(
        _cell(
            f"{count:,}",
            faint(HIGHLIGHT, round(0.4 * count / max(total, 1), 3)),
            f"{name}: selects {count:,} of {total:,} highlighted rows",
        )
        for name, count in zip(names, each, strict=True)
    )
    return f"<tr>{_head(f'Highlighted, of {total:,}', 'Highlighted rows that each selects', 'left')}{cells}</tr>"


def _table(names: Sequence[str], values: Values, cell: Cell, label: str, size: str = "", last: str = "") -> str:
    """Draw a cell for each pair with a finite value, and a grey one for the others.

    `size`: style of the text. `last`: a line below the pairs.
    """

    def pair(i: int, j: int) -> str:
        if i == j or not np.isfinite(values[i, j]):
            return _cell("" if i == j else "–", faint(REST, 0.12), "")
        return cell(i, j)

    letters = [letter(place) for place in range(len(names))]
    head = "".join(_head(one, names[place], "center") for place, one in enumerate(letters))
    lines = "".join(
        f"<tr>{_head(f'{letters[i]} · {shorten(name)}', name, 'left')}"
        f"{''.join(pair(i, j) for j in range(len(names)))}</tr>"
        for i, name in enumerate(names)
    )
    return (
        f'<div style="overflow-x:auto"><table aria-label="{escape(label)}" style="{FONT}{size}{NUMBERS}'
        f'border-spacing:2px;border-collapse:separate;border:0;width:100%"><tr><th style="border:0"></th>{head}</tr>'
        f"{lines}{last}</table></div>"
    )


def letter(place: int) -> str:
    """Return A, B, C, ... for the columns."""
    return chr(ord("A") + place)


def _head(text: str, title: str, align: str) -> str:
    return (
        f'<th title="{escape(title)}" style="border:0;padding:2px 4px;text-align:{align};font-weight:400;'
        f'white-space:nowrap">{escape(text)}</th>'
    )


def _cell(html: str, colour: str, title: str, more: str = "") -> str:
    return (
        f'<td title="{escape(title)}"{more} style="border:0;padding:0.35em 2px;text-align:center;white-space:nowrap;'
        f'background:{colour};border-radius:3px">{html}</td>'
    )


def _percent(value: float) -> str:
    return f"{100 * value:.0f}" if value >= 0.0995 or value == 0 else f"{100 * value:.1f}"


# Group shares


def group_shares(
    groups: Sequence[str], subsets: Sequence[tuple[Look, Values]], pool: Values, low: Values, high: Values, label: str
) -> str:
    """Draw shares (T,) in 0..1 by group: selections as marks, the pool as ticks, chance ranges as pale bands.

    Highlighted rows do not stretch the axis: beyond it they are a triangle at its end. The lines can be picked
    (controls.pick_bars), each by its number.
    """
    scaled = [shares for look, shares in subsets if look.mark != "highlight"]
    top = 1.03 * max(float(np.max([pool, high, *scaled], initial=0.0)), 1e-6)
    lines = []
    for k, group in enumerate(groups):
        marks = "".join(_mark(look, float(shares[k]), top, c, len(subsets)) for c, (look, shares) in enumerate(subsets))
        band = box(low[k] / top, max((high[k] - low[k]) / top, 0.003), faint(RANDOM, 0.38), "top:3px;bottom:3px")
        tick = box(pool[k] / top, 0, REST, "top:0;bottom:0;width:2px;margin-left:-1px")
        values = ", ".join(f"{look.name} {100 * shares[k]:.1f}%" for look, shares in subsets)
        text = f"{group}: {values}, pool {100 * pool[k]:.1f}%, chance range {100 * low[k]:.1f}–{100 * high[k]:.1f}%"
        lines.append(
            f'<div title="{escape(text)}" role="button" aria-label="{escape(text)}"{pick_attributes(str(k))} '
            f'style="display:flex;align-items:center;height:{LINE_HEIGHT}px;gap:8px">'
            f'<div style="flex:0 0 16%;text-align:right;overflow:hidden;white-space:nowrap;text-overflow:ellipsis">'
            f'{escape(group)}</div><div style="flex:1 1 auto;position:relative;height:{LINE_HEIGHT}px;'
            f'border-bottom:1px solid {GRID}">{band}{tick}{marks}</div></div>'
        )
    return f'<div role="group" aria-label="{escape(label)}" style="{FONT}">{"".join(lines)}{_axis(top)}</div>'


def legend(looks: Sequence[Look], *others: str) -> str:
    """Explain the marks; `others`: further items, made by `swatch` or POOL."""
    marks = [*(f"{_glyph(look)} {escape(look.name)}" for look in looks), *others]
    items = "".join(f'<span style="{ITEM}">{mark}</span>' for mark in marks)
    return f'<div style="{FONT}display:flex;flex-wrap:wrap;gap:4px 16px">{items}</div>'


def swatch(colour: str, text: str) -> str:
    """Return a legend item with a band of this colour."""
    return f'<span style="display:inline-block;width:12px;height:10px;background:{colour}"></span> {escape(text)}'


CHANCE_RANGE = swatch(faint(RANDOM, 0.38), "chance range")
OTHERS = f'<span aria-hidden="true" style="color:{REST}">─</span> others: hover for the name'
POOL = f'<span aria-hidden="true" style="color:{REST};font-weight:700">|</span> pool'


def _mark(look: Look, share: float, top: float, place: int, count: int) -> str:
    # percent of the line height, so that equal shares do not overlap
    down = 50 if count < 2 else 26 + 48 * place / (count - 1)
    at = f"position:absolute;left:{100 * min(share / top, 1):.2f}%;top:{down:.0f}%;transform:translate(-50%,-50%)"
    return _glyph(look if share <= top else replace(look, mark="beyond"), at)


def _glyph(look: Look, more: str = "") -> str:
    letter, size = GLYPHS[look.mark]
    return (
        f'<span aria-hidden="true" style="color:{look.colour};font-size:{size}px;line-height:1;{more}">{letter}</span>'
    )


def _axis(top: float) -> str:
    ticks = tick_values(np.array([0.0, 100 * top]), log=False)
    names = "".join(
        f'<span style="position:absolute;left:{at / top:.2f}%;transform:translateX(-50%)">{escape(name)}%</span>'
        for at, name in ticks
    )
    return (
        f'<div style="display:flex;gap:8px;{QUIET}"><div style="flex:0 0 16%"></div>'
        f'<div style="flex:1 1 auto;position:relative;height:18px">{names}</div></div>'
    )
