"""Overlap with benchmarks on the Pool page: what is stored is shown, highlighted and excluded."""

import json

import pytest

from core.pool.benchmarks import find_overlap
from core.progress import SilentReporter
from core.selection.filters import Filter
from pages.ui.shell.terms import Match
from tests.pages.conftest import ROWS


@pytest.fixture
def benchmark(pool, workspace, tmp_path):
    """Compare the pool with a benchmark of its row 30 and a question of its own."""
    row = {"question": pool.rows["prompt"][30].as_py(), "answer": pool.rows["response"][30].as_py()}
    (tmp_path / "exam.jsonl").write_text(
        json.dumps(row) + "\n" + json.dumps({"question": "What is the capital?"}) + "\n"
    )
    return find_overlap(pool, [str(tmp_path / "exam.jsonl")], workspace, SilentReporter())


def open_panel(at):
    at.session_state["benchmarks"] = True
    at.run()
    assert not at.exception
    return at


def test_rows_that_overlap_are_counted_highlighted_and_excluded(app, run, benchmark):
    at = open_panel(app("pool"))
    assert any(f"{benchmark.overlapping:,} rows of {ROWS:,} overlap" in each.value for each in at.markdown)
    at.button(key="benchmarks.pick.exam").click().run()
    [term] = at.session_state["winnow.settings"].highlight
    assert term == Match(Filter("overlap@exam", values=(0.0,), exclude=True), "overlap with exam")
    at.button(key="benchmarks.exclude.exam").click().run()
    assert at.session_state["winnow.settings"].filters == (Filter("overlap@exam", values=(0.0,)),)
    assert at.button(key="benchmarks.exclude.exam").disabled


def test_a_file_outside_the_folders_is_refused_in_one_sentence(app, run):
    at = open_panel(app("pool"))
    at.session_state["benchmarks.file"] = "/etc/passwd"
    at.run()
    at.button(key="benchmarks.start").click().run()
    assert not at.exception and at.warning and "/etc/passwd" in at.warning[0].value
