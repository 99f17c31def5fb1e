"""Runner of the benchmarks: `python -m bench [NAME ...]`. They report ratios measured in one run, and no verdicts."""

import subprocess
import sys

BENCHMARKS = {
    "probe_pass": "one pass of a 0.5 B model against a row-by-row loop and the bare body",
    "activation_pass": "the pass with activation states riding on it against the pass without",
    "answer_space": "five answers of each row embedded, and their geometry, against one forward pass per answer",
    "card": "a GPU: pass against body for three sizes, row gradients, warm-up step, five methods end to end",
    "generation": "sampled and greedy tokens a second against transformers' plain generate",
    "row_gradients": "gradients of single rows, scored, against a plain batch backward and the releases' way",
    "planted_influence": "share of planted rows that preference influence finds, against LESS and chance",
    "pool_load": "reading a large JSONL against datasets.load_dataset",
    "checksums": "checksums of stored files: their share of importing, opening and writing",
    "decontaminate": "overlap of 50,000 rows with 20,000 benchmark rows: rows a second, memory, planted overlaps found",
    "geometry": "dispersion and anisotropy of a million rows' answers, from a memory-mapped file",
    "coverage": "greedy coverage of 52,002 rows, its loss in parts, against plain numpy and apricot-select",
    "scale": "time and memory of clustering, coverage, near-duplicates, plans and quotas at 10,000 to 1,000,000 rows",
    "workers": "rows a second of one and two workers, by processes, shards and Ray; what a part costs; the same bits",
    "slider": "a budget move in the browser at 52,002 rows",
    "drag": "a dragged budget in the browser at 52,002 rows: updates a second, and the server's answer on release",
    "highlight": "a click on a bar until all figures of Explore show its rows, at 52,002 and 1,000,000 rows",
    "million": "opening, moving, reading and searching 52,002 and 1,000,000 rows in the browser, two visitors at once",
}


def main() -> int:
    """Run the named benchmarks, all by default; return the first exit code that is not 0."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"There is no benchmark '{unknown[0]}'. There are {', '.join(BENCHMARKS)}.", file=sys.stderr)
        return 2
    codes = []
    for name in names:
        print(f"\n== {name}: {BENCHMARKS[name]}\n", flush=True)
        codes.append(subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode)
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
