"""Combination: one order out of the orders of several methods.

    r_m(i)    0-based place of row i in the order of member m; ∞ where it has none

    rule              goes by                     a prefix of k rows
    rank average      Σ_m w_m · r_m / Σ_m w_m     low first: what the members like on the whole
    union             min_m r_m                   grows with what any member takes among its first
    intersection      max_m r_m                   grows with what all members take among their first
    filtered          r_1                         the first member's, of rows in the top `keep` share of each other

    combined  1 − (what the rule goes by) / L, L = rows in the longest order of a member: 1 = first for all that count

Of two rows that are equal so far the one that the first member prefers comes first, then the second member. A row
without a place in some member's order is left out, for that member's reason; by union only one without any place.

Places are compared and not scores: scores of different methods have no common unit, and a place is what a budget cuts.
Under a filter every member makes its own order of the rows that are left.
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
from core.methods.params import all_params, check_params, param
from core.methods.ranking import FILTERED, split_eligible
from core.schema import BoolArray, Columns, Measured, Method, Order

LABEL = "Combination"
NAME = "combined"
DEFAULT = '["entropy_shift","longest"]'
MEMBERS_HINT = 'Write a list such as ["entropy_shift", {"name": "longest", "params": {}}].'


@dataclass(frozen=True)
class Combined:
    """Several methods as one."""

    name: ClassVar[str] = NAME
    label: ClassVar[str] = LABEL
    summary: ClassVar[str] = (
        "Puts rows in order by what several methods say of them together; made on the Compare page."
    )

    members: str = param(
        DEFAULT,
        "The methods, as a JSON list of names, or of objects with name and params. The first one decides ties.",
        stage="measure",
        names="methods",
    )
    rule: Literal["rank average", "union", "intersection", "filtered"] = param(
        "rank average",
        "By the mean place in all orders, the best place in any, the worst in all, or the first method's order over "
        "rows that every other one has near its top.",
        choices=("rank average", "union", "intersection", "filtered"),
    )
    weights: str = param(
        "",
        "For rank average: one number for each method, with commas between. Empty: all count the same.",
        names="word",
    )
    keep: float = param(
        0.5,
        "For filtered: the share of every other method's order that the first one may choose from.",
        label="Top share of the others",
        low=0.0,
        high=1.0,
    )

    def __post_init__(self) -> None:
        check_params(self)
        object.__setattr__(self, "members", format_members(self.parts))  # one spelling, one key
        object.__setattr__(self, "weights", ", ".join(f"{w:g}" for w in parse_weights(self.weights, len(self.parts))))

    @cached_property
    def parts(self) -> tuple[Method, ...]:
        """The members as methods."""
        return parse_members(self.members)

    @property
    def needs(self) -> tuple[str, ...]:
        """All that any member needs."""
        return tuple(dict.fromkeys(signal for part in self.parts for signal in part.needs))

    @property
    def ranks_by(self) -> str:
        """How high the row is placed by the members together."""
        return NAME

    @property
    def prefer(self) -> Literal["high", "low", "middle"]:
        """1 is first for all."""
        return "high"

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """combined, 1 = first, as it is over the whole pool at seed 0 (an order brings its own where that differs); and
        the members' own scores, by their names, with the member's number before them where two differ."""
        known = merge_columns([part.scores(each) for part, each in self._with(measured)])
        every = np.ones(len(measured), np.bool_)
        return known | {NAME: self._value(self._places(self._orders(measured, every, 0), len(measured)))}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
        """Rows by the rule; `seed` is the members'."""
        n = len(measured)
        orders = self._orders(measured, eligible, seed)
        places = self._places(orders, n)
        candidates, excluded = split_eligible(self._left_out(orders, places))
        goes_by = self._goes_by(places)
        keys = [places[m, candidates] for m in range(len(places) - 1, -1, -1)]  # lexsort: the last key counts most
        rows = candidates[np.lexsort((*keys, goes_by[candidates]))]
        return Order(rows, excluded, self._value(places))

    def _with(self, measured: Measured) -> list[tuple[Method, Measured]]:
        """Each member and what it reads: its own measurements, or the ones there are."""
        own = measured.members or (measured,) * len(self.parts)
        return list(zip(self.parts, own, strict=True))

    def _orders(self, measured: Measured, eligible: BoolArray, seed: int) -> list[Order]:
        return [part.order(each, eligible, seed=seed) for part, each in self._with(measured)]

    def _places(self, orders: Sequence[Order], n: int) -> NDArray[np.float64]:
        """(M, n) place of each row in each order; ∞: none."""
        places = np.full((len(orders), n), np.inf)
        for line, order in zip(places, orders, strict=True):
            line[order.rows] = np.arange(len(order.rows))
        return places

    def _goes_by(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) what the rule goes by, low first."""
        weights = np.array(parse_weights(self.weights, len(places)) or [1.0] * len(places))
        used = weights > 0  # 0 · ∞ is no number
        if self.rule == "rank average":
            value = weights[used] @ places[used] / weights.sum()
        elif self.rule == "filtered":
            value = places[0]
        else:
            value = places.min(axis=0) if self.rule == "union" else places.max(axis=0)
        found: NDArray[np.float64] = value
        return found

    def _value(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) 1 = first; NaN for rows without a place."""
        longest = max(int(np.isfinite(places).sum(axis=1).max(initial=0)), 1)
        value = 1 - self._goes_by(places) / longest
        return np.where(np.isfinite(value), value, np.nan)

    def _left_out(self, orders: Sequence[Order], places: NDArray[np.float64]) -> Mapping[str, BoolArray]:
        """Reason -> (n,) rows that it leaves out; the first member's reasons come first."""
        nowhere = ~np.isfinite(places)
        spared = ~nowhere.all(axis=0) if self.rule == "union" else np.zeros(places.shape[1], np.bool_)
        masks = {FILTERED: np.zeros(places.shape[1], np.bool_)}
        for order in orders:
            for reason, rows in order.excluded.items():
                masks.setdefault(reason, np.zeros(places.shape[1], np.bool_))[rows] = True
        masks = {reason: mask & ~spared for reason, mask in masks.items()}
        if self.rule == "filtered":
            for part, order, place in list(zip(self.parts, orders, places, strict=True))[1:]:
                top = int(len(order.rows) * self.keep + 1e-9)  # 1e-9: 0.29 of 100 is 28.99...
                masks[f"not in the top {100 * self.keep:g} % of {part.label}"] = place >= top
        return masks


def parse_members(text: str) -> tuple[Method, ...]:
    """The methods that a JSON list names; MethodError where it is none, has fewer than two, or nests."""
    from core.methods import build_method  # the table of methods, which names this one

    return tuple(build_method(name, params) for name, params in parse_member_specs(text))


def parse_member_specs(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Name and parameters of each, as they were written."""
    try:
        given = json.loads(text)
    except json.JSONDecodeError as error:
        raise MethodError(f"{LABEL}: members is not JSON ({error}). {MEMBERS_HINT}") from error
    if not isinstance(given, list) or len(given) < 2:
        raise MethodError(f"{LABEL} needs at least two methods. {MEMBERS_HINT}")
    return [_member({"name": one} if isinstance(one, str) else one) for one in given]


def _member(one: object) -> tuple[str, dict[str, Any]]:
    if not isinstance(one, dict) or not isinstance(one.get("name"), str) or set(one) - {"name", "params"}:
        raise MethodError(f"{LABEL}: a member is a method's name, or an object with name and params. {MEMBERS_HINT}")
    name, params = one["name"], one.get("params", {})
    if not isinstance(params, dict):
        raise MethodError(f"{LABEL}: the params of {name} are no object. {MEMBERS_HINT}")
    if name == NAME:
        raise MethodError(f"{LABEL}: a member cannot be a combination itself. Name its members instead.")
    return name, params


def format_members(methods: Iterable[Method]) -> str:
    """The text that `parse_members` reads, every parameter written out."""
    described = [{"name": method.name, "params": all_params(method)} for method in methods]
    return json.dumps(described, sort_keys=True, separators=(",", ":"))


def parse_weights(text: str, members: int) -> list[float]:
    """One weight for each member; none where the text is empty. MethodError where it says something else."""
    if not text:
        return []
    try:
        weights = [float(word) for word in text.split(",")]
    except ValueError:
        weights = []
    if len(weights) != members or not all(isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise MethodError(
            f"{LABEL}: weights must be {members} numbers of 0 or more, not all 0, with commas between, not '{text}'."
        )
    return weights


def merge_columns(tables: Sequence[Columns]) -> dict[str, NDArray[Any]]:
    """Columns of several members as one table: a name that stands for other values in a later member has that
    member's number before it (2.delta_nll)."""
    known: dict[str, NDArray[Any]] = {}
    for number, table in enumerate(tables, start=1):
        for name, values in table.items():
            if name not in known:
                known[name] = values
            elif not _same(known[name], values):
                known[f"{number}.{name}"] = values
    return known


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    both_float = a.dtype.kind == "f" and b.dtype.kind == "f"
    return a is b or bool(np.array_equal(a, b, equal_nan=both_float))


def expand_combinations(methods: Iterable[Method]) -> list[Method]:
    """The methods, with its members in place of each combination; each once."""
    every = [part for method in methods for part in (method.parts if isinstance(method, Combined) else (method,))]
    return list(dict.fromkeys(every))
