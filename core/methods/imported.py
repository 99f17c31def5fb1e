"""Imported score: rows by a number that another tool stored in them.

    imported    the number in `field` of the original row; a dot reaches into a nested field (metadata.score)

Which end is good depends on the other tool, so it is a parameter, `end`. A row without a number is not measured, and
never selected.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from core.methods.params import check_params, param
from core.methods.ranking import FILTERED, NO_RESPONSE, NOT_MEASURED, missing_response, rank_rows, split_eligible
from core.schema import BoolArray, Measured, Order


@dataclass(frozen=True)
class Imported:
    """Another tool's score."""

    name: ClassVar[str] = "imported"
    label: ClassVar[str] = "Imported score"
    summary: ClassVar[str] = "Puts rows in order by a number that they brought along: another tool's score."
    needs: ClassVar[tuple[str, ...]] = ("tokens", "imported")

    field: str = param(
        "",
        "The field of the rows that holds the number, such as ifd_ppl; of a field in a field: metadata.score.",
        label="Field",
        stage="measure",
        names="word",
    )
    end: Literal["high", "low", "middle"] = param("high", "Which end of the score is taken first.", label="Take first")

    def __post_init__(self) -> None:
        check_params(self)

    @property
    def ranks_by(self) -> str:
        """The imported number, unchanged."""
        return "imported"

    @property
    def prefer(self) -> Literal["high", "low", "middle"]:
        """The end that `end` names."""
        return self.end

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return no columns: the number is read with the measurement."""
        return {}

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int) -> Order:
        """Order rows by the number; `seed` is unused."""
        values = measured.need("imported")
        excluded_by = {FILTERED: ~eligible, NO_RESPONSE: missing_response(measured), NOT_MEASURED: ~np.isfinite(values)}
        candidates, excluded = split_eligible(excluded_by)
        return Order(rank_rows(values, candidates, prefer=self.prefer), excluded)
