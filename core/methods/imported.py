"""Imported score: rows by a number that another tool stored in them.

    imported    the number in `field` of the original row; a dot reaches into a nested field (metadata.score)

Which end is good depends on the other tool, so it is a parameter, `end`. A row without a number is not measured, and
never selected.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from core.methods.params import BaseMethod, measure_param, option, param
from core.methods.ranking import exclusions, missing_response, rank_rows, split_eligible
from core.schema import BoolArray, Measured, Order, Prefer


@dataclass(frozen=True)
class Imported(BaseMethod):
    """Another tool's score."""

    name: ClassVar[str] = "imported"
    label: ClassVar[str] = "Imported score"
    summary: ClassVar[str] = "Puts rows in order by a number that they brought along: another tool's score."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "imported")
    ranks_by: ClassVar[str] = "imported"

    field: str = measure_param(
        option("", names="word"),
        "The field of the rows that holds the number, such as ifd_ppl; of a field in a field: metadata.score.",
    )
    end: Literal["high", "low", "middle"] = param(
        option("high", label="Take first"), "Which end of the score is taken first."
    )

    @property
    def prefer(self) -> Prefer:
        """The end that `end` names."""
        return self.end

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
        """Order rows by the number; `seed` is unused."""
        values = measured.need("imported")
        candidates, excluded = split_eligible(exclusions(eligible, missing_response(measured), np.isfinite(values)))
        return Order(rank_rows(values, candidates, prefer=self.prefer), excluded)
