"""Linked highlighting, seen from the browser: `python -m bench.highlight [ROWS ...]`.

Creates a pool and a finished run of that many rows, starts the app on them and opens Explore in headless Chromium. Each
pick is a click on a bar: in the section Entropy shift the rows of one task on one side of zero, in Score the rows of
one bar of the histogram. Two times are measured per pick, from the click:

    answered   the bar of the page tells how many rows are highlighted, and the browser has painted it
    settled    every figure and table of the page shows these rows: nothing changes any more
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import typer

from bench.million import ROWS, WAIT_MS, go_to, launch_browser, open_visitor
from bench.slider import CHROMIUM, QUIET_MS, make_measured_pool, serve_app

WARM_UP_PICKS = 3  # picks that are not counted
BARS = """(node, sides) => {
    const boxes = [...node.querySelectorAll('.barlayer .point path')].map((bar) => bar.getBoundingClientRect());
    const found = new Map(boxes.filter((box) => box.height > 4 && box.width > 4)
        .map((box) => [sides.map((side) => Math.round(box[side])).join(), box]));
    return [...found.values()].map((box) => [box.x + box.width / 2, box.y + box.height / 2]);
}"""
WATCH = """() => {
    const main = document.querySelector('[data-testid=stMain]');
    const words = () => main.querySelector('.st-key-bar .stMarkdownBadge')?.innerText ?? '';
    const pick = window.winnow = { start: null, answered: null, last: null, before: words() };
    addEventListener('click', () => { pick.start = pick.last = performance.now(); }, { capture: true, once: true });
    pick.observer = new MutationObserver(() => {
        if (pick.start === null) return;
        pick.last = performance.now();
        if (pick.answered === null && words() !== pick.before) {
            pick.answered = -1;
            requestAnimationFrame(() => { pick.answered = performance.now(); });
        }
    });
    pick.observer.observe(main, { subtree: true, childList: true, characterData: true, attributes: true });
}"""
SETTLED = f"""() => {{
    const pick = window.winnow;
    if (!(pick.answered > 0) || performance.now() - pick.last < {QUIET_MS}) return null;
    pick.observer.disconnect();
    return [pick.answered - pick.start, pick.last - pick.start];
}}"""
# section -> which of its figures is clicked, and the sides that tell its bars apart: layers of one bar share theirs
FIGURES = {"Entropy shift": (1, ("x", "y")), "Score": (0, ("x",))}


def time_picks(page: Any, section: str, count: int) -> np.ndarray[Any, Any]:
    """Return (count, 2) milliseconds: answered, settled."""
    page.get_by_test_id("stButtonGroup").first.get_by_text(section, exact=True).click()
    page.wait_for_timeout(3_000)
    nth, sides = FIGURES[section]
    figure = page.get_by_test_id("stPlotlyChart").nth(nth)
    figure.locator(".barlayer .point path").first.wait_for(timeout=WAIT_MS)
    picks = range(count + WARM_UP_PICKS)
    return np.array([_time_pick(page, figure, number, sides) for number in picks][WARM_UP_PICKS:])


def _time_pick(page: Any, figure: Any, number: int, sides: tuple[str, ...]) -> list[float]:
    """Click on one of the bars, each time another; return milliseconds until it is answered and settled."""
    figure.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    bars = figure.evaluate(BARS, sides)
    x, y = bars[(7 * number) % len(bars)]
    page.mouse.move(x - 3, y - 1)
    page.mouse.move(x, y, steps=3)
    page.wait_for_timeout(200)  # Plotly looks for what is under the mouse ten times a second at most
    page.evaluate(WATCH)
    page.mouse.click(x, y)
    times: list[float] = page.wait_for_function(SETTLED, timeout=30_000).json_value()
    return times


def main(rows: list[int] = typer.Argument(None), *, count: int = typer.Option(30, "--picks", min=5)) -> None:  # noqa: B008
    """Print the median and the 95th percentile over the picks, for each number of rows and section."""
    chromium = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if chromium is None:
        print("bench.highlight needs Chromium and found none; install it and run again.")
        return
    print(f"{'rows':>10}  {'section':<14}{'answered, ms':>20}{'settled, ms':>20}")
    for n in rows or ROWS:
        with tempfile.TemporaryDirectory(prefix="winnow-bench-") as folder:
            workspace, _ = make_measured_pool(n, Path(folder))
            with serve_app(workspace) as (address, _), launch_browser(chromium) as browser:
                page = open_visitor(browser).page
                page.goto(address)
                go_to(page, "Explore")
                for section in FIGURES:
                    times = time_picks(page, section, count)
                    columns = [f"{f(times[:, k]):>10.0f}" for k in (0, 1) for f in (np.median, _p95)]
                    print(f"{n:>10,}  {section:<14}{''.join(columns)}", flush=True)


def _p95(times: np.ndarray[Any, Any]) -> float:
    return float(np.quantile(times, 0.95))


if __name__ == "__main__":
    typer.run(main)
