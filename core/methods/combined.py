"""Combination: one order out of the orders of several methods.

    r_m(i)    0-based rank of row i in the order of member m; ∞ if it has none

    rule              sort key, low first         a prefix of k rows
    rank average      Σ_m w_m · r_m / Σ_m w_m     rows that the members rank high on average
    union             min_m r_m                   rows that any member ranks first
    intersection      max_m r_m                   rows that all members rank first
    filtered          r_1                         the first member's, of rows in the top `keep` share of each other

    combined  1 − key / L, L = rows in the longest order of a member: 1 = first for all members that count

Ties are broken by the first member's rank, then by the second's. A row without a rank in some member's order is
excluded, for that member's reason; by union only a row without any rank.

Ranks are combined and not scores: scores of different methods have no common unit, and a budget cuts by rank.
Under a filter every member orders the eligible rows again.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import MethodError
from core.methods.params import BaseMethod, measure_param, number, option, param, written_params
from core.methods.ranking import FILTERED, split_eligible
from core.schema import NO_ROWS, BoolArray, Columns, IntArray, Measured, Method, Order, Prefer

LABEL = "Combination"
NAME = "combined"
DEFAULT = '["entropy_shift","longest"]'
RULES = {  # in words
    "rank average": "Rank average: prefers rows with a good average rank.",
    "intersection": "Intersection: prefers rows that every method ranks high, starting with those that all select.",
    "union": "Union: prefers rows that any method ranks high; each method contributes its best rows.",
    "filtered": "Filtered: follows the first method, over rows that all others rank near the top.",
}
MEMBERS_HINT = 'Write a list such as ["entropy_shift", {"name": "longest", "params": {}}].'


@dataclass(frozen=True)
class Combined(BaseMethod):
    """Several methods as one."""

    name: ClassVar[str] = NAME
    label: ClassVar[str] = LABEL
    summary: ClassVar[str] = "Ranks rows by several methods together. Choose them on the Select page."
    ranks_by: ClassVar[str] = NAME
    prefer: ClassVar[Prefer] = "high"  # 1 is first for all members

    members: str = measure_param(
        option(DEFAULT, names="methods"),
        "The methods, as a JSON list of names, or of objects with name and params. The first one breaks ties.",
    )
    rule: Literal["rank average", "union", "intersection", "filtered"] = param(
        option("rank average"),
        "A row's rank comes from its mean rank over all methods, its best rank (union), its worst rank (intersection), "
        "or the first method's rank among the top rows of every other method (filtered).",
    )
    weights: str = param(
        option("", names="word", words={"": "equal"}),
        "One number for each method, separated by commas. Empty: all methods weigh the same.",
        used_if=lambda method: method.rule == "rank average",
    )
    keep: float = param(
        number(0.5, 0.0, 1.0, label="Top share of the others"),
        "Share of every other method's ranking that the first method selects from.",
        used_if=lambda method: method.rule == "filtered",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # normalised, so that equal members have one key
        object.__setattr__(self, "members", format_members(self.parts))
        object.__setattr__(self, "weights", ", ".join(f"{w:g}" for w in parse_weights(self.weights, len(self.parts))))

    @cached_property
    def parts(self) -> tuple[Method, ...]:
        """The members as methods."""
        return parse_members(self.members)

    @property
    def needs(self) -> tuple[str, ...]:
        """Every signal that any member needs."""
        return tuple(dict.fromkeys(signal for part in self.parts for signal in part.needs))

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return combined (1 = first) over the whole pool at seed 0, and the members' own scores.

        An order brings its own `combined` values if they differ. The member's number precedes a column name that two
        members use for different values.
        """
        columns = merge_columns([part.scores(each) for part, each in self._member_inputs(measured)])
        all_rows = np.ones(len(measured), np.bool_)
        return columns | {NAME: self._combined_score(self._ranks(self._orders(measured, all_rows, 0), len(measured)))}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Order rows by the rule; `seed` and `used` are passed to the members."""
        n = len(measured)
        orders = self._orders(measured, eligible, seed, used)
        places = self._ranks(orders, n)
        candidates, excluded = split_eligible(self._excluded_by(orders, places))
        key = self._sort_key(places)
        keys = [places[m, candidates] for m in range(len(places) - 1, -1, -1)]  # lexsort: the last key counts most
        rows = candidates[np.lexsort((*keys, key[candidates]))]
        return Order(rows, excluded, self._combined_score(places))

    def _member_inputs(self, measured: Measured) -> list[tuple[Method, Measured]]:
        """Pair each member with the measurements it reads: its own, or the shared ones."""
        inputs = measured.artifacts.get("members") or (measured,) * len(self.parts)
        return list(zip(self.parts, inputs, strict=True))

    def _orders(self, measured: Measured, eligible: BoolArray, seed: int, used: IntArray = NO_ROWS) -> list[Order]:
        return [part.order(each, eligible, seed=seed, used=used) for part, each in self._member_inputs(measured)]

    def _ranks(self, orders: Sequence[Order], n: int) -> NDArray[np.float64]:
        """Return (M, n) the rank of each row in each order; ∞: none."""
        places = np.full((len(orders), n), np.inf)
        for line, order in zip(places, orders, strict=True):
            line[order.rows] = np.arange(len(order.rows))
        return places

    def _sort_key(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n,) the rule's sort key, low first."""
        weights = np.array(parse_weights(self.weights, len(places)) or [1.0] * len(places))
        used = weights > 0  # 0 · ∞ is NaN
        if self.rule == "rank average":
            value = weights[used] @ places[used] / weights.sum()
        elif self.rule == "filtered":
            value = places[0]
        else:
            value = places.min(axis=0) if self.rule == "union" else places.max(axis=0)
        return np.asarray(value)

    def _combined_score(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n,) the combined score, 1 = first; NaN for rows without a rank."""
        longest = max(int(np.isfinite(places).sum(axis=1).max(initial=0)), 1)
        value = 1 - self._sort_key(places) / longest
        return np.where(np.isfinite(value), value, np.nan)

    def _excluded_by(self, orders: Sequence[Order], places: NDArray[np.float64]) -> Mapping[str, BoolArray]:
        """Return reason -> (n,) mask of rows it excludes; the first member's reasons come first."""
        unranked = ~np.isfinite(places)
        spared = ~unranked.all(axis=0) if self.rule == "union" else np.zeros(places.shape[1], np.bool_)
        masks = {FILTERED: np.zeros(places.shape[1], np.bool_)}
        for order in orders:
            for reason, rows in order.excluded.items():
                masks.setdefault(reason, np.zeros(places.shape[1], np.bool_))[rows] = True
        masks = {reason: mask & ~spared for reason, mask in masks.items()}
        if self.rule == "filtered":
            for part, order, place in list(zip(self.parts, orders, places, strict=True))[1:]:
                top = int(len(order.rows) * self.keep + 1e-9)  # 1e-9: 0.29 of 100 is 28.99...
                masks[f"not in the top {100 * self.keep:g}% of {part.label}"] = place >= top
        return masks


def parse_members(text: str) -> tuple[Method, ...]:
    """Parse a JSON list into methods; MethodError if it is not one, has fewer than two members, or nests."""
    from core.methods import build_method  # the registry, which imports this module

    return tuple(build_method(name, params) for name, params in parse_member_specs(text))


def parse_member_specs(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return name and parameters of each member, as they were written."""
    try:
        specs = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
        raise MethodError(f"{LABEL}: members is not JSON ({error}). {MEMBERS_HINT}") from error
    if not isinstance(specs, list) or len(specs) < 2:
        raise MethodError(f"{LABEL} needs at least two methods. {MEMBERS_HINT}")
    return [_member({"name": member} if isinstance(member, str) else member) for member in specs]


def _member(member: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(member, dict) or not isinstance(member.get("name"), str) or set(member) - {"name", "params"}:
        raise MethodError(f"{LABEL}: a member is a method's name, or an object with name and params. {MEMBERS_HINT}")
    name, params = member["name"], member.get("params", {})
    if not isinstance(params, dict):
        raise MethodError(f"{LABEL}: the params of {name} must be a JSON object. {MEMBERS_HINT}")
    if name == NAME:
        raise MethodError(f"{LABEL}: a member cannot be a combination itself. Name its members instead.")
    return name, params


def format_members(methods: Iterable[Method]) -> str:
    """Return the text that `parse_members` reads, with the parameters of `params.written_params`."""
    described = [{"name": method.name, "params": written_params(method)} for method in methods]
    return json.dumps(described, sort_keys=True, separators=(",", ":"))


def parse_weights(text: str, members: int) -> list[float]:
    """Return one weight for each member; none for empty text. MethodError for anything else."""
    if not text:
        return []
    try:
        weights = [float(word) for word in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != members or not all(isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise MethodError(
            f"{LABEL}: weights must be {members} numbers of 0 or more, not all 0, separated by commas, not '{text}'."
        )
    return weights


def merge_columns(tables: Sequence[Columns]) -> dict[str, NDArray[Any]]:
    """Merge the columns of several members into one table.

    A column whose values differ in a later member is prefixed with that member's number (2.delta_nll).
    """
    merged: dict[str, NDArray[Any]] = {}
    for member, table in enumerate(tables, start=1):
        for name, values in table.items():
            if name not in merged:
                merged[name] = values
            elif not _same(merged[name], values):
                merged[f"{member}.{name}"] = values
    return merged


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    both_float = a.dtype.kind == "f" and b.dtype.kind == "f"
    return a is b or bool(np.array_equal(a, b, equal_nan=both_float))


def parts_of(method: Method) -> tuple[Method, ...]:
    """Return the methods that a combination is made of; none for any other method."""
    return method.parts if isinstance(method, Combined) else ()


def expand_combinations(methods: Iterable[Method]) -> list[Method]:
    """Replace each combination by its members; each method once."""
    return list(dict.fromkeys(part for method in methods for part in parts_of(method) or (method,)))
