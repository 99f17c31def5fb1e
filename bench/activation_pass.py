"""Cost of collecting activations in the forward pass.

    python -m bench.activation_pass              64 real Alpaca rows; the embedded model, and the shape of a 0.5 B one
    python -m bench.activation_pass --rows 16
    python -m bench.activation_pass --json

The passes with and without activations alternate in one process, batch after batch. Ratios are of processor seconds;
those of wall-clock seconds are given too.
"""

import argparse
import json
import sys
import time
from typing import Any

import numpy as np
import torch

from bench.probe_pass import ALPACA, Batch, alpaca_rows, random_model
from core.models.activations import ActivationObserver
from core.models.batching import batch_cost, plan_batches
from core.models.forward_pass import CPU_TOKENS, ForwardPass
from core.models.loading import Model, load_model
from core.models.reference import resolve_model

MOST_RATIO = 1.2


def main() -> int:
    """Time both passes on both models and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument(
        "--rounds", type=int, default=1, help="of the large model; the embedded one gets ten times as many"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    if not ALPACA.exists():
        print(f"Skipped: the real rows ({ALPACA.name}) are not beside the project.")
        return 0
    rows = alpaca_rows(options.rows)
    embedded = load_model(resolve_model("embedded", None), dtype="float32")
    report = {
        "embedded": time_both(embedded, rows, 10 * options.rounds),
        "0.5 B, random": time_both(random_model(), rows, options.rounds),
    }
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def time_both(model: Model, rows: Batch, rounds: int) -> dict[str, Any]:
    """Return the seconds of both passes over all rows."""
    contestants = {"without": ForwardPass(model), "with": ForwardPass(model, observers=[ActivationObserver(model)])}
    lengths = np.array([len(t) for t in rows["tokens"]])
    batches = plan_batches(lengths, batch_cost(model.network, model.device, "pass", CPU_TOKENS))
    wall, processor = dict.fromkeys(contestants, 0.0), dict.fromkeys(contestants, 0.0)
    for turn in range(rounds + 1):  # round 0 is a warm-up on the smallest batch
        for picked in batches if turn else batches[-1:]:
            batch = {name: [values[i] for i in picked] for name, values in rows.items()}
            for name, probe in contestants.items():
                began, worked = time.perf_counter(), time.process_time()
                probe(batch)
                if turn:
                    wall[name] += time.perf_counter() - began
                    processor[name] += time.process_time() - worked
    return {
        "rows": len(lengths),
        "tokens": int(lengths.sum()),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "seconds": wall,
        "processor_seconds": processor,
        "ratio": processor["with"] / processor["without"],
        "wall_ratio": wall["with"] / wall["without"],
    }


def format_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = ["model            without     with    ratio   by the clock   wanted"]
    for name, result in report.items():
        seconds = result["processor_seconds"]
        lines.append(
            f"{name:<14} {seconds['without']:8.1f} {seconds['with']:8.1f} {result['ratio']:8.3f} "
            f"{result['wall_ratio']:14.3f}   at most {MOST_RATIO}"
        )
    first = next(iter(report.values()))
    lines += ["", f"{first['rows']} rows, {first['tokens']:,} tokens; {first['threads']} threads; processor seconds"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
