"""What a GPU makes of the measurements: `python -m bench.card`. Says "no CUDA device" elsewhere.

    pass / body      one pass (NLL, entropy, embeddings) against the transformer's body alone, in the same batches, for
                     the shapes of 0.5 B, 3 B and 7 B models with random weights
    scores / plain   gradients of single rows, scored, against a plain batch backward, for the 0.5 B shape
    warm-up          seconds for a step of 16 rows, SmolLM2-135M
    five methods     12,000 mixed rows with SmolLM2-135M, 5 answers of 64 tokens: seconds, and the share of each stage

Sampling and continuation are in bench.generation.
"""

import argparse
import gzip
import json
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from bench.probe_pass import ALPACA, SHAPE, Batch, alpaca_rows, run_body
from bench.row_gradients import backward_batch, take_rows, with_adapter
from core.errors import ModelError
from core.measurement.measure import measure_all
from core.methods import build_method
from core.models.batching import batch_cost, plan_batches
from core.models.forward_pass import CPU_TOKENS, ForwardPass
from core.models.loading import Model
from core.models.reference import SMOLLM, resolve_model
from core.models.training.finetune import train
from core.models.training.row_gradients import RowGradients
from core.models.training.schedule import TrainSpec
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import ModelRef, Reading
from core.workspace.folder import Workspace

SHAPES: dict[str, dict[str, Any]] = {
    "0.5 B": SHAPE,
    "3 B": SHAPE
    | {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16},
    "7 B": SHAPE
    | {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28}
    | {"num_key_value_heads": 4, "tie_word_embeddings": False},
}
MIXED = ("alpaca_en_52k", "dolly_15k", "gsm8k_train")
STEP_ROWS, STEPS = 16, 30


def main() -> None:
    """Print one line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=6000, help="of the passes")
    parser.add_argument("--mixed", type=int, default=12_000, help="rows that the five methods measure; 0: without it")
    parser.add_argument("--model", default=SMOLLM, help="of the warm-up and the five methods")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device")
        return
    if not ALPACA.exists():
        print(f"Skipped: the real rows ({ALPACA.name}) are not beside the project.")
        return
    print(torch.cuda.get_device_name() if options.device == "cuda" else "processor", time.strftime("%Y-%m-%d"))
    rows = alpaca_rows(options.rows)
    for shape in options.shapes:
        time_pass(shape, rows, options.device)
    time_gradients(take_rows(rows, np.arange(min(512, options.rows))), options.device)
    try:
        ref = resolve_model(options.model, models=Path(tempfile.gettempdir()))
    except ModelError as error:
        print(error)
        return
    time_warm_up(ref, rows, options.device)
    if options.mixed:
        time_methods(options.mixed, options.model, options.device)


def random_model(shape: str, device: str) -> Model:
    """Build a model of a shape with random weights in bfloat16 on the device."""
    torch.manual_seed(0)
    with torch.device(device):
        network = Qwen2ForCausalLM._from_config(Qwen2Config(**SHAPES[shape]), dtype=torch.bfloat16).eval()
    return Model(
        ref=ModelRef("random", "", "", 0),
        network=network,
        tokenizer=None,
        device=device,
        dtype="bfloat16",
        parameters=sum(p.numel() for p in network.parameters()),
        hidden=SHAPES[shape]["hidden_size"],
        vocabulary=SHAPE["vocab_size"],
        max_length=SHAPE["max_position_embeddings"],
    )


def time_pass(shape: str, rows: Batch, device: str) -> None:
    """Print the times of a pass and of the body alone, in the batches of the pass."""
    model = random_model(shape, device)
    lengths = np.array([len(t) for t in rows["tokens"]])
    cost = batch_cost(model.network, device, "pass", CPU_TOKENS)
    batches = [take_rows(rows, some) for some in plan_batches(lengths, cost)]
    forward = ForwardPass(model)
    whole = seconds(lambda: forward(rows), device)
    body = seconds(lambda: [run_body(model, batch) for batch in batches], device)
    rate = lengths.sum() / whole
    print(
        f"{shape}: pass {whole:.2f} s ({rate:,.0f} tok/s), body {body:.2f} s, pass / body {whole / body:.2f}",
        flush=True,
    )


def time_gradients(rows: Batch, device: str) -> None:
    """Print the times of scores of row gradients and of a plain backward."""
    model = with_adapter(random_model("0.5 B", device))
    gradients = RowGradients(model)
    direction = gradients.uniform_direction()
    lengths = np.array([len(t) for t in rows["tokens"]])
    cost = batch_cost(model.network, device, "training", CPU_TOKENS)
    batches = [take_rows(rows, some) for some in plan_batches(lengths, cost)]
    scores = seconds(lambda: gradients.scores(rows, [direction]), device)
    plain = seconds(lambda: [backward_batch(model, batch, every=False) for batch in batches], device)
    print(
        f"row gradients {scores:.2f} s, plain backward {plain:.2f} s, scores / plain {scores / plain:.2f}", flush=True
    )


def seconds(work: Callable[[], Any], device: str) -> float:
    """Return the seconds of the second of two runs."""
    for _ in range(2):
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - began


def time_warm_up(ref: ModelRef, rows: Batch, device: str) -> None:
    """Print the median seconds of a step."""
    some = take_rows(rows, np.arange(min(len(rows["tokens"]), STEP_ROWS * STEPS)))
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        spec = TrainSpec(epochs=1, batch_size=min(STEP_ROWS, len(some["tokens"]) // 2))
        train(
            ref, some["tokens"], some["spans"], spec, folder=Path(folder) / "state", device=device,
            on_step=lambda *_: ends.append(time.perf_counter()),
        )  # fmt: skip
    print(f"warm-up step of {spec.batch_size} rows: {np.median(np.diff(ends)):.3f} s", flush=True)


def time_methods(count: int, model: str, device: str) -> None:
    """Print the seconds of all five methods on a mixed pool, and the share of each stage."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mixed.jsonl"
        with file.open("w", encoding="utf-8") as out:
            for name in MIXED:
                with gzip.open(ALPACA.with_name(f"{name}.jsonl.gz"), "rt", encoding="utf-8") as lines:
                    out.writelines(json.dumps(as_pair(json.loads(line))) + "\n" for line in islice(lines, count // 3))
        workspace = Workspace(Path(folder) / "workspace")
        pool = load_pool(str(file), workspace=workspace.root)
        names = ("entropy_shift", "activation_coverage", "task_confidence", "preference_influence")
        methods = [build_method(name, {}) for name in names]
        methods.append(build_method("answer_divergence", {"answers": 5, "max_new_tokens": 64}))
        began = time.perf_counter()
        runs = measure_all(pool, methods, Reading(model=model, device=device), workspace, report=SilentReporter())
        whole = time.perf_counter() - began
    stages: dict[str, float] = {}
    for run in runs:
        stages |= run.summary["seconds"]
    print(f"five methods on {len(pool):,} rows: {whole:.0f} s")
    for stage, taken in sorted(stages.items(), key=lambda item: -item[1]):
        print(f"  {stage:<20} {taken:8.1f} s   {taken / whole:4.0%}")


def as_pair(row: dict[str, Any]) -> dict[str, str]:
    """Return prompt and response of a row of the three pools."""
    prompt = [row.get(name) for name in ("instruction", "question", "input", "context")]
    answer = next(row[name] for name in ("output", "response", "answer") if row.get(name) is not None)
    return {"prompt": "\n".join(filter(None, prompt)), "response": answer}


if __name__ == "__main__":
    main()
