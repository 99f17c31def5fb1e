"""Measure a pool: the slow part, in stages that are stored part by part and never done twice.

    tokens                every row -> token ids and counts             keyed by pool and encoder
    base                  one pass of the model as it is                + model revision and dtype
    warm-up, calibrated   train on a subset, then one pass of the result, once per round

A stage is a folder in `workspace/measurements` (or `models`), under a lock: a second worker waits and
then finds the work done. The plan of a stage is fixed before its first part, so a killed and resumed
measurement gives the same bits as an uninterrupted one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa

from core.methods import describe
from core.methods.entropy_shift import EntropyShift, calibration_rows, next_calibration_rows
from core.model import count_parameters, fetch, load_model, load_tokenizer, pick_device, pick_dtype
from core.modelref import resolve_model
from core.probe import Probe
from core.progress import Reporter
from core.runs import SIGNALS, Run, find_run, run_key, save_run
from core.schema import IntArray, Measured, Method, ModelRef, Pool, Reading
from core.store import Parts, Workspace, content_key
from core.template import Encoder
from core.training import TrainSpec, train

TOKEN_PART_ROWS = 8192
FLOPS = {"cpu": 2e11, "cuda": 5e13}  # order of magnitude; only sets how long a part takes
PART_SECONDS = 8
MAX_PART_ROWS = 16384


def measure(
    pool: Pool,
    method: Method,
    reading: Reading,
    workspace: Workspace,
    *,
    seed: int = 0,
    report: Reporter,
) -> Run:
    """Measure all that `method` needs on `pool`, or find it measured. Resumable at any moment."""
    ref = resolve_model(reading.model, reading.revision)
    reading = replace(reading, revision=ref.revision)
    found = find_run(workspace, pool.fingerprint, method, reading, seed)
    if found is not None:
        report.note("Already measured: nothing to do.")
        return found
    sweep = Sweep(pool, reading, ref, workspace, report)
    key = run_key(pool.fingerprint, method, reading, ref, seed)
    with workspace.hold(f"run-{key}", lambda: report.waiting("Another worker measures the same.")):
        found = find_run(workspace, pool.fingerprint, method, reading, seed)
        if found is not None:
            return found
        columns, summary = sweep.columns(method, seed)
        return save_run(
            workspace,
            Run(
                id=key,
                pool_id=pool.fingerprint,
                method=describe(method),
                reading=asdict(reading),
                model={"name": ref.name, "revision": ref.revision},
                encoder=sweep.encoder.digest,
                seed=seed,
                columns=tuple(columns),
                folder=workspace.folder("runs", key),
                summary=summary | {"warnings": doubts(columns)},
            ),
            columns,
        )


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token ids of a pool, memory-mapped: any rows, in any order, without loading the rest."""

    parts: Parts
    n: int

    def batch(self, rows: IntArray) -> dict[str, list[Any]]:
        """Token ids and response spans of these rows, as `Probe` takes them."""
        tables: dict[int, pa.Table] = {}
        tokens, spans = [], []
        for row in rows.tolist():
            part, place = divmod(row, TOKEN_PART_ROWS)
            if part not in tables:
                tables[part] = self.parts.read(part, ["tokens", "spans"])
            tokens.append(tables[part]["tokens"].slice(place, 1).combine_chunks().flatten().to_numpy())
            spans.append(tables[part]["spans"].slice(place, 1).combine_chunks().flatten().to_numpy())
        return {"tokens": tokens, "spans": spans}

    def columns(self) -> dict[str, Any]:
        """The counts of SIGNALS['tokens'], one value per pool row."""
        return {name: self.parts.column(name, self.n) for name in SIGNALS["tokens"]}


class Sweep:
    """The stages of one pool under one model and reading."""

    def __init__(self, pool: Pool, reading: Reading, ref: ModelRef, workspace: Workspace, report: Reporter) -> None:
        self.pool, self.reading, self.ref = pool, reading, ref
        self.workspace, self.report = workspace, report
        self.encoder = Encoder(load_tokenizer(ref), reading)
        self.seconds: dict[str, float] = {}

    @cached_property
    def device(self) -> str:
        """Where the model runs."""
        return pick_device() if self.reading.device == "auto" else self.reading.device

    @cached_property
    def dtype(self) -> str:
        """What it computes in: part of a measurement's key, the device is not."""
        if self.reading.dtype != "auto":
            return self.reading.dtype
        return pick_dtype(self.device, count_parameters(fetch(self.ref)))

    def columns(self, method: Method, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """All columns that `method` needs, and a summary of how they came about."""
        tokens = self.tokens()
        columns = tokens.columns()
        summary: dict[str, Any] = {"tokens": int(columns["prompt_tokens"].sum() + columns["response_tokens"].sum())}
        if "base" in method.needs:
            with self.workspace.hold(
                f"device-{self.device.replace(':', '-')}",
                lambda: self.report.waiting("Another job uses this device."),
            ):
                columns |= self.probe(tokens, "Reading with the base model", None)
                if isinstance(method, EntropyShift):
                    calibrated, summary["rounds"] = self.calibrate(tokens, columns, method, seed)
                    columns |= calibrated
            summary |= {"device": self.device, "dtype": self.dtype}
        return columns, summary | {"seconds": self.seconds}

    def tokens(self) -> Tokens:
        """Every row's token ids."""
        n = len(self.pool)
        plan = [np.arange(a, min(a + TOKEN_PART_ROWS, n)) for a in range(0, n, TOKEN_PART_ROWS)]
        spec = {"kind": "tokens", "pool": self.pool.fingerprint, "encoder": self.encoder.digest}
        with self._stage(spec, plan, mapped=True) as parts:
            for part, rows in self._missing(parts, "Tokenising", np.ones(n, np.int64)):
                parts.write(part, self._encode(rows))
        return Tokens(parts, n)

    def _encode(self, rows: IntArray) -> pa.Table:
        view = self.pool.rows.slice(int(rows[0]), len(rows)).select(["prompt", "response", "turns"])
        out = self.encoder(view.to_pydict())
        return pa.table(
            {
                "tokens": pa.array(out["tokens"], pa.list_(pa.uint32())),
                "spans": pa.array(out["spans"], pa.list_(pa.int32())),
                **{name: pa.array(out[name]) for name in SIGNALS["tokens"]},
            }
        )

    def probe(self, tokens: Tokens, stage: str, state: Path | None) -> dict[str, Any]:
        """NLL and entropy of every row under one model state; embeddings are stored with the base pass."""
        probe: Probe | None = None
        spec = {
            "kind": "probe",
            "tokens": tokens.parts.folder.name,
            "revision": self.ref.revision,
            "state": state.parent.name if state else None,
            "dtype": self.dtype,
        }
        counts = tokens.columns()
        lengths = counts["prompt_tokens"] + counts["response_tokens"]
        plan = plan_parts(lengths, self._part_tokens())
        with self._stage(spec, plan) as parts:
            for part, rows in self._missing(parts, stage, lengths):
                if probe is None:
                    model = load_model(self.ref, dtype=self.dtype, device=self.device, state=state)
                    probe = Probe(model)
                parts.write(part, self._probe_part(probe, tokens, rows, keep_embeddings=state is None))
        return {name: parts.column(name, tokens.n) for name in SIGNALS["base"]}

    def _part_tokens(self) -> int:
        flops = FLOPS["cuda" if self.device.startswith("cuda") else "cpu"]
        return max(1024, int(flops * PART_SECONDS / (2 * count_parameters(fetch(self.ref)))))

    def _probe_part(self, probe: Probe, tokens: Tokens, rows: IntArray, *, keep_embeddings: bool) -> pa.Table:
        out = probe(tokens.batch(rows))
        table = {"row": pa.array(rows)} | {name: pa.array(out[name]) for name in SIGNALS["base"]}
        if keep_embeddings:
            for name in ("prompt_embedding", "response_embedding"):
                width = out[name].shape[1]
                flat = pa.array(out[name].astype(np.float16).ravel(), pa.float16())
                table[name] = pa.FixedSizeListArray.from_arrays(flat, width)
        return pa.table(table)

    def calibrate(
        self, tokens: Tokens, columns: Mapping[str, Any], method: EntropyShift, seed: int
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """NLL and entropy under the calibrated model of the last round, and the story of each round.

        Round 1 trains on a random share α of the rows with a response, round k + 1 on what round k would
        choose. Every round starts from the base model.
        """
        answered = np.flatnonzero(columns["response_tokens"] > 0)
        rows = calibration_rows(answered, method.alpha, seed)
        story: list[dict[str, Any]] = []
        calibrated: dict[str, Any] = {}
        for number in range(1, method.rounds + 1):
            of = f" (round {number} of {method.rounds})" if method.rounds > 1 else ""
            state, losses = self._warm_up(tokens, rows, train_spec(method, seed), f"Warm-up training{of}")
            after = self.probe(tokens, f"Reading with the calibrated model{of}", state)
            calibrated = {f"{name}_cal": values for name, values in after.items()}
            story.append({"rows": len(rows), "state": state.parent.name} | losses)
            if number < method.rounds:
                measured = Measured(self.pool.fingerprint, dict(columns) | calibrated)
                rows = next_calibration_rows(measured, method.beta)
        return calibrated, story

    def _warm_up(self, tokens: Tokens, rows: IntArray, spec: TrainSpec, stage: str) -> tuple[Path, dict[str, Any]]:
        key = content_key(
            {
                "kind": "warm-up",
                "tokens": tokens.parts.folder.name,
                "rows": rows.tolist(),
                "revision": self.ref.revision,
                "spec": asdict(spec),
                "dtype": self.dtype,
            }
        )
        folder = self.workspace.folder("models", key)
        began = monotonic()
        steps = -(-len(rows) // spec.batch_size) * spec.epochs
        self.report.stage(stage, rows=steps, work=steps)
        with self.workspace.hold(f"model-{key}", lambda: self.report.waiting("Another worker trains the same.")):
            batch = tokens.batch(rows)
            result = train(
                self.ref,
                batch["tokens"],
                batch["spans"],
                spec,
                folder=folder,
                dtype=self.dtype,
                device=self.device,
                on_step=lambda done, _total: self.report.advance(done, done),
            )
        self.seconds["warm-up"] = self.seconds.get("warm-up", 0.0) + monotonic() - began
        return folder / "state", {"loss": result.losses.tolist(), "steps": result.steps}

    @contextmanager
    def _stage(self, spec: Mapping[str, Any], plan: Sequence[IntArray], *, mapped: bool = False) -> Iterator[Parts]:
        """The stored parts of one stage, under its lock; its time is added to the summary."""
        key = content_key(spec)
        began = monotonic()
        with self.workspace.hold(
            f"measurement-{key}", lambda: self.report.waiting("Another worker measures the same.")
        ):
            folder = self.workspace.folder("measurements", key)
            yield Parts.open(folder, spec, plan, mapped=mapped)
        kind = str(spec["kind"])
        self.seconds[kind] = self.seconds.get(kind, 0.0) + monotonic() - began

    def _missing(self, parts: Parts, stage: str, work: IntArray) -> Iterator[tuple[int, IntArray]]:
        """The parts still to be made; tells the reporter of each one that the caller has finished."""
        missing = parts.missing()
        total = int(work.sum())
        to_do = np.concatenate([parts.plan[k] for k in missing]) if missing else np.empty(0, np.int64)
        done_rows, done_work = len(work) - len(to_do), total - int(work[to_do].sum())
        self.report.stage(stage, rows=len(work), work=total, done_rows=done_rows, done_work=done_work)
        for part in missing:
            rows = parts.plan[part]
            yield part, rows
            done_rows, done_work = done_rows + len(rows), done_work + int(work[rows].sum())
            self.report.advance(done_rows, done_work)
            self.report.note(f"{stage}: part {part + 1} of {len(parts.plan)} is stored ({len(rows)} rows).")


def plan_parts(lengths: IntArray, part_tokens: int) -> list[IntArray]:
    """Rows by length, longest first, cut so that each part holds about `part_tokens` tokens.

    Ties go to the earlier row. Longest first, so that a pool that does not fit fails at once.
    """
    order = np.argsort(-lengths, kind="stable")
    filled = np.cumsum(lengths[order])
    parts: list[IntArray] = []
    start = 0
    while start < len(order):
        base = int(filled[start - 1]) if start else 0
        stop = int(np.searchsorted(filled, base + part_tokens, side="right"))
        stop = min(max(stop, start + 1), start + MAX_PART_ROWS)
        parts.append(order[start:stop])
        start = stop
    return parts


def train_spec(method: EntropyShift, seed: int) -> TrainSpec:
    """How the calibration model of `method` is trained; the rest is as the paper has it."""
    return TrainSpec(
        learning_rate=method.learning_rate,
        epochs=method.epochs,
        batch_size=method.batch_size,
        lora_rank=method.lora_rank,
        seed=seed,
    )


def doubts(columns: Mapping[str, Any]) -> list[str]:
    """What should make people look twice before they trust these columns."""
    found = []
    cut = int(columns["truncated"].sum())
    if cut:
        found.append(f"{cut:,} of {len(columns['truncated']):,} rows were longer than the model was allowed to read.")
    unanswered = int((columns["response_tokens"] == 0).sum())
    if unanswered:
        found.append(f"{unanswered:,} rows have no response to measure.")
    if "nll_cal" in columns:
        shift = float(np.nanmean(np.abs(columns["nll_cal"] - columns["nll"])))
        if not shift > 1e-3:
            found.append(
                f"Warm-up hardly changed the model (mean |ΔNLL| {shift:.1e} nats). "
                "Raise the learning rate or the epochs before you trust the order."
            )
    return found
