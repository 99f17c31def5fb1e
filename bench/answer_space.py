"""Embedding of answers and their geometry, compared with one forward pass per answer.

    python -m bench.answer_space                 64 real Alpaca rows and the embedded model, 4 and a 0.5 B shape
    python -m bench.answer_space --rows 16 --large 2 --rounds 1
    python -m bench.answer_space --words 200
    python -m bench.answer_space --json

The five answers to an instruction are the outputs of five other rows, cut to a number of words. The variants alternate
in one process:

    loop    one text at a time through the whole model with output_hidden_states, head included; then weights, mean,
            Gram matrix, eigenvalues
    body    the same through the body alone, so that the head is not counted
    space   AnswerEmbedder, then the geometry of core.algorithms.answer_geometry

All in float32, tokenizing included. Ratios are of processor seconds; those of wall-clock seconds are given too.
"""

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from bench.probe_pass import ALPACA, random_model
from core.algorithms.answer_geometry import compute_geometry, gram_matrices
from core.demo import MODEL_PATH
from core.models.answer_embeddings import AnswerEmbedder, token_weight
from core.models.loading import Model, load_model
from core.models.reference import resolve_model

LEAST_RATIO = 3
ANSWERS = 5
Batch = dict[str, list[Any]]


def main() -> int:
    """Time all variants on both models and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=64, help="with the embedded model")
    parser.add_argument("--large", type=int, default=4, help="rows with the large model; 0 leaves it out")
    parser.add_argument("--words", type=int, default=20, help="of an answer, at most")
    parser.add_argument("--rounds", type=int, default=3, help="of the embedded model; the large one gets one")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    if not ALPACA.exists():
        print(f"Skipped: the real rows ({ALPACA.name}) are not beside the project.")
        return 0
    embedded = load_model(resolve_model("embedded", None), dtype="float32")
    report = {"embedded": time_all(embedded, sample_answers(options.rows, options.words), options.rounds)}
    if options.large:
        large = replace(random_model(), tokenizer=AutoTokenizer.from_pretrained(MODEL_PATH))
        report["0.5 B, random"] = time_all(large, sample_answers(options.large, options.words), 1)
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def sample_answers(rows: int, words: int) -> Batch:
    """Sample instructions from the pool, each with the outputs of five other sampled rows as its answers."""
    with gzip.open(ALPACA, "rt", encoding="utf-8") as file:
        pool = [json.loads(line) for line in file]
    picked = np.random.default_rng(0).choice(len(pool), rows + ANSWERS, replace=False)
    instructions = [f"{pool[i]['instruction']}\n{pool[i].get('input', '')}".strip() for i in picked[:rows]]
    outputs = [" ".join(pool[i]["output"].split()[:words]) for i in picked]
    return {"instruction": instructions, "answers": [outputs[i + 1 : i + 1 + ANSWERS] for i in range(rows)]}


def time_all(model: Model, batch: Batch, rounds: int) -> dict[str, Any]:
    """Return the seconds of each variant, and the largest difference between figures of `space` and `loop`."""
    space = AnswerEmbedder(model)
    contestants: dict[str, Callable[[Batch], tuple[Any, Any]]] = {
        "loop": lambda rows: embed_one_by_one(model, model.network, rows),
        "body": lambda rows: embed_one_by_one(model, model.network.base_model, rows),
        "space": lambda rows: measure_spread(space, rows),
    }
    wall, processor = dict.fromkeys(contestants, 0.0), dict.fromkeys(contestants, 0.0)
    difference = 0.0
    for turn in range(rounds + 1):  # round 0 is a warm-up on two rows
        rows = batch if turn else {name: values[:2] for name, values in batch.items()}
        figures = {}
        for name, measure in contestants.items():
            began, worked = time.perf_counter(), time.process_time()
            figures[name] = measure(rows)
            if turn:
                wall[name] += time.perf_counter() - began
                processor[name] += time.process_time() - worked
        pairs = zip(figures["space"], figures["loop"], strict=True)
        difference = max(difference, *(float(np.abs(ours - plain).max()) for ours, plain in pairs))
    lengths = [len(ids) for ids in tokenize_texts(model, batch)]
    return {
        "rows": len(batch["instruction"]),
        "answers": len(lengths),
        "tokens": int(np.sum(lengths)),
        "tokens_run": count_tokens_run(space, batch),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "seconds": wall,
        "processor_seconds": processor,
        "ratio": {name: processor[name] / processor["space"] for name in ("loop", "body")},
        "wall_ratio": {name: wall[name] / wall["space"] for name in ("loop", "body")},
        "largest_difference": difference,
    }


def measure_spread(space: AnswerEmbedder, batch: Batch) -> tuple[Any, Any]:
    """Return dispersion and anisotropy, (N,) each."""
    geometry = compute_geometry(gram_matrices(space(batch)["vectors"]))
    return geometry.dispersion, geometry.anisotropy


@torch.inference_mode()
def embed_one_by_one(model: Model, network: Any, batch: Batch) -> tuple[Any, Any]:
    """Return dispersion and anisotropy, (N,) each, with one forward pass per answer."""
    weights: dict[int, float] = {}
    figures = []
    for instruction, answers in zip(batch["instruction"], batch["answers"], strict=True):
        vectors = []
        for answer in answers:
            ids = model.tokenizer(f"{instruction} {answer}", add_special_tokens=False)["input_ids"][:1024]
            for new in set(ids) - weights.keys():
                weights[new] = token_weight(model.tokenizer.decode([new]))
            tokens = torch.tensor([ids], device=model.device)
            hidden = network(input_ids=tokens, output_hidden_states=True, use_cache=False).hidden_states
            weight = torch.tensor([weights[k] for k in ids], device=model.device)
            vector = (weight[:, None] * torch.stack(hidden[-4:-1]).mean(dim=0)[0]).sum(dim=0) / weight.sum()
            vectors.append((vector / vector.norm()).double().cpu().numpy())
        figures.append(row_spread(np.array(vectors)))
    dispersion, anisotropy = np.array(figures).T
    return dispersion, anisotropy


def row_spread(vectors: Any) -> tuple[float, float]:
    """Return dispersion and anisotropy of one row's (K, d) vectors."""
    centred = vectors - vectors.mean(axis=0)
    values = np.linalg.eigvalsh(centred @ centred.T)
    return (values.sum() / len(vectors), 1 - values[-1] / values.sum()) if values.sum() > 1e-12 else (0.0, 0.0)


def tokenize_texts(model: Model, batch: Batch) -> list[list[int]]:
    """Return the token ids of every text."""
    pairs = zip(batch["instruction"], batch["answers"], strict=True)
    texts = [f"{instruction} {answer}" for instruction, answers in pairs for answer in answers]
    tokens: list[list[int]] = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return tokens


def count_tokens_run(space: AnswerEmbedder, batch: Batch) -> int:
    """Count the tokens that the body processes for all texts, padding and shared prefixes included."""
    counts: list[int] = []
    handle = space.model.network.base_model.register_forward_pre_hook(
        lambda _module, _args, given: counts.append(given["input_ids"].numel()), with_kwargs=True
    )
    space(batch)
    handle.remove()
    return sum(counts)


def format_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = ["model            loop     body    space   loop/space   by the clock   body/space   by the clock   wanted"]
    for name, result in report.items():
        seconds, ratio, wall = result["processor_seconds"], result["ratio"], result["wall_ratio"]
        lines.append(
            f"{name:<14} {seconds['loop']:6.1f} {seconds['body']:8.1f} {seconds['space']:8.1f} {ratio['loop']:12.2f} "
            f"{wall['loop']:14.2f} {ratio['body']:12.2f} {wall['body']:14.2f}   at least {LEAST_RATIO}"
        )
    lines.append("")
    lines += [
        f"{name}: {result['rows']} rows, {result['answers']} answers, {result['tokens']:,} tokens, "
        f"{result['tokens_run']:,} of them run by space; {result['rounds']} rounds, {result['threads']} threads; "
        f"largest difference of a figure {result['largest_difference']:.1e}"
        for name, result in report.items()
    ]
    return "\n".join([*lines, "Processor seconds."])


if __name__ == "__main__":
    sys.exit(main())
