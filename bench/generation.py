"""Sampled and greedy tokens a second, compared with `generate` as transformers ships it.

    python -m bench.generation              16 prompts of the demo pool, 5 answers of 32 tokens; the embedded model
    python -m bench.generation --rows 640 --model smollm2 --workspace DIR
    python -m bench.generation --json

The variants alternate in one process, each over all prompts: on a processor in seconds of it, on a GPU by the clock.

    sampled   Sampler               plain   generate(do_sample=True, num_return_sequences=K)
    greedy    GreedyContinuation    plain   generate(do_sample=False)

Plain `generate` gets the batches of `Sampler`, and on a GPU also those of 1,000 prompts; the best of both counts.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.demo.pool import demo_rows
from core.models.batching import Ragged
from core.models.encoder import Encoder
from core.models.generation.answers import SamplingSettings
from core.models.generation.greedy import GreedyContinuation, pad_left
from core.models.generation.sampler import Sampler
from core.models.loading import Model, load_model
from core.models.reference import resolve_model
from core.schema import IntArray, Reading

PLAIN_BATCH = 1000  # prompts, the fastest of those measured on a GPU
Contestant = Callable[[], int]  # runs over all prompts; returns the tokens it generated, ends included


def main() -> int:
    """Time the contestants on a processor and, if there is one, on a CUDA device; print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--devices", nargs="*", default=["cpu", "cuda"], choices=["cpu", "cuda"])
    parser.add_argument("--workspace", type=Path, default=Path("workspace"), help="of dequantised models")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    report: dict[str, Any] = {}
    for device in options.devices:
        if device == "cuda" and not torch.cuda.is_available():
            report[device] = None
            continue
        ref = resolve_model(options.model, models=options.workspace / "models")
        report[device] = time_all(load_model(ref, device=device), options.rows, options.new_tokens, options.rounds)
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def time_all(model: Model, rows: int, new_tokens: int, rounds: int) -> dict[str, Any]:
    """Return tokens a second of every contestant, alternating; the first round warms up and is not counted."""
    contestants = build_contestants(model, rows, new_tokens)
    tokens, seconds = dict.fromkeys(contestants, 0), dict.fromkeys(contestants, 0.0)
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            began = read_clock(model.device)
            count = run()
            if turn:
                tokens[name] += count
                seconds[name] += read_clock(model.device) - began
    rates = {name: tokens[name] / seconds[name] for name in contestants}
    best = max(rate for name, rate in rates.items() if name.startswith("plain sampled"))
    ratios = {name: rate / (rates["plain greedy"] if "greedy" in name else best) for name, rate in rates.items()}
    device = torch.cuda.get_device_name() if model.device == "cuda" else f"{torch.get_num_threads()} threads"
    return {"device": device, "tokens_per_second": rates, "ratio_to_plain": ratios}


def read_clock(device: str) -> float:
    """Return seconds of the processor, or by the clock once the GPU has finished."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def build_contestants(model: Model, rows: int, new_tokens: int) -> dict[str, Contestant]:
    """Return the contestants by name."""
    settings = SamplingSettings(max_new_tokens=new_tokens)
    sampler, greedy = Sampler(model, settings), GreedyContinuation(model, new_tokens=new_tokens)
    pool = [row for row in demo_rows()[0] if row["instruction"].strip()][:rows]
    texts = {"prompt": [row["instruction"] for row in pool], "response": [None] * rows, "turns": [None] * rows}
    prompts = Encoder(model.tokenizer, Reading()).encode_prompts(texts, sampler.room)
    batch = {"tokens": prompts, "ids": [row["id"] for row in pool]}
    whole = [np.arange(start, min(start + PLAIN_BATCH, rows)) for start in range(0, rows, PLAIN_BATCH)]
    planned = sampler._plan(np.array([len(prompt) for prompt in prompts]))
    sampled = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    sampled |= {"num_return_sequences": settings.answers}
    plain = partial(run_plain, model, prompts, new_tokens=new_tokens, ends=sampler.ends)
    contestants: dict[str, Contestant] = {
        "sampled": lambda: sum(map(sum, sampler(batch)["answer_tokens"])),
        "plain sampled": partial(plain, planned, **sampled),
        "greedy": lambda: int(greedy(batch)["continued"].sum()),
        "plain greedy": partial(plain, whole if model.device == "cuda" else planned, do_sample=False),
    }
    if model.device == "cuda":
        contestants["plain sampled, large batches"] = partial(plain, whole, **sampled)
    return contestants


@torch.inference_mode()
def run_plain(
    model: Model, prompts: Ragged, batches: Sequence[IntArray], *, new_tokens: int, ends: Sequence[int], **more: Any
) -> int:
    """Call `generate` on each batch; return the tokens up to the end of each answer."""
    count = 0
    for rows in batches:
        ids, mask = pad_left([np.asarray(prompts[i], np.int64) for i in rows], model.device)
        out = model.network.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=new_tokens,
            eos_token_id=list(ends) or None,
            pad_token_id=0,
            **more,
        )
        ending = np.isin(out[:, ids.shape[1] :].cpu().numpy(), ends)
        count += int((ending.cumsum(axis=1) - ending == 0).sum())
    return count


def format_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = []
    for device, result in report.items():
        if result is None:
            lines.append(f"{device}: no CUDA device")
            continue
        lines += [
            f"{device}: {result['device']}",
            "                                tokens/s   of the best plain `generate`",
        ]
        rates, ratios = result["tokens_per_second"], result["ratio_to_plain"]
        lines += [f"{name:<30} {rate:9,.0f} {ratios[name]:10.2f}" for name, rate in rates.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
