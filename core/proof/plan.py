"""The plan of a proof: everything that decides its result, as plain data, hashed and stored before the first step.

Arms are trained on, each for every seed and learning rate; targets are what trained models are evaluated on. The row
numbers lie beside the plan, which holds their hashes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from core.schema import IntArray
from core.workspace.folder import content_key

WorkKind = Literal["steps", "epochs"]
HELD_OUT = "held out"  # the target of the pool's own rows
UNTRAINED, RANDOM, LONGEST, WHOLE_POOL = "untrained", "random", "longest", "all"
MACRO = ""  # the "task" of an average over tasks


@dataclass(frozen=True)
class Work:
    """How much every arm is trained. Equal steps and equal response tokens a step; then equal epochs."""

    steps: int = 150
    tokens_per_step: int = 2048  # response tokens
    epochs: int = 3  # 0: equal epochs are left out

    @property
    def kinds(self) -> tuple[WorkKind, ...]:
        """Return what is compared: equal steps, and equal epochs unless left out."""
        return ("steps", "epochs") if self.epochs else ("steps",)


@dataclass(frozen=True)
class Training:
    """Settings of every training run: fields of core.models.training.schedule.TrainSpec."""

    lora_rank: int = 0
    weight_decay: float = 0.01
    warmup: float = 0.05
    schedule: Literal["cosine", "linear"] = "cosine"
    clip: float = 1.0


@dataclass(frozen=True)
class Arm:
    """Rows to train on. Lists have one entry for each seed, or a single one if all seeds have the same rows."""

    name: str
    kind: Literal["method", "recipe", "rows", "baseline"]
    rows: tuple[int, ...]  # how many
    response_tokens: tuple[int, ...]
    sha256: tuple[str, ...]  # of the row numbers
    method: Mapping[str, Any] | None = None  # describe_method
    reversed: bool = False  # the worst-ranked rows in place of the best
    recipe: Mapping[str, Any] | None = None
    file: Mapping[str, str] | None = None  # name and sha256
    left_out: Mapping[str, int] | None = None  # reason -> rows that it would have had otherwise


@dataclass(frozen=True)
class Target:
    """Rows that every trained model is evaluated on."""

    name: str  # HELD_OUT, or the target's own
    kind: Literal["rows", "pairs"]
    rows: int
    tasks: Mapping[str, int]  # task -> rows; small tasks together
    source: str = ""
    sha256: str = ""  # of the row numbers, or of the pairs
    exact_match: int = 0  # rows whose short response counts as right or wrong
    prompts_in_pool: int = 0  # rows of the pool with a prompt of this target; in no arm unless allowed
    near_duplicates: int = 0  # of held-out rows: rows that leave the pool with them


@dataclass(frozen=True)
class Plan:
    """A proof, before it is run."""

    pool: Mapping[str, Any]  # fingerprint, name, source, rows
    measured_with: str | None  # model that the arms' scores are from
    train_model: Mapping[str, str]  # name, revision
    reading: Mapping[str, Any]  # how the trained model reads rows: a recipe's reading
    budget: str
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    work: Work
    training: Training
    arms: tuple[Arm, ...]
    targets: tuple[Target, ...]
    prompts_allowed: bool = False  # whether rows with a target's prompt may be in an arm
    smallest_effect: float = 0.01  # of interest, as a share of the random arm's NLL
    test: str = "paired by row and seed, two-level bootstrap, Holm over arms"
    winnow_proof: int = 1  # version of this form

    def as_data(self) -> dict[str, Any]:
        """Return plain data, as JSON has it."""
        return asdict(self)

    @cached_property
    def id(self) -> str:
        """The content key of the plan: another plan is another proof."""
        return content_key(self.as_data())


@dataclass(frozen=True)
class RunSpec:
    """One training run of a plan. The untrained model has rate 0, seed 0 and no rows."""

    arm: str
    seed: int
    rate: float
    work: WorkKind


@dataclass(frozen=True, eq=False)
class EvaluatedRows:
    """The rows of one target as the trained model reads them."""

    target: Target
    task: IntArray  # (R,) index into target.tasks
    tokens: tuple[Any, ...]  # (R,) token ids; of a pair: those with the chosen response
    spans: tuple[Any, ...]
    rejected_tokens: tuple[Any, ...] = ()  # of pairs
    rejected_spans: tuple[Any, ...] = ()
    short: IntArray | None = None  # rows that exact match counts
