"""The demo pool: rows generated from task families by a seed, with planted faults and a separate answer key.

Pool rows are Alpaca rows with `id` and `task`. A key row is {"id", "fault"} and, where the fault
involves another row, "of": the row whose response it holds, or which it repeats. Ids are numbered
after shuffling, so neither the id nor the position of a row reveals a fault.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from core.demo.closed_tasks import CLOSED_TASKS
from core.demo.faults import DemoRow, plant_faults
from core.demo.open_tasks import OPEN_TASKS
from core.workspace.files import write_atomic

FAMILIES = CLOSED_TASKS | OPEN_TASKS
ROWS_PER_FAMILY = 152  # 2,400 rows in all, with the duplicates


def clean_rows(seed: int) -> list[DemoRow]:
    """Return rows without faults, family by family, without ids. No two share instruction and input."""
    return [row for task in FAMILIES for row in _draw(task, seed)]


def demo_rows(seed: int = 0) -> tuple[list[DemoRow], list[DemoRow]]:
    """Return pool rows and answer key, both in pool order. The same seed gives the same rows."""
    rng = random.Random(f"faults {seed}")
    planted, faults = plant_faults(rng, clean_rows(seed))
    places = list(range(len(planted)))
    rng.shuffle(places)
    ids = {place: f"demo-{number:05d}" for number, place in enumerate(places, 1)}
    pool = [{"id": ids[place]} | planted[place] for place in places]
    key = [
        {"id": ids[fault["row"]], "fault": fault["fault"]} | ({"of": ids[fault["of"]]} if "of" in fault else {})
        for fault in faults
    ]
    return pool, sorted(key, key=lambda row: row["id"])


def write_demo(folder: Path, seed: int = 0) -> Path:
    """Write demo.jsonl and demo.key.jsonl, each complete or absent, and return the path of the pool."""
    pool, key = demo_rows(seed)
    write_atomic(folder / "demo.key.jsonl", json_lines(key))
    path = folder / "demo.jsonl"
    write_atomic(path, json_lines(pool))
    return path


def generate_row(rng: random.Random, task: str) -> DemoRow:
    """Return a new row of one family, without id and task."""
    return dict(zip(("instruction", "input", "output"), FAMILIES[task](rng), strict=True))


def json_lines(rows: list[DemoRow]) -> bytes:
    """Return rows as JSON Lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def prompt_of(row: DemoRow) -> str:
    """Return instruction and input as one text."""
    return "\n".join(filter(None, (row["instruction"], row["input"])))


def _draw(task: str, seed: int) -> Iterator[DemoRow]:
    """Yield ROWS_PER_FAMILY different rows of one family."""
    rng = random.Random(f"{task} {seed}")
    seen: set[tuple[str, str]] = set()
    while len(seen) < ROWS_PER_FAMILY:
        row = generate_row(rng, task)
        if (question := (row["instruction"], row["input"])) not in seen:
            seen.add(question)
            yield row | {"task": task}
