"""A large pool in a real browser: `python -m bench.million [ROWS ...]`, 52,002 and 1,000,000 rows by default.

Makes a pool and a finished measurement of so many rows, starts the app's own server on them and drives headless
Chromium:

    open         from the address of a fresh server to the first chart of the Pool page; then of three more pages
    slider       a move of the budget until the figures show it and are painted (as bench.slider measures it), on Select
    compared     the same on Compare
    table page   to the last page of the table of all rows
    search       over the text of all rows
    two at once  the same moves while a second visitor, on the same server, makes his
    sent         the most that the server sent for one page or one move
    server       its memory at the end, at its highest
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
PAGE_ROWS = 100  # rows of a page of that table
CHARTS = {  # what is waited for on each page
    "Pool": "[data-testid=stMain] [role=img]",
    "Explore": "[class*=st-key-explore-histogram] .js-plotly-plot",
    "Compare": "[class*=st-key-compare] .js-plotly-plot",
    "Select": "[data-testid=stHtml]",
}


@dataclass
class Visitor:
    """A page, and how many bytes the server has sent it over its socket."""

    page: Any
    received: int = 0
    largest: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def sent(self, what: str) -> Iterator[None]:
        """Note the bytes that come while this goes on, if they are the most for it so far."""
        before = self.received
        yield
        self.page.wait_for_timeout(300)
        self.largest[what] = max(self.largest.get(what, 0), self.received - before)


def open_visitor(browser: Any) -> Visitor:
    """A browser session of its own."""
    seen = Visitor(browser.new_context(viewport={"width": 1280, "height": 900}).new_page())

    def count(frame: Any) -> None:
        seen.received += len(frame)

    seen.page.on("websocket", lambda socket: socket.on("framereceived", count))
    return seen


def go_to(page: Any, name: str) -> None:
    """To the page of this name."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()


def time_pages(seen: Visitor, address: str) -> dict[str, float]:
    """Seconds to the first chart of four pages, the first of them on a server that nobody has visited."""
    page, times = seen.page, {}
    for name, chart in CHARTS.items():
        page.wait_for_timeout(2_000)
        began = time.perf_counter()
        with seen.sent(name):
            if not times:
                page.goto(address)
            else:
                go_to(page, name)
            page.locator(chart).first.wait_for(timeout=WAIT_MS)
            times[name] = time.perf_counter() - began
    return times


def time_moves(seen: Visitor, count: int) -> np.ndarray[Any, Any]:
    """(count,) milliseconds until a move of the budget is answered, on the page that is open."""
    slider = seen.page.get_by_role("slider", name="Budget")
    times = []
    for i in range(count + WARM_UP_MOVES):
        with seen.sent("a move"):
            times.append(time_key_press(seen.page, slider, back=i % 20 >= 10)[0])
    return np.array(times[WARM_UP_MOVES:])


def time_table_and_search(seen: Visitor, n: int) -> dict[str, float]:
    """Seconds until the last page of the table of all rows is there, and until a search over all texts has its rows."""
    page = seen.page
    go_to(page, "Pool")
    number = page.get_by_role("spinbutton", name="Page")
    number.wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(2_000)
    times = {}
    asked = (
        ("table page", number, str(-(-n // PAGE_ROWS)), f"to {n:,} of {n:,} rows"),
        ("search", page.get_by_role("textbox", name="Search prompts"), "topic 976?", f"of {count_matches(n):,} rows"),
    )
    for name, box, typed, answer in asked:
        began = time.perf_counter()
        with seen.sent(name):
            box.fill(typed)
            box.press("Enter")
            page.get_by_text(answer, exact=False).first.wait_for(timeout=WAIT_MS)
            times[name] = time.perf_counter() - began
    return times


def count_matches(n: int) -> int:
    """How many of `n` rows are about topic 976."""
    return len(range(976, n, TOPICS))


@contextmanager
def second_visitor(address: str) -> Iterator[None]:
    """Another visitor in a process of its own, who moves the budget again and again."""
    other = subprocess.Popen([sys.executable, "-m", "bench.million", "--crowd", address], cwd=ROOT)
    try:
        time.sleep(15)  # until his page is there
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
            seen = open_visitor(browser)
            time_pages(seen, alone)
            while True:
                time_moves(seen, 1)
    for n in rows or ROWS:
        with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
            workspace, _ = make_measured_pool(n, Path(folder))
            with serve_app(workspace) as (address, pid), launch_browser(chromium) as browser:
                print_report(n, address, psutil.Process(pid), open_visitor(browser), count)


@contextmanager
def launch_browser(chromium: str) -> Iterator[Any]:
    """A headless browser."""
    from playwright.sync_api import sync_playwright  # only needed, and only installed, for tests and benchmarks

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


def print_report(n: int, address: str, server: psutil.Process, seen: Visitor, count: int) -> None:
    """All figures for one pool, a line each."""
    print(f"\n{n:,} rows")
    for name, took in time_pages(seen, address).items():
        print(f"  open {name:<8} {took:7.2f} s", flush=True)
    _spread("slider", time_moves(seen, count))
    go_to(seen.page, "Compare")
    _spread("compared", time_moves(seen, count))
    go_to(seen.page, "Select")
    with second_visitor(address):
        _spread("two at once", time_moves(seen, count))
    for name, took in time_table_and_search(seen, n).items():
        print(f"  {name:<13} {took:7.2f} s", flush=True)
    for name, size in seen.largest.items():
        print(f"  sent, {name:<13} {size / 1e6:6.2f} MB")
    print(f"  server memory {server.memory_info().rss / 1e9:7.2f} GB", flush=True)


def _spread(name: str, times: np.ndarray[Any, Any]) -> None:
    print(f"  {name:<13} {np.median(times):7.0f} ms median, {np.quantile(times, 0.95):.0f} ms p95", flush=True)


if __name__ == "__main__":
    typer.run(main)
