"""Training runs: one model trained on the rows of an arm and evaluated on all targets, stored as one part of a stage.

The key of a run is what decides its figures: model, rows, training settings and evaluated rows. So a proof with one arm
more trains that arm alone, and two proofs share what they have in common. Trained weights are not kept; checkpoints
are, until the run is stored. On a processor a run uses one thread, so its figures are the same on any number of cores;
runs beside each other fill them (core/proof/prove.py).
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from filelock import Timeout

from core.algorithms.kmeans import one_thread
from core.measurement.stages import PoolStages
from core.progress import Reporter, SilentReporter
from core.proof.plan import EvaluatedRows, Plan, RunSpec, hash_rows
from core.schema import BoolArray, Float64Array, FloatArray, IntArray, ModelRef, Progress, ignore_progress
from core.workspace.files import disk_errors, is_whole
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts
from core.workspace.stages import Stages

if TYPE_CHECKING:
    from core.models.batching import Ragged
    from core.models.loading import Model
    from core.models.training.schedule import TrainSpec

ONE_PART = (np.arange(1),)
NLL, MARGIN, MATCH = "nll:", "margin:", "match:"  # columns of a target, before its name


@dataclass(frozen=True)
class RunCounts:
    """What a model was trained on. Rows are different ones; the other counts are of all passes over them."""

    rows: int = 0
    steps: int = 0
    tokens: int = 0
    response_tokens: int = 0


@dataclass(frozen=True, eq=False)
class RunFigures:
    """What one training run gave. Arrays are in the order of a target's evaluated rows."""

    counts: RunCounts
    losses: FloatArray  # (steps,) nats per response token, before each step
    training_seconds: float  # of the last worker, where one resumed another's
    evaluation_seconds: float
    nll: Mapping[str, Float64Array]  # target -> (R,) nats, summed over the response; of pairs: over the chosen one
    margins: Mapping[str, Float64Array]  # of pairs: mean log-probability per token, chosen minus rejected
    matches: Mapping[str, BoolArray]  # (R,) exact match of short responses; False for others


@dataclass(frozen=True, eq=False)
class TrainingTask:
    """A training run as plain data, complete with its tokens: what a worker is sent."""

    root: Path  # of the workspace
    spec: Mapping[str, Any]  # of the stage
    ref: ModelRef
    dtype: str
    device: str
    settings: "TrainSpec | None"  # None: the untrained model
    counts: RunCounts
    tokens: "Ragged"  # of the rows to train on
    spans: "Ragged"
    evaluated: tuple[EvaluatedRows, ...]

    def run(self, on_step: Progress = ignore_progress, report: Reporter | None = None) -> None:
        """Train, evaluate and store the figures, unless they are stored.

        An interrupted training goes on from its last checkpoint, to the same figures.
        """
        stages = Stages(Workspace(self.root), report or SilentReporter())
        with stages.open(self.spec, ONE_PART) as parts:
            if parts.missing():
                parts.write(0, self._measure(parts.folder, on_step))
            checkpoints = parts.folder / "checkpoint"
            if checkpoints.exists():
                with disk_errors(checkpoints):
                    shutil.rmtree(checkpoints)

    def _measure(self, folder: Path, on_step: Progress) -> pa.Table:
        from core.models.batching import planned_memory

        began = monotonic()
        columns: dict[str, Any] = {}
        with one_thread():
            model, losses = self._train(folder, on_step)
            trained = monotonic()
            model = replace(model, memory=planned_memory(folder, model.device))
            for one in self.evaluated:
                columns |= evaluate(model, one)
        values = {
            "losses": losses.astype(np.float32),
            **asdict(self.counts),
            "training_seconds": trained - began,
            "evaluation_seconds": monotonic() - trained,
            **columns,
        }
        return pa.table({name: [value] for name, value in values.items()})

    def _train(self, folder: Path, on_step: Progress) -> tuple["Model", FloatArray]:
        from core.models.loading import load_model
        from core.models.training.finetune import train_in_memory

        if self.settings is None:
            return load_model(self.ref, dtype=self.dtype, device=self.device), np.empty(0, np.float32)
        return train_in_memory(
            self.ref,
            self.tokens,
            self.spans,
            self.settings,
            folder=folder,
            dtype=self.dtype,
            device=self.device,
            on_step=on_step,
        )


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """One training run on rows of the pool of `stages`; without settings, the untrained model."""

    stages: PoolStages
    settings: "TrainSpec | None"
    rows: IntArray
    evaluated: tuple[EvaluatedRows, ...]

    @cached_property
    def spec(self) -> dict[str, Any]:
        """The spec of the stage: what decides the figures."""
        from core.models.training.schedule import key_fields

        training = {"rows": hash_rows(self.rows), "settings": key_fields(self.settings)} if self.settings else None
        return self.stages.model_spec("proof") | {"training": training, "evaluated": _digest(self.evaluated)}

    @property
    def key(self) -> str:
        """The key of the stage."""
        return content_key(self.spec)

    @property
    def _parts(self) -> Parts:
        return Parts(self.stages.folder(self.spec), ONE_PART)

    @property
    def is_stored(self) -> bool:
        """Whether the figures are stored and whole."""
        return is_whole(self._parts.path(0))

    @property
    def is_busy(self) -> bool:
        """Whether another worker is at this run."""
        try:
            with self.stages.workspace.lock(f"measurement-{self.key}").acquire(timeout=0):
                return False
        except Timeout:
            return True

    @cached_property
    def step_rows(self) -> list[IntArray]:
        """The places in `rows` that each step is trained on, as `core.models.training.finetune.train` plans them."""
        from core.models.training.schedule import plan_steps

        if self.settings is None:
            return []
        usable = np.flatnonzero(self._response_tokens > 0)
        return [usable[some] for some in plan_steps(self.settings, self._response_tokens[usable])]

    @cached_property
    def counts(self) -> RunCounts:
        """What the model is trained on."""
        places = np.concatenate([*self.step_rows, np.empty(0, np.int64)])
        tokens = int(self.stages.lengths[self.rows][places].sum())
        responses = int(self._response_tokens[places].sum())
        return RunCounts(len(np.unique(places)), len(self.step_rows), tokens, responses)

    @cached_property
    def _response_tokens(self) -> IntArray:
        return np.asarray(self.stages.counts["response_tokens"][self.rows], np.int64)

    def task(self) -> TrainingTask:
        """Return the run as plain data."""
        stages = self.stages
        rows = self.rows if self.settings else np.empty(0, np.int64)
        batch = stages.tokens.batch(rows)
        return TrainingTask(
            root=stages.workspace.root,
            spec=self.spec,
            ref=stages.ref,
            dtype=stages.dtype,
            device=stages.device,
            settings=self.settings,
            counts=self.counts,
            tokens=batch["tokens"],
            spans=batch["spans"],
            evaluated=self.evaluated,
        )

    def figures(self, on_step: Progress = ignore_progress) -> RunFigures:
        """Return the figures; train and evaluate unless they are stored."""
        if not self.is_stored:
            self.task().run(on_step, self.stages.report)
        return self.load()

    def load(self) -> RunFigures:
        """Read the stored figures; DamagedFile if they cannot be read."""
        row = {name: values[0] for name, values in self._parts.read(0).to_pydict().items()}

        def columns(kind: str, dtype: Any) -> dict[str, Any]:
            names = (one.target.name for one in self.evaluated)
            return {name: np.array(row[kind + name], dtype) for name in names if kind + name in row}

        return RunFigures(
            RunCounts(**{name: row[name] for name in asdict(RunCounts())}),
            np.array(row["losses"], np.float32),
            row["training_seconds"],
            row["evaluation_seconds"],
            nll=columns(NLL, np.float64),
            margins=columns(MARGIN, np.float64),
            matches=columns(MATCH, np.bool_),
        )


def run_settings(plan: Plan, spec: RunSpec) -> "TrainSpec | None":
    """Return the settings of a training run: equal steps, or equal epochs in steps of as many tokens; None: no run."""
    from core.models.training.schedule import TrainSpec

    if not spec.rate:
        return None
    return TrainSpec(
        learning_rate=spec.rate,
        seed=spec.seed,
        steps=plan.work.steps if spec.work == "steps" else 0,
        epochs=plan.work.epochs if spec.work == "epochs" else 1,
        response_tokens=plan.work.tokens_per_step,
        **asdict(plan.training),
    )


def evaluate(model: "Model", rows: EvaluatedRows) -> dict[str, Any]:
    """Return the columns of one target: summed NLL, and margins of pairs or the exact match of short responses."""
    from core.models.exact_match import ExactMatch
    from core.models.forward_pass import ForwardPass
    from core.models.training.row_gradients import predicted_token_counts

    name, plain = rows.target.name, ForwardPass(model)
    nll = np.empty(len(rows.tokens), np.float32)
    match = np.zeros(len(rows.tokens), np.bool_)
    short = np.asarray(rows.short, np.bool_)
    for some, forward in ((~short, plain), (short, ForwardPass(model, observers=[ExactMatch(model)]))):
        out = forward(_take(rows.tokens, rows.spans, some))
        nll[some] = out["nll"]
        if forward is not plain:
            match[some] = out["match"]
    columns = {NLL + name: nll.astype(np.float64) * predicted_token_counts(rows.spans)}
    if rows.rejected_tokens:
        rejected = plain({"tokens": rows.rejected_tokens, "spans": rows.rejected_spans})["nll"]
        columns[MARGIN + name] = rejected.astype(np.float64) - nll
    return columns | ({MATCH + name: match} if short.any() else {})


def _take(tokens: Sequence[Any], spans: Sequence[Any], mask: BoolArray) -> dict[str, list[Any]]:
    places = np.flatnonzero(mask).tolist()
    return {"tokens": [tokens[k] for k in places], "spans": [spans[k] for k in places]}


@lru_cache(maxsize=2)
def _digest(evaluated: tuple[EvaluatedRows, ...]) -> str:
    """Return 32 hex digits of what is evaluated, and under which names."""
    digest = hashlib.sha256()
    for one in evaluated:
        digest.update(repr((one.target.name, len(one.tokens), np.flatnonzero(one.short).tolist())).encode())
        for rows in (one.tokens, one.spans, one.rejected_tokens, one.rejected_spans):
            for row in rows:
                values = np.asarray(row, np.int64)
                digest.update(len(values).to_bytes(8, "little") + values.tobytes())
    return digest.hexdigest()[:32]
