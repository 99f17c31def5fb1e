"""Soak test: `python -m tests.soak`, or `make soak`. About an hour on two cores; exit code 1 on any finding.

    kills      commands killed at random, then run again: the same bits as undisturbed, and nothing left over
    lines      damaged pool lines: each is a row, or set aside with a reason; none is lost
    flips      one bit of a stored file flipped: the same results, or one sentence, and it is made again
    commands   hostile command lines: done, or one sentence; no input is changed

Every trial has a seed of its own, so one can be repeated: `python -m tests.soak kills --only 17`. Finished trials are
kept in --folder; the same command goes on from there. `soak.json` there holds the summary.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}

from tests.soak import commands, flips, kills, lines

SECTIONS: dict[str, Any] = {"kills": kills, "lines": lines, "flips": flips, "commands": commands}
SIZES = {
    "kills": 1300,  # one in five commands ends before its kill
    "lines": 10_000,
    "flips": 500,
    "commands": 500,
}


def main() -> int:
    """Run the sections, print a table and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=str(__doc__).split("\n")[0])
    parser.add_argument("sections", nargs="*", help=f"{', '.join(SECTIONS)}; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lanes", type=int, default=2, help="trials at a time")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "winnow-soak")
    parser.add_argument("--only", type=int, metavar="TRIAL", help="repeat one trial, and keep its files")
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size, help=f"how many (default {size:,})")
    options = parser.parse_args()
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"there is no section '{unknown[0]}'; there are {', '.join(SECTIONS)}")
    began = time.monotonic()
    for lane in range(options.lanes):
        (options.folder / f"lane-{lane}" / "made").unlink(missing_ok=True)  # what is measured is made by today's code
    rows = [run_section(name, options) for name in options.sections or SECTIONS]
    summary = {"seed": options.seed, "minutes": round((time.monotonic() - began) / 60, 1), "sections": rows}
    (options.folder / "soak.json").write_text(json.dumps(summary, indent=2) + "\n")
    print_summary(summary)
    return 1 if any(row["findings"] for row in rows) else 0


def run_section(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run the trials of one section in lanes and return its line of the summary."""
    section, began = SECTIONS[name], time.monotonic()
    trials = -(-getattr(options, name) // section.PER_TRIAL)
    numbers = range(trials) if options.only is None else [options.only]
    folder = options.folder / f"{name}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    lanes = [numbers[lane :: options.lanes] for lane in range(options.lanes)]
    started = [start_lane(section, part, k, folder, options) for k, part in enumerate(lanes) if part]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in started]
    results = [r for r in read_results(folder) if r["trial"] in numbers]
    findings = [r for r in results if r["finding"]]
    if any(codes) or len({r["trial"] for r in results}) < len(numbers):
        findings.append({"trial": None, "finding": f"a lane ended early (exit codes {codes})"})
    outcomes = sum((Counter(r["outcomes"]) for r in results), Counter())
    minutes = round((time.monotonic() - began) / 60, 1)
    return {"section": name, "trials": len(results), "outcomes": outcomes, "minutes": minutes, "findings": findings}


def start_lane(section: Any, numbers: Any, lane: int, results: Path, options: argparse.Namespace) -> int:
    """Fork a process that runs these trials and stores their results in the folder `results`; return its pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        folder = options.folder / f"lane-{lane}"
        folder.mkdir(parents=True, exist_ok=True)
        done = set() if options.only is not None else {r["trial"] for r in read_results(results)}
        context = section.prepare(folder)
        for number in numbers:
            if number not in done:
                began = time.monotonic()
                outcomes, finding = attempt(section, context, f"{options.seed} {section.__name__} {number}")
                seconds = round(time.monotonic() - began, 2)
                store(
                    results / f"lane-{lane}.jsonl",
                    {"trial": number, "outcomes": outcomes, "finding": finding, "seconds": seconds},
                )
        code = 0
    except BaseException:  # noqa: BLE001  the lane ends; the summary says so
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def attempt(section: Any, context: Any, seed: str) -> tuple[dict[str, int], str | None]:
    """Run one trial; an exception in the code that it calls is a finding."""
    try:
        return section.trial(context, seed)  # type: ignore[no-any-return]
    except Exception as error:  # noqa: BLE001  any
        return {"raised": 1}, "".join(traceback.format_exception(error)[-3:])


def store(file: Path, result: dict[str, Any]) -> None:
    """Append the result of a trial, and print it if it is a finding."""
    with file.open("a") as lines:
        lines.write(json.dumps(result) + "\n")
    if result["finding"]:
        print(f"{file.parent.name}, trial {result['trial']}: {result['finding']}", flush=True)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return the stored results of all lanes; the last of each trial."""
    rows = [json.loads(line) for file in sorted(folder.glob("lane-*.jsonl")) for line in file.open()]
    return list({row["trial"]: row for row in rows}.values())


def print_summary(summary: dict[str, Any]) -> None:
    """Print a line per section."""
    print(f"\nsoak, seed {summary['seed']}, {summary['minutes']} minutes")
    for row in summary["sections"]:
        outcomes = ", ".join(f"{n:,} {what}" for what, n in sorted(row["outcomes"].items()))
        print(f"  {row['section']:<9} {len(row['findings'])} findings   {outcomes}   ({row['minutes']} min)")


if __name__ == "__main__":
    sys.exit(main())
