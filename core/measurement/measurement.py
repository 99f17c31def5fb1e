"""What a measurement is: the columns it stores, how it runs, what it costs. One for each method that measures.

Subclasses are listed in core/measurement/__init__.py. Pages read the registry too, so a measurement imports what
brings torch only inside the functions that run a model.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from core.columns import SHARED_SIGNALS, Column, Signals
from core.measurement.runs import Run, Tasks
from core.schema import Columns, Method, Pool

if TYPE_CHECKING:
    from core.measurement.stages import ActivationOptions, PoolStages
    from core.measurement.trial import TrialBatch
    from core.models.loading import Model

M = TypeVar("M", bound=Method)


@dataclass(frozen=True)
class Result:
    """What a measurement gives, besides the columns that all methods share."""

    columns: dict[str, Any] = field(default_factory=dict)  # each (N,)
    kept: dict[str, str] = field(default_factory=dict)  # name -> key of a stage with more than a number a row
    summary: dict[str, Any] = field(default_factory=dict)
    tasks: Tasks | None = None


@dataclass(frozen=True)
class Work:
    """What a measurement makes a model do, at most. Passes are over the whole pool."""

    base_pass: bool = False
    trained_passes: int = 0  # passes of models that training wrote
    training: float = 0.0  # training steps, in passes
    gradient_passes: int = 0  # passes in which the gradient of every row is taken
    prompts: int = 0  # prompts continued greedily
    generated: int = 0  # tokens of generated answers, for each row


class Measurement(ABC, Generic[M]):
    """The measuring side of one method. Stateless: one instance serves every pool and every set of parameters."""

    signals: ClassVar[Signals] = {}  # what it stores, of what a method may need
    scores: ClassVar[Mapping[str, Column]] = {}  # columns that the method computes from them, in words
    work_in_words: ClassVar[Mapping[str, str]] = {}  # signal -> what measuring it takes, for people
    uses_model: ClassVar[bool] = True

    @abstractmethod
    def run(self, stages: "PoolStages", method: M, columns: Columns, seed: int) -> Result:
        """Measure, or read what is stored. `columns` holds the shared columns that `method.needs`."""

    def activations(self, method: M) -> "ActivationOptions | None":
        """Return which activations the base pass should collect; None for none."""
        return None

    def cost(self, method: M, pool: Pool) -> Work:
        """Return what measuring `pool` makes a model do."""
        return Work()

    def time_trial(self, model: "Model", method: M, batch: "TrialBatch") -> Mapping[str, float]:
        """Return seconds for each unit of its own work, as fields of core.measurement.trial.Rates.

        May change the model where `cost` has gradient passes: such a measurement is tried last.
        """
        return {}

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Return sentences on what should make people check these columns before they trust them."""
        return []

    def files(self, method: M) -> list[Path]:
        """Return the files that the method reads besides the pool."""
        return []

    def key(self, method: M, pool: Pool) -> dict[str, Any]:
        """Return what decides the columns besides parameters, seed, reading and model: part of the run's key."""
        return {}

    def fits(self, run: Run, method: M, pool: Pool) -> bool:
        """Return whether a run with these parameters was also made from the same other facts as `key` states."""
        return True

    def load(self, run: Run) -> Mapping[str, Any]:
        """Return the artifacts of a finished run, by name: what is more than a number a row."""
        return {}


class SharedOnly(Measurement[Method]):
    """For methods that need nothing but token counts and the base pass."""

    signals = SHARED_SIGNALS
    scores: ClassVar[Mapping[str, Column]] = {
        "combined": Column(
            "Combined place",
            "1 = first for all",
            "the methods together place these low",
            "the methods together place these high",
            "1 − place / rows, where the place is the mean, best or worst one in the methods' orders, as the "
            "rule says.",
        ),
    }
    work_in_words: ClassVar[Mapping[str, str]] = {}

    def run(self, stages: "PoolStages", method: Method, columns: Columns, seed: int) -> Result:
        """Return nothing more."""
        return Result()
