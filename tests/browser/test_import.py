"""Opening a pool in a real browser: the job reads it, the page answers, the server's memory stays as it is."""

import gzip
import json
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import TimeoutError as TooLate
from playwright.sync_api import expect

from tests.browser.idle import wait_until_idle
from tests.browser.test_journey import choose_pool

MB = 10**6
GOOD = json.dumps({"instruction": "Add 1 and 2", "output": "3"}).encode()

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]
expect.set_options(timeout=60_000)


def write_giant(path: Path, size: int) -> None:
    """Write a gzip file of two rows around one of `size` MB."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(GOOD + b'\n{"instruction": "Repeat", "output": "')
        for _ in range(size):
            file.write(b"x" * MB)
        file.write(b'"}\n' + GOOD)


@pytest.mark.soak
def test_a_giant_row_is_read_beside_the_server(page, serve, tmp_path):
    write_giant(tmp_path / "giant.jsonl.gz", 700)
    (tmp_path / "small.jsonl").write_bytes(GOOD)
    with serve(tmp_path / "workspace", WINNOW_DATA_ROOTS=str(tmp_path)) as (address, server):
        memory = psutil.Process(server.pid).memory_info
        page.goto(address)
        expect(page.get_by_text("Demo pool").first).to_be_visible()
        wait_until_idle(page)
        before = memory().rss
        choose_pool(page, str(tmp_path / "giant.jsonl.gz"))
        cancel, opened = page.get_by_role("button", name="Cancel"), page.get_by_role("heading", name="giant")
        expect(cancel.or_(opened).first).to_be_visible()
        if cancel.is_visible():  # a fast machine has read the file before the page offers to cancel
            with suppress(TooLate):
                cancel.click(timeout=2_000)
            expect(cancel).to_be_hidden()
            wait_until_idle(page)
            again = page.locator(".st-key-open-open button")
            if again.is_enabled():  # the path is still in the box
                again.click()
            elif not opened.is_visible():  # which it is if the file was read before the click
                choose_pool(page, str(tmp_path / "giant.jsonl.gz"))
        peak = memory().rss
        while not opened.is_visible():
            peak = max(peak, memory().rss)
            page.wait_for_timeout(100)
        expect(page.get_by_text("700 MB in line 2").first).to_be_visible()
        assert peak - before < 150 * MB
        wait_until_idle(page)
        choose_pool(page, str(tmp_path / "small.jsonl"))
        expect(page.get_by_role("heading", name="small.jsonl")).to_be_visible()
