"""Figures of the Compare page: overlap at every budget, and exact combinations. Plain dicts.

A contender keeps its colour, its mark and its kind of line in all of them; the random control has its own everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.analysis.comparison import Patterns
from pages.ui.charts.bins import Values
from pages.ui.charts.figures import plain, short
from pages.ui.charts.histogram import Figure, base, fixed, flag, line, nullable
from pages.ui.theme import GRID, RANDOM, REST, SELECTED, WARNING, faint

COLOURS = ("#2F7FC1", "#9A6B3F", "#3B8F6B", "#7B5BD0", "#C0558F", "#4E9AA8", "#8A8B1E", "#5F6B7A")
MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
USUAL = (  # methods that keep their look
    "entropy_shift",
    "activation_coverage",
    "task_confidence",
    "preference_influence",
    "answer_divergence",
    "longest",
    "random",
)
HEIGHT = 340
COLUMNS = 14  # combinations drawn, the largest first
LONG = 30  # characters of a name


@dataclass(frozen=True)
class Look:
    """How one contender is drawn."""

    name: str
    colour: str
    mark: str
    dash: str

    @property
    def label(self) -> str:
        """The name as Plotly is to read it."""
        return plain(self.name, LONG)


def looks(labels: Sequence[str], methods: Sequence[str]) -> list[Look]:
    """One for each contender. `methods`: its method where it is one as it is set, else "": these look the same whoever
    else is compared."""
    own = [USUAL.index(name) if name in USUAL else None for name in methods]
    free = iter([place for place in range(len(MARKS)) if place not in own])
    places = [next(free) if place is None else place for place in own]
    return [
        Look(short(label, LONG), RANDOM if name == "random" else COLOURS[k], MARKS[k], DASHES[k])
        for label, name, k in zip(labels, methods, places, strict=True)
    ]


# Overlap by budget


def overlap(
    x: Values, lines: Sequence[tuple[Look, Values]], low: Values, high: Values, *, at: float, unit: str
) -> Figure:
    """Overlap (G,) of each contender with the reference over the budgets `x` (G,) in percent; random subsets of these
    sizes lie from `low` to `high`; the budget in use is marked. Overlaps are in 0..1."""
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": [*x.tolist(), *x[::-1].tolist()],
        "y": nullable(100 * np.concatenate([high, low[::-1]])),
        "fill": "toself",
        "fillcolor": faint(REST, 0.35),
        "line": {"width": 0},
        "name": "random subsets of the same sizes",
        "hoverinfo": "skip",
    }
    return base(
        [band, *(_curve(look, x, y, place) for place, (look, y) in enumerate(lines))],
        HEIGHT,
        xaxis=fixed(unit, range=[0, 100], ticksuffix=" %", dtick=20, hoverformat=".0f"),
        yaxis=fixed("overlap", range=[0, 102], ticksuffix=" %", dtick=20),
        hovermode="x unified",
        shapes=[line(x=at, color=WARNING, width=2)],
        annotations=[flag(f"budget {at:.3g} %", across=at / 100, x=at, y=1, yref="y domain", yanchor="top")],
        margin={"l": 4, "r": 20, "t": 8, "b": 4},
        showlegend=False,
    )


def _curve(look: Look, x: Values, y: Values, place: int) -> dict[str, Any]:
    marked = [None if k % 20 != 4 * (place % 5) else 8 for k in range(len(x))]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x.tolist(),
        "y": nullable(np.round(100 * y, 2)),
        "name": look.label,
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "marker": {"symbol": look.mark, "color": look.colour, "size": [size or 0 for size in marked]},
        "hovertemplate": "%{y:.1f} %",
    }


# Exact combinations


def combinations(known: Patterns, named: Sequence[Look]) -> Figure:
    """Rows that exactly these contenders take and no other: bars, and below each the contenders it is of.

    Bars and dots carry the combination's code as customdata.
    """
    there = known.exclusive()[:COLUMNS]
    codes, counts = [code for code, _ in there], [count for _, count in there]
    every = (1 << known.subsets) - 1
    words = [" + ".join(named[c].label for c in known.members(code)) for code in codes]
    bars = {
        "type": "bar",
        "x": list(range(len(there))),
        "y": counts,
        "yaxis": "y2",
        "text": [f"{count:,}" for count in counts],
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": [[code, said] for code, said in zip(codes, words, strict=True)],
        "marker": {"color": [SELECTED if code == every else REST for code in codes], "line": {"width": 0}},
        "hovertemplate": "%{y:,} rows: %{customdata[1]}<extra></extra>",
    }
    return base(
        [bars, *_dots(known, codes, named)],
        230 + 24 * len(named),
        xaxis=fixed(showticklabels=False, showgrid=False, range=[-0.6, max(len(there), 4) - 0.4]),
        yaxis=fixed(
            domain=[0, _below(named)],
            tickvals=list(range(len(named))),
            ticktext=[look.label for look in named],
            range=[len(named) - 0.5, -0.5],
            showgrid=False,
        ),
        yaxis2=fixed("rows", domain=[_below(named) + 0.04, 1], anchor="x", nticks=4, rangemode="tozero"),
        showlegend=False,
        bargap=0.35,
        margin={"l": 4, "r": 8, "t": 22, "b": 4},
    )


def _below(named: Sequence[Look]) -> float:
    """Share of the height that the dots take."""
    return 24 * len(named) / (230 + 24 * len(named))


def _dots(known: Patterns, codes: Sequence[int], named: Sequence[Look]) -> list[dict[str, Any]]:
    inside = [(x, c, code) for x, code in enumerate(codes) for c in known.members(code)]
    outside = [(x, c) for x, code in enumerate(codes) for c in range(known.subsets) if not code >> c & 1]
    stems: list[dict[str, Any]] = []
    for x, code in enumerate(codes):
        ends = known.members(code)
        if len(ends) > 1:
            stem = {"x": [x, x], "y": [ends[0], ends[-1]], "line": {"color": REST, "width": 2}, "mode": "lines"}
            stems.append(stem | {"type": "scatter", "hoverinfo": "skip"})
    empty = {"x": [x for x, _ in outside], "y": [c for _, c in outside], "marker": {"size": 9, "color": GRID}}
    full = {
        "x": [x for x, _, _ in inside],
        "y": [c for _, c, _ in inside],
        "customdata": [[code, ""] for _, _, code in inside],
        "marker": {
            "size": 11,
            "color": [named[c].colour for _, c, _ in inside],
            "symbol": [named[c].mark for _, c, _ in inside],
        },
    }
    dots = [{"type": "scatter", "mode": "markers", "hoverinfo": "skip"} | some for some in (empty, full)]
    return [*stems, *dots]
