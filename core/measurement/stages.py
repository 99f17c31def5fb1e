"""The passes of a model over a pool, as stored stages (core/workspace/stages.py).

    tokens        every row -> token ids and counts                     keyed by pool and encoder
    probe         one pass of a model in one state                      + model revision, state and dtype
    activations   active neurons of each row, from the same pass        + share of neurons, and tokens counted over

Torch is imported only where a model runs, so that stored stages can be read without it.
"""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.columns import SHARED_SIGNALS
from core.errors import RecipeError
from core.measurement.activation_files import (
    ABOUT,
    COLUMN,
    NEURONS,
    gather_activations,
    has_activations,
    remove_damaged_activations,
)
from core.measurement.kinds import add_kind
from core.measurement.runs import Run
from core.progress import Reporter
from core.schema import Columns, IntArray, ModelRef, Pool, Reading
from core.workspace.folder import Workspace, content_key
from core.workspace.parts import Parts, plan_blocks, plan_by_work
from core.workspace.shards import ALONE, Shard
from core.workspace.stages import Stages, as_column

if TYPE_CHECKING:
    from core.models.encoder import Encoder
    from core.models.loading import Model

TOKEN_PART_ROWS = 8192
FLOPS = {"cpu": 2e11, "cuda": 5e13}  # order of magnitude; only decides the size of parts
PART_SECONDS = 8
STEP_COST = 4  # generating a token takes about as long as a forward pass over this many
ACTIVATIONS = "activations"
PASS_GIVES = {"probe": "NLL, entropy, embeddings", ACTIVATIONS: "activations"}
EMBEDDINGS = ("prompt_embedding", "response_embedding")


@dataclass(frozen=True)
class ActivationOptions:
    """Options for the activations that the base pass collects: the parameters of core.models.activations."""

    share: float
    tokens: Literal["response", "all"]


@dataclass(frozen=True, eq=False)
class Tokens:
    """The token ids of a pool, memory-mapped: rows can be read in any order without loading the rest."""

    parts: Parts
    n: int

    def batch(self, rows: IntArray) -> dict[str, list[Any]]:
        """Return token ids and response spans of these rows, the input of `ForwardPass`."""
        tables: dict[int, pa.Table] = {}
        tokens, spans = [], []
        for row in rows.tolist():
            part, place = divmod(row, TOKEN_PART_ROWS)
            if part not in tables:
                tables[part] = self.parts.read(part, ["tokens", "spans"])
            tokens.append(tables[part]["tokens"].slice(place, 1).combine_chunks().flatten().to_numpy())
            spans.append(tables[part]["spans"].slice(place, 1).combine_chunks().flatten().to_numpy())
        return {"tokens": tokens, "spans": spans}


class PoolStages(Stages):
    """The stages of one pool under one model and reading.

    `activations`: collected in the base pass, if given. `counted`: a run whose token counts are reused, so that no
    tokenizer is loaded if no model runs. `allow_mix`: devices of several kinds may compute parts of one stage.
    """

    def __init__(
        self,
        pool: Pool,
        reading: Reading,
        ref: ModelRef,
        workspace: Workspace,
        report: Reporter,
        *,
        activations: ActivationOptions | None = None,
        counted: Run | None = None,
        shard: Shard = ALONE,
        allow_mix: bool = False,
    ) -> None:
        super().__init__(workspace, report, shard)
        self.allow_mix = allow_mix
        self.pool, self.reading, self.ref = pool, reading, ref
        self.activations, self.counted = activations, counted

    @cached_property
    def encoder(self) -> "Encoder":
        """The encoder of rows as token ids."""
        from core.models.encoder import Encoder

        return Encoder(self.tokenizer, self.reading)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the model."""
        from core.models.loading import load_tokenizer

        return load_tokenizer(self.ref)

    @property
    def encoder_digest(self) -> str:
        """The digest of tokenizer and template."""
        return self.counted.encoder if self.counted else self.encoder.digest

    @cached_property
    def device(self) -> str:
        """The device of the model; one name for each card, as jobs lock a device by name."""
        from core.models.loading import check_device

        device = check_device(self.reading.device)
        return "cuda:0" if device == "cuda" else device

    @cached_property
    def dtype(self) -> str:
        """The dtype of the model: part of a stage's key, unlike the device."""
        from core.models.loading import pick_dtype

        return self.reading.dtype if self.reading.dtype != "auto" else pick_dtype(self.device, self.parameters)

    @cached_property
    def parameters(self) -> int:
        """The number of parameters of the model."""
        from core.models.loading import fetch_model
        from core.models.size_check import count_parameters

        return count_parameters(fetch_model(self.ref))

    def model(self, state: Path | None = None) -> "Model":
        """Load the base model, or a trained `state` of it, to run in the batches that the open stage has begun with."""
        from core.models.batching import planned_memory
        from core.models.loading import load_model

        with self.timed("loading"):
            model = load_model(self.ref, dtype=self.dtype, device=self.device, state=state)
        if not self.opened:
            return model
        self.begin_on(model.device, dtype=self.dtype)
        with self.workspace.hold(f"plan-{self.opened[0].name}"):
            return replace(model, memory=planned_memory(self.opened[0], model.device))

    def begin_on(self, device: str, **facts: str) -> None:
        """Record that a model computes parts of the open stages on a device; `facts`: more that the parts depend on.

        ModelError if another kind of device, or another version of PyTorch, has computed parts of them, unless mixing
        is allowed: the last digits of scores may differ.
        """
        from core.models.loading import describe_device

        about = describe_device(device)
        kind = {name: str(about[name]) for name in ("device", "torch")} | facts
        for folder in self.opened:
            with self.workspace.hold(f"plan-{folder.name}"):
                add_kind(folder, kind, allow_mix=self.allow_mix)
        self.made_by = about | facts | {"host": platform.node()}

    # Tokens

    @cached_property
    def tokens(self) -> Tokens:
        """The token ids of every row."""
        n = len(self.pool)
        spec = {"kind": "tokens", "pool": self.pool.fingerprint, "encoder": self.encoder.digest}
        plan = plan_blocks(n, TOKEN_PART_ROWS)
        return Tokens(self.fill(spec, plan, "Tokenising", lambda: self._encode, mapped=True), n)

    def _encode(self, rows: IntArray) -> pa.Table:
        view = self.pool.rows.slice(int(rows[0]), len(rows)).select(["prompt", "response", "turns"])
        out = self.encoder(view.to_pydict())
        return pa.table(
            {
                "tokens": pa.array(out["tokens"], pa.list_(pa.uint32())),
                "spans": pa.array(out["spans"], pa.list_(pa.int32())),
                **{name: out[name] for name in SHARED_SIGNALS["tokens"]},
            }
        )

    @cached_property
    def counts(self) -> Columns:
        """The columns of the signal "tokens"."""
        if self.counted is not None:
            return self.counted.load_columns(SHARED_SIGNALS["tokens"])
        return {name: self.tokens.parts.column(name, len(self.pool)) for name in SHARED_SIGNALS["tokens"]}

    @property
    def tokens_key(self) -> str:
        """The key of the stage that stores the tokens."""
        return self.counted.kept["tokens"] if self.counted else self.tokens.parts.folder.name

    @cached_property
    def lengths(self) -> IntArray:
        """(N,) tokens of each row."""
        return np.asarray(self.counts["prompt_tokens"] + self.counts["response_tokens"])

    @cached_property
    def part_tokens(self) -> int:
        """Tokens per part: some seconds of work. A stage that has begun keeps its parts."""
        flops = FLOPS["cuda" if self.device.startswith("cuda") else "cpu"]
        return max(1024, int(flops * _part_seconds() / (2 * self.parameters)))

    def model_spec(self, kind: str) -> dict[str, Any]:
        """Return the spec that all stages running the model have in common."""
        return {"kind": kind, "tokens": self.tokens_key, "revision": self.ref.revision, "dtype": self.dtype}

    # Prompts by themselves

    def prompts(self, rows: IntArray, room: int) -> list[NDArray[np.uint32]]:
        """Return the token ids of the prompts of these rows, encoded by themselves, each in at most `room` tokens."""
        texts = self.pool.rows.select(["prompt", "response", "turns"]).take(rows)
        return self.encoder.encode_prompts(texts.to_pydict(), room)

    @cached_property
    def prompt_lengths(self) -> IntArray:
        """(N,) tokens of each prompt by itself, nearly: earlier answers that are responses too do not count."""
        whole = self.counts["prompt_tokens"] + self.counts["prompt_cut"]
        return np.asarray(np.minimum(whole, self.encoder.max_length))

    # Passes

    @cached_property
    def base(self) -> Parts:
        """NLL, entropy and embeddings under the base model.

        Activations, if requested, are a separate stage, collected in the same pass. If only one of the two is missing,
        or their plans differ, each has its own pass.
        """
        plan = plan_by_work(self.lengths, self.part_tokens)
        spec = self.model_spec("probe") | {"state": None}
        with self.timed("probe"), self.open(spec, plan, together=True) as base:
            if self.activations is None:
                self._read({"probe": base})
                return base
            with self.workspace.hold(f"plan-{self.activations_folder.name}"):
                remove_damaged_activations(self.activations_folder)
            with self.open(self._activations_spec, base.plan, gathered=ABOUT, together=True) as active:
                together = len(base.plan) == len(active.plan) and all(map(np.array_equal, base.plan, active.plan))
                both = {"probe": base, ACTIVATIONS: active}
                for stores in [both] if together else [{kind: store} for kind, store in both.items()]:
                    self._read(stores)
                with self.workspace.hold(f"plan-{active.folder.name}"):
                    if not has_activations(active.folder):
                        gather_activations(active, len(self.pool))
            return base

    @property
    def _activations_spec(self) -> dict[str, Any]:
        assert self.activations is not None
        return self.model_spec(ACTIVATIONS) | {"share": self.activations.share, "over": self.activations.tokens}

    @property
    def activations_folder(self) -> Path:
        """The folder of the activations that the base pass collects."""
        return self.folder(self._activations_spec)

    def _read(self, stores: Mapping[str, Parts]) -> None:
        """Run the base model over all parts that are missing in any of the stores."""
        from core.models.activations import ActivationObserver
        from core.models.forward_pass import ForwardPass

        stores = {kind: store for kind, store in stores.items() if store.missing()} or stores
        title = f"Measuring with the base model: {', '.join(PASS_GIVES[kind] for kind in stores)}"

        @cache
        def load() -> tuple[ForwardPass, ActivationObserver | None]:
            model = self.model()
            options = self.activations if ACTIVATIONS in stores else None
            observer = ActivationObserver(model, **asdict(options)) if options else None
            return ForwardPass(model, observers=[observer] if observer else []), observer

        def read(part: int, rows: IntArray) -> None:
            forward, observer = load()
            batch = self.tokens.batch(rows)
            out = forward(batch)
            if "probe" in stores:
                self._embed_prompts(forward.model, rows, batch["spans"], out)
            tables = {"probe": _pass_table(out, EMBEDDINGS)}
            if observer:
                active = pa.table({COLUMN: as_column(out[COLUMN])})
                tables[ACTIVATIONS] = active.replace_schema_metadata({NEURONS: str(observer.neurons)})
            for kind, store in stores.items():
                if not store.has(part):
                    store.write(part, tables[kind], self.made_by)

        self.compute_missing(list(stores.values()), title, self.lengths, read)

    def _embed_prompts(self, model: "Model", rows: IntArray, spans: Sequence[Any], out: dict[str, Any]) -> None:
        """Embed prompts by themselves that were read in another form: cut, or without earlier answers."""
        from core.models.forward_pass import ForwardPass

        several = np.array([len(edges) > 2 for edges in spans], np.bool_)
        places = np.flatnonzero(several | (self.counts["prompt_cut"][rows] > 0))
        if len(places):
            prompts = self.prompts(rows[places], self.encoder.max_length)
            alone = ForwardPass(model)({"tokens": prompts, "spans": [()] * len(prompts)})
            out["prompt_embedding"][places] = alone["prompt_embedding"]

    def calibrated(self, title: str, state: Path, rows: IntArray) -> dict[str, Any]:
        """Return NLL and entropy (N,) of some rows (ascending) under a trained state of the model; NaN for the rest."""
        from core.models.forward_pass import ForwardPass

        def load() -> Callable[[IntArray], pa.Table]:
            forward = ForwardPass(self.model(state))
            return lambda rows: _pass_table(forward(self.tokens.batch(rows)))

        spec = self.model_spec("probe") | {"state": state.parent.name}
        if len(rows) < len(self.pool):
            spec["rows"] = content_key({"rows": rows.tolist()})
        plan = [rows[places] for places in plan_by_work(self.lengths[rows], self.part_tokens)]
        parts = self.fill(spec, plan, title, load, self.lengths)
        return {name: parts.column(name, len(self.pool)) for name in SHARED_SIGNALS["base"]}


def _part_seconds() -> float:
    setting = os.environ.get("WINNOW_PART_SECONDS", "")
    try:
        return float(setting or PART_SECONDS)
    except ValueError:
        raise RecipeError(f"WINNOW_PART_SECONDS is {setting!r}. Set it to a number of seconds.") from None


def _pass_table(out: Mapping[str, Any], embeddings: tuple[str, ...] = ()) -> pa.Table:
    """Convert the output of a pass to a table, with embeddings in half precision."""
    columns = {name: out[name] for name in SHARED_SIGNALS["base"]}
    return pa.table(columns | {name: as_column(out[name].astype(np.float16)) for name in embeddings})
