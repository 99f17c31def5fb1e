"""Greedy coverage of a whole pool, compared with two other ways to compute the same order.

    python -m bench.coverage                     52,002 rows with 1,200 neurons on each, of 120,000
    python -m bench.coverage --rows 8000
    python -m bench.coverage --large 1000000     also search that many rows in parts, from a memory-mapped file; slow
    python -m bench.coverage --json

There are two synthetic pools. In `kinds`, rows are of 200 kinds and some neurons are active nearly everywhere, as in
real models. In `uniform`, all neurons are equally likely: no real model is so, and it is hardest for a lazy search.

    order     coverage_order to 15 % of the rows: seconds, and peak memory of the process
    parts     coverage lost by partition and merge
    ratios    on fewer rows, in one process: the same order by plain numpy, which evaluates every row at each step, and
              by apricot-select (`pip install apricot-select`) where it is installed
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from core.algorithms.active_neurons import ActiveNeurons
from core.algorithms.greedy_coverage import coverage_order, growth_steps, partitioned_order
from core.analysis.coverage_curve import PoolCoverage

try:
    import apricot
except ImportError:
    apricot = None

LAYERS = 16
KINDS = 200
SHARE = 0.15
GROWTHS = (("sqrt", 1), ("once", 1), ("capped", 8))
CHUNK = 2000


def main() -> int:
    """Run all measurements and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=52_002)
    parser.add_argument("--on", type=int, default=1200, help="neurons on in a row")
    parser.add_argument("--neurons", type=int, default=120_000)
    parser.add_argument("--small", type=int, default=4000, help="rows for the ratios")
    parser.add_argument("--large", type=int, help="rows for the route in parts")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    options = parser.parse_args()
    report: dict[str, Any] = {"rows": options.rows, "on": options.on, "neurons": options.neurons}
    report["ratios"] = compare_searches(make_active_neurons("kinds", options.small, options.on, options.neurons))
    report["orders"], report["parts"] = [], []
    for kind in ("kinds", "uniform"):
        states = make_active_neurons(kind, options.rows, options.on, options.neurons)
        report["orders"] += [time_order(kind, states, g, tau) for g, tau in GROWTHS]
        report["parts"] += measure_partition_loss(kind, states)
        del states
    if options.large:
        report["large"] = time_partitioned(options.large, options.on, options.neurons)
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def make_active_neurons(kind: str, rows: int, on: int, neurons: int) -> ActiveNeurons:
    """Generate the active neurons of a synthetic pool; seeded."""
    whole = np.concatenate(list(generate_rows(kind, rows, on, neurons)))
    return ActiveNeurons(np.arange(rows + 1) * whole.shape[1], whole.ravel(), neurons)


def generate_rows(kind: str, rows: int, on: int, neurons: int) -> Iterator[NDArray[np.uint32]]:
    """Yield (CHUNK, on) ascending neuron numbers, an equal share of each layer.

    For `kinds`, each kind samples four times as many candidates as are active, weighted by how common a neuron is. A
    row activates a quarter of them, more often those that its kind prefers.
    """
    rng = np.random.default_rng(0)
    k, width = max(1, on // LAYERS), neurons // LAYERS
    most = min(width, 4 * k)
    common = rng.normal(0, 1.5, (LAYERS, width)).astype(np.float32)
    candidates = np.empty((KINDS, LAYERS, most), np.int64)
    for each in candidates:
        priority = common + rng.gumbel(size=(LAYERS, width)).astype(np.float32)
        each[:] = np.argpartition(-priority, most - 1, axis=1)[:, :most]
    preference = rng.normal(0, 1, (KINDS, LAYERS, most)).astype(np.float32)
    shares = rng.dirichlet(np.full(KINDS, 0.5))
    for start in range(0, rows, CHUNK):
        size = min(CHUNK, rows - start)
        out = np.empty((size, LAYERS, k), np.uint32)
        for i, of_kind in enumerate(rng.choice(KINDS, size, p=shares)):
            for layer in range(LAYERS):
                if kind == "uniform":
                    picked = rng.choice(width, k, replace=False, shuffle=False)
                else:
                    value = preference[of_kind, layer] + rng.standard_normal(most, dtype=np.float32)
                    picked = candidates[of_kind, layer, np.argpartition(-value, k - 1)[:k]]
                out[i, layer] = np.sort(picked) + layer * width
        yield out.reshape(size, -1)


def share_covered(
    states: ActiveNeurons, rows: NDArray[np.int64], length: int, g: Any = "sqrt", tau: float = 1
) -> float:
    """Return the share of the coverage of all rows that the first of these rows reach."""
    return PoolCoverage.of(states, g, tau).share(states.counts(rows[:length]))


def time_order(kind: str, states: ActiveNeurons, g: Any, tau: float) -> dict[str, Any]:
    """Time the order of the first SHARE of the rows."""
    length = int(len(states) * SHARE)
    began, worked = time.perf_counter(), time.process_time()
    order = coverage_order(states, length, g=g, tau=tau)
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    random = share_covered(states, np.random.default_rng(1).permutation(len(states)), length, g, tau)
    return {
        "pool": kind,
        "g": g,
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "coverage": float(order.curve[-1]),
        "random": random,
    }


def measure_partition_loss(kind: str, states: ActiveNeurons, number: int = 8) -> list[dict[str, Any]]:
    """Measure the coverage lost by partition and merge, as a share of plain greedy coverage."""
    rows = []
    for share in (0.05, SHARE):
        length = int(len(states) * share)
        plain = coverage_order(states, length).curve[-1]
        size = -(-len(states) // number)
        lost = {
            f"{slack:g}": float(1 - partitioned_order(states, length, part_rows=size, slack=slack).curve[-1] / plain)
            for slack in (1, 1.5, 2)
        }
        rows.append({"pool": kind, "parts": number, "share": share, "lost": lost})
    return rows


def compare_searches(states: ActiveNeurons) -> dict[str, Any]:
    """Time the order three ways; report whether the orders agree and what each covers.

    Of two equal rows apricot-select does not always take the earlier one.
    """
    length = int(len(states) * SHARE)
    matrix = csr_matrix(
        (np.ones(len(states.indices)), states.indices.astype(np.int32), states.indptr), (len(states), states.neurons)
    )
    contestants: dict[str, Callable[[int], list[int]]] = {
        "lazy": lambda k: coverage_order(states, k).rows.tolist(),
        "plain": lambda k: plain_greedy(states, k),
    }
    if apricot is not None:
        contestants["apricot"] = lambda k: apricot_lazy(matrix, k)
    seconds, orders = {}, {}
    for name, find in contestants.items():
        find(min(10, length))  # compile and load what first use needs
        began = time.perf_counter()
        orders[name] = find(length)
        seconds[name] = time.perf_counter() - began
    same = {name: order == orders["lazy"] for name, order in orders.items()}
    covered = {name: share_covered(states, np.array(order), length) for name, order in orders.items()}
    return {"rows": len(states), "length": length, "seconds": seconds, "same_order": same, "coverage": covered}


def plain_greedy(states: ActiveNeurons, length: int) -> list[int]:
    """Return the greedy order, evaluating every row at each step."""
    step = np.append(growth_steps("sqrt", 1, len(states)), 0.0)
    count, weight = np.zeros(states.neurons, np.int64), np.full(states.neurons, step[0])
    selected, rows = np.zeros(len(states), np.bool_), []
    for _ in range(length):
        gain = np.add.reduceat(weight[states.indices], states.indptr[:-1])
        gain[selected] = -np.inf
        best = int(gain.argmax())
        on = states.row(best)
        count[on] += 1
        weight[on] = step[count[on]]
        selected[best] = True
        rows.append(best)
    return rows


def apricot_lazy(matrix: Any, length: int) -> list[int]:
    """Return the order for the same objective by apricot-select's lazy greedy."""
    search = apricot.FeatureBasedSelection(length, concave_func="sqrt", optimizer="lazy")
    return [int(row) for row in search.fit(matrix).ranking]


def time_partitioned(rows: int, on: int, neurons: int) -> dict[str, Any]:
    """Time the partitioned search on a memory-mapped file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "on.u32"
        with path.open("wb") as file:
            for chunk in generate_rows("kinds", rows, on, neurons):
                chunk.tofile(file)
        mapped = np.memmap(path, np.uint32, "r")
        states = ActiveNeurons(np.arange(rows + 1) * (len(mapped) // rows), mapped, neurons)
        began = time.perf_counter()
        order = partitioned_order(states, int(rows * SHARE), on_pick=print_progress)
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"rows": rows, "seconds": seconds, "peak_mb": peak, "coverage": float(order.curve[-1])}


def print_progress(done: int, total: int) -> None:
    """Print progress to stderr."""
    print(f"\r{done / total:.1%}", end="", file=sys.stderr, flush=True)


def format_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    ratio, lazy = report["ratios"], report["ratios"]["seconds"]["lazy"]
    lines = [
        f"{report['rows']:,} rows, {report['on']:,} neurons on in each, of {report['neurons']:,}; order to {SHARE:.0%}",
        "",
        "pool      g        seconds  processor  peak MB  coverage   random     wanted: at most 30 s, 4,000 MB",
        *(
            f"{o['pool']:<9} {o['g']:<7} {o['seconds']:8.1f}  {o['processor_seconds']:9.1f}  {o['peak_mb']:7,.0f}"
            f"  {o['coverage']:8.4f} {o['random']:8.4f}"
            for o in report["orders"]
        ),
        "",
        "coverage lost in parts, by slack (g = sqrt)",
        *(
            f"{p['pool']:<9} {p['parts']} parts, to {p['share']:.0%}: "
            + ", ".join(f"{slack}: {lost:.3%}" for slack, lost in p["lost"].items())
            for p in report["parts"]
        ),
        "",
        f"{ratio['rows']:,} rows, order to {ratio['length']:,} (g = sqrt)",
        *(
            f"{name:<8} {seconds:8.2f} s   {seconds / lazy:6.1f} times lazy   "
            f"same order: {'yes' if ratio['same_order'][name] else 'no '}   coverage {ratio['coverage'][name]:.6f}"
            for name, seconds in ratio["seconds"].items()
        ),
    ]
    if apricot is None:
        lines.append("apricot-select is not installed, so nothing is compared with it.")
    if "large" in report:
        big = report["large"]
        lines += [
            "",
            f"{big['rows']:,} rows in parts: {big['seconds']:,.0f} s, peak {big['peak_mb']:,.0f} MB, "
            f"coverage {big['coverage']:.4f}",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
