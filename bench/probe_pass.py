"""The forward pass of `core.models.forward_pass`, compared with a row-by-row loop and with the bare transformer body.

    python -m bench.probe_pass             64 real Alpaca rows; random weights in the shape of a 0.5 B model
    python -m bench.probe_pass --rows 16
    python -m bench.probe_pass --json

The variants alternate in one process, batch after batch, so that other load on the machine affects all alike:

    loop    one row at a time: logits of every position, log-softmax, the same figures; float32
    probe   ForwardPass in float32
    auto    ForwardPass in the dtype that the app picks
    body    the transformer body alone over the same batches; float32

Memory is the peak of a separate process, for prompts of 256 and of 1,024 tokens with responses of equal length. Logits
of every position would grow by prompt × vocabulary; the pass never holds them.
"""

import argparse
import gzip
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import log_softmax
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from core.demo import MODEL_PATH
from core.models.batching import batch_cost, plan_batches
from core.models.encoder import Encoder
from core.models.forward_pass import CPU_TOKENS, ForwardPass, pad_rows
from core.models.loading import DTYPES, Model, pick_device, pick_dtype
from core.schema import ModelRef, Reading

ALPACA = Path(__file__).resolve().parents[2] / "shared" / "data" / "alpaca_en_52k.jsonl.gz"
SHAPE = {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
    "tie_word_embeddings": True,
}
FIGURES = ("nll", "entropy", "prompt_embedding", "response_embedding")
Batch = dict[str, list[Any]]


def main() -> int:
    """Time the four variants, measure memory and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of torch; as it chooses by default")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--peak", type=int, metavar="PROMPT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        print(peak_megabytes(options.peak))
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
    if not ALPACA.exists():
        print(f"Skipped: the real rows ({ALPACA.name}) are not beside the project.")
        return 0
    peaks = measure_memory()  # first: a process forked from a large one counts its parent's pages
    report = time_all(alpaca_rows(options.rows), options.rounds) | {"memory": peaks}
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def alpaca_rows(n: int) -> Batch:
    """Return token ids of n sampled rows; they are the embedded tokenizer's, all below 151,936."""
    with gzip.open(ALPACA, "rt", encoding="utf-8") as file:
        pool = [json.loads(line) for line in file]
    picked = np.random.default_rng(0).choice(len(pool), n, replace=False)
    prompts = [f"{pool[i]['instruction']}\n{pool[i].get('input', '')}".strip() for i in picked]
    encoder = Encoder(PreTrainedTokenizerFast.from_pretrained(MODEL_PATH), Reading())
    out = encoder({"prompt": prompts, "response": [pool[i]["output"] for i in picked], "turns": [None] * n})
    return {"tokens": out["tokens"], "spans": out["spans"]}


def random_model(layers: int = SHAPE["num_hidden_layers"]) -> Model:
    """Build a model of the shape of Qwen2 0.5 B with random weights, in float32."""
    torch.manual_seed(0)
    network = Qwen2ForCausalLM(Qwen2Config(**SHAPE | {"num_hidden_layers": layers})).eval().to(pick_device())
    return Model(
        ref=ModelRef("random", "", "", 0),
        network=network,
        tokenizer=None,
        device=pick_device(),
        dtype="float32",
        parameters=sum(p.numel() for p in network.parameters()),
        hidden=SHAPE["hidden_size"],
        vocabulary=SHAPE["vocab_size"],
        max_length=SHAPE["max_position_embeddings"],
    )


def time_all(rows: Batch, rounds: int) -> dict[str, Any]:
    """Return the seconds of each variant, and the largest relative differences between `probe` and `loop`."""
    model = random_model()
    dtype = pick_dtype(model.device, model.parameters)
    lower = (
        model if dtype == "float32" else replace(model, network=deepcopy(model.network).to(DTYPES[dtype]), dtype=dtype)
    )
    probe, auto = ForwardPass(model), ForwardPass(lower)
    contestants: dict[str, Callable[[Batch], Any]] = {
        "loop": lambda batch: measure_one_by_one(model, batch),
        "probe": probe,
        "auto": auto,
        "body": lambda batch: run_body(model, batch),
    }
    lengths = np.array([len(t) for t in rows["tokens"]])
    batches = plan_batches(lengths, batch_cost(model.network, model.device, "pass", CPU_TOKENS))
    seconds = dict.fromkeys(contestants, 0.0)
    processor = dict.fromkeys(contestants, 0.0)
    differences = dict.fromkeys(FIGURES, 0.0)
    for turn in range(rounds + 1):  # round 0 is a warm-up on the smallest batch
        for picked in batches if turn else batches[-1:]:
            batch = {name: [values[i] for i in picked] for name, values in rows.items()}
            figures = {}
            for name, measure in contestants.items():
                began, worked = time.perf_counter(), time.process_time()
                figures[name] = measure(batch)
                if turn:
                    seconds[name] += time.perf_counter() - began
                    processor[name] += time.process_time() - worked
            for name in FIGURES:
                differences[name] = max(
                    differences[name], largest_difference(figures["probe"][name], figures["loop"][name])
                )
    responses = int(sum(np.sum(s[1::2] - s[::2]) for s in rows["spans"]))
    return {
        "device": model.device,
        "threads": torch.get_num_threads(),
        "rows": len(lengths),
        "tokens": int(lengths.sum()),
        "response_tokens": responses,
        "padding": 1 - lengths.sum() / sum(len(b) * int(lengths[b].max()) for b in batches),
        "batches": len(batches),
        "auto_dtype": dtype,
        "seconds": seconds,
        "processor_seconds": processor,
        "largest_difference": differences,
    }


@torch.inference_mode()
def measure_one_by_one(model: Model, batch: Batch) -> dict[str, Any]:
    """Measure one row at a time, with logits of all its positions."""
    rows: dict[str, list[Any]] = {name: [] for name in FIGURES}
    for tokens, (start, stop) in zip(batch["tokens"], batch["spans"], strict=True):
        ids = torch.from_numpy(tokens.astype(np.int64)).to(model.device)[None]
        hidden = model.network.base_model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.network.lm_head(hidden)[0, :-1].float()
        logp = log_softmax(logits, dim=-1)
        nll = -logp.gather(1, ids[0, 1:, None])[:, 0]
        entropy = -(logp.exp() * logp).sum(dim=-1)
        rows["nll"].append(nll[start - 1 : stop - 1].mean().cpu())
        rows["entropy"].append(entropy[start - 1 : stop - 1].mean().cpu())
        rows["prompt_embedding"].append(hidden[0, :start].mean(dim=0).cpu())
        rows["response_embedding"].append(hidden[0, start:stop].mean(dim=0).cpu())
    return {name: torch.stack(values).numpy() for name, values in rows.items()}


@torch.inference_mode()
def run_body(model: Model, batch: Batch) -> None:
    """Run the transformer body alone over one batch."""
    ids, _, _ = pad_rows(batch["tokens"], batch["spans"])
    hidden = model.network.base_model(input_ids=torch.from_numpy(ids).to(model.device), use_cache=False)
    hidden.last_hidden_state[0, 0, 0].item()  # on a GPU: wait for the result


def largest_difference(values: Any, expected: Any) -> float:
    """Return the largest relative difference; for vectors, relative to their length."""
    scale = np.linalg.norm(expected, axis=-1, keepdims=True) if expected.ndim > 1 else np.abs(expected)
    return float(np.max(np.abs(values - expected) / scale))


def measure_memory() -> dict[str, float]:
    """Return peak megabytes for short and long prompts, and what logits of every position would add."""
    command = [sys.executable, "-m", "bench.probe_pass", "--peak"]
    peaks = [
        float(subprocess.run([*command, str(n)], capture_output=True, text=True, check=True).stdout)
        for n in (256, 1024)
    ]
    return {
        "prompt_256_mb": peaks[0],
        "prompt_1024_mb": peaks[1],
        "growth_mb": peaks[1] - peaks[0],
        "full_logits_growth_mb": 4 * (1024 - 256) * SHAPE["vocab_size"] * 4 / 1e6,
    }


def peak_megabytes(prompt: int, response: int = 64) -> float:
    """Return this process's peak after one pass over four rows, with one layer so that the head dominates."""
    model = random_model(layers=1)
    rng = np.random.default_rng(0)
    tokens = [rng.integers(0, SHAPE["vocab_size"], prompt + response).astype(np.uint32) for _ in range(4)]
    ForwardPass(model)({"tokens": tokens, "spans": [np.array([prompt, prompt + response])] * 4})
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def format_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    wall, processor, peak = report["seconds"], report["processor_seconds"], report["memory"]
    lines = [
        f"{report['rows']} rows, {report['tokens']:,} tokens, {report['response_tokens']:,} of them response; "
        f"{report['batches']} batches, {report['padding']:.1%} padding; "
        f"{report['device']}, {report['threads']} threads",
        "",
        "                                     seconds   processor",
        *(
            f"{label:<36} {wall[name]:7.1f}   {processor[name]:9.1f}"
            for name, label in describe_contestants(report).items()
        ),
        "",
        "                                     measured  processor  wanted",
        *(
            f"{f'{above} / {below}':<36} {wall[above] / wall[below]:7.2f}   "
            f"{processor[above] / processor[below]:9.2f}   {goal}"
            for above, below, goal in (
                ("loop", "probe", "at least 1.4"),
                ("loop", "auto", "at least 3"),
                ("probe", "body", "at most 1.5"),
            )
        ),
        "",
        f"peak memory, prompts of 256 and 1,024 tokens: {peak['prompt_256_mb']:,.0f} and "
        f"{peak['prompt_1024_mb']:,.0f} MB, {peak['growth_mb']:+,.0f}; "
        f"logits of every position would add {peak['full_logits_growth_mb']:,.0f}",
        "largest relative difference probe - loop: "
        + ", ".join(f"{name} {value:.1e}" for name, value in report["largest_difference"].items()),
    ]
    return "\n".join(lines)


def describe_contestants(report: dict[str, Any]) -> dict[str, str]:
    """Return a description of each variant."""
    return {
        "loop": "loop: row by row, all logits, fp32",
        "probe": "probe: float32",
        "auto": f"probe: {report['auto_dtype']}, as the app picks",
        "body": "body alone: float32",
    }


if __name__ == "__main__":
    sys.exit(main())
