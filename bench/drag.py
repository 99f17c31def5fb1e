"""A dragged budget in a real browser: `python -m bench.drag [ROWS ...]`, 52,002 rows by default.

Creates a pool and a finished run of that many rows, starts the app on them, opens Select in headless Chromium, holds
the budget's thumb and moves it to and fro:

    updates     how often a second the line under the slider changes and is painted, and the longest pause between two
    one update  the time that the element's own code takes for one place of the thumb
    answered    from the release until the page's figures show the selection of the server
    sent        the most bytes that the server sends for one answer; the table that the drag is drawn from is among them
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer

from bench.million import Visitor, launch_browser, open_visitor
from bench.slider import CHROMIUM, QUIET_MS, make_measured_pool, serve_app

SECONDS = 4.0  # of one drag
RELEASES = 30

ROOT = '[...document.querySelectorAll("*")].find(e => e.shadowRoot?.querySelector("#budget")).shadowRoot'
COUNT_UPDATES = f"""() => {{
    const facts = {ROOT}.querySelector(".facts");
    const updates = window.winnowUpdates = {{times: [], waiting: false}};
    new MutationObserver(() => {{
        if (updates.waiting) return;
        updates.waiting = true;
        requestAnimationFrame((now) => {{ updates.waiting = false; updates.times.push(now); }});
    }}).observe(facts, {{childList: true, characterData: true, subtree: true}});
}}"""
TIME_ONE = f"""() => {{
    const input = {ROOT}.querySelector("input"), times = [];
    for (let i = 0; i < 500; i++) {{
        input.value = (i * 37) % Number(input.max);
        const began = performance.now();
        input.dispatchEvent(new Event("input", {{bubbles: true}}));
        input.getBoundingClientRect();  // layout is part of it
        times.push(performance.now() - began);
    }}
    return times;
}}"""
WATCH_RELEASE = """() => {
    const words = () => document.querySelector("[data-testid=stMain] h3")?.innerText;
    const release = window.winnowRelease = {answered: null, before: words()};
    addEventListener("pointerup", () => { release.began = performance.now(); }, {capture: true, once: true});
    const observer = new MutationObserver(() => {
        if (release.began === undefined || words() === undefined || words() === release.before) return;
        observer.disconnect();
        requestAnimationFrame(() => { release.answered = performance.now() - release.began; });
    });
    const main = document.querySelector("[data-testid=stMain]");
    observer.observe(main, {subtree: true, childList: true, characterData: true});
}"""


def hold_slider(page: Any) -> dict[str, float]:
    """Press the mouse on the budget's thumb; return the box of the slider."""
    slider = page.get_by_role("slider", name="Budget")
    slider.scroll_into_view_if_needed()
    box: dict[str, float] = slider.bounding_box()
    move_to(page, box, int(slider.input_value()) / int(slider.get_attribute("max")))
    page.mouse.down()
    return box


def move_to(page: Any, box: dict[str, float], share: float) -> None:
    """Move the mouse to a share of the slider's width; the thumb is 14 pixels wide."""
    page.mouse.move(box["x"] + 7 + share * (box["width"] - 14), box["y"] + box["height"] / 2)


def time_updates(page: Any) -> np.ndarray[Any, Any]:
    """Drag to and fro for some seconds; return the milliseconds between painted updates."""
    box = hold_slider(page)
    page.evaluate(COUNT_UPDATES)
    began = time.perf_counter()
    while (passed := time.perf_counter() - began) < SECONDS:
        move_to(page, box, abs((passed / 2) % 1.8 - 0.9))
    times = page.evaluate("() => window.winnowUpdates.times")
    page.mouse.up()
    return np.diff(times)


def time_release(page: Any, share: float) -> float:
    """Drag to a share of the slider's width; return the milliseconds from the release to the server's answer."""
    box = hold_slider(page)
    move_to(page, box, share)
    page.evaluate(WATCH_RELEASE)
    page.mouse.up()
    answered: float = page.wait_for_function("() => winnowRelease.answered", timeout=30_000).json_value()
    page.wait_for_timeout(QUIET_MS)
    return answered


def report(visitor: Visitor) -> None:
    """Print all figures of one pool, one per line."""
    page = visitor.page
    gaps = time_updates(page)
    page.wait_for_timeout(2_000)
    print(f"  updates     {1000 / gaps.mean():7.0f} a second, {gaps.max():.0f} ms between two at most")
    times = np.array(page.evaluate(TIME_ONE))
    page.wait_for_timeout(2_000)
    print(f"  one update  {np.median(times):7.2f} ms median, {np.quantile(times, 0.95):.2f} ms p95")
    answers = []
    for share in np.random.default_rng(0).uniform(0.1, 0.75, RELEASES).tolist():  # 80% of the rows are eligible
        with visitor.track_bytes("answer"):
            answers.append(time_release(page, share))
    print(f"  answered    {np.median(answers):7.0f} ms median, {np.quantile(answers, 0.95):.0f} ms p95")
    print(f"  sent        {visitor.largest['answer'] / 1e3:7.0f} kB", flush=True)


def main(rows: list[int] = typer.Argument(None)) -> None:  # noqa: B008
    """Print one block of figures for each number of rows."""
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if chromium is None:
        print("bench.drag needs Chromium and found none; install it and run again.")
        return
    for n in rows or [52_002]:
        with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
            workspace, _ = make_measured_pool(n, Path(folder))
            with serve_app(workspace) as (address, _), launch_browser(chromium) as browser:
                visitor = open_visitor(browser)
                visitor.page.goto(f"{address}/select")
                visitor.page.get_by_role("slider", name="Budget").wait_for(timeout=120_000)
                visitor.page.wait_for_timeout(3_000)
                print(f"\n{n:,} rows")
                report(visitor)


if __name__ == "__main__":
    typer.run(main)
