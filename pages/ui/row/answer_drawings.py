"""HTML drawings of one row's generated answers: a map of them, and the similarity of each pair.

As in `drawings`, they cost the browser next to nothing, so they are there whenever a row is opened.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from pages.ui.charts.html_bars import FONT, NUMBERS, QUIET
from pages.ui.data.bins import Values
from pages.ui.theme import EXTRA, GRID, REST, faint

SIDE = 190  # pixels of the map
DOT, DOT_COLOUR = 20, "#2569A8"  # dark enough for the white numbers on it
MARGIN = 0.12  # share of the frame on each side, so that dots stay inside
MERGE_DISTANCE = 0.045  # share of the frame: closer dots are merged
MIN_HALF_FRAME = 0.1  # least half frame: answers that hardly differ are not magnified
CELL = 28


def answer_map(places: Values) -> str:
    """Draw dots 1..K at `places` (K, 2), both axes to one scale; dots that would overlap are one, with all numbers.

    Missing answers (NaN) have no dot.
    """
    present = np.flatnonzero(np.isfinite(places).all(axis=1))
    if not len(present):
        return ""
    half = max(float(np.abs(places[present]).max()), MIN_HALF_FRAME) / (1 - 2 * MARGIN)
    dots = "".join(_dot(places[group[0]] / half, group) for group in merge_dots(places[present] / half, present))
    label = f"Map of {len(present)} generated answers: nearby answers are similar"
    return (
        f'<div role="img" aria-label="{label}" title="{label}" style="position:relative;width:{SIDE}px;height:{SIDE}px;'
        f'max-width:100%;border:1px solid {GRID};border-radius:6px;{FONT}">'
        f'<div style="position:absolute;left:50%;top:0;height:100%;border-left:1px solid {GRID}"></div>'
        f'<div style="position:absolute;top:50%;left:0;width:100%;border-top:1px solid {GRID}"></div>{dots}</div>'
    )


def merge_dots(places: Values, names: Sequence[int] | Values) -> list[list[int]]:
    """Group the `names` of places (n, 2): each joins the first group that begins within 2 · MERGE_DISTANCE of it."""
    groups: list[tuple[Values, list[int]]] = []
    for place, name in zip(places, names, strict=True):
        nearest = next((group for first, group in groups if np.hypot(*(first - place)) < 2 * MERGE_DISTANCE), None)
        if nearest is None:
            groups.append((place, [int(name)]))
        else:
            nearest.append(int(name))
    return [group for _, group in groups]


def _dot(at: Values, group: Sequence[int]) -> str:
    """Draw one dot at `at`, in −1..1 of the frame from its middle."""
    x, y = 50 * (1 + float(at[0])), 50 * (1 - float(at[1]))
    names = ", ".join(str(k + 1) for k in group)
    return (
        f'<div style="position:absolute;left:{x:.2f}%;top:{y:.2f}%;transform:translate(-50%,-50%);'
        f"min-width:{DOT}px;height:{DOT}px;line-height:{DOT}px;border-radius:{DOT}px;padding:0 4px;"
        f"box-sizing:border-box;text-align:center;white-space:nowrap;color:white;font-weight:600;"
        f'background:{DOT_COLOUR}">{names}</div>'
    )


def similarity_table(gram: Values) -> str:
    """Draw the similarities (K, K) of answers as a table of numbers; higher ones have more colour."""
    k = len(gram)
    head = "".join(_cell(str(j + 1), head=True) for j in range(k))
    lines = "".join(
        f"<tr>{_cell(str(i + 1), head=True)}{''.join(_pair_cell(gram, i, j) for j in range(k))}</tr>" for i in range(k)
    )
    return (
        f'<table aria-label="Pairwise similarity of answers" style="{FONT}{NUMBERS}border-collapse:separate;'
        f'border-spacing:2px;border:0"><tr>{_cell("", head=True)}{head}</tr>{lines}</table>'
    )


def _pair_cell(gram: Values, i: int, j: int) -> str:
    value = round(float(gram[i, j]), 2) + 0.0  # no minus zero
    if i == j:
        return _cell("", colour=faint(REST, 0.12))
    if not np.isfinite(value):
        return _cell("–", title=f"{i + 1} and {j + 1}: one is missing")
    text = f"{value:.2f}".replace("-", "−").replace("0.", ".", 1)
    words = f"{i + 1} and {j + 1}: {float(gram[i, j]):.4f}"
    return _cell(text, colour=faint(EXTRA[1], round(0.6 * min(max(value, 0.0), 1.0) ** 2, 3)), title=words)


def _cell(text: str, *, colour: str = "transparent", title: str = "", head: bool = False) -> str:
    tag, quiet = ("th", QUIET + "font-weight:400;") if head else ("td", "")
    return (
        f'<{tag} title="{escape(title)}" style="border:0;padding:0;text-align:center;width:{CELL}px;'
        f'height:{CELL - 6}px;{quiet}background:{colour};border-radius:3px">{text}</{tag}>'
    )
