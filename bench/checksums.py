"""What checksums cost: the share of importing a pool, of opening it again, and of writing and reading parts.

    python -m bench.checksums              100,000 rows of about 1 kB
    python -m bench.checksums --full       1,000,000 rows, about 1 GB

Times are of one process, with and without in turn: processor time, and wall clock where the disk matters.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from bench.pool_load import FULL, write_rows
from core.pool.pools import load_pool
from core.workspace import checksums, files
from core.workspace.parts import Parts
from core.workspace.stages import as_column

PART_ROWS, WIDTH, PARTS = 4096, 768, 12
REPEATS = 5


def main() -> None:
    """Measure, and print a line for each kind of use."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} rows, about 1 GB")
    parser.add_argument("--folder", type=Path, help="where files go (default: temporary)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        time_pool(Path(folder), FULL if options.full else options.rows)
        time_parts(Path(folder))


def time_pool(folder: Path, rows: int) -> None:
    """Time checksums within an import, and opening with and without them."""
    source, workspace = folder / "pool.jsonl", folder / "workspace"
    write_rows(source, rows)
    spent: list[float] = []
    hash_file = checksums.hash_file

    def timed(path: Path) -> str:
        began = time.process_time()
        digest = hash_file(path)
        spent.append(time.process_time() - began)
        return digest

    with patch.object(checksums, "hash_file", timed):
        whole = seconds(lambda: load_pool(str(source), workspace=workspace), time.process_time)
    size = sum(file.stat().st_size for file in (workspace / "pools").rglob("*") if file.is_file())
    print(f"{rows:,} rows, {size / 1e6:,.0f} MB stored")
    print(f"import            {whole:8.2f} s, of which checksums {sum(spent):.3f} s = {sum(spent) / whole:.2%}")
    opened: dict[bool, list[float]] = {True: [], False: []}
    for verified in [True, False] * REPEATS:
        with without_checksums(verify=verified):
            checksums.forget_verified()
            opened[verified].append(seconds(lambda: load_pool(str(source), workspace=workspace), time.process_time))
    first, plain = min(opened[True]), min(opened[False])
    load_pool(str(source), workspace=workspace)
    again = seconds(lambda: load_pool(str(source), workspace=workspace), time.process_time)
    print(
        f"open again        {first * 1e3:8.1f} ms, {again * 1e3:.1f} later in the process, {plain * 1e3:.1f} unchecked"
    )


def time_parts(folder: Path) -> None:
    """Time writing and reading parts of embeddings, with and without checksums and syncing."""
    values = np.random.default_rng(0).standard_normal((PART_ROWS, WIDTH)).astype(np.float16)
    table = pa.table({"embedding": as_column(values)})
    plan = [np.arange(PART_ROWS)] * PARTS
    taken: dict[bool, list[float]] = {True: [], False: []}
    for number, safe in enumerate([True, False] * REPEATS):
        with without_checksums(verify=safe):
            parts = Parts.open(folder / str(number), {}, plan)
            for k in range(PARTS):
                taken[safe].append(seconds(partial(parts.write, k, table), time.perf_counter))
    safe, plain = (1e3 * float(np.median(taken[kind])) for kind in (True, False))
    print(f"write a part      {safe:8.1f} ms ({table.nbytes / 1e6:.1f} MB), {plain:.1f} ms without checksum")
    print("a part is 5 to 20 s of a model's work")


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the seconds that a call takes."""
    began = clock()
    work()
    return clock() - began


@contextmanager
def without_checksums(*, verify: bool) -> Iterator[None]:
    """Neither write nor verify checksums in the block, unless `verify`."""
    with ExitStack() as stack:
        if not verify:
            stack.enter_context(patch.object(checksums, "matches_checksum", lambda path: bool(path.stat())))
            stack.enter_context(patch.object(checksums, "read_checksum", lambda path: ""))
            stack.enter_context(patch.object(files, "_write_checksum", lambda path, digest: None))
        yield


if __name__ == "__main__":
    main()
