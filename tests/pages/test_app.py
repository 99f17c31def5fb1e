"""The shell of the pages: navigation, what is stored, and what the web process must never do."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest
from streamlit.testing.v1 import AppTest

from core.pool.pools import load_pool
from core.workspace.files import read_json
from tests.pages.conftest import choose_only, opened, ticked

ROOT = Path(__file__).parents[2]
PAGES = ("pool", "measure", "explore", "select", "proof", "export")


@pytest.fixture
def saved(workspace, pool):
    """Return the file that stores the settings of the pool."""
    return workspace.folder("selections", pool.fingerprint) / "current.json"


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_before_anything_is_measured(pool, app, page):
    assert not app(page).exception


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_measured_pool(run, app, page):
    assert not app(page).exception


@pytest.mark.parametrize("page", [*PAGES, "compare"])
def test_every_page_has_a_title_before_anything_is_measured(pool, app, page):
    assert len(app(page).title) == 1


def test_a_page_that_needs_scores_leads_to_measuring(pool, app):
    at = app("explore")
    assert "Entropy shift is not measured on this pool yet" in [s.value for s in at.subheader]
    next(b for b in at.main.button if b.label == "Go to Measure").click().run()
    assert at.title[0].value == "Measure"


def test_the_sidebar_shows_what_is_open(run, app):
    at = app("measure")
    assert [text.value for text in at.sidebar.get("text")] == ["small.jsonl", "Entropy shift", "built-in model", "10%"]


def test_one_row_is_singular(workspace, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    load_pool(str(tmp_path / "one.jsonl"), workspace=workspace.root)
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert "1 row" in [caption.value for caption in at.sidebar.caption]


def test_a_link_opens_the_pool_method_and_budget_it_names(pool, tmp_path, workspace):
    (tmp_path / "later.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    load_pool(str(tmp_path / "later.jsonl"), workspace=workspace.root)
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params.update({"pool": pool.fingerprint[:12], "method": "longest", "budget": "20ktok"})
    at.run()
    assert opened(at) == r"small\.jsonl"
    shown = [text.value for text in at.sidebar.get("text")]
    assert shown == ["small.jsonl", "Longest response", "built-in model", "20,000 response tokens"]


@pytest.mark.parametrize("link", [{"pool": "feedfeedfeed"}, {"budget": "many"}, {"method": "__class__"}])
def test_a_link_that_names_nothing_still_opens_the_app(pool, link):
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.query_params.update(link)
    at.run()
    assert not at.exception
    assert opened(at) == r"small\.jsonl"
    assert "Your own settings are shown" in at.warning[0].value


def test_settings_are_stored_in_the_workspace_per_pool(pool, app, saved, tmp_path, workspace):
    choose_only(app("measure"), "longest")
    assert read_json(saved)["method"] == "longest"
    (tmp_path / "later.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    load_pool(str(tmp_path / "later.jsonl"), workspace=workspace.root)
    assert ticked(app("measure")) == ["entropy_shift"]


def test_a_change_in_one_tab_keeps_what_another_tab_has_changed(pool, app, saved):
    this_tab, other_tab = app("measure"), app("measure")
    other_tab.number_input(key="form.seed").set_value(7).run()
    choose_only(this_tab, "random")
    stored = read_json(saved)
    assert (stored["method"], stored["seed"]) == ("random", 7)


@pytest.mark.parametrize("text", ["{broken", '{"format": 99}', '{"format": 1, "budget": "10%", "surprise": 1}', "[]"])
def test_unreadable_settings_are_put_aside_with_a_notice(pool, app, saved, text):
    saved.parent.mkdir(parents=True, exist_ok=True)
    saved.write_text(text)
    at = app("pool")
    assert not at.exception
    assert "could not be read" in at.warning[0].value
    assert saved.with_name("unreadable.json").read_text() == text


def test_stored_settings_are_plain_json_with_a_format_number(pool, app, saved):
    choose_only(app("measure"), "longest")
    assert orjson.loads(saved.read_bytes())["format"] == 1


def test_an_unwritable_workspace_shows_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WINNOW_WORKSPACE", str(tmp_path / "file" / "workspace"))
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not at.exception
    assert "it is a file, and a folder is needed" in at.error[0].value


def test_no_page_brings_torch_into_the_web_process(run):
    script = f"""
import sys
from streamlit.testing.v1 import AppTest
at = AppTest.from_file({str(ROOT / "app.py")!r}, default_timeout=100).run()
for page in {PAGES!r}:
    at.switch_page(f"pages/{{page}}.py").run()
    assert not at.exception, at.exception
heavy = {{"torch", "transformers", "datasets", "sentence_transformers", "umap"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
