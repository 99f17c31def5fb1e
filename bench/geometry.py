"""Answer geometry of a million rows, from a memory-mapped file.

    python -m bench.geometry                     1,000,000 rows x 5 answers x 384 numbers, float16
    python -m bench.geometry --rows 50000 --answers 10 --width 768
    python -m bench.geometry --json

Vectors are synthetic unit vectors around a mean per row; one answer in a hundred is missing. Writing the file is not
timed. Also reported: the peak memory of arrays, which includes the K x K similarities of all rows, and the largest
difference of either figure from one computed by singular values, on the first rows.
"""

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.algorithms.answer_geometry import AnswerGeometry, compute_geometry, gram_matrices

WANTED_SECONDS = 60
CHUNK = 5000
MISSING = 0.01
COMPARED_ROWS = 5000


def main() -> int:
    """Write the vectors, time the geometry and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--answers", type=int, default=5)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    shape = (options.rows, options.answers, options.width)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.f16"
        with path.open("wb") as file:
            for part in generate_vectors(*shape):
                part.tofile(file)
        report = time_geometry(np.memmap(path, np.float16, "r", shape=shape))
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def generate_vectors(rows: int, answers: int, width: int) -> Iterator[NDArray[np.float16]]:
    """Yield rows in chunks, seeded; answers of a row are close together or far apart."""
    draw = np.random.default_rng(0)
    for start in range(0, rows, CHUNK):
        size = min(CHUNK, rows - start)
        spread = draw.uniform(0.1, 1.5, (size, 1, 1)).astype(np.float32)
        vectors = spread * draw.standard_normal((size, answers, width), np.float32)
        vectors += draw.standard_normal((size, 1, width), np.float32)
        vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
        vectors[draw.random((size, answers)) < MISSING] = np.nan
        yield vectors.astype(np.float16)


def time_geometry(vectors: NDArray[np.float16]) -> dict[str, Any]:
    """Time both steps, then run both again to measure memory, because tracing it costs time."""
    began, worked = time.perf_counter(), time.process_time()
    gram = gram_matrices(vectors)
    middle = time.perf_counter()
    geometry = compute_geometry(gram)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    del gram
    tracemalloc.start()
    compute_geometry(gram_matrices(vectors))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "shape": list(vectors.shape),
        "file_mb": vectors.nbytes / 1e6,
        "grams_seconds": middle - began,
        "divergence_seconds": began + seconds - middle,
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_mb": peak / 1e6,
        "difference": largest_difference(vectors[:COMPARED_ROWS], geometry),
        "dispersion": np.nanquantile(geometry.dispersion, [0, 0.5, 1]).tolist(),
        "anisotropy": np.nanquantile(geometry.anisotropy, [0, 0.5, 1]).tolist(),
        "incomplete_rows": int((geometry.counted < vectors.shape[1]).sum()),
    }


def largest_difference(vectors: NDArray[np.float16], geometry: AnswerGeometry) -> float:
    """Return the largest difference from D and I by singular values, over rows that have all answers."""
    whole = np.isfinite(vectors).all(axis=(1, 2))
    centred = vectors[whole].astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    squares = np.linalg.svd(centred, compute_uv=False) ** 2
    total = squares.sum(axis=1)
    off_d = np.abs(geometry.dispersion[: len(vectors)][whole] - total / vectors.shape[1]).max()
    off_i = np.abs(geometry.anisotropy[: len(vectors)][whole] - (1 - squares[:, 0] / total)).max()
    return float(max(off_d, off_i))


def format_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    rows, answers, width = report["shape"]
    return "\n".join(
        [
            f"{rows:,} rows x {answers} x {width}, float16, {report['file_mb']:,.0f} MB on disk; "
            f"{report['incomplete_rows']:,} rows lack an answer",
            f"similarities      {report['grams_seconds']:8.1f} s",
            f"D and I           {report['divergence_seconds']:8.1f} s",
            f"together          {report['seconds']:8.1f} s   wanted: under {WANTED_SECONDS} s; "
            f"{report['processor_seconds']:.1f} processor seconds",
            f"memory of arrays  {report['peak_mb']:8,.0f} MB at most",
            f"largest difference from singular values  {report['difference']:.1e}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
