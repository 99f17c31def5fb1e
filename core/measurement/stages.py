"""The passes of a model over a pool, in stages that are stored part by part and never done twice.

    tokens        every row -> token ids and counts               keyed by pool and encoder
    probe         one pass of a model in one state                + model revision, state and dtype
    activations   which neurons are on, from the same pass        + share of neurons and over which tokens

A stage is a folder in `workspace/measurements`, under a lock: a second worker waits and then finds the work done.
The plan of a stage is fixed before its first part, so a killed and resumed measurement gives the same bits as an
uninterrupted one.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from core.columns import SIGNALS
from core.measurement.run_data import COLUMN, NEURONS, gather_states, have_states
from core.models.activations import ActivationObserver
from core.models.encoder import Encoder
from core.models.forward_pass import ForwardPass
from core.models.loading import (
    Model,
    count_parameters,
    fetch_model,
    load_model,
    load_tokenizer,
    pick_device,
    pick_dtype,
)
from core.progress import Reporter
from core.schema import IntArray, ModelRef, Pool, Reading
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts

TOKEN_PART_ROWS = 8192
FLOPS = {"cpu": 2e11, "cuda": 5e13}  # order of magnitude; only sets how long a part takes
PART_SECONDS = 8
MAX_PART_ROWS = 16384
RIDES = "activations"
TAKES = {"probe": "NLL, entropy, embeddings", RIDES: "activations"}
EMBEDDINGS = ("prompt_embedding", "response_embedding")


@dataclass(frozen=True)
class Riding:
    """Activation states that ride on the base pass: the parameters of core.models.activations."""

    share: float
    tokens: Literal["response", "all"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token ids of a pool, memory-mapped: any rows, in any order, without loading the rest."""

    parts: Parts
    n: int

    def batch(self, rows: IntArray) -> dict[str, list[Any]]:
        """Token ids and response spans of these rows, as `ForwardPass` takes them."""
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
    """The stages of one pool under one model and reading; `riding` says what the base pass takes along."""

    def __init__(
        self,
        pool: Pool,
        reading: Reading,
        ref: ModelRef,
        workspace: Workspace,
        report: Reporter,
        *,
        riding: Riding | None = None,
    ) -> None:
        self.pool, self.reading, self.ref = pool, reading, ref
        self.workspace, self.report, self.riding = workspace, report, riding
        self.encoder = Encoder(load_tokenizer(ref), reading)
        self.seconds: dict[str, float] = {}

    @cached_property
    def device(self) -> str:
        """Where the model runs; one name for each card, as jobs wait for it by its name."""
        wanted = pick_device() if self.reading.device == "auto" else self.reading.device
        return "cuda:0" if wanted == "cuda" else wanted

    @cached_property
    def dtype(self) -> str:
        """What it computes in: part of a measurement's key, the device is not."""
        if self.reading.dtype != "auto":
            return self.reading.dtype
        return pick_dtype(self.device, count_parameters(fetch_model(self.ref)))

    @cached_property
    def tokens(self) -> Tokens:
        """Every row's token ids."""
        n = len(self.pool)
        plan = [np.arange(a, min(a + TOKEN_PART_ROWS, n)) for a in range(0, n, TOKEN_PART_ROWS)]
        spec = {"kind": "tokens", "pool": self.pool.fingerprint, "encoder": self.encoder.digest}
        with self.timed("tokens"), self.stage(spec, plan, mapped=True) as parts:
            for part, rows in self.missing([parts], "Tokenising", np.ones(n, np.int64)):
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

    def model(self, state: Path | None = None) -> Model:
        """The model, loaded; in a state that training wrote, if one is given."""
        return load_model(self.ref, dtype=self.dtype, device=self.device, state=state)

    def about_model(self, kind: str) -> dict[str, Any]:
        """What every stage that runs the model is keyed by."""
        return {
            "kind": kind,
            "tokens": self.tokens.parts.folder.name,
            "revision": self.ref.revision,
            "dtype": self.dtype,
        }

    @cached_property
    def lengths(self) -> IntArray:
        """(N,) tokens of each row."""
        counts = self.tokens.columns()
        lengths: IntArray = counts["prompt_tokens"] + counts["response_tokens"]
        return lengths

    @cached_property
    def base(self) -> Parts:
        """NLL, entropy and embeddings under the base model; what rides is stored by the way, in a stage of its own."""
        plan = plan_parts(self.lengths, self.part_tokens)
        with self.timed("probe"), self.stage(self.about_model("probe") | {"state": None}, plan) as base:
            if not self._rides:
                self._read({"probe": base})
                return base
            with self.stage(self._riding(), base.plan) as states:
                together = len(base.plan) == len(states.plan) and all(map(np.array_equal, base.plan, states.plan))
                for stores in [{"probe": base, RIDES: states}] if together else [{"probe": base}, {RIDES: states}]:
                    self._read(stores)
                gather_states(states, len(self.pool))
            return base

    def _riding(self) -> dict[str, Any]:
        assert self.riding is not None
        return self.about_model(RIDES) | {"share": self.riding.share, "over": self.riding.tokens}

    @property
    def states(self) -> Path:
        """The folder of the activation states that ride on the base pass."""
        return self.workspace.folder("measurements", content_key(self._riding()))

    @property
    def _rides(self) -> bool:
        return self.riding is not None and not have_states(self.states)

    def _read(self, stores: Mapping[str, Parts]) -> None:
        """One pass of the base model over the parts that any of the stores lacks."""
        stores = {kind: store for kind, store in stores.items() if store.missing()} or stores
        stage = f"Reading with the base model: {', '.join(TAKES[kind] for kind in stores)}"
        probe: ForwardPass | None = None
        for part, rows in self.missing(list(stores.values()), stage, self.lengths):
            if probe is None:
                model = self.model()
                rider = ActivationObserver(model, **asdict(self.riding)) if self.riding and RIDES in stores else None
                probe = ForwardPass(model, observers=[rider] if rider else [])
            out = probe(self.tokens.batch(rows))
            tables = {"probe": _said(out)} | ({RIDES: _states(rider.neurons, out)} if rider else {})
            for kind, store in stores.items():
                if not store.path(part).exists():
                    store.write(part, tables[kind])

    def calibrated(self, stage: str, state: Path) -> dict[str, Any]:
        """NLL and entropy of every row under a trained state of the model."""
        probe: ForwardPass | None = None
        spec = self.about_model("probe") | {"state": state.parent.name}
        with self.timed("probe"), self.stage(spec, plan_parts(self.lengths, self.part_tokens)) as parts:
            for part, rows in self.missing([parts], stage, self.lengths):
                probe = probe or ForwardPass(self.model(state))
                parts.write(part, _said(probe(self.tokens.batch(rows)), embeddings=False))
        return {name: parts.column(name, self.tokens.n) for name in SIGNALS["base"]}

    @cached_property
    def part_tokens(self) -> int:
        """Tokens in a part: some seconds of work."""
        flops = FLOPS["cuda" if self.device.startswith("cuda") else "cpu"]
        return max(1024, int(flops * PART_SECONDS / (2 * count_parameters(fetch_model(self.ref)))))

    @contextmanager
    def stage(self, spec: Mapping[str, Any], plan: Sequence[IntArray], *, mapped: bool = False) -> Iterator[Parts]:
        """The stored parts of one stage, under its lock."""
        key = content_key(spec)
        with self.workspace.hold(
            f"measurement-{key}", lambda: self.report.waiting("Another worker measures the same.")
        ):
            folder = self.workspace.folder("measurements", key)
            yield Parts.open(folder, spec, plan, mapped=mapped)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Add the time that this takes to the summary."""
        began = monotonic()
        yield
        self.seconds[kind] = self.seconds.get(kind, 0.0) + monotonic() - began

    def missing(self, stores: Sequence[Parts], stage: str, work: IntArray) -> Iterator[tuple[int, IntArray]]:
        """The parts that any of the stores, all of one plan, still lacks; tells the reporter of each one that the
        caller has finished. `work` is (N,), of every pool row; what is in no part does not count."""
        plan = stores[0].plan
        every = np.concatenate([*plan, np.empty(0, np.int64)])
        missing = sorted({part for store in stores for part in store.missing()})
        total = int(work[every].sum())
        to_do = np.concatenate([*(plan[k] for k in missing), np.empty(0, np.int64)])
        done_rows, done_work = len(every) - len(to_do), total - int(work[to_do].sum())
        self.report.stage(stage, rows=len(every), work=total, done_rows=done_rows, done_work=done_work)
        for part in missing:
            rows = plan[part]
            yield part, rows
            done_rows, done_work = done_rows + len(rows), done_work + int(work[rows].sum())
            self.report.advance(done_rows, done_work)
            self.report.note(f"{stage}: part {part + 1} of {len(plan)} is stored ({len(rows)} rows).")


def _said(out: Mapping[str, Any], *, embeddings: bool = True) -> pa.Table:
    """What a pass said of some rows, as a table."""
    table = {name: pa.array(out[name]) for name in SIGNALS["base"]}
    for name in EMBEDDINGS if embeddings else ():
        flat = pa.array(out[name].astype(np.float16).ravel(), pa.float16())
        table[name] = pa.FixedSizeListArray.from_arrays(flat, out[name].shape[1])
    return pa.table(table)


def _states(neurons: int, out: Mapping[str, Any]) -> pa.Table:
    values = out[COLUMN]
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
    return pa.table({COLUMN: column}).replace_schema_metadata({NEURONS: str(neurons)})


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
