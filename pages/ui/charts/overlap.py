"""Figures of the Compare page, as plain dicts: overlap at every budget, and exact combinations.

A contender has the same colour, marker and dash in all of them; the random baseline always has its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.analysis.comparison import Membership
from core.schema import IntArray
from pages.ui.charts import figures
from pages.ui.charts.figures import Figure, escape_label, shorten
from pages.ui.data.bins import Values
from pages.ui.theme import GRID, HIGHLIGHT, RANDOM, REST, SELECTED, WARNING, faint

COLOURS = ("#2F7FC1", "#9A6B3F", "#3B8F6B", "#7B5BD0", "#C0558F", "#4E9AA8", "#8A8B1E", "#5F6B7A")
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
FIXED_LOOKS = (  # methods with a fixed style
    "entropy_shift",
    "activation_coverage",
    "task_confidence",
    "preference_influence",
    "answer_divergence",
    "longest",
    "random",
)
HIGHLIGHTED = "Highlighted rows"
HEIGHT = 340
MAX_COMBINATIONS = 14  # largest combinations in the figure
MAX_NAME_LENGTH = 30  # characters


@dataclass(frozen=True)
class Look:
    """Style of one contender."""

    name: str
    colour: str
    mark: str  # "": none
    dash: str

    @property
    def label(self) -> str:
        """The name, escaped for Plotly."""
        return escape_label(self.name, MAX_NAME_LENGTH)

    def grey(self) -> "Look":
        """Return a thin grey line without markers, for what stays in the background."""
        return replace(self, colour=faint(REST, 0.85), mark="", dash="solid")


def highlight_look() -> Look:
    """Return the style of the highlighted rows among contenders."""
    return Look(HIGHLIGHTED, HIGHLIGHT, "highlight", "solid")


def looks(labels: Sequence[str], methods: Sequence[str]) -> list[Look]:
    """Return the style of each contender.

    `methods`: name of the method if the contender is one with its current settings, else "". These methods have
    the same style whichever contenders they are compared with.
    """
    fixed = [FIXED_LOOKS.index(name) if name in FIXED_LOOKS else None for name in methods]
    unused = iter([place for place in range(len(MARKS)) if place not in fixed])
    places = [next(unused) if place is None else place for place in fixed]
    return [
        Look(shorten(label, MAX_NAME_LENGTH), RANDOM if name == "random" else COLOURS[k], MARKS[k], DASHES[k])
        for label, name, k in zip(labels, methods, places, strict=True)
    ]


# Overlap by budget


def overlap_curves(
    x: Values, lines: Sequence[tuple[Look, Values]], low: Values, high: Values, *, at: float, unit: str
) -> Figure:
    """Plot the overlap (G,) of each contender with the reference over budgets `x` (G,) in percent.

    `low` to `high` is the chance range; the current budget is marked. Overlaps in 0..1. A curve shows its name on
    hover.
    """
    around = [*x.tolist(), *x[::-1].tolist()], figures.nullable(100 * np.concatenate([high, low[::-1]]))
    look = {"fill": "toself", "fillcolor": faint(RANDOM, 0.38), "line": {"width": 0}, "hoverinfo": "skip"}
    return figures.base_figure(
        [
            figures.scatter("lines", *around, name="chance range", **look),
            *(_curve(look, x, y, place) for place, (look, y) in enumerate(lines)),
        ],
        HEIGHT,
        xaxis=figures.fixed_axis(unit, range=[0, 100], ticksuffix="%", dtick=20),
        yaxis=figures.fixed_axis("Overlap", range=[0, 102], ticksuffix="%", dtick=20),
        shapes=[figures.line_shape(x=at, color=WARNING, width=2)],
        annotations=[
            figures.line_label(f"budget {at:.3g}%", across=at / 100, x=at, y=1, yref="y domain", yanchor="top")
        ],
        margin={"l": 4, "r": 20, "t": 8, "b": 4},
        showlegend=False,
    )


def _curve(look: Look, x: Values, y: Values, place: int) -> dict[str, Any]:
    style: dict[str, Any] = {"name": look.label, "line": {"color": look.colour, "dash": look.dash, "width": 2}}
    style |= {"hovertemplate": "%{fullData.name}<br>budget %{x:.0f}%: overlap %{y:.1f}%<extra></extra>"}
    if look.mark:
        sizes = [8 if k % 20 == 4 * (place % 5) else 0 for k in range(len(x))]
        style["marker"] = {"symbol": look.mark, "color": look.colour, "size": sizes}
    else:
        style["line"]["width"] = 1.5
    mode = "lines+markers" if look.mark else "lines"
    return figures.scatter(mode, x.tolist(), figures.nullable(np.round(100 * y, 2)), **style)


# Exact combinations


def exclusive_sets(membership: Membership, contenders: Sequence[Look], highlighted: IntArray | None = None) -> Figure:
    """Plot the rows that exactly these contenders select, as bars with the contenders below.

    The customdata of bars and dots is the code of the combination. `highlighted` (2^C,): highlighted rows of each code,
    as narrow bars over the others.
    """
    patterns = membership.pattern_counts()[:MAX_COMBINATIONS]
    codes, counts = [code for code, _ in patterns], [count for _, count in patterns]
    shared_by_all = (1 << membership.subsets) - 1
    names = [" + ".join(contenders[c].label for c in membership.members(code)) for code in codes]
    colours = [SELECTED if code == shared_by_all else REST for code in codes]
    look = {"text": [f"{count:,}" for count in counts], "textposition": "outside", "cliponaxis": False}
    look |= {"constraintext": "none", "textangle": 0}
    look |= {"customdata": [[code, label] for code, label in zip(codes, names, strict=True)]}
    look |= {"hovertemplate": "%{y:,} rows: %{customdata[1]}<extra></extra>"}
    return figures.base_figure(
        [
            figures.bars(list(range(len(patterns))), counts, colours, yaxis="y2", **look),
            *([] if highlighted is None else [_highlighted_bars(highlighted[codes], look["customdata"])]),
            *_dots(membership, codes, contenders),
        ],
        230 + 24 * len(contenders),
        xaxis=figures.fixed_axis(showticklabels=False, showgrid=False, range=[-0.6, max(len(patterns), 4) - 0.4]),
        yaxis=figures.fixed_axis(
            domain=[0, _below(contenders)],
            tickvals=list(range(len(contenders))),
            ticktext=[look.label for look in contenders],
            range=[len(contenders) - 0.5, -0.5],
            showgrid=False,
        ),
        yaxis2=figures.fixed_axis(
            "Rows", domain=[_below(contenders) + 0.04, 1], anchor="x", nticks=4, rangemode="tozero"
        ),
        showlegend=False,
        barmode="overlay",
        bargap=0.35,
        margin={"l": 4, "r": 8, "t": 22, "b": 4},
    )


def _highlighted_bars(counts: IntArray, data: Sequence[Any]) -> dict[str, Any]:
    look = {"customdata": data, "width": 0.3, "hovertemplate": "%{y:,} highlighted<extra></extra>"}
    return figures.bars(list(range(len(counts))), counts.tolist(), HIGHLIGHT, yaxis="y2", **look)


def _below(contenders: Sequence[Look]) -> float:
    """Return the share of the height for the dots."""
    return 24 * len(contenders) / (230 + 24 * len(contenders))


def _dots(membership: Membership, codes: Sequence[int], contenders: Sequence[Look]) -> list[dict[str, Any]]:
    inside = [(x, c, code) for x, code in enumerate(codes) for c in membership.members(code)]
    outside = [(x, c) for x, code in enumerate(codes) for c in range(membership.subsets) if not code >> c & 1]
    members = [membership.members(code) for code in codes]
    stems = [
        figures.scatter("lines", [x, x], [ends[0], ends[-1]], line={"color": REST, "width": 2})
        for x, ends in enumerate(members)
        if len(ends) > 1
    ]
    empty, full = (
        figures.scatter("markers", [x for x, *_ in places], [c for _, c, *_ in places]) for places in (outside, inside)
    )
    empty["marker"] = {"size": 9, "color": GRID}
    looks = [contenders[c] for _, c, _ in inside]
    full["marker"] = {"size": 11, "color": [look.colour for look in looks], "symbol": [look.mark for look in looks]}
    full["customdata"] = [[code, ""] for _, _, code in inside]
    return [trace | {"hoverinfo": "skip"} for trace in (*stems, empty, full)]
