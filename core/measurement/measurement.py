"""The base class of measurements: what one stores, runs and costs. A method that measures has one of its own.

Subclasses are listed in core/measurement/__init__.py. Pages read the registry too, so a measurement imports torch
only inside the functions that run a model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from core.columns import SHARED_SIGNALS, Column, Signals
from core.measurement.runs import Run, Tasks
from core.schema import Columns, Method, Pool

if TYPE_CHECKING:
    from core.measurement.stages import ActivationOptions, PoolStages
    from core.models.loading import Model

M = TypeVar("M", bound=Method)
WARM_UP_ROWS = 2  # run first, not timed


@dataclass(frozen=True)
class Result:
    """The result of one measurement, without the columns that all methods share."""

    columns: dict[str, Any] = field(default_factory=dict)  # each (N,)
    kept: dict[str, str] = field(default_factory=dict)  # name -> key of a stage that stores more than one number a row
    summary: dict[str, Any] = field(default_factory=dict)
    tasks: Tasks | None = None


@dataclass(frozen=True)
class Work:
    """The most work that a measurement needs from a model. Passes are over the whole pool."""

    base_pass: bool = False
    trained_passes: int = 0  # passes of models that training wrote
    trained_models: int = 0  # models that training writes
    training: float = 0.0  # training steps, in passes
    steps: int = 0  # these steps: each takes its time to start
    gradient_passes: int = 0  # passes in which the gradient of every row is taken
    prompts: int = 0  # prompts continued greedily
    generated: int = 0  # tokens of generated answers, for each row
    served: int = 0  # the same, of a server: their time is not known
    embedded: int = 0  # answers embedded by the model itself, for each row
    words: str = ""  # the work besides the base pass, in a few words


@dataclass(frozen=True)
class TrialBatch:
    """The rows of a trial, as token ids and response spans."""

    columns: Mapping[str, Sequence[Any]]
    encode_prompts: Callable[[int], Sequence[Any]]  # tokens of the prompts by themselves, each at most so many

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.columns["tokens"])

    @property
    def tokens(self) -> int:
        """The number of tokens, at least 1."""
        return max(1, sum(map(len, self.columns["tokens"])))

    def prompts(self, room: int) -> "TrialBatch":
        """Return the prompts of the rows by themselves, each in at most `room` tokens."""
        return replace(self, columns={"tokens": self.encode_prompts(room), "ids": self.columns["ids"]})

    def first(self, rows: int) -> dict[str, Any]:
        """Return the columns of the first rows."""
        return {name: values[:rows] for name, values in self.columns.items()}

    def time(self, run: Callable[[Mapping[str, Any]], Any], rows: int | None = None) -> tuple[Any, float]:
        """Return the output of `run` on the first `rows` rows (None: all), and its seconds after a warm-up."""
        batch = self.first(self.rows if rows is None else rows)
        run(self.first(WARM_UP_ROWS) if rows is None else batch)
        began = perf_counter()
        out = run(batch)
        return out, perf_counter() - began


class Measurement(ABC, Generic[M]):
    """The measurement behind one method. Stateless: one instance serves every pool and every set of parameters."""

    signals: ClassVar[Signals] = {}  # signals it measures, with their stored columns
    scores: ClassVar[Mapping[str, Column]] = {}  # columns that the method computes from stored ones
    work_in_words: ClassVar[Mapping[str, str]] = {}  # signal -> its work, as text on screen
    uses_model: ClassVar[bool] = True

    def check(self, method: M, pool: Pool) -> None:
        """Raise MethodError, before any work, if this pool cannot be measured with the method."""

    @abstractmethod
    def run(self, stages: "PoolStages", method: M, columns: Columns, seed: int) -> Result:
        """Measure, or load stored stages. `columns`: the shared columns that `method.needs`."""

    def activations(self, method: M) -> "ActivationOptions | None":
        """Return the options for activations collected in the base pass; None to collect none."""
        return None

    def cost(self, method: M, pool: Pool) -> Work:
        """Return the work of measuring `pool`."""
        return Work()

    def time_trial(self, model: "Model", method: M, batch: TrialBatch) -> Mapping[str, float]:
        """Return seconds for each unit of this measurement's work, as fields of core.measurement.trial.Rates.

        May change the model if `cost` has gradient passes: such measurements are timed last.
        """
        return {}

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Return reasons to check these columns before they are used, as sentences."""
        return []

    def files(self, method: M) -> list[Path]:
        """Return the files that the method reads besides the pool."""
        return []

    def servers(self, method: M) -> list[str]:
        """Return the addresses of the servers that are sent prompts."""
        return []

    def key(self, method: M, pool: Pool) -> dict[str, Any]:
        """Return facts besides parameters, seed, reading and model that decide the columns: part of the run's key."""
        return {}

    def fits(self, run: Run, method: M, pool: Pool) -> bool:
        """Return whether a run with these parameters also agrees in the facts of `key`."""
        return True

    def load(self, run: Run) -> Mapping[str, Any]:
        """Load the artifacts of a finished run by name: results that are more than one number a row."""
        return {}


class SharedOnly(Measurement[Method]):
    """The measurement of methods that need only token counts and the base pass."""

    signals = SHARED_SIGNALS
    scores: ClassVar[Mapping[str, Column]] = {
        "combined": Column(
            "Combined rank",
            "the combined methods rank the row lower",
            "the combined methods rank the row higher",
            "1 − rank / rows, where rank is the mean, best or worst rank of the row under the combined methods.",
            unit="1 = first in all",
        )
    }

    def run(self, stages: "PoolStages", method: Method, columns: Columns, seed: int) -> Result:
        """Return an empty result: the shared columns suffice."""
        return Result()
