"""Terms of the highlight: the rows that a visitor has picked in a view, by what they have in common.

The highlighted rows match all terms. A term is a definition wherever the rows have one, so it means the same on every
page, in a link and after a reload; only rows picked one by one are listed by their ids. `exclude`: all rows but these.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.columns import TAG_PREFIX
from core.selection.filters import Filter, tag_filter
from pages.ui.shell.contender import Contender
from pages.ui.words import meaning

MAX_VALUES = 3  # values named in the words of a term
Outline = tuple[tuple[float, float], ...]  # corners of a polygon


@dataclass(frozen=True)
class Match:
    """Rows that pass a filter: a range of a score, a task, a cluster, a bin."""

    filter: Filter
    words: str = ""  # "": those of the filter
    exclude: bool = False
    kind: str = field(default="match", init=False)


@dataclass(frozen=True)
class Search:
    """Rows with this text in prompt or response, ignoring case."""

    text: str
    exclude: bool = False
    kind: str = field(default="search", init=False)


@dataclass(frozen=True)
class Area:
    """Rows inside a polygon on the plane of two columns. `log`: its x are log10 of the column."""

    x: str
    y: str
    outline: Outline
    log: bool = False
    exclude: bool = False
    kind: str = field(default="area", init=False)


@dataclass(frozen=True)
class MapArea:
    """Rows inside a polygon on a map. `map`: the name of the map."""

    map: str
    outline: Outline
    exclude: bool = False
    kind: str = field(default="map", init=False)


@dataclass(frozen=True)
class MapCluster:
    """Rows in a cluster by density on a map. `map`: the name of the map; `words`: of the cluster."""

    map: str
    number: int
    words: str = ""
    exclude: bool = False
    kind: str = field(default="cluster", init=False)


@dataclass(frozen=True)
class Sets:
    """Rows that all contenders in `inside` select at the present budget, and none in `outside`."""

    inside: tuple[Contender, ...]
    outside: tuple[Contender, ...] = ()
    words: str = ""
    exclude: bool = False
    kind: str = field(default="sets", init=False)


@dataclass(frozen=True)
class Rows:
    """Rows by their ids."""

    ids: tuple[str, ...]
    words: str = ""
    exclude: bool = False
    kind: str = field(default="rows", init=False)


Term = Match | Search | Area | MapArea | MapCluster | Sets | Rows


def describe(term: Term) -> str:
    """Return a term in words: "ΔH 0.2 to 0.4", "task recipe", "not inside the lasso on the map"."""
    return ("not " if term.exclude else "") + _describe(term)


def _describe(term: Term) -> str:
    match term:
        case Match():
            return term.words or _describe_filter(term.filter)
        case Search():
            return f"text “{term.text}”"
        case Area():
            return f"lasso on {meaning(term.x).label} × {meaning(term.y).label}"
        case MapArea():
            return "lasso on the map"
        case MapCluster():
            return f"cluster: {term.words}" if term.words else f"cluster {term.number + 1:,} on the map"
        case Sets():
            return term.words or f"selected by {len(term.inside)} methods only"
        case Rows():
            return term.words or ("1 row" if len(term.ids) == 1 else f"{len(term.ids):,} rows")


def _describe_filter(condition: Filter) -> str:
    if condition == tag_filter(condition.column.removeprefix(TAG_PREFIX), exclude=condition.exclude):
        return str(condition)
    label = meaning(condition.column).label
    words = []
    if condition.low is not None and condition.high is not None:
        words.append(f"{_number(condition.low)} to {_number(condition.high)}")
    elif condition.low is not None:
        words.append(f"≥ {_number(condition.low)}")
    elif condition.high is not None:
        words.append(f"≤ {_number(condition.high)}")
    if condition.values is not None:
        values = ["missing" if value is None else str(value) for value in condition.values]
        words.append(", ".join(values[:MAX_VALUES]) + (f" or {len(values) - MAX_VALUES} more" * (len(values) > 3)))
    words += [f"“{text}”" for text in (condition.contains, condition.matches) if text is not None]
    return f"{'not ' if condition.exclude else ''}{label} {' '.join(words)}"


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def term_from_json(data: Mapping[str, Any]) -> Term:
    """Build a term from stored JSON. Raise KeyError, TypeError or WinnowError if it is damaged."""
    values = dict(data)
    return _READ[values.pop("kind")](values)


def _read_match(values: dict[str, Any]) -> Term:
    condition = {name: tuple(value) if isinstance(value, list) else value for name, value in values["filter"].items()}
    return Match(**{**values, "filter": Filter(**condition)})


def _read_outline(values: dict[str, Any]) -> dict[str, Any]:
    return {**values, "outline": tuple((float(x), float(y)) for x, y in values["outline"])}


def _read_sets(values: dict[str, Any]) -> Term:
    sides = {side: tuple(Contender(**one) for one in values[side]) for side in ("inside", "outside")}
    return Sets(**{**values, **sides})


_READ: dict[str, Callable[[dict[str, Any]], Term]] = {
    "match": _read_match,
    "search": lambda values: Search(**values),
    "area": lambda values: Area(**_read_outline(values)),
    "map": lambda values: MapArea(**_read_outline(values)),
    "cluster": lambda values: MapCluster(**{**values, "number": int(values["number"])}),
    "sets": _read_sets,
    "rows": lambda values: Rows(**{**values, "ids": tuple(values["ids"])}),
}
