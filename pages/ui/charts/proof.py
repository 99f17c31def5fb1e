"""Figures of a proof: differences from random with their intervals, and training loss by step and arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.algorithms.paired_comparison import BETTER, NONE, WORSE
from pages.ui.charts import figures
from pages.ui.charts.figures import Figure, escape_label
from pages.ui.charts.overlap import COLOURS, DASHES
from pages.ui.theme import RANDOM, REST, SELECTED, WARNING, faint

LINE, AROUND = 26, 114  # heights of one line of the forest plot, and of what is around all of them
CURVES_HEIGHT = 320
MAX_NAME_LENGTH = 34  # characters of an arm or a task
LOOKS = {BETTER: (SELECTED, "diamond"), NONE: (REST, "circle"), WORSE: (WARNING, "square")}  # colour and mark
INDICATION = "indication: "  # begins a verdict from few seeds


@dataclass(frozen=True)
class Effect:
    """The difference of one arm from random, in the unit of the figure."""

    arm: str
    label: str  # of the arm
    difference: float
    low: float
    high: float
    verdict: str
    seeds: int
    other_rates: Mapping[str, float] = field(default_factory=dict)  # learning rate -> difference


@dataclass(frozen=True)
class Group:
    """The effects of all arms on one task."""

    task: str
    label: str  # of the task
    effects: Sequence[Effect]
    smallest: float = 0.0  # smallest effect of interest; 0: none is shown


Line = tuple[int, Group, Effect]  # the effect of an arm, and its place on the y axis


def forest(groups: Sequence[Group], *, title: str, lower_is_better: bool, digits: int = 3) -> Figure:
    """Plot a line for each arm of each group: the difference from random, its 95% interval, other learning rates.

    The customdata of a mark is its arm and its task.
    """
    places, labels, shapes, lines = [], [], [], []
    place = 0
    for group in groups:
        places.append(place)
        labels.append(f"<b>{escape_label(group.label, MAX_NAME_LENGTH)}</b>")
        if group.smallest:
            shapes.append(_band(group.smallest, place + 0.5, place + len(group.effects) + 0.5))
        for effect in group.effects:
            place += 1
            places.append(place)
            labels.append(escape_label(effect.label, MAX_NAME_LENGTH))
            lines.append((place, group, effect))
        place += 1
    zero = figures.line_shape(x=0, color=RANDOM, width=2)
    better, worse = ("left", "right") if lower_is_better else ("right", "left")
    sides = {better: "better", worse: "worse"}
    above = {"y": 1, "yref": "y domain", "yanchor": "bottom"}
    notes = [figures.annotation("<b>random</b>", x=0, **above), *(_side(words, side) for side, words in sides.items())]
    return figures.base_figure(
        [*_marks(lines, digits), _other_rates(lines)],
        AROUND + LINE * place,
        xaxis=figures.fixed_axis(title, zeroline=False, range=_range(lines, groups)),
        yaxis=figures.task_axis(places, labels) | {"autorange": False, "range": [place - 0.3, -0.6]},
        shapes=[*shapes, zero],
        annotations=notes,
        margin={"l": 4, "r": 12, "t": 48, "b": 4},
        showlegend=False,
    )


def _band(smallest: float, top: float, bottom: float) -> dict[str, Any]:
    place = {"x0": -smallest, "x1": smallest, "y0": top, "y1": bottom}
    return {"type": "rect", "layer": "below", "line": {"width": 0}, "fillcolor": faint(REST, 0.3)} | place


def _side(words: str, side: str) -> dict[str, Any]:
    """Name what lies at one side of the zero line, at the end of the axis."""
    text, x = (f"← {words}", 0) if side == "left" else (f"{words} →", 1)
    place = {"xref": "x domain", "x": x, "xanchor": side, "y": 1, "yref": "y domain", "yanchor": "bottom", "yshift": 16}
    return figures.annotation(text, **place)


def _range(lines: Sequence[Line], groups: Sequence[Group]) -> list[float]:
    """Return the ends of the axis: all intervals and bands, and zero, with room beside them."""
    ends = [0.0, *(group.smallest for group in groups), *(-group.smallest for group in groups)]
    for _, _, effect in lines:
        ends += [effect.low, effect.high, *effect.other_rates.values()]
    room = 0.08 * (max(ends) - min(ends)) or 1.0
    return [min(ends) - room, max(ends) + room]


def _marks(lines: Sequence[Line], digits: int) -> list[dict[str, Any]]:
    """Return a trace for each verdict."""
    traces = []
    verdicts = {effect.verdict for _, _, effect in lines}
    for verdict in [prefix + word for word in LOOKS for prefix in ("", INDICATION) if prefix + word in verdicts]:
        colour, mark = LOOKS[verdict.removeprefix(INDICATION)]
        mark += "-open" if verdict.startswith(INDICATION) else ""
        drawn = [(place, group, effect) for place, group, effect in lines if effect.verdict == verdict]
        bars = {
            "array": [effect.high - effect.difference for _, _, effect in drawn],
            "arrayminus": [effect.difference - effect.low for _, _, effect in drawn],
        }
        look = {"marker": {"color": colour, "symbol": mark, "size": 11, "line": {"width": 2, "color": colour}}}
        look |= {"error_x": {"type": "data", "symmetric": False, "color": colour, "thickness": 2, "width": 5, **bars}}
        look |= figures.hover_texts([_hover(group, effect, digits) for _, group, effect in drawn])
        look["customdata"] = [[effect.arm, group.task] for _, group, effect in drawn]
        x, y = [effect.difference for _, _, effect in drawn], [place for place, _, _ in drawn]
        traces.append(figures.scatter("markers", x, y, name=verdict, **look))
    return traces


def _hover(group: Group, effect: Effect, digits: int) -> str:
    difference, interval = (
        format_difference(effect.difference, digits),
        format_interval(effect.low, effect.high, digits),
    )
    lines = [
        f"<b>{escape_label(effect.label, 80)}</b> · {escape_label(group.label, 80)}",
        f"{difference}, 95% interval {interval}",
        f"{effect.verdict} · {effect.seeds} seeds",
        *(f"learning rate {rate}: {format_difference(value, digits)}" for rate, value in effect.other_rates.items()),
    ]
    return "<br>".join(lines)


def _other_rates(lines: Sequence[Line]) -> dict[str, Any]:
    """Return small ticks at the differences of the other learning rates."""
    points = [(value, place) for place, _, effect in lines for value in effect.other_rates.values()]
    x, y = [value for value, _ in points], [place for _, place in points]
    look = {"marker": {"symbol": "line-ns", "size": 11, "line": {"width": 2, "color": REST}}}
    return figures.scatter(
        "markers", x, y, name="at other learning rates", hoverinfo="skip", showlegend=bool(points), **look
    )


def format_difference(value: float, digits: int = 3) -> str:
    """Format a difference with its sign: +0.012, −0.200."""
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def format_interval(low: float, high: float, digits: int = 3) -> str:
    """Format an interval: −0.220 to −0.180."""
    return f"{format_difference(low, digits)} to {format_difference(high, digits)}"


# Training loss


def arm_colours(arms: Sequence[str], random: str) -> dict[str, tuple[str, str]]:
    """Return arm -> colour and dash; the random arm always has its own colour."""
    others = [arm for arm in arms if arm != random]
    looks = {arm: (COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]) for k, arm in enumerate(others)}
    return looks | {random: (RANDOM, "solid")}


def loss_curves(losses: Mapping[str, Sequence[Sequence[float]]], random: str) -> Figure:
    """Plot the training loss by step of each arm: arm -> one list of losses for each seed; the running mean of them.

    Seeds with fewer steps end earlier: the mean is of those that are left.
    """
    looks, traces = arm_colours(list(losses), random), []
    for arm, seeds in losses.items():
        longest = max(map(len, seeds))
        table = np.full((len(seeds), longest), np.nan)
        for line, values in zip(table, seeds, strict=True):
            line[: len(values)] = values
        colour, dash = looks[arm]
        y = np.round(figures.running_mean(np.nanmean(table, axis=0).tolist()), 4)
        words = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
        name = f"{escape_label(arm, MAX_NAME_LENGTH)} ({words})"
        style = {"line": {"color": colour, "dash": dash, "width": 2}, "hovertemplate": "%{y:.3f}"}
        traces.append(figures.scatter("lines", list(range(1, longest + 1)), figures.nullable(y), name=name, **style))
    return figures.base_figure(
        traces,
        CURVES_HEIGHT,
        xaxis=figures.fixed_axis("training step"),
        yaxis=figures.fixed_axis("nats per response token"),
        hovermode="x unified",
    )
