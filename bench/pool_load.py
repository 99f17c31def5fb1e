"""Time and memory to open a pool, compared with `datasets.load_dataset("json")` on the same file.

    python -m bench.pool_load              100,000 rows of about 1 kB
    python -m bench.pool_load --full       1,000,000 rows, about 1 GB
    python -m bench.pool_load --rows 5000
    python -m bench.pool_load --shards 20  the same rows in so many files, too

Each reader runs in a process of its own, on a file that was just written, so both read it from the page cache.
Both end with memory-mapped Arrow files. Winnow also hashes every row's content, finds exact duplicates, builds the
canonical view and keeps the original text.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FULL = 1_000_000
PARAGRAPHS = 2000  # distinct pieces that responses are made of
SAMPLE_READS = 2000


def main() -> None:
    """Write the file, time both readers, and print a line for each and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} rows, about 1 GB")
    parser.add_argument("--shards", type=int, default=0, help="also read the same rows from so many files")
    parser.add_argument("--folder", type=Path, help="where the file and both caches go (default: temporary)")
    parser.add_argument("--reader", choices=sorted(READERS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        print(json.dumps(READERS[options.reader](options.file)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        time_readers(Path(folder), FULL if options.full else options.rows, options.shards)


def time_readers(folder: Path, rows: int, shards: int = 0) -> None:
    """Time both readers on one generated file, Winnow on the same rows in `shards` files too, and print the results."""
    file = folder / "pool.jsonl"
    write_rows(file, rows)
    print(f"{rows:,} rows, {file.stat().st_size / 1e6:,.0f} MB")
    results = {name: run_reader(name, file) for name in READERS}
    if shards:
        results[f"{shards} shards"] = run_reader("winnow", split_file(file, rows, shards))
    for name, result in results.items():
        extra = "".join(f"   {k} {v}" for k, v in result.items() if k not in ("seconds", "cpu", "peak_mb"))
        print(
            f"{name:<13} {result['seconds']:7.1f} s   {result['cpu']:7.1f} s of processor"
            f"   peak {result['peak_mb']:,.0f} MB{extra}"
        )
    ratio = results["winnow"]["seconds"] / results["load_dataset"]["seconds"]
    cpu = results["winnow"]["cpu"] / results["load_dataset"]["cpu"]
    print(f"winnow / load_dataset: {ratio:.2f} (wall clock), {cpu:.2f} (processor)")


def write_rows(file: Path, rows: int, seed: int = 0) -> None:
    """Write rows of about 1 kB in the Dolly schema, with ids; one in a hundred repeats the text of an earlier row."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    pieces = [" ".join(rng.choices(words, k=25)) for _ in range(PARAGRAPHS)]
    with file.open("w", encoding="utf-8") as out:
        for k in range(rows):
            seeded = random.Random(k - 50 if k % 100 == 99 else k)
            row = {
                "id": f"row-{k}",
                "instruction": seeded.choice(pieces),
                "context": "",
                "response": "\n".join(seeded.choices(pieces, k=seeded.randint(1, 8))),
                "category": f"task {k % 12}",
            }
            out.write(json.dumps(row) + "\n")


def split_file(file: Path, rows: int, shards: int) -> Path:
    """Write the lines of a file to so many files in a folder next to it; return the folder."""
    folder = file.parent / "shards"
    folder.mkdir()
    size = -(-rows // shards)
    with file.open("rb") as lines:
        for k in range(shards):
            (folder / f"part-{k}.jsonl").write_bytes(b"".join(islice(lines, size)))
    return folder


def run_reader(reader: str, file: Path) -> dict[str, float]:
    """Return seconds and peak memory of one reader in a fresh process."""
    command = [sys.executable, "-m", "bench.pool_load", "--reader", reader, "--file", str(file)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def read_with_winnow(file: Path) -> dict[str, float]:
    """Import the file, then read a few thousand random rows."""
    from core.pool.pools import load_pool, read_rows

    start = time.perf_counter()
    pool = load_pool(str(file), workspace=file.parent / "workspace")
    result = resources_since(start) | {"mb_stored": round(pool.rows.nbytes / 1e6)}
    begin = time.perf_counter()
    picks = random.Random(1).choices(range(len(pool)), k=SAMPLE_READS)
    read_rows(pool, picks)
    per_row = (time.perf_counter() - begin) / SAMPLE_READS
    again = time.perf_counter()
    load_pool(str(file), workspace=file.parent / "workspace")
    return result | {
        "µs_per_row_read": round(per_row * 1e6, 1),
        "ms_to_reopen": round((time.perf_counter() - again) * 1e3, 1),
    }


def read_with_datasets(file: Path) -> dict[str, float]:
    """Load the same file with `datasets`."""
    from datasets import load_dataset

    start = time.perf_counter()
    load_dataset("json", data_files=str(file), split="train", cache_dir=str(file.parent / "datasets"))
    return resources_since(start)


def resources_since(start: float) -> dict[str, float]:
    """Return seconds since `start`, and processor seconds and peak memory of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - start,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
    }


READERS = {"winnow": read_with_winnow, "load_dataset": read_with_datasets}

if __name__ == "__main__":
    main()
