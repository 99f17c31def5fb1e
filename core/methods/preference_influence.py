"""Preference influence: rows whose training would move the model towards preferred answers.

    Γ_i^c     Adam update for the gradient of row i's mean NLL at checkpoint c (core/models/training/adam_update.py)
    v_j^c     unit gradient of the loss of pair j: preference (ROSE), or the NLL of its preferred answer (LESS)
    Inf(i)    max_s Σ_c η̄_c · mean_{j∈s} cos(Γ_i^c, v_j^c)      -1 to 1; high: towards the target

over sub-tasks s of a target and checkpoints c of a LoRA warm-up on a random share of the pool, weighted by their mean
learning rates. Each target has its own score; both losses are measured in the same pass, so LESS, the baseline in the
paper, needs no new measurement.

A summed log-probability favours the longer of two answers: where preferred answers are longer, so does the score.

Sources: ROSE, https://arxiv.org/abs/2412.00631, which selects 5% of a pool; LESS, https://arxiv.org/abs/2402.04333.
Their releases project and store gradients; here nothing is projected or stored, and a row's cosines are exact
(core/models/training/row_gradients.py).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.algorithms.influences import Influences, round_robin
from core.errors import MethodError
from core.methods.params import BaseMethod, measure_param, number, option, param
from core.methods.ranking import exclusions, rank_rows, split_eligible
from core.schema import NO_ROWS, BoolArray, IntArray, Measured, Order, Prefer

NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
ENDINGS = re.compile(r"(\.(jsonl?|ndjson|csv|tsv|parquet|gz))+$", re.IGNORECASE)


class TargetSpec(NamedTuple):
    """One target set: its name, and where its pairs are."""

    name: str
    source: str  # a path, a hub id or "demo"


def parse_targets(text: str) -> tuple[TargetSpec, ...]:
    """Parse `name=source; source; ...`, naming a target without a name after its file; MethodError otherwise."""
    parts = [part.strip() for part in text.split(";") if part.strip()]
    targets = [_parse_target(part) for part in parts]
    names = [target.name for target in targets]
    if not targets:
        raise MethodError(f"{LABEL} needs a target set: pairs of a chosen and a rejected answer. Give its path.")
    for name in names:
        if not NAME.fullmatch(name):
            raise MethodError(f"'{name}' is not a valid name for a target set: use letters, digits, '.', '_' and '-'.")
        if names.count(name) > 1:
            raise MethodError(f"Two target sets are called '{name}'. Give one of them another name: name=path.")
    return tuple(targets)


def _parse_target(part: str) -> TargetSpec:
    name, equals, source = part.partition("=")
    if equals and NAME.fullmatch(name.strip()):
        return TargetSpec(name.strip(), source.strip())
    return TargetSpec(re.sub(r"[^A-Za-z0-9_.-]+", "-", ENDINGS.sub("", PurePath(part).name)).strip("-."), part)


def format_targets(targets: Iterable[TargetSpec]) -> str:
    """Return the text that `parse_targets` reads."""
    return "; ".join(f"{target.name}={target.source}" for target in targets)


LABEL = "Preference influence"


@dataclass(frozen=True)
class PreferenceInfluence(BaseMethod):
    """Influence of each row on a preference loss (ROSE), or on the loss of preferred answers (LESS)."""

    name: ClassVar[str] = "preference_influence"
    label: ClassVar[str] = LABEL
    paper: ClassVar[str] = "ROSE, LESS"
    summary: ClassVar[str] = (
        "Selects rows whose training moves the model towards the chosen answers of your target set, "
        "and away from the rejected ones."
    )
    needs: ClassVar[tuple[str, ...]] = ("tokens", "influence")
    prefer: ClassVar[Prefer] = "high"  # the most helpful rows come first

    targets: str = measure_param(
        option("sound=demo", label="Target sets", names="targets"),
        "Pairs of a chosen and a rejected answer to one prompt. Write name=path, and ';' between several sets.",
    )
    subtask: str = measure_param(
        option("", label="Sub-task field", names="word", words={"": "none"}),
        "Field of the pairs that names their sub-task. Empty: each target set is one task.",
        minor=True,
    )
    pairs: int = measure_param(
        number(0, 0, 10_000, label="Pairs per sub-task", zero="all"),
        "Maximum number of pairs of each sub-task, sampled by seed.",
        minor=True,
    )
    warmup: float = measure_param(
        number(0.05, 0.001, 1.0, label="Warm-up share"),
        "Share of the pool that the LoRA warm-up trains on, sampled by seed; at least 256 rows if the pool has them.",
    )
    epochs: int = measure_param(number(4, 1, 20), "Passes over the warm-up rows. Influence is measured after each.")
    learning_rate: float = measure_param(
        number(0.0, 0.0, 0.1, zero="automatic"),
        "Peak learning rate of the warm-up. Automatic depends on the model's size: 5e-4 (tiny) to 2e-5 (3 B and more).",
        minor=True,
    )
    lora_rank: int = measure_param(
        number(0, 0, 512, label="LoRA rank", zero="automatic"),
        "Rank of the adapter on the attention projections. Automatic depends on the model's size: 8 to 128.",
        minor=True,
    )
    batch_size: int = measure_param(
        number(0, 0, 4096, zero="automatic"),
        "Rows per step of the warm-up. Automatic is a sixteenth of its rows, 8 to 128.",
        minor=True,
    )
    form: Literal["adam", "release"] = measure_param(
        option("adam", label="Adam update", words={"adam": "as in the papers", "release": "as in the authors' code"}),
        "How the Adam update of a row's gradient is computed.",
        minor=True,
    )
    momentum: Literal["on", "off"] = measure_param(
        option("on"), "Off uses a row's own gradient in place of the optimizer's running average.", minor=True
    )
    target: str = param(option("", names="target", words={"": "the first"}), "The target set that rows are ranked for.")
    objective: Literal["preference", "sft"] = param(
        option(
            "preference", label="Loss", words={"preference": "preference pairs (ROSE)", "sft": "chosen answers (LESS)"}
        ),
        "The loss on the target set. LESS, which reads the chosen answers alone, is the papers' baseline.",
    )
    subtasks: Literal["max", "in turn"] = param(
        option("max", label="Sub-tasks", words={"max": "highest influence", "in turn": "one row each in turn"}),
        "How several sub-tasks share the budget: a row counts by its highest influence, or each sub-task selects its "
        "best row in turn.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        target_specs = parse_targets(self.targets)
        # normalised, so that equal targets have one key
        object.__setattr__(self, "targets", format_targets(target_specs))
        names = [target.name for target in target_specs]
        if self.target and self.target not in names:
            raise MethodError(f"{self.label}: target must be one of {', '.join(names)}, not '{self.target}'.")

    @property
    def ranking_target(self) -> str:
        """The target that rows are ranked for."""
        return self.target or parse_targets(self.targets)[0].name

    @property
    def ranks_by(self) -> str:
        """The influence, or the method's own rank for sub-tasks in turn: no single column gives that order."""
        return "influence" if self.subtasks == "max" else f"{self.name}.rank"

    def scores(self, measured: Measured) -> dict[str, NDArray[Any]]:
        """Return influence (the score in use), influence.<target> and less.<target> of every target, in -1 to 1."""
        influences = self._influences(measured)
        rose = {f"influence.{target}": influences.best(target, "preference") for target in influences.targets}
        less = {f"less.{target}": influences.best(target, "sft") for target in influences.targets}
        return {"influence": influences.best(self.ranking_target, self.objective)} | rose | less

    def order(self, measured: Measured, eligible: BoolArray, *, seed: int, used: IntArray = NO_ROWS) -> Order:
        """Order rows by influence, or by sub-tasks in turn; `seed` and `used` are unused."""
        values = self._influences(measured).of(self.ranking_target, self.objective)
        finite = np.asarray(np.isfinite(values).all(axis=1))
        excluded_by = exclusions(eligible, measured.need("response_tokens") == 0, finite)
        candidates, excluded = split_eligible(excluded_by)
        if self.subtasks == "max":
            return Order(rank_rows(values.max(axis=1), candidates, prefer="high"), excluded)
        return Order(round_robin([rank_rows(column, candidates, prefer="high") for column in values.T]), excluded)

    def _influences(self, measured: Measured) -> Influences:
        stored: Influences = measured.need("influences")
        if self.ranking_target not in stored.targets:
            raise MethodError(
                f"{self.label} is measured for {', '.join(stored.targets)}, not for '{self.ranking_target}'. "
                "Measure it first."
            )
        return stored
