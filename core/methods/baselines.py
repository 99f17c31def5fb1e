"""Baselines: what any method has to beat before its selection means something.

None has a parameter. The longest responses are a strong baseline: many scores track length, and a long response
teaches more tokens for the same budget in rows.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.methods.ranking import FILTERED, NO_RESPONSE, NOT_MEASURED, missing_response, rank_rows, split_eligible
from core.schema import BoolArray, Measured, Order


@dataclass(frozen=True)
class Random:
    """Rows in a seeded random order."""

    name: ClassVar[str] = "random"
    label: ClassVar[str] = "Random"
    summary: ClassVar[str] = "Takes rows at random: a method that does no better than this has chosen nothing."
    needs: ClassVar[tuple[str, ...]] = ("tokens",)

    @property
    def ranks_by(self) -> str:
        """The method's own rank: there is no score behind it, and so no column in `scores`."""
        return "random.rank"

    @property
    def prefer(self) -> Literal["high", "low", "middle"]:
        """Low: rank 0 comes first."""
        return "low"

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return no columns: a random order has no score."""
        return {}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
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
class _ByColumn:
    """Rows that have a response, by one measured column; subclasses name the column and the end to prefer."""

    column: ClassVar[str]
    end: ClassVar[Literal["high", "low"]]

    @property
    def ranks_by(self) -> str:
        """The measured column."""
        return self.column

    @property
    def prefer(self) -> Literal["high", "low", "middle"]:
        """The end that the subclass names."""
        return self.end

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return no columns: the column it ranks by is measured."""
        return {}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
        """Order rows by the column; `seed` is unused."""
        values = measured.need(self.column)
        excluded_by = {
            FILTERED: ~eligible,
            NO_RESPONSE: measured.need("response_tokens") == 0,
            NOT_MEASURED: ~np.isfinite(values),
        }
        candidates, excluded = split_eligible(excluded_by)
        return Order(rank_rows(values, candidates, prefer=self.end), excluded)


@dataclass(frozen=True)
class Longest(_ByColumn):
    """Rows by the length of their response, longest first."""

    name: ClassVar[str] = "longest"
    label: ClassVar[str] = "Longest response"
    summary: ClassVar[str] = "Takes the longest responses first: shows how much of a score is mere length."
    needs: ClassVar[tuple[str, ...]] = ("tokens",)
    column: ClassVar[str] = "response_tokens"
    end: ClassVar[Literal["high", "low"]] = "high"


@dataclass(frozen=True)
class LowestNLL(_ByColumn):
    """Rows by the base model's loss on the response, lowest first."""

    name: ClassVar[str] = "lowest_nll"
    label: ClassVar[str] = "Lowest NLL"
    summary: ClassVar[str] = "Takes the responses first that the base model already predicts best."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "base")
    column: ClassVar[str] = "nll"
    end: ClassVar[Literal["high", "low"]] = "low"


@dataclass(frozen=True)
class HighestNLL(_ByColumn):
    """Rows by the base model's loss on the response, highest first."""

    name: ClassVar[str] = "highest_nll"
    label: ClassVar[str] = "Highest NLL"
    summary: ClassVar[str] = "Takes the responses first that surprise the base model most: new knowledge, and noise."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "base")
    column: ClassVar[str] = "nll"
    end: ClassVar[Literal["high", "low"]] = "high"
