"""The demo preference set: correct responses to new questions of the demo families, each against a faulty one.

Rows are {"prompt", "chosen", "rejected", "fault"}, so `fault` is the field that names a sub-task. The faults are
among those planted in the demo pool, and none of the questions occurs there.
"""

import random
from collections.abc import Set
from pathlib import Path

from core.demo.faults import MIN_RESPONSE_CHARS, RESPONSE_FAULTS, DemoRow
from core.demo.pool import FAMILIES, demo_rows, generate_row, json_lines, prompt_of
from core.workspace.files import write_atomic

PAIRS_PER_FAULT = 8


def demo_pairs(seed: int = 0) -> list[DemoRow]:
    """Return PAIRS_PER_FAULT pairs for each fault, each of another family. The same seed gives the same pairs."""
    pool_prompts = {prompt_of(row) for row in demo_rows()[0]}
    return [pair for fault in ("swapped", *RESPONSE_FAULTS) for pair in _pairs(fault, seed, pool_prompts)]


def write_pairs(folder: Path) -> Path:
    """Write the pairs as JSON Lines into a file named demo and return its path."""
    path = folder / "demo"
    write_atomic(path, json_lines(demo_pairs()))
    return path


def _pairs(fault: str, seed: int, pool_prompts: Set[str]) -> list[DemoRow]:
    rng = random.Random(f"pairs {fault} {seed}")  # the pool's rows use other seeds
    rows = [_fresh(rng, family, pool_prompts) for family in rng.sample(list(FAMILIES), len(FAMILIES))]
    if fault in RESPONSE_FAULTS:
        rows = [row for row in rows if len(row["output"]) >= MIN_RESPONSE_CHARS]
        faulty = [RESPONSE_FAULTS[fault](rng, row["output"]) for row in rows]
    else:
        faulty = [row["output"] for row in (*rows[1:], rows[0])]  # swapped: the answer to the next question
    return [
        {"prompt": prompt_of(row), "chosen": row["output"], "rejected": rejected, "fault": fault}
        for row, rejected in zip(rows[:PAIRS_PER_FAULT], faulty, strict=False)
    ]


def _fresh(rng: random.Random, family: str, pool_prompts: Set[str]) -> DemoRow:
    """Return a row of one family whose prompt is not in `pool_prompts`."""
    while True:
        row = generate_row(rng, family)
        if prompt_of(row) not in pool_prompts:
            return row
