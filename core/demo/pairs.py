"""The demo preference set: sound answers to fresh questions of the demo's families, each against a faulty one.

Rows are {"prompt", "chosen", "rejected", "fault"}, so `fault` is the field that names a sub-task. The faults are
among those planted in the demo pool, and no question is asked there.
"""

import json
import random
from collections.abc import Set
from pathlib import Path

from core.demo.faults import MIN_RESPONSE_CHARS, RESPONSE_FAULTS, DemoRow
from core.demo.pool import FAMILIES, demo_rows, prompt_of
from core.workspace.files import write_atomic

PAIRS_PER_FAULT = 8


def demo_pairs(seed: int = 0) -> list[DemoRow]:
    """PAIRS_PER_FAULT pairs for each fault, every one of another family. The same seed gives the same pairs."""
    asked = {prompt_of(row) for row in demo_rows()[0]}
    return [pair for fault in ("swapped", *RESPONSE_FAULTS) for pair in _pairs(fault, seed, asked)]


def write_pairs(folder: Path) -> Path:
    """Write the pairs as JSON Lines into a file called demo; its path."""
    path = folder / "demo"
    lines = (json.dumps(pair, ensure_ascii=False) + "\n" for pair in demo_pairs())
    write_atomic(path, "".join(lines).encode())
    return path


def _pairs(fault: str, seed: int, asked: Set[str]) -> list[DemoRow]:
    rng = random.Random(f"pairs {fault} {seed}")  # no such seed draws rows of the pool
    rows = [_fresh(rng, family, asked) for family in rng.sample(list(FAMILIES), len(FAMILIES))]
    if fault in RESPONSE_FAULTS:
        rows = [row for row in rows if len(row["output"]) >= MIN_RESPONSE_CHARS]
        spoiled = [RESPONSE_FAULTS[fault](rng, row["output"]) for row in rows]
    else:
        spoiled = [row["output"] for row in (*rows[1:], rows[0])]  # swapped: the answer to the next question
    return [
        {"prompt": prompt_of(row), "chosen": row["output"], "rejected": bad, "fault": fault}
        for row, bad in zip(rows[:PAIRS_PER_FAULT], spoiled, strict=False)
    ]


def _fresh(rng: random.Random, family: str, asked: Set[str]) -> DemoRow:
    """A row of one family that is not in `asked`."""
    while True:
        instruction, given, output = FAMILIES[family](rng)
        row = {"instruction": instruction, "input": given, "output": output}
        if prompt_of(row) not in asked:
            return row
