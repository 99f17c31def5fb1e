"""Baselines: what any method has to beat before its selection means something.

None has a parameter. The longest responses are a strong baseline: many scores track length, and a long response
teaches more tokens for the same budget in rows.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from core.methods.params import BaseMethod
from core.methods.ranking import FILTERED, NO_RESPONSE, exclusions, missing_response, rank_rows, split_eligible
from core.schema import NO_ROWS, BoolArray, IntArray, Measured, Order, Prefer


@dataclass(frozen=True)
class Random(BaseMethod):
    """Rows in a seeded random order."""

    name: ClassVar[str] = "random"
    label: ClassVar[str] = "Random"
    summary: ClassVar[str] = "Selects rows at random. A method has to do better than this."
    unscored: ClassVar[str] = "Random has no score: the seed determines the order."
    needs: ClassVar[tuple[str, ...]] = ("tokens",)
    ranks_by: ClassVar[str] = "random.rank"  # its own rank: there is no score behind it
    prefer: ClassVar[Prefer] = "low"

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Shuffle the whole pool once and keep the eligible rows: a filter never reorders the others.

        Rows without a response are excluded, as by every other method, unless no row has one.
        """
        n = len(measured)
        candidates, excluded = split_eligible({FILTERED: ~eligible, NO_RESPONSE: missing_response(measured)})
        eligible_mask = np.zeros(n, np.bool_)
        eligible_mask[candidates] = True
        shuffled = np.random.default_rng(seed).permutation(n)
        return Order(shuffled[eligible_mask[shuffled]], excluded)


@dataclass(frozen=True)
class _ByColumn(BaseMethod):
    """Rows that have a response, by one measured column; subclasses name the column and the end to prefer."""

    ranks_by: ClassVar[str]
    prefer: ClassVar[Prefer]

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Order rows by the column; `seed` and `used` are unused."""
        values = measured.need(self.ranks_by)
        excluded_by = exclusions(eligible, measured.need("response_tokens") == 0, np.isfinite(values))
        candidates, excluded = split_eligible(excluded_by)
        return Order(rank_rows(values, candidates, prefer=self.prefer), excluded)


@dataclass(frozen=True)
class Longest(_ByColumn):
    """Rows by the length of their response, longest first."""

    name: ClassVar[str] = "longest"
    label: ClassVar[str] = "Longest response"
    summary: ClassVar[str] = "Selects the longest responses first. Shows how much a score tracks response length."
    needs: ClassVar[tuple[str, ...]] = ("tokens",)
    ranks_by: ClassVar[str] = "response_tokens"
    prefer: ClassVar[Prefer] = "high"


@dataclass(frozen=True)
class LowestNLL(_ByColumn):
    """Rows by the base model's loss on the response, lowest first."""

    name: ClassVar[str] = "lowest_nll"
    label: ClassVar[str] = "Lowest NLL"
    summary: ClassVar[str] = "Selects first the responses that the base model predicts best."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "base")
    ranks_by: ClassVar[str] = "nll"
    prefer: ClassVar[Prefer] = "low"


@dataclass(frozen=True)
class HighestNLL(_ByColumn):
    """Rows by the base model's loss on the response, highest first."""

    name: ClassVar[str] = "highest_nll"
    label: ClassVar[str] = "Highest NLL"
    summary: ClassVar[str] = "Selects first the responses that the base model predicts worst: new knowledge, and noise."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "base")
    ranks_by: ClassVar[str] = "nll"
    prefer: ClassVar[Prefer] = "high"
