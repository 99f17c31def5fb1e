"""A large pool in a real browser: `python -m bench.million [ROWS ...]`, 52,002 and 1,000,000 rows by default.

Creates a pool and a finished run of that many rows, starts the app on them and drives headless Chromium:

    open         from the address of a fresh server to the first chart of the Pool page; then of three more pages
    slider       a budget move on Select until the figures are updated and painted (as bench.slider measures it)
    compared     the same on Compare
    table page   opening the last page of the table of all rows
    search       searching the text of all rows
    two at once  the same moves while a second visitor moves the budget on the same server
    sent         the most bytes that the server sent for one page or one move
    server       its memory at the end, when it is highest
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import typer

from bench.slider import CHROMIUM, FLAGS, ROOT, TOPICS, WARM_UP_MOVES, make_measured_pool, serve_app, time_key_press

ROWS = (52_002, 1_000_000)
WAIT_MS = 120_000
PAGE_ROWS = 100  # rows per page of the table of all rows
CHARTS = {  # the element that is shown when a page is ready
    "Pool": "[data-testid=stMain] [role=img]",
    "Explore": "[class*=st-key-explore-histogram] .js-plotly-plot",
    "Compare": "[class*=st-key-compare] .js-plotly-plot",
    "Select": "[data-testid=stHtml]",
}


@dataclass
class Visitor:
    """A browser page, and the bytes that the server has sent it over its websocket."""

    page: Any
    received: int = 0
    largest: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def track_bytes(self, what: str) -> Iterator[None]:
        """Record the bytes received inside the context, if they are the most for `what` so far."""
        before = self.received
        yield
        self.page.wait_for_timeout(300)
        self.largest[what] = max(self.largest.get(what, 0), self.received - before)


def open_visitor(browser: Any) -> Visitor:
    """Open a new browser session."""
    visitor = Visitor(browser.new_context(viewport={"width": 1280, "height": 900}).new_page())

    def count(frame: Any) -> None:
        visitor.received += len(frame)

    visitor.page.on("websocket", lambda socket: socket.on("framereceived", count))
    return visitor


def go_to(page: Any, name: str) -> None:
    """Open the page of this name and wait for its chart."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    page.locator(CHARTS[name]).first.wait_for(timeout=WAIT_MS)


def time_pages(visitor: Visitor, address: str) -> dict[str, float]:
    """Return seconds to the first chart of four pages; the first is opened on a server without earlier visitors."""
    page, times = visitor.page, {}
    for name, chart in CHARTS.items():
        page.wait_for_timeout(2_000)
        began = time.perf_counter()
        with visitor.track_bytes(name):
            if not times:
                page.goto(address)
                page.locator(chart).first.wait_for(timeout=WAIT_MS)
            else:
                go_to(page, name)
            times[name] = time.perf_counter() - began
    return times


def time_moves(visitor: Visitor, count: int) -> np.ndarray[Any, Any]:
    """Return (count,) milliseconds until a budget move is answered on the open page."""
    slider = visitor.page.get_by_role("slider", name="Budget")
    times = []
    for i in range(count + WARM_UP_MOVES):
        with visitor.track_bytes("a move"):
            times.append(time_key_press(visitor.page, slider, back=i % 20 >= 10)[0])
    return np.array(times[WARM_UP_MOVES:])


def time_table_and_search(visitor: Visitor, n: int) -> dict[str, float]:
    """Return seconds until the last page of the table of all rows is shown, and until a search shows its rows."""
    page = visitor.page
    go_to(page, "Pool")
    number = page.get_by_role("spinbutton", name="Page")
    number.wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(2_000)
    times = {}
    steps = (
        ("table page", number, str(-(-n // PAGE_ROWS)), f"–{n:,} of {n:,}"),
        ("search", page.get_by_role("textbox", name="Search prompts"), "topic 976?", f"of {count_matches(n):,}"),
    )
    for name, box, typed, answer in steps:
        began = time.perf_counter()
        with visitor.track_bytes(name):
            box.fill(typed)
            box.press("Enter")
            page.get_by_text(answer, exact=False).first.wait_for(timeout=WAIT_MS)
            times[name] = time.perf_counter() - began
    return times


def count_matches(n: int) -> int:
    """Count the rows about topic 976 among `n` rows."""
    return len(range(976, n, TOPICS))


@contextmanager
def second_visitor(address: str) -> Iterator[None]:
    """Run a second visitor in a process of its own, which moves the budget again and again."""
    other = subprocess.Popen([sys.executable, "-m", "bench.million", "--crowd", address], cwd=ROOT)
    try:
        time.sleep(15)  # until its page is open
        yield
    finally:
        other.terminate()
        other.wait(30)


def main(
    rows: list[int] = typer.Argument(None),  # noqa: B008
    *,
    count: int = typer.Option(40, "--moves", min=30),
    alone: str = typer.Option("", "--crowd", hidden=True),
) -> None:
    """Print one block of figures for each number of rows."""
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if chromium is None:
        print("bench.million needs Chromium and found none; install it and run again.")
        return
    if alone:
        with launch_browser(chromium) as browser:
            visitor = open_visitor(browser)
            time_pages(visitor, alone)
            while True:
                time_moves(visitor, 1)
    for n in rows or ROWS:
        with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
            workspace, _ = make_measured_pool(n, Path(folder))
            with serve_app(workspace) as (address, pid), launch_browser(chromium) as browser:
                print_report(n, address, psutil.Process(pid), open_visitor(browser), count)


@contextmanager
def launch_browser(chromium: str) -> Iterator[Any]:
    """Launch a headless browser."""
    from playwright.sync_api import sync_playwright  # only needed, and only installed, for tests and benchmarks

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


def print_report(n: int, address: str, server: psutil.Process, visitor: Visitor, count: int) -> None:
    """Print all figures for one pool, one per line."""
    print(f"\n{n:,} rows")
    for name, seconds in time_pages(visitor, address).items():
        print(f"  open {name:<8} {seconds:7.2f} s", flush=True)
    _spread("slider", time_moves(visitor, count))
    go_to(visitor.page, "Compare")
    _spread("compared", time_moves(visitor, count))
    go_to(visitor.page, "Select")
    with second_visitor(address):
        _spread("two at once", time_moves(visitor, count))
    for name, seconds in time_table_and_search(visitor, n).items():
        print(f"  {name:<13} {seconds:7.2f} s", flush=True)
    for name, size in visitor.largest.items():
        print(f"  sent, {name:<13} {size / 1e6:6.2f} MB")
    print(f"  server memory {server.memory_info().rss / 1e9:7.2f} GB", flush=True)


def _spread(name: str, times: np.ndarray[Any, Any]) -> None:
    print(f"  {name:<13} {np.median(times):7.0f} ms median, {np.quantile(times, 0.95):.0f} ms p95", flush=True)


if __name__ == "__main__":
    typer.run(main)
