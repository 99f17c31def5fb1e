"""Imported score: rows by a number that another tool stored in them.

    imported    the number in `field` of the original row; a dot reaches into a nested field (metadata.score);
                or that of the column score@NAME, which `import-scores` joined to the pool from a file

Which end is good depends on the other tool, so it is a parameter, `end`. A row without a number is not measured, and
never selected.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from core.methods.params import BaseMethod, measure_param, option, param
from core.methods.ranking import exclusions, missing_response, rank_rows, split_eligible
from core.schema import NO_ROWS, BoolArray, IntArray, Measured, Order, Prefer


@dataclass(frozen=True)
class Imported(BaseMethod):
    """Another tool's score."""

    name: ClassVar[str] = "imported"
    label: ClassVar[str] = "Imported score"
    summary: ClassVar[str] = "Ranks rows by a score that is already in your data, from another tool."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "imported")
    ranks_by: ClassVar[str] = "imported"

    field: str = measure_param(
        option("", label="Score field", names="word"),
        "The field of the rows that holds the score, such as ifd_ppl, or metadata.score for a nested field; or "
        "score@NAME for a score that was joined to the pool.",
    )
    end: Literal["high", "low", "middle"] = param(
        option("high", label="Preferred end", words={"high": "highest", "low": "lowest"}),
        "The end of the score that ranks first. Middle is a control.",
    )

    @property
    def prefer(self) -> Prefer:
        """The end that `end` names."""
        return self.end

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Order rows by the number; `seed` and `used` are unused."""
        values = measured.need("imported")
        candidates, excluded = split_eligible(exclusions(eligible, missing_response(measured), np.isfinite(values)))
        return Order(rank_rows(values, candidates, prefer=self.prefer), excluded)
