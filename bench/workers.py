"""Workers that share one measurement: rows a second, what a part costs among shards, what Ray costs, and the same bits.

    python -m bench.workers [--rows 1200]

Each worker is a process of one thread. Rates are those of the pass, from the times at which its parts were stored; the
start of processes is before the first part. Ray: a cluster of two nodes of one processor, on this machine.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

import core as winnow
from core.demo.pool import clean_rows, json_lines
from core.measurement.run_data import base_parts
from core.progress import SilentReporter
from core.selection.recipe import parse_recipe
from core.workers.cluster import run_on_cluster
from core.workers.launch import run_workers
from core.workers.places import Place
from core.workers.task import Task, measuring
from core.workspace.folder import Workspace
from core.workspace.parts import plan_blocks
from core.workspace.shards import ALONE, Shard
from core.workspace.stages import Stages

METHOD = "lowest_nll"
SETTINGS = {"OMP_NUM_THREADS": "1", "WINNOW_PART_SECONDS": "0.2", "RAY_USAGE_STATS_ENABLED": "0"}
BEGUN = 0.2  # share of the parts after which all workers are at work, and the rate counts
EMPTY_PARTS = 300


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1200)
    rows = json_lines(clean_rows(0)[: parser.parse_args().rows])
    os.environ.update(SETTINGS)
    ways = {"1 worker": in_processes(1), "2 workers": in_processes(2), "2 shards": in_shards}
    print(f"{'':12}{'rows/s':>8}{'parts':>7}{'first part':>12}{'whole run':>11}   SHA-256 of the columns")
    rates = {name: measure(name, run, rows) for name, run in ways.items()}
    if find_spec("ray"):
        with ray_cluster() as address:
            measure("2 on Ray", lambda task, _file: run_on_cluster(task, address, "cpu", SilentReporter()), rows)
    print(f"2 workers / 1 worker: {rates['2 workers'] / rates['1 worker']:.2f}")
    alone, shared = (min(empty_part(shard) for _ in range(3)) for shard in (ALONE, Shard(0, 2)))
    print(f"a part without work: {1000 * alone:.1f} ms alone, {1000 * shared:.1f} ms as a shard, on Ray too")


def measure(name: str, run: Callable[[Task, Path], None], rows: bytes) -> float:
    """Measure the rows in a new workspace; print a line, and return the rate of the pass."""
    with tempfile.TemporaryDirectory() as folder:
        file, workspace = Path(folder) / "rows.jsonl", Workspace(Path(folder) / "workspace")
        file.write_bytes(rows)
        pool = winnow.load_pool(file, workspace=workspace, report=None)
        recipe = parse_recipe({"pool": {"source": pool.fingerprint}, "method": {"name": METHOD}}, "bench")
        began = time.time()
        run(measuring(recipe, pool, workspace), file)
        seconds = time.time() - began
        found = winnow.find_run(pool, METHOD)
        assert found
        parts = base_parts(workspace, found.run)
        stored = sorted((parts.path(k).stat().st_mtime, len(rows)) for k, rows in enumerate(parts.plan))
        start = int(BEGUN * len(stored))
        rate = sum(count for _, count in stored[start + 1 :]) / (stored[-1][0] - stored[start][0])
        digest = hashlib.sha256()
        for column in sorted(found.scores):
            digest.update(column.encode() + found.scores[column].to_numpy().tobytes())
    first = stored[0][0] - began
    print(f"{name:12}{rate:8.1f}{len(stored):7}{first:10.1f} s{seconds:9.1f} s   {digest.hexdigest()}", flush=True)
    return rate


def in_processes(count: int) -> Callable[[Task, Path], None]:
    """Return what runs `--workers COUNT`."""
    return lambda task, _file: run_workers(task, [Place("cpu")] * count, SilentReporter())


def in_shards(task: Task, file: Path) -> None:
    """Run two commands with --shard at once."""
    command = [sys.executable, "-m", "core", "measure", str(file), "--method", METHOD, "--workspace", task.workspace]
    shards = [
        subprocess.Popen([*command, "--shard", f"{k}/2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for k in range(2)
    ]
    assert [shard.wait() for shard in shards] == [0, 0]


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Yield the address of a new cluster."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster.address
    cluster.shutdown()


def empty_part(shard: Shard) -> float:
    """Return the seconds that a part takes whose rows are known."""
    with tempfile.TemporaryDirectory() as folder:
        stages = Stages(Workspace(folder), SilentReporter(), shard)
        plan = plan_blocks(EMPTY_PARTS, 1)
        began = time.perf_counter()
        stages.fill({"kind": "empty"}, plan, "", lambda: lambda rows: pa.table({"row": rows}))
        return (time.perf_counter() - began) / EMPTY_PARTS


if __name__ == "__main__":
    main()
