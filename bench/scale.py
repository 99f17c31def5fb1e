"""Stages that see all rows of a pool: their time and memory at 10,000, 100,000 and 1,000,000 synthetic rows.

    python -m bench.scale                        all three sizes; the last takes an hour or two, and 10 GB of disk
    python -m bench.scale --rows 10000 --rows 100000
    python -m bench.scale --rows 10000 --only clusters --only plan

    clusters     k-means of embeddings of 2,048 numbers in half precision, read from stored parts: a bin per 50 rows
    tasks        the same, into 50 clusters
    similar      semantic duplicates at 0.95 among such embeddings, one row in 50 a copy of the row before it with noise
    coverage     gains of all rows, 1,200 active neurons of 120,000 in each, from a memory-mapped file
    signatures   MinHash signatures of texts of 120 words, and the groups of near-duplicates at 0.8
    plan         the plan of a pass by row length, written and read
    quotas       Webster seats of 50 tasks, and the rank of all rows by one score

Each figure comes from a process of its own, without the making of its data. Memory is the most above what the process
held before; pages of mapped files, which the system takes back when it needs them, do not count. With two sizes or
more, bytes a row are the rise in memory from the smallest to the largest.

    loss         coverage that partition and merge lose on few rows in 10 parts, where the merge orders as small a share
                 of the pool as at 1, 2 and 10 million rows of 1,200 active neurons
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import typer
from numpy.typing import NDArray

from core.algorithms.active_neurons import ActiveNeurons
from core.algorithms.apportionment import interleave_by_seats
from core.algorithms.greedy_coverage import PARTITIONED_SHARE, coverage_gains, partitioned_order
from core.algorithms.kmeans import kmeans
from core.algorithms.semantic_bins import default_bin_count
from core.algorithms.similar_vectors import find_similar_rows
from core.algorithms.vector_blocks import VectorBlocks
from core.analysis.coverage_curve import PoolCoverage
from core.methods.ranking import group_rows, rank_rows
from core.pool.minhash import compute_signatures, group_near_duplicates
from core.pool.near_duplicates import StoredSignatures
from core.schema import ignore_progress
from core.workspace.parts import Parts, plan_blocks, plan_by_work
from core.workspace.stages import as_column

SIZES = [10_000, 100_000, 1_000_000]
WIDTH, KINDS, PART_ROWS = 2048, 200, 4096
ACTIVE, NEURONS, PREFERRED = 1200, 120_000, 4800
WORDS, VOCABULARY, REPEAT = 120, 20_000, 50  # every so many rows, one repeats the row before it
TASKS = 50
SIMILARITY, NOISE = 0.95, 0.2  # a copy with this noise has a similarity of 0.99
LOSS_ROWS = 3000
BUDGETS = (0.05, 0.15, 0.3)
SAMPLED_EVERY_S = 0.02

Work = Callable[[], object]


# Stages: each makes its data in a folder and returns the work to measure


def prepare_clusters(rows: int, folder: Path, clusters: int = 0) -> Work:
    """Store embeddings around 200 centres, in parts of rows in mixed order. 0 clusters: a bin per 50 rows."""
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((KINDS, WIDTH), np.float32)
    order = draw.permutation(rows)
    parts = Parts.open(folder / "parts", {}, [order[block] for block in plan_blocks(rows, PART_ROWS)])
    for part, some in enumerate(parts.plan):
        vectors = centres[some % KINDS] + draw.standard_normal((len(some), WIDTH), np.float32) + 3
        parts.write(part, pa.table({"embedding": as_column(vectors.astype(np.float16))}))
    vectors = VectorBlocks(rows, partial(parts.blocks, "embedding"))
    return lambda: kmeans(vectors, clusters or default_bin_count(rows), seed=0, directions=True)


def prepare_similar(rows: int, folder: Path) -> Work:
    """Store embeddings around 200 centres, some of them copies with noise; sort them in a file to compare them."""
    centres = np.random.default_rng(0).standard_normal((KINDS, WIDTH), np.float32)
    parts = Parts.open(folder / "parts", {}, plan_blocks(rows, PART_ROWS))
    for part, some in enumerate(parts.plan):
        vectors = np.array([embed(row, centres) for row in some.tolist()])
        parts.write(part, pa.table({"embedding": as_column(vectors.astype(np.float16))}))
    vectors = VectorBlocks(rows, partial(parts.blocks, "embedding"))

    def scratch(shape: tuple[int, int], dtype: np.dtype[Any]) -> Any:
        return np.memmap(folder / "sorted", dtype, "w+", shape=shape)

    def work() -> None:
        found = find_similar_rows(vectors, SIMILARITY, scratch=scratch)
        copies = np.arange(1, rows, REPEAT)
        assert (found.repeats[copies] == copies - 1).all() and (found.repeats >= 0).sum() == len(copies)

    return work


def embed(row: int, centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the embedding of a row (WIDTH,)."""
    same = row - 1 if row % REPEAT == 1 else row
    vector = centres[same % KINDS] + np.random.default_rng(same).standard_normal(WIDTH, np.float32) + 3
    return vector if same == row else vector + np.random.default_rng(row).normal(0, NOISE, WIDTH).astype(np.float32)


def prepare_coverage(rows: int, folder: Path) -> Work:
    """Write active neurons to a file."""
    states = write_active_neurons(rows, folder)
    return lambda: coverage_gains(states, np.arange(rows))


def write_active_neurons(rows: int, folder: Path) -> ActiveNeurons:
    """Write the active neurons of rows of 200 kinds; a row activates a quarter of the neurons that its kind prefers."""
    draw = np.random.default_rng(0)
    common = draw.normal(0, 1.5, NEURONS)
    preferred = [
        np.sort(np.argpartition(-common - draw.gumbel(size=NEURONS), PREFERRED)[:PREFERRED]).astype(np.uint32)
        for _ in range(KINDS)
    ]
    with (folder / "active").open("wb") as file:
        for block in plan_blocks(rows, 1000):
            for kind in draw.integers(0, KINDS, len(block)):
                quarter = np.sort(np.argpartition(draw.random(PREFERRED, np.float32), ACTIVE)[:ACTIVE])
                preferred[kind][quarter].tofile(file)
    active = np.memmap(folder / "active", np.uint32, "r")
    return ActiveNeurons(np.arange(rows + 1) * ACTIVE, active, NEURONS, check=False)


def prepare_signatures(rows: int, folder: Path) -> Work:
    """Hash texts part by part, then group them."""
    parts = Parts.open(folder / "parts", {}, plan_blocks(rows, PART_ROWS), mapped=True)

    def work() -> None:
        for part, some in enumerate(parts.plan):
            signatures = compute_signatures([make_text(row) for row in some.tolist()])
            parts.write(part, pa.table({"signature": as_column(signatures)}))
        group_near_duplicates(StoredSignatures(parts), PART_ROWS, make_text, 0.8, ignore_progress)

    return work


def make_text(row: int) -> str:
    """Return the text of a row."""
    same = row - 1 if row % REPEAT == 1 else row
    return " ".join(map(str, np.random.default_rng(same).integers(0, VOCABULARY, WORDS).tolist()))


def prepare_plan(rows: int, folder: Path) -> Work:
    """Plan rows of 2 to some thousand tokens."""
    lengths = np.random.default_rng(0).lognormal(5, 1, rows).astype(np.int64) + 2
    return lambda: Parts.open(folder / "parts", {}, plan_by_work(lengths, 400_000))


def prepare_quotas(rows: int, _: Path) -> Work:
    """Rank rows of tasks of different size."""
    draw = np.random.default_rng(0)
    task, score = draw.zipf(1.5, rows) % TASKS, draw.standard_normal(rows, np.float32)

    def work() -> None:
        order = rank_rows(score, np.arange(rows), prefer="high")
        groups = group_rows(task, np.arange(rows))
        interleave_by_seats(groups, np.arange(1.0, len(groups) + 1))
        assert len(order) == rows

    return work


STAGES: dict[str, Callable[[int, Path], Work]] = {
    "clusters": prepare_clusters,
    "tasks": partial(prepare_clusters, clusters=TASKS),
    "similar": prepare_similar,
    "coverage": prepare_coverage,
    "signatures": prepare_signatures,
    "plan": prepare_plan,
    "quotas": prepare_quotas,
}


# Measuring


class PeakMemory:
    """The most memory of this process, in bytes, without pages of mapped files; looked at every 20 ms."""

    def __enter__(self) -> "PeakMemory":
        self.process, self.stopped = psutil.Process(), threading.Event()
        self.before = self.most = self.now()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def now(self) -> int:
        """Return the memory at this moment."""
        memory = self.process.memory_info()
        return int(memory.rss - memory.shared)

    def watch(self) -> None:
        """Look until stopped."""
        while not self.stopped.wait(SAMPLED_EVERY_S):
            self.most = max(self.most, self.now())

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()


def measure(stage: str, rows: int) -> dict[str, float]:
    """Measure one stage in this process."""
    with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
        if stage == "loss":
            return measure_loss(Path(folder))
        work = STAGES[stage](rows, Path(folder))
        began, worked = time.perf_counter(), time.process_time()
        with PeakMemory() as memory:
            work()
        seconds, processor = time.perf_counter() - began, time.process_time() - worked
        return {"seconds": seconds, "processor": processor, "bytes": memory.most - memory.before}


def measure_loss(folder: Path) -> dict[str, float]:
    """Return the coverage of the first rows in each order as a share of that of the whole greedy order."""
    states = write_active_neurons(LOSS_ROWS, folder)
    rows, result = np.arange(LOSS_ROWS), {}
    whole = PoolCoverage.of(states, "sqrt", 1)
    full = rank_rows(coverage_gains(states, rows), rows, prefer="high")
    orders = {"random": np.random.default_rng(0).permutation(LOSS_ROWS)}
    for millions, share in ((1, PARTITIONED_SHARE), (2, 0.167), (10, 0.033)):
        merged, length = int(share * LOSS_ROWS), int(PARTITIONED_SHARE * LOSS_ROWS)
        cover = partitioned_order(states, length, merged=merged, part_rows=LOSS_ROWS // 10)
        orders[f"as {millions:g} million, {share:.1%} merged"] = cover.rows
    for name, order in orders.items():
        for budget in BUDGETS:
            size = int(budget * LOSS_ROWS)
            reached, best = (whole.share(states.counts(some[:size])) for some in (order, full))
            result[f"{name}: {budget:.0%}"] = 1 - reached / best
    return result


def run_alone(stage: str, rows: int) -> dict[str, float]:
    """Measure one stage in a process of its own."""
    words = [sys.executable, "-m", "bench.scale", "--stage", stage, "--rows", str(rows)]
    return dict(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))


def main(
    *,
    rows: list[int] = typer.Option(SIZES, "--rows"),  # noqa: B008
    only: list[str] = typer.Option([*STAGES, "loss"], "--only"),  # noqa: B008
    stage: str = typer.Option("", hidden=True),
) -> None:
    """Print one table."""
    if stage:
        print(json.dumps(measure(stage, rows[0])))
        return
    print("stage       rows         seconds  processor  memory MB  bytes a row")
    for name in filter(only.__contains__, STAGES):
        first: tuple[int, float] | None = None
        for size in sorted(rows):
            figures = run_alone(name, size)
            rise = f"{(figures['bytes'] - first[1]) / (size - first[0]):11,.0f}" if first else ""
            first = first or (size, figures["bytes"])
            print(
                f"{name:<11} {size:<11,} {figures['seconds']:8.1f}  {figures['processor']:9.1f}  "
                f"{figures['bytes'] / 1e6:9,.0f}  {rise}",
                flush=True,
            )
    if "loss" in only:
        print(f"\ncoverage lost against one search, {LOSS_ROWS:,} rows; order and budget")
        for name, lost in run_alone("loss", LOSS_ROWS).items():
            print(f"{name:<40} {lost:8.3%}", flush=True)


if __name__ == "__main__":
    typer.run(main)
