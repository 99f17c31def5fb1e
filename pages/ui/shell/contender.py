"""An entry of a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Contender:
    """One entry of a comparison: a method with its current parameters or with its own, or a saved selection."""

    method: str = ""
    params: Mapping[str, Any] | None = None  # None: the method's current parameters
    label: str = ""  # "": the method's label
    saved: str = ""  # name of a saved selection; the other fields are then unused
