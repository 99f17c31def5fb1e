"""Overlap of a large pool with 20,000 benchmark rows: rows a second, memory, and planted overlaps found.

    python -m bench.decontaminate                  50,000 rows
    python -m bench.decontaminate --rows 1000000

Texts are drawn word by word from a vocabulary with the frequencies of a natural language (Zipf), so common pairs of
words are in many benchmark texts. One row in 500 has one of three planted overlaps:

    exact        the prompt is a question of the benchmark
    reworded     the same with one word in ten replaced
    partial      the response contains 30 adjacent words of a question

The comparison runs in a process of its own, on a pool that was imported before. Peak memory includes the index.
"""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import typer

from bench.pool_load import ROOT, resources_since

ROWS, BENCHMARK_ROWS = 50_000, 20_000
VOCABULARY, ZIPF = 60_000, 1.05  # words, and the exponent of their frequencies
CHUNK = 10_000  # rows drawn at once
PLANT_EVERY = 500
EXCERPT_WORDS, REPLACED = 30, 10  # one word in so many
KINDS = ("exact", "reworded", "partial")
Words = list[str]


class Writer:
    """Draws texts of words."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        letters = np.random.default_rng(0).integers(97, 123, (VOCABULARY, 9), np.uint8)
        sizes = np.random.default_rng(1).integers(2, 10, VOCABULARY)
        self.words = [bytes(row[:n]).decode() for row, n in zip(letters, sizes.tolist(), strict=True)]
        frequency = 1 / np.arange(1, VOCABULARY + 1) ** ZIPF
        self.cumulative = np.cumsum(frequency / frequency.sum())

    def draw(self, n: int, low: int, high: int) -> Iterator[Words]:
        """Yield n texts of `low` to `high` words, most of them short."""
        lengths = np.geomspace(low, high, 64)[self.random.integers(0, 64, n)].astype(int)
        places = np.searchsorted(self.cumulative, self.random.random(int(lengths.sum())))
        ends = np.cumsum(lengths)
        for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
            yield [self.words[min(k, VOCABULARY - 1)] for k in places[start:end].tolist()]


def write_benchmark(file: Path) -> list[Words]:
    """Write questions with four choices; return the questions."""
    writer = Writer(2)
    questions = list(writer.draw(BENCHMARK_ROWS, 10, 120))
    choices = list(writer.draw(4 * BENCHMARK_ROWS, 1, 20))
    with file.open("w") as out:
        for k, question in enumerate(questions):
            own = [" ".join(words) for words in choices[4 * k : 4 * k + 4]]
            out.write(json.dumps({"question": " ".join(question), "choices": own, "answer": k % 4}) + "\n")
    return questions


def write_pool(file: Path, rows: int, questions: list[Words]) -> None:
    """Write a pool in the Alpaca schema; the id of a row with a planted overlap begins with its kind."""
    writer = Writer(3)
    long = [words for words in questions if len(words) >= EXCERPT_WORDS]
    planted = 0
    with file.open("w") as out:
        for start in range(0, rows, CHUNK):
            n = min(CHUNK, rows - start)
            texts = zip(writer.draw(n, 8, 120), writer.draw(n, 20, 400), strict=True)
            for k, (prompt, response) in enumerate(texts, start):
                name = f"row-{k}"
                if k % PLANT_EVERY == PLANT_EVERY // 2:
                    kind = KINDS[planted % 3]
                    name, planted = f"{kind}-{k}", planted + 1
                    prompt, response = PLANTS[kind](long[planted % len(long)], prompt, response)
                row = {"id": name, "instruction": " ".join(prompt), "output": " ".join(response)}
                out.write(json.dumps(row) + "\n")


def _exact(question: Words, _: Words, response: Words) -> tuple[Words, Words]:
    return question, response


def _reworded(question: Words, prompt: Words, response: Words) -> tuple[Words, Words]:
    words = list(question)
    words[REPLACED // 2 :: REPLACED] = ["reworded"] * len(words[REPLACED // 2 :: REPLACED])
    return words, response


def _partial(question: Words, prompt: Words, response: Words) -> tuple[Words, Words]:
    middle = len(response) // 2
    return prompt, [*response[:middle], *question[:EXCERPT_WORDS], *response[middle:]]


PLANTS: dict[str, Callable[[Words, Words, Words], tuple[Words, Words]]] = {
    "exact": _exact,
    "reworded": _reworded,
    "partial": _partial,
}


def compare(folder: Path) -> dict[str, object]:
    """Compare the imported pool with the benchmark; return resources, and the rows that overlap by kind."""
    from core.pool.benchmarks import find_overlap, load_matches
    from core.pool.pools import load_pool
    from core.progress import SilentReporter
    from core.workspace.folder import Workspace

    workspace = Workspace(folder / "workspace")
    pool = load_pool(str(folder / "pool.jsonl"), workspace=workspace.root)
    before = resources_since(0)
    start = perf_counter()
    benchmark = find_overlap(pool, [str(folder / "benchmark.jsonl")], workspace, SilentReporter())
    after = resources_since(start)
    rows = load_matches(workspace.root, pool.fingerprint, benchmark.name)["row"]
    found = Counter(name.partition("-")[0] for name in pool.rows["id"].take(rows).to_pylist())
    return after | {"cpu": after["cpu"] - before["cpu"], "before_mb": before["peak_mb"], "found": found}


def main(
    rows: int = typer.Option(ROWS),
    folder: Path | None = typer.Option(None, help="where the files go (default: temporary)"),  # noqa: B008
    *,
    worker: Path | None = typer.Option(None, hidden=True),  # noqa: B008
) -> None:
    """Make a pool, compare it with the benchmark, and print the figures."""
    if worker:
        print(json.dumps(compare(worker)))
        return
    with tempfile.TemporaryDirectory(dir=folder, prefix="winnow-bench-") as name:
        place = Path(name)
        write_pool(place / "pool.jsonl", rows, write_benchmark(place / "benchmark.jsonl"))
        pool, workspace = str(place / "pool.jsonl"), str(place / "workspace")
        inspect = [sys.executable, "-m", "core", "inspect", pool, "--workspace", workspace]
        subprocess.run(inspect, cwd=ROOT, check=True, capture_output=True)
        command = [sys.executable, "-m", "bench.decontaminate", "--worker", name]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        print_report(rows, (place / "pool.jsonl").stat().st_size, json.loads(done.stdout.splitlines()[-1]))


def print_report(rows: int, size: int, result: dict[str, float | dict[str, int]]) -> None:
    """Print the figures of one pool."""
    seconds, cpu, found = float(result["seconds"]), float(result["cpu"]), dict(result["found"])  # type: ignore[arg-type]
    print(f"{rows:,} rows ({size / 1e6:,.0f} MB) against {BENCHMARK_ROWS:,} benchmark rows")
    print(f"  {rows / seconds:,.0f} rows/s   {seconds:,.1f} s   {cpu:,.1f} s of processor")
    print(f"  a million rows: {cpu / rows * 1e6 / 60:.1f} min of processor")
    print(f"  peak {result['peak_mb']:,.0f} MB, {result['before_mb']:,.0f} MB of it before")
    planted = Counter(KINDS[k % 3] for k in range(len(range(PLANT_EVERY // 2, rows, PLANT_EVERY))))
    for kind, count in planted.items():
        print(f"  {kind:<9} {found.get(kind, 0):,} of {count:,} found")
    print(f"  not planted {found.get('row', 0):,}")


if __name__ == "__main__":
    typer.run(main)
