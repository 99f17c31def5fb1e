"""Two people on one server: settings, pins, undo, uploads and recent pools of each are their own."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from streamlit.runtime.context import ContextProxy
from streamlit.testing.v1 import AppTest

from core.workspace.jobs import list_jobs
from pages.ui.shell import visitors
from pages.ui.shell.open_row import OPEN, OpenRow
from pages.ui.shell.state import SETTINGS, Contender, Settings
from tests.pages.conftest import ROOT, choose_pool, opened, run_until

USER_HEADER = {"X-Forwarded-Email": "email"}


@pytest.fixture
def shared(monkeypatch, workspace):
    """Share the server: it can be reached under another name, and a proxy names the user."""
    options = {"server.allowedHosts": ["winnow.example.org"], "server.trustedUserHeaders": USER_HEADER}
    get_option = st.get_option
    monkeypatch.setattr(ContextProxy, "cookies", {})  # AppTest has none
    monkeypatch.setattr(st, "get_option", lambda name: options.get(name, get_option(name)))
    return options


def visit(user: str | None, page: str = "pool", **link: str) -> AppTest:
    """Start the app for a user, who may have followed a link; None is a browser that keeps no cookie."""
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    at.user = {"email": user}
    at.query_params.update(link)
    at.run()
    assert not at.exception
    if page != "pool":
        at.switch_page(f"pages/{page}.py").run()
        assert not at.exception
    return at


def open_path(at: AppTest, path) -> AppTest:
    choose_pool(at, path)
    run_until(at, lambda: at.error or title(at) == Path(path).name)
    return at


def upload(at: AppTest, name: str, rows: int = 4) -> AppTest:
    data = b"".join(b'{"question": "q %d", "answer": "b"}\n' % i for i in range(rows))
    at.file_uploader(key="open.upload.0").upload(name, data).run()
    run_until(at, lambda: at.error or title(at) == name.replace(" ", "_"))
    return at


def pools_offered(at: AppTest) -> list[str]:
    return at.selectbox(key="open.choice.0").options


def title(at: AppTest) -> str:
    """Return the title of a page; on the Pool page, the name of the open pool."""
    return (opened(at) if at.title[0].value == "Pool" else at.title[0].value).replace("\\", "")


def verdict(at: AppTest) -> str:
    return at.subheader[0].value


def settings(at: AppTest) -> Settings:
    return at.session_state[SETTINGS]


def budget(at: AppTest) -> str:
    return settings(at).budget


def move(at: AppTest, percent: float) -> AppTest:
    at.number_input(key="select.exact.percent").set_value(percent).run()
    assert not at.exception
    return at


def test_a_link_shows_another_visitor_what_one_compares(shared, run, tmp_path):
    a, _ = (open_path(visit(user), tmp_path / "small.jsonl") for user in "ab")
    a.switch_page("pages/compare.py").run()
    a.get_by_key("compare.who").set_value(["Entropy shift", "Longest response"]).run()
    assert not a.exception
    link = dict(a.query_params)
    theirs = visit("b", "compare", **link)
    assert theirs.get_by_key("compare.who").value == ["Entropy shift", "Longest response"]
    assert dict(theirs.query_params) == link
    assert not settings(visit("b")).contenders  # a view only


def test_a_link_to_a_saved_selection_of_another_visitor_says_that_it_is_left_out(shared, run, tmp_path):
    a, _ = (open_path(visit(user), tmp_path / "small.jsonl") for user in "ab")
    a.session_state[SETTINGS] = replace(settings(a), contenders=(Contender("longest"), Contender(saved="mine")))
    a.switch_page("pages/select.py").run()
    link = dict(move(a, 12.0).query_params)
    theirs = visit("b", **link)
    assert [one.value.replace("\\", "") for one in theirs.warning] == [
        "The link compares a saved selection that you do not have, 'mine'. It is left out."
    ]
    assert budget(theirs) == "12%"


def test_two_budgets_at_once_stay_apart(shared, run, tmp_path):
    a, b = open_path(visit("a"), tmp_path / "small.jsonl"), open_path(visit("b"), tmp_path / "small.jsonl")
    for at in (a, b):
        at.switch_page("pages/select.py").run()
    move(a, 12.0)
    move(b, 88.0)
    assert [budget(a.run()), budget(b.run())] == ["12%", "88%"]
    again = [visit(user, "select") for user in "ab"]  # another tab, or another day
    assert [budget(at) for at in again] == ["12%", "88%"]
    assert [verdict(at) for at in again] == [
        "28 of 240 rows are selected (11.7%).",
        "192 of 240 rows are selected (80.0%).",
    ]


def test_pins_and_undo_are_each_ones_own(shared, run, tmp_path):
    a, b = (open_path(visit(user), tmp_path / "small.jsonl") for user in "ab")
    for at in (a, b):
        at.switch_page("pages/select.py").run()
    a.session_state[OPEN] = OpenRow("row-5", 5)
    a.run().button(key="reader.x").click().run()
    move(b, 50.0)
    assert [len(settings(at.run()).pins) for at in (a, b)] == [1, 0]
    assert [len(settings(visit(user)).pins) for user in "ab"] == [1, 0]
    a.button(key="select.undo").click().run()
    assert "select.undo" not in [button.key for button in a.button]
    assert [settings(at.run()).pins for at in (a, b)] == [(), ()]
    assert [budget(at) for at in (a, b)] == ["10%", "50%"]


def test_the_next_visitor_does_not_land_on_what_another_has_uploaded(shared, pool):
    assert title(upload(visit("a"), "mine.jsonl")) == "mine.jsonl"
    assert title(visit("a")) == "mine.jsonl"  # its owner finds it again
    b = visit("b")
    assert title(b) == "Demo pool"
    assert not [label for label in pools_offered(b) if "mine.jsonl" in label]


def test_an_upload_is_not_opened_by_a_link_or_a_path_of_another(shared, pool, workspace, monkeypatch):
    fingerprint = upload(visit("a"), "mine.jsonl").query_params["pool"]
    assert title(visit("a", pool=fingerprint)) == "mine.jsonl"
    b = visit("b", pool=fingerprint)
    assert title(b) == "Demo pool"
    assert "The link names a pool that is not in this workspace" in b.warning[0].value
    (file,) = workspace.root.glob("visitors/*/uploads/*/mine.jsonl")
    for path in (file, workspace.root / "visitors" / "secret"):
        choose_pool(b, path)
        assert "files of another visitor" in b.error[0].value


def test_an_upload_stays_its_owners_in_a_workspace_that_was_moved(shared, pool, workspace, tmp_path, monkeypatch):
    fingerprint = upload(visit("a"), "mine.jsonl").query_params["pool"]
    shutil.copytree(workspace.root, tmp_path / "elsewhere")
    monkeypatch.setenv("WINNOW_WORKSPACE", str(tmp_path / "elsewhere"))
    assert title(visit("b", pool=fingerprint)) == "Demo pool"
    assert title(visit("a")) == "mine.jsonl"


def test_the_same_content_uploaded_twice_is_a_pool_of_each(shared, pool):
    upload(visit("a"), "name of a.jsonl")
    assert title(upload(visit("b"), "name of b.jsonl")) == "name_of_b.jsonl"
    assert title(visit("a")) == "name_of_a.jsonl"


def test_a_pool_of_the_allowed_folders_and_its_measurements_are_shared(shared, run, pool):
    b = visit("b")
    assert "small.jsonl · 240 rows · opened by others" in pools_offered(b)
    choose_pool(b, pool.fingerprint)
    assert title(b) == "small.jsonl"
    b.switch_page("pages/select.py").run()
    assert verdict(b) == "24 of 240 rows are selected (10.0%)."
    assert title(visit("b")) == "small.jsonl"


def test_a_link_opens_the_settings_of_another_and_a_saved_selection_by_its_content(shared, run, pool, workspace):
    a = visit("a", "select", pool=pool.fingerprint)
    a.text_input(key="select.contains").set_value("1").run()
    for _ in range(2):  # AppTest does not send back that a popover is open
        a.session_state["saved.panel"] = True
        a.run()
    a.session_state["saved.panel"] = True
    a.text_input(key="saved.name").set_value("ones").run()
    a.session_state["saved.panel"] = True
    a.button(key="saved.save").click().run()
    link = dict(a.query_params)
    assert link["saved"] == "ones"
    before = {file: file.read_bytes() for file in workspace.root.rglob("*.json")}
    b = visit("b", **link)
    assert not b.warning and settings(b) == settings(a)
    assert "saved" not in b.query_params  # the name is a's own
    assert {file: file.read_bytes() for file in workspace.root.rglob("*.json")} == before


def test_a_link_to_a_pool_is_not_where_the_next_visit_begins(shared, run, pool, workspace):
    a = visit("a", "select", pool=pool.fingerprint, budget="5")
    assert verdict(a) == "5 of 240 rows are selected (2.1%)."
    assert not list(workspace.root.glob("visitors/*/*"))
    assert title(visit("a")) == "Demo pool"
    a.button(key="view.keep").click().run()
    assert verdict(visit("a", "select")) == "5 of 240 rows are selected (2.1%)."


def test_each_has_the_hints_until_they_dismiss_them(shared, run, pool):
    link = {"pool": pool.fingerprint}
    visit("a", "export", **link).button(key="hint.close.export").click().run()
    assert "hint.close.export" not in {b.key for b in visit("a", "export", **link).button}
    assert "hint.close.export" in {b.key for b in visit("b", "export", **link).button}


def test_a_browser_without_cookies_is_nobody_else(shared, run, pool):
    first, second = visit(None), visit(None)
    for at in (first, second):
        assert "keeps no cookies" in " ".join(caption.value for caption in at.sidebar.caption)
        choose_pool(at, pool.fingerprint)
        at.switch_page("pages/select.py").run()
    move(first, 30.0)
    assert (budget(first.run()), budget(second.run())) == ("30%", "10%")


def test_what_was_stored_before_is_found_on_this_computer_and_by_nobody_on_a_shared_server(
    run, app, monkeypatch, request, workspace, pool
):
    move(app("select"), 42.0)
    upload(app("pool"), "from before.jsonl")
    assert budget(app("select")) == "10%"  # of the upload
    assert workspace.folder("selections", pool.fingerprint).joinpath("current.json").exists()
    assert not (workspace.root / "visitors").exists()
    request.getfixturevalue("shared")
    a = visit("a")
    assert "from_before.jsonl" not in [text.value for text in a.text]
    choose_pool(a, pool.fingerprint)
    assert budget(a) == "10%"


def test_a_visitor_who_signs_in_as_another_in_the_same_tab_starts_as_that_one(shared, run, pool):
    at = visit("a", pool=pool.fingerprint)
    at.switch_page("pages/select.py").run()
    move(at, 12.0)
    at.user = {"email": "b"}
    at.query_params.clear()
    at.query_params["pool"] = pool.fingerprint
    at.run()
    assert not at.exception
    assert budget(at) == "10%"
    assert visitors.VISITOR in at.session_state
    assert budget(visit("a", "select")) == "12%"


# Jobs


def job_texts(at: AppTest) -> str:
    return "\n".join(str(one.value) for one in [*at.text, *at.caption])


def test_a_job_is_seen_by_all_and_cancelled_by_who_started_it(shared, run, pool, job):
    key = visitor_key("a")
    job({"kind": "measure", "key": "k", "pool": pool.fingerprint, "visitor": key}, state="running")
    a, b = (visit(user, "measure", pool=pool.fingerprint) for user in "ab")
    assert any(button.label == "Cancel" for button in a.button)
    assert not any(button.label == "Cancel" for button in b.button)
    assert "A job" in [text.value for text in b.text]
    assert "Started by another visitor" in job_texts(b)


def test_the_title_of_a_job_on_the_upload_of_another_is_not_shown(shared, run, pool, job):
    job({"kind": "measure", "key": "k", "pool": "0" * 32, "visitor": visitor_key("a")}, state="running")
    assert "Job of another visitor" in [text.value for text in visit("b", "measure", pool=pool.fingerprint).text]
    assert "A job" in [text.value for text in visit("a", "measure", pool=pool.fingerprint).text]


def test_an_unreadable_job_whose_starter_is_unknown_is_nobodys_to_delete(shared, run, pool, job):
    stopped = job(
        {"kind": "measure", "key": "k", "pool": pool.fingerprint, "visitor": visitor_key("a")}, state="failed"
    )
    (stopped.folder / "job.json").write_text("{}")
    at = visit("a", "measure", pool=pool.fingerprint)
    assert f"delete.{stopped.id}" not in {button.key for button in at.button}
    assert "damaged" not in " ".join(error.value for error in at.error)


def test_going_on_with_the_job_of_another_is_a_job_of_ones_own(shared, run, pool, job, workspace):
    stopped = job(
        {"kind": "measure", "key": "k", "pool": pool.fingerprint, "visitor": visitor_key("a")}, state="cancelled"
    )
    b = visit("b", "measure", pool=pool.fingerprint)
    b.button(key=f"resume.{stopped.id}").click().run()
    own, before = list_jobs(workspace)
    assert before.about["visitor"] == visitor_key("a")
    assert own.about == {**stopped.about, "visitor": visitor_key("b")}
    assert own.command == stopped.command


def visitor_key(user: str) -> str:
    return visit(user).session_state[visitors.VISITOR]
