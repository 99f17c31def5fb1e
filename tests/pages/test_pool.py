"""The Pool page as a user sees it."""

import json
import os
from dataclasses import replace

import pytest

from core.errors import PoolError
from core.pool.pools import load_pool, open_stored, recent_pools, source_options
from core.selection.filters import Filter
from core.workspace.jobs import list_jobs
from pages.ui.pool import opening
from pages.ui.shell import state
from pages.ui.shell.open_row import OPEN
from pages.ui.shell.terms import Match, Rows, Search, describe
from pages.ui.words import escape_markdown
from tests.hub_server import serve
from tests.pages.conftest import bars_html, choose_pool, click_line, opened, pick_bar, run_until, write_rows


def labels(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def text_of(at) -> str:
    return "\n".join([*(c.value for c in at.caption), *(e.label for e in at.expander), *(t.value for t in at.title)])


def button(at, label):
    return next(b for b in at.button if b.label == label)


def search(at, words):
    next(box for box in at.text_input if box.label == "Search prompts and responses").set_value(words).run()


def test_the_pool_opened_last_is_open_at_once(pool, app):
    at = app("pool")
    assert not at.exception
    assert opened(at) == r"small\.jsonl"
    assert labels(at)["Characters"].count(",") == 1
    counts = {"Rows": "240", "Tasks": "3", "Exact duplicates": "1", "Skipped rows": "0"}
    assert labels(at) | counts == labels(at)


def test_on_a_new_machine_the_demo_pool_is_open(workspace, app):
    at = app("pool")
    assert not at.exception
    assert opened(at) == "Demo pool"
    assert int(labels(at)["Rows"].replace(",", "")) > 0


def test_the_address_bar_names_the_open_pool(pool, app):
    at = app("pool")
    assert at.query_params["pool"] == pool.fingerprint[:12]
    assert at.query_params["method"] == "entropy_shift"
    assert at.query_params["budget"] == "10%"


def test_once_measured_it_counts_tokens(run, app):
    at = app("pool")
    assert "Response tokens" in labels(at)


def test_the_mapping_is_described(pool, app):
    assert "instruction + input → prompt, output → response, category → task, id → id" in text_of(app("pool")).replace(
        "\\", ""
    )


def test_another_mapping_opens_another_pool(pool, app):
    at = app("pool")
    form = f"map.{pool.fingerprint[:8]}"
    at.pills(key=f"{form}.prompt").set_value(["output"])
    at.selectbox(key=f"{form}.response").set_value("instruction")
    at.selectbox(key=f"{form}.schema").set_value("custom")
    button(at, "Apply mapping").click().run()
    run_until(at, lambda: at.query_params["pool"] != pool.fingerprint[:12])


def test_skipped_rows_are_counted_by_reason_and_offered_as_a_file(workspace, tmp_path, app):
    lines = [json.dumps({"instruction": f"do {i}", "output": f"done {i}"}) for i in range(20)]
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join([*lines, "{broken", '{"instruction": "", "output": ""}', *lines]))
    load_pool(str(path), workspace=workspace.root)
    at = app("pool")
    assert labels(at)["Skipped rows"] == "2"
    expander = next(e for e in at.expander if "skipped" in e.label)
    assert expander.label.startswith("2 skipped rows: ")


def test_a_search_shows_matching_rows_only(pool, app):
    at = app("pool")
    search(at, "Question 17:")
    assert not at.exception
    shown = at.dataframe[0].value
    assert shown["prompt"].tolist() == ["Question 17: what is 17 plus 17?"]
    search(at, "no such words")
    assert "No rows match" in text_of(at)


def highlight(at):
    return at.session_state[state.SETTINGS].highlight


def lit(at) -> str:
    """Return how many rows are highlighted, as the badge above the page says it; empty if none are."""
    badges = [one.value for one in at.markdown if "material/highlight:" in one.value]
    return badges[0].split("material/highlight:")[1].strip(" ]") if badges else ""


def task_choice(at):
    return next(box for box in at.selectbox if box.key.startswith("browse.") and box.key.endswith(".task"))


def shown(at) -> list[int]:
    return at.dataframe[0].value["line"].tolist()


def test_search_and_task_are_the_highlight_and_narrow_each_other(pool, app):
    at = app("pool")
    assert lit(at) == ""
    search(at, "is 1")
    assert highlight(at) == (Search("is 1"),)
    task_choice(at).set_value(1).run()
    assert highlight(at) == (Search("is 1"), Match(Filter("task", values=("words",))))
    expected = [i + 1 for i in range(1, 240, 3) if str(i).startswith("1")]
    assert shown(at) == expected
    assert lit(at) == f"{len(expected)} rows highlighted"  # nothing is measured, so none is selected
    task_choice(at).set_value("all").run()
    search(at, "")
    assert highlight(at) == () and lit(at) == ""


def test_a_click_on_a_task_highlights_its_rows_in_the_figures_and_the_table(run, app):
    at = app("pool")
    assert "highlighted" not in bars_html(at)
    pick_bar(at, "pool.tasks", "2")
    assert highlight(at) == (Match(Filter("task", values=("facts",))),)
    assert set(at.dataframe[0].value["task"]) == {"facts"}
    assert task_choice(at).value == 2
    assert "facts: 79 rows, 79 highlighted" in bars_html(at) and "words: 80 rows, 0 highlighted" in bars_html(at)
    assert "highlighted response" in "".join(one.value for one in at.html)
    assert lit(at).startswith("79 rows highlighted, ") and lit(at).endswith(" selected")


def test_ticked_rows_are_highlighted_over_pages_and_can_come_first(pool, app):
    at = app("pool")
    click_line(at, ".0", 0, ticked=[3, 7])
    assert highlight(at) == (Rows(("row-3", "row-7")),)
    assert len(at.dataframe[0].value) == 100  # ticks do not narrow the table
    next(box for box in at.number_input if box.label == "Page").set_value(2).run()
    click_line(at, ".100", 0, ticked=[0])
    assert highlight(at) == (Rows(("row-3", "row-7", "row-100")),)
    next(box for box in at.selectbox if box.label == "Order").set_value("highlighted").run()
    assert shown(at)[:5] == [4, 8, 101, 1, 2]
    click_line(at, ".0", 0, ticked=[0, 1])  # unticks the third
    assert highlight(at) == (Rows(("row-3", "row-7")),)
    search(at, "Question 7:")  # narrows the table, and keeps the ticks
    assert shown(at) == [8]
    assert lit(at) == "1 row highlighted"
    at.button(key="highlight.clear").click().run()
    assert highlight(at) == () and len(shown(at)) == 100


def test_a_click_opens_a_row_and_the_reader_steps_through_the_list(pool, app):
    at = app("pool")
    search(at, "Question 1")
    click_line(at, ".0", 2)
    assert at.session_state[OPEN].id == "row-11"  # after row-1 and row-10
    assert at.session_state[OPEN].rows.tolist()[:4] == [1, 10, 11, 12]
    assert at.query_params["row"] == "row-11"
    assert highlight(at) == (Search("Question 1"),)


def test_the_last_bar_stands_for_the_tasks_without_a_bar(workspace, tmp_path, app):
    lines = [{"instruction": f"do {i}", "output": "done", "category": f"task {i % 18:02}"} for i in range(180)]
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    load_pool(str(path), workspace=workspace.root)
    at = app("pool")
    pick_bar(at, "pool.tasks", "15")
    assert lit(at) == "30 rows highlighted"
    assert describe(highlight(at)[0]) == "3 more tasks"
    assert len({name for name in at.dataframe[0].value["task"]}) == 3


def test_a_highlight_that_needs_a_measurement_says_so_where_there_is_none(pool, app):
    at = app("pool")
    terms = (Match(Filter("nll", high=1.0)),)
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], highlight=terms)
    at.run()
    assert not at.exception
    warning = at.warning[0].value.replace("\\", "")
    assert warning == "The highlight “NLL ≤ 1” is not applied here. NLL is not measured with the present method."
    assert len(shown(at)) == 100


def test_the_longest_response_can_come_first(pool, app):
    at = app("pool")
    next(box for box in at.selectbox if box.label == "Order").set_value("longest").run()
    assert at.dataframe[0].value["line"].tolist()[0] == 80  # "so" 39 times and a sum of three digits


def test_a_page_of_the_table_holds_a_hundred_rows(pool, app):
    at = app("pool")
    assert len(at.dataframe[0].value) == 100
    next(box for box in at.number_input if box.label == "Page").set_value(3).run()
    assert len(at.dataframe[0].value) == 40


def test_the_open_row_is_shown_as_text(workspace, tmp_path, app):
    evil = "![x](http://evil/x.png) <img src=x onerror=alert(1)> $$x$$"
    path = tmp_path / "evil.jsonl"
    path.write_text(
        "".join(json.dumps({"instruction": evil, "output": evil, "category": evil}) + "\n" for _ in range(3))
    )
    load_pool(str(path), workspace=workspace.root)
    at = app("pool")
    assert not at.exception
    assert evil not in [block.value for block in at.text]
    click_line(at, ".0", 1)
    assert evil in [block.value for block in at.text]
    for element in [*at.markdown, *at.caption, *at.title, *at.get("badge")]:
        assert "![x](" not in element.value


def test_a_path_outside_the_allowed_folders_shows_one_sentence(pool, app):
    at = app("pool")
    choose_pool(at, "/etc/passwd")
    assert "outside the folders" in at.error[0].value


def test_a_path_inside_is_opened(pool, app, tmp_path, workspace):
    (tmp_path / "other.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    at = app("pool")
    choose_pool(at, tmp_path / "other.jsonl")
    run_until(at, lambda: opened(at) == r"other\.jsonl")
    assert list_jobs(workspace) == []  # the job has done its duty


def test_a_dataset_of_the_hub_is_opened_by_its_address(pool, app, tmp_path, monkeypatch, workspace):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with serve() as hub:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.server_port}")
        commit = hub.publish("o/n", {"data/a.jsonl": b'{"prompt": "a", "completion": "b"}\n'})
        at = app("pool")
        choose_pool(at, "hf://datasets/o/n@main/data/a.jsonl")
        run_until(at, lambda: opened(at) == escape_markdown("hf://datasets/o/n/data/a.jsonl"))
    stored = open_stored(recent_pools(workspace.root)[0]["key"], workspace=workspace.root)
    assert source_options(stored) == {"revision": commit}


def test_a_pool_that_is_stored_opens_without_a_job(pool, app, tmp_path, workspace):
    other = load_pool(str(write_rows(tmp_path / "other.jsonl", rows=30)), workspace=workspace.root)
    os.utime(next(workspace.root.glob("pools/*/pool.json")), (0, 0))
    at = app("pool")
    choose_pool(at, tmp_path / "other.jsonl")
    assert opened(at) == r"other\.jsonl"
    assert at.query_params["pool"] == other.fingerprint[:12]
    assert not list(workspace.root.glob("jobs/*"))


def test_a_long_import_shows_its_progress_and_opens_at_its_end(pool, app, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "PATIENCE_S", 0)
    at = app("pool")
    choose_pool(at, write_rows(tmp_path / "other.jsonl", rows=30))
    assert opened(at) == r"small\.jsonl"
    assert at.button(key="open.cancel").label == "Cancel"
    run_until(at, lambda: opened(at) == r"other\.jsonl")
    assert not [b for b in at.button if b.key == "open.cancel"]


def test_a_cancelled_import_leaves_the_open_pool_and_nothing_behind(pool, app, tmp_path, monkeypatch, workspace):
    monkeypatch.setattr(opening, "PATIENCE_S", 0)
    at = app("pool")
    choose_pool(at, write_rows(tmp_path / "other.jsonl", rows=400_000))
    at.button(key="open.cancel").click().run()
    assert not at.exception
    assert opened(at) == r"small\.jsonl"
    assert list_jobs(workspace) == []
    assert len(list(workspace.root.glob("pools/*"))) == 1


@pytest.mark.parametrize("patience", [0, 60])
def test_an_import_that_fails_shows_its_one_sentence(pool, app, tmp_path, monkeypatch, workspace, patience):
    monkeypatch.setattr(opening, "PATIENCE_S", patience)
    (tmp_path / "p.csv").write_text('prompt,completion\na,"b\nc,d\n')
    at = app("pool")
    choose_pool(at, tmp_path / "p.csv")
    run_until(at, lambda: at.error)
    assert at.error[0].value.replace("\\", "").startswith("p.csv, line 2: a quote is opened in this row and never")
    if not patience:
        at.button(key="open.close").click().run()
    assert not at.run().error
    assert list_jobs(workspace) == []


def test_a_table_without_a_header_is_opened_by_a_switch(pool, app, tmp_path):
    (tmp_path / "p.csv").write_text("What is 1 + 1?,2,x\nWhat is 2 + 2?,4,y\n")
    at = app("pool")
    choose_pool(at, tmp_path / "p.csv", header=False)
    run_until(at, lambda: opened(at) == r"p\.csv")
    assert labels(at)["Rows"] == "2"
    assert "1 → prompt, 2 → response" in text_of(at)
    assert "Fields that are not read: 3." in text_of(at)
    at.selectbox(key=f"map.{at.query_params['pool'][:8]}.response").set_value("3")
    button(at, "Apply mapping").click().run()
    run_until(at, lambda: "3 → response" in text_of(at))
    assert labels(at)["Rows"] == "2"


def test_an_upload_is_opened_and_stored_under_its_own_name(pool, app, workspace):
    at = app("pool")
    data = b'{"question": "a", "answer": "b"}\n' * 4
    at.file_uploader(key="open.upload.0").upload("../../mine.jsonl", data).run()
    run_until(at, lambda: opened(at) == r"mine\.jsonl")
    stored = list(workspace.root.glob("uploads/*/*.jsonl"))
    assert [one.name for one in stored] == ["mine.jsonl"]


@pytest.mark.parametrize("name", ["x.exe", "x.pkl", "noending"])
def test_an_upload_of_another_kind_is_refused_on_the_server(workspace, name):
    with pytest.raises(PoolError, match="cannot be opened"):
        opening.store_upload(name, b"x")


def test_a_recent_pool_opens_by_its_entry(workspace, tmp_path, pool, app):
    (tmp_path / "later.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 3)
    load_pool(str(tmp_path / "later.jsonl"), workspace=workspace.root)
    at = app("pool")
    assert opened(at) == r"later\.jsonl"
    choose_pool(at, pool.fingerprint)
    assert opened(at) == r"small\.jsonl"
