"""Latency of a budget move, seen from the browser: `python -m bench.slider [ROWS ...]`.

Creates a pool and a finished run of that many rows, starts the app on them, opens the Select page in headless Chromium
and presses an arrow key on the slider. The slider shows the new budget at once and reports it when no further key is
pressed for REST_MS. Two times are measured per move, from the end of that rest:

    answered   the page's figures show the new selection, and the browser has painted them
    settled    nothing on the page changes any more: every chart and table is redrawn
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import typer

from core.measurement.lookup import run_key
from core.measurement.runs import Run, save_run
from core.methods import build_method, describe_method
from core.methods.suggestions import with_suggestions
from core.pool.pools import load_pool
from core.schema import ModelRef, Pool, Reading
from core.workspace.folder import Workspace
from pages.ui.controls.drag_budget import REST_MS

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
TASKS, TOPICS = 12, 977
WARM_UP_MOVES = 5  # moves that are not counted
QUIET_MS = 350  # the page is settled after so long without a change

WATCH = """
() => {
  const main = document.querySelector('[data-testid=stMain]');
  const words = () => main.querySelector('h3')?.innerText;  // the verdict
  const move = window.winnow = {start: null, answered: null, last: null, before: words()};
  const note = () => {
    if (move.start === null) return;
    move.last = performance.now();
    if (move.answered === null && words() !== move.before) {
      move.answered = -1;
      requestAnimationFrame(() => { move.answered = performance.now(); });
    }
  };
  addEventListener('keydown', () => { move.start = performance.now() + REST_MS; }, {capture: true, once: true});
  move.observer = new MutationObserver(note);
  move.observer.observe(main, {subtree: true, childList: true, characterData: true, attributes: true});
}
""".replace("REST_MS", str(REST_MS))
SETTLED = f"""
() => {{
  const move = window.winnow;
  if (!(move.answered > 0) || performance.now() - move.last < {QUIET_MS}) return null;
  move.observer.disconnect();
  return [move.answered - move.start, move.last - move.start];
}}
"""


def make_measured_pool(rows: int, folder: Path) -> tuple[Workspace, Pool]:
    """Create a workspace with a pool of `rows` rows and a finished run of it; seeded."""
    rng = np.random.default_rng(0)
    workspace = Workspace(folder / "workspace")
    source = folder / f"rows-{rows}.jsonl"
    lengths = rng.integers(20, 90, rows)
    with source.open("wb") as file:
        for i in range(rows):
            text = {"instruction": f"Question {i} about topic {i % TOPICS}?", "output": f"word{i} " * int(lengths[i])}
            file.write(orjson.dumps({"id": f"r{i}", **text, "task": f"task {i % TASKS}"}) + b"\n")
    pool = load_pool(str(source), workspace=workspace.root)
    tokens = lengths * 3 + 1
    nll, entropy = np.abs(rng.normal(2.5, 0.6, (2, rows))).astype(np.float32)
    shifts = rng.standard_t(4, (2, rows)).astype(np.float32) * 0.1
    columns: dict[str, Any] = {
        "prompt_tokens": rng.integers(8, 40, rows),
        "response_tokens": tokens,
        **dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(rows, np.int64)),
        "truncated": np.zeros(rows, np.bool_),
        "nll": nll,
        "entropy": entropy,
        "nll_cal": nll + shifts[0] - 0.1,
        "entropy_cal": entropy - shifts[1],
    }
    save_run(workspace, _run(workspace, pool, columns), columns)
    return workspace, pool


def _run(workspace: Workspace, pool: Pool, columns: dict[str, Any]) -> Run:
    method = build_method("entropy_shift", with_suggestions("entropy_shift", {}, "embedded"))
    model = ModelRef("embedded", "embedded", "0" * 32, 0)
    key = run_key(pool, method, Reading(), model, 0)
    return Run(
        id=key,
        pool_id=pool.fingerprint,
        method=describe_method(method),
        reading=asdict(Reading()),
        model={"name": model.name, "revision": model.revision},
        encoder="0" * 16,
        seed=0,
        columns=tuple(columns),
        folder=workspace.folder("runs", key),
        summary={"tokens": int(columns["response_tokens"].sum()), "seconds": {}, "warnings": []},
    )


@contextmanager
def serve_app(workspace: Workspace) -> Iterator[tuple[str, int]]:
    """Run the app on a free local port; yield its address and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true", f"--server.port={port}"]
    environment = os.environ | {"WINNOW_WORKSPACE": str(workspace.root)}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{address}/_stcore/health", server)
        yield address, server.pid
    finally:
        server.terminate()
        server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        if server.poll() is not None:
            raise RuntimeError(f"The app ended at once with exit code {server.returncode}.")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError("The app did not come up within a minute.")


def time_moves(address: str, chromium: str, count: int) -> np.ndarray[Any, Any]:
    """Return (count, 2) milliseconds: answered, settled."""
    from playwright.sync_api import sync_playwright  # only needed, and only installed, for tests and benchmarks

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.get_by_test_id("stSidebarNav").get_by_role("link", name="Select").click()
        slider = page.get_by_role("slider", name="Budget")
        slider.wait_for(timeout=60_000)
        page.wait_for_timeout(3_000)
        times = [time_key_press(page, slider, back=i % 20 >= 10) for i in range(count + WARM_UP_MOVES)]
        browser.close()
    return np.array(times[WARM_UP_MOVES:])


def time_key_press(page: Any, slider: Any, *, back: bool) -> list[float]:
    """Press one arrow key on the slider; return milliseconds until it is answered and until the page is settled."""
    page.locator("[data-testid=stMain] h3").first.wait_for()  # a page that is still being drawn has no verdict yet
    slider.focus()
    page.evaluate(WATCH)
    page.keyboard.press("ArrowLeft" if back else "ArrowRight")
    times: list[float] = page.wait_for_function(SETTLED, timeout=30_000).json_value()
    return times


def main(rows: list[int] = typer.Argument(None), *, count: int = typer.Option(40, "--moves", min=30)) -> None:  # noqa: B008
    """Print the median and the 95th percentile over at least 30 moves, for each number of rows."""
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if chromium is None:
        print("bench.slider needs Chromium and found none; install it and run again.")
        return
    print(f"{'rows':>10}  {'answered, ms':>20}  {'settled, ms':>20}")
    print(f"{'':>10}  {'median':>10}{'p95':>10}  {'median':>10}{'p95':>10}")
    for n in rows or [52_002]:
        with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
            workspace, _ = make_measured_pool(n, Path(folder))
            with serve_app(workspace) as (address, _):
                times = time_moves(address, chromium, count)
        (a, s), (a95, s95) = np.median(times, axis=0), np.quantile(times, 0.95, axis=0)
        print(f"{n:>10,}  {a:>10.0f}{a95:>10.0f}  {s:>10.0f}{s95:>10.0f}")


if __name__ == "__main__":
    typer.run(main)
