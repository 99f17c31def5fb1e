"""The plan of a proof: everything that decides its result, as plain data, hashed and stored before the first step.

Arms are trained on, each for every seed and learning rate; targets are what trained models are evaluated on. The row
numbers lie beside the plan (core/proof/stored.py), which holds their hashes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from core.schema import BoolArray, IntArray
from core.workspace.folder import content_key

WorkKind = Literal["steps", "epochs"]
HELD_OUT = "held out"  # the target of the pool's own rows
UNTRAINED, RANDOM, LONGEST, WHOLE_POOL = "untrained", "random", "longest", "all"
MACRO = ""  # the "task" of an average over tasks
PER_SEED = ("rows", "response_tokens", "sha256")  # fields of an arm


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
    """Rows to train on. Tuples have one entry for each seed, or a single one if all seeds have the same rows."""

    name: str
    kind: Literal["method", "recipe", "rows", "baseline"]
    rows: tuple[int, ...]  # how many
    response_tokens: tuple[int, ...]  # as the trained model reads them
    sha256: tuple[str, ...]  # `hash_rows`
    reversed: bool = False  # the worst-ranked rows in place of the best
    recipe: Mapping[str, Any] | None = None  # of a method or recipe: what decides its rows (`describe_recipe`)
    file: Mapping[str, str] | None = None  # name and sha256
    left_out: Mapping[str, int] | None = None  # of a recipe or file: reason -> rows that the proof removed from it


@dataclass(frozen=True)
class Target:
    """Rows that every trained model is evaluated on."""

    name: str  # HELD_OUT, or the target's own
    kind: Literal["rows", "pairs"]
    rows: int
    tasks: Mapping[str, int]  # task -> rows; small tasks together
    source: str = ""
    fingerprint: str = ""  # of the pool or of the pairs
    sha256: str = ""  # `hash_rows` of the evaluated ones
    available: int = 0  # rows or pairs that could be evaluated, from which `rows` were drawn
    exact_match: int = 0  # rows whose short response counts as right or wrong
    prompts_in_pool: int = 0  # rows of the pool with a prompt of this target; in no arm unless allowed
    near_duplicates: int = 0  # of held-out rows: rows that leave the pool with them


@dataclass(frozen=True)
class Plan:
    """A proof, before it is run."""

    pool: Mapping[str, Any]  # fingerprint, name, source, rows
    measured_with: str | None  # model that the arms' scores are from; None: no arm has scores
    train_model: Mapping[str, str]  # name, revision
    reading: Mapping[str, Any]  # how the trained model reads rows: core.schema.Reading without model and device
    budget: str
    seeds: tuple[int, ...]
    rates: tuple[float, ...]
    work: Work
    training: Training
    arms: tuple[Arm, ...]
    targets: tuple[Target, ...]
    prompts_allowed: bool = False  # whether rows with a target's prompt may be in an arm
    similarity: float = 0.8  # from which a row is a near-duplicate of a held-out one
    smallest_effect: float = 0.01  # of interest, as a share of the random arm's NLL
    test: str = "paired by row and seed, two-level bootstrap, Holm over arms"
    winnow_proof: int = 1  # version of this form

    def as_data(self) -> dict[str, Any]:
        """Return plain data, as JSON has it."""
        return asdict(self)

    @cached_property
    def id(self) -> str:
        """The content key of the plan: another plan is another proof. Where pools and targets lie does not count."""
        data = self.as_data()
        for part in (data["pool"], *data["targets"]):
            del part["source"]
        return content_key(data)

    @property
    def judged(self) -> tuple[Arm, ...]:
        """The arms that are compared with random."""
        return tuple(arm for arm in self.arms if arm.name not in (RANDOM, WHOLE_POOL))

    def find_target(self, name: str) -> Target:
        """Return the target with this name."""
        return next(target for target in self.targets if target.name == name)


def read_plan(data: Mapping[str, Any]) -> Plan:
    """Return the plan of its plain data, with the same id."""
    parts = {
        "work": Work(**data["work"]),
        "training": Training(**data["training"]),
        "arms": tuple(Arm(**arm | {k: tuple(arm[k]) for k in PER_SEED}) for arm in data["arms"]),
        "targets": tuple(Target(**target) for target in data["targets"]),
        "seeds": tuple(data["seeds"]),
        "rates": tuple(data["rates"]),
    }
    return Plan(**{**data, **parts})


def hash_rows(rows: IntArray) -> str:
    """Return the SHA-256 of row numbers, in 32 hex digits."""
    return hashlib.sha256(np.asarray(rows, "<i8").tobytes()).hexdigest()[:32]


@dataclass(frozen=True)
class RunSpec:
    """One training run of a plan. The untrained model has rate 0, seed 0 and no rows."""

    arm: str
    seed: int
    rate: float
    work: WorkKind


@dataclass(frozen=True, eq=False)
class TargetRows:
    """The R evaluated rows of one target, without their text."""

    target: Target
    rows: IntArray  # (R,) of the pool, of the target's own pool, or pairs of the target set
    task: IntArray  # (R,) index into target.tasks
    response_tokens: IntArray  # (R,) as the trained model reads them; of a pair: of the chosen response
    short: BoolArray  # (R,) whether exact match counts the row


@dataclass(frozen=True, eq=False)
class EvaluatedRows(TargetRows):
    """The rows of one target as the trained model reads them."""

    tokens: tuple[Any, ...] = ()  # (R,) token ids; of a pair: those with the chosen response
    spans: tuple[Any, ...] = ()
    rejected_tokens: tuple[Any, ...] = ()  # of pairs
    rejected_spans: tuple[Any, ...] = ()
