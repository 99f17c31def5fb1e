"""The reader: the open row in parts, each computed when it is opened; keys and buttons that step, pin and undo."""

import json
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from core.measurement.measure import measure as measure_pool
from core.measurement.run_data import load_measured, trained_state
from core.measurement.token_files import TokenView, token_file, view_means, write_view
from core.measurement.token_view import view_rows
from core.methods import build_method
from core.pool.near_duplicates import find_near_duplicates
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.selection.filters import Filter
from core.selection.selection import Pin
from core.workspace.jobs import list_jobs
from core.workspace.parts import Parts
from pages.ui.glossary import ANCHOR
from pages.ui.row import tokens
from pages.ui.shell import state
from pages.ui.shell.open_row import LISTED, OPEN, OpenRow
from tests.pages.conftest import entropy_shift_run
from tests.pages.test_explore import page_text
from tests.pages.ui.row.test_drawings import ParsedHtml

BEACON = "![beacon](http://evil.example/x.png)"
HOSTILE = f'{BEACON} <script>alert(1)</script> <img src="http://evil.example/y.png"> **bold** :red[x] $x$'
STATE = "feedfeedfeedfeed"


def html(at):
    return "\n".join(str(one.value) for one in at.get("html") if not str(one.value).startswith("<style>"))


def shown(at):
    """Return the text of everything that is drawn as HTML."""
    return ParsedHtml(html(at)).text


def part(at, name):
    keys = [one.key for one in at.get("button_group") if str(one.key).endswith(".part")]
    at.get_by_key(keys[0]).set_value(name).run()
    assert not at.exception
    return at


def open_row(at, row):
    """Open a row as a link does; the last of the 240 rows is "again"."""
    at.session_state[OPEN] = OpenRow("again" if row == 239 else f"row-{row}", row)
    at.run()
    assert not at.exception
    return at


def press(at, key):
    """Press the button that does what a key does."""
    at.button(key=f"reader.{key}").click().run()
    assert not at.exception
    return at


@pytest.fixture
def read(measure, workspace, pool):
    """Return a run of entropy shift with embeddings (rows in turn of four directions) and a trained state."""
    (workspace.folder("models", STATE) / "state").mkdir(parents=True)
    run = measure(dtype="float32", rounds=[{"rows": 24, "loss": [4.0, 3.0], "steps": 15, "state": STATE}])
    n = len(pool)
    vectors = np.eye(4, dtype=np.float16)[np.arange(n) % 4] + np.linspace(0, 0.5, n, dtype=np.float16)[:, None]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    plan = [np.arange(n)[::2], np.arange(n)[1::2]]
    folder = run.stage_folder("base")
    parts = Parts.open(folder, {}, plan)
    table = pa.table({"prompt_embedding": flat, "response_embedding": flat})
    for number, rows in enumerate(plan):
        parts.write(number, table.take(rows))
    return run


def view(workspace, run, row, texts):
    n = len(texts)
    for where, scale in ((None, 1.0), (trained_state(workspace, run, 0), 0.5)):
        figures = np.linspace(1, 3, n, dtype=np.float32) * scale
        write_view(token_file(workspace, run, row, where), TokenView(tuple(texts), figures, figures, (0,)))


# Scores


def test_scores_have_percentile_and_meaning(run, confidence_run, app):
    at = part(open_row(app("explore"), 11), "Scores")
    columns = load_measured(run).columns
    below = round(100 * (columns["nll"] < columns["nll"][11]).mean())
    assert "NLL" in shown(at) and f"{below}%" in shown(at)
    assert all(name in shown(at) for name in ("ΔH", "ΔNLL", "Response length", "Task confidence"))
    assert "Task number" not in shown(at)


@pytest.fixture
def at(read, app):
    return open_row(app("explore"), 11)


# Ranks


def test_ranks_are_those_of_each_methods_order(read, confidence_run, app):
    at = part(open_row(app("explore"), 11), "Ranks")
    columns = load_measured(read).columns
    longest = np.argsort(-columns["response_tokens"], kind="stable")
    rank = int(np.flatnonzero(longest == 11)[0]) + 1
    assert f"Longest response{rank} of 240" in shown(at)
    for label in ("Entropy shift", "Task confidence", "Random", "Lowest NLL", "Highest NLL"):
        assert label in shown(at)
    assert "Answer divergence" not in shown(at)  # not measured
    assert "At 10" in shown(at)


def test_a_row_that_is_not_eligible_shows_the_reason(at, read):
    columns = load_measured(read).columns
    outside = int(np.argmax(columns["nll_cal"] - columns["nll"]))
    part(open_row(at, outside), "Ranks")
    assert "unselected · excluded: " in shown(at)


def test_a_row_that_a_filter_excludes_and_a_filter_that_a_method_lacks_are_shown(read, confidence_run, app):
    at = app("pool")
    filters = (Filter("task", values=("words",)), Filter("delta_nll", high=9.0))
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], filters=filters)
    part(open_row(at, 0), "Ranks")  # its task is sums
    assert "Entropy shift–unselected · excluded: filtered out" in shown(at)
    assert "Task confidence–unselected · filters: there is no column 'delta_nll'" in shown(at)


def test_a_pinned_row_is_first_in_every_order(at):
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], pins=(Pin("row-11", "in"),))
    part(open_row(at, 11), "Ranks")
    assert "Longest response1 of 240" in shown(at)
    assert shown(at).count("selected · always included") >= 5


# Neighbours


def test_the_nearest_selected_row_is_shown_with_its_similarity(at, read, pool):
    part(at, "Similar")
    assert "The pool has no exact duplicates of this row" in page_text(at)
    assert "**Most similar selected row: not a duplicate**" in page_text(at)
    assert "Cosine similarity of the responses: 0.99" in page_text(at) or "of the responses: 1.000" in page_text(at)
    ids = [text.value for text in at.text if text.value.startswith("row-")]
    other = int(ids[-1].removeprefix("row-"))
    assert other % 4 == 11 % 4 and other != 11
    texts = [block.value for block in at.text]
    assert pool.rows["prompt"][other].as_py() in texts and pool.rows["response"][other].as_py() in texts


def test_the_nearest_selected_row_opens_in_the_reader_and_back_returns(at):
    part(at, "Similar")
    at.button(key="reader.nearest").click().run()
    opened = at.session_state[OPEN]
    assert opened.row % 4 == 11 % 4 and opened.row != 11 and opened.back.row == 11
    assert len(opened.rows) == 20 and "1 of 20" in page_text(at)
    press(at, "j")
    assert at.session_state[OPEN].row == opened.rows[1]
    press(at, "b")
    assert at.session_state[OPEN].row == 11


def test_duplicates_are_listed_with_whether_they_are_selected(at, pool):
    part(open_row(at, 239), "Similar")  # repeats row 0
    assert "**2 rows are exact duplicates**" in page_text(at)
    table = at.dataframe[-1].value
    assert table["Id"].tolist() == ["row-0", "again"]
    assert table["Which"].tolist() == ["kept", "this row"]


def test_near_duplicates_are_listed_once_they_are_found(workspace, tmp_path, app):
    words = " ".join(f"word{i}" for i in range(60))
    rows = [{"instruction": "Say it.", "output": text} for text in (words, f"{words} too", "Something else.")]
    file = tmp_path / "near.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(file), workspace=workspace.root)
    entropy_shift_run(workspace, pool, dtype="float32")
    at = part(open_row(app("pool"), 0), "Similar")
    assert "near-duplicates" not in page_text(at)
    find_near_duplicates(pool, workspace, 0.8, SilentReporter())
    part(at, "Similar")
    assert "no exact duplicates" in page_text(at)
    assert "**2 rows are near-duplicates (similarity ≥ 0.8)** of each other; " in page_text(at)
    assert at.dataframe[-1].value["Which"].tolist() == ["this row, kept", ""]


def test_missing_embeddings_show_one_sentence(at, workspace):
    for file in workspace.root.glob("measurements/*/plan.parquet"):
        file.unlink()
    part(at, "Similar")
    assert "Measure again" in at.error[0].value.replace("\\", "")


# Tokens


def test_tokens_are_drawn_as_stored_and_switch_to_entropy(at, read, workspace):
    view(workspace, read, 11, ["It", " is", " so", "."])
    part(at, "Tokens")
    assert "NLL in nats" in shown(at) and "It is so." in shown(at)
    assert "Mean NLL 2.000 → 1.000 after warm-up" in page_text(at)
    at.get_by_key("reader.measure").set_value("entropy").run()
    assert not at.exception
    assert "H in nats" in shown(at) and "Mean Entropy 2.000 → 1.000" in page_text(at)
    assert not list_jobs(workspace)


def test_a_long_response_is_cut_with_a_note(at, read, workspace):
    view(workspace, read, 11, ["so "] * 700)
    part(at, "Tokens")
    assert "First 600 of 700 tokens shown" in page_text(at)
    assert shown(at).count("so ") == 600


def test_reading_a_row_is_offered_and_does_not_start_by_itself(at, workspace):
    part(at, "Tokens")
    assert "Compute token scores" in [button.label for button in at.button]
    assert not list_jobs(workspace)


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        ({"state": "running", "stage": "Starting"}, "Loading the model"),
        ({"state": "queued", "message": "Another job uses this device."}, "Another job uses this device."),
        ({"state": "failed", "message": "The tokens of this run are gone."}, "The tokens of this run are gone."),
    ],
)
def test_a_job_that_reads_this_row_is_shown(at, read, job, progress, words):
    job({"kind": tokens.KIND, "run": read.id, "rows": [10, 11]}, **progress)
    part(at, "Tokens")
    bars = [bar.proto.text for bar in at.get("progress")]
    assert words in "\n".join([*bars, page_text(at), *(error.value.replace("\\", "") for error in at.error)])
    assert (progress["state"] == "failed") == bool([b for b in at.button if b.label == "Compute token scores"])


def test_a_job_for_another_row_is_not_this_rows(at, read, job):
    job({"kind": tokens.KIND, "run": read.id, "rows": [12]}, state="running", stage="Starting")
    part(at, "Tokens")
    assert "Compute token scores" in [button.label for button in at.button]


@pytest.mark.slow
def test_a_row_is_read_by_a_job_and_its_means_are_its_scores(workspace, tmp_path, app):
    rows = [{"instruction": f"Say {i}", "output": f"It is {i} and {2 * i}."} for i in range(12)]
    file = tmp_path / "few.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(file), workspace=workspace.root)
    run = measure_pool(pool, build_method("lowest_nll", {}), Reading(), workspace, report=SilentReporter())
    at = app("pool")
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], method="lowest_nll")
    part(open_row(at, 0), "Tokens")
    next(button for button in at.button if button.label == "Compute token scores").click().run()
    deadline = time.monotonic() + 120
    while list_jobs(workspace)[0].live and time.monotonic() < deadline:
        time.sleep(0.5)
    assert list_jobs(workspace)[0].state == "done"
    at.run()
    assert not at.exception
    assert "It is 0 and 0." in shown(at)
    first = tokens.load_views(tokens.Source(run, calibrated=False), 0)
    mean = view_means({name: [one] for name, one in first.items()})[0]["nll"]
    assert mean == pytest.approx(load_measured(run).columns["nll"][0], abs=1e-4)
    ahead = view_rows(run, [7], workspace, calibrated=False, device="cpu", report=SilentReporter())
    assert len(ahead["base"][0]) == load_measured(run).columns["response_tokens"][7]


# On every page


def test_the_part_that_was_opened_stays_open_for_the_next_row_and_page(at, read):
    part(at, "Ranks")
    open_row(at, 12)
    assert at.get_by_key("reader.part").value == "Ranks"
    at.switch_page("pages/pool.py").run()
    assert not at.exception
    assert "Longest response" in shown(at) and "At 10" in shown(at)


def test_a_row_of_a_pool_that_is_not_measured_has_only_its_text(pool, app):
    at = open_row(app("pool"), 3)
    assert at.get_by_key("reader.part").options == ["Text"]
    assert pool.rows["response"][3].as_py() in [text.value for text in at.text]


def open_id(at):
    return at.session_state[OPEN].id


def settings(at):
    return at.session_state[state.SETTINGS]


@pytest.fixture
def ranked(run, app):
    """Return the Select page with the fourth row of the ranking open, and the ids of the first ones in their order."""
    at = app("select")
    rows = load_ranking(at)
    return open_row(at, rows[3]), [f"row-{row}" for row in rows[:6]]


def load_ranking(at):
    return [int(row) for row in at.session_state[LISTED]]


def test_buttons_step_through_the_ranking_that_a_row_of_a_link_stands_in(ranked):
    at, ids = ranked
    assert open_id(at) == ids[3] and "4 of " in page_text(at)
    assert open_id(press(press(at, "k"), "k")) == ids[1]
    assert open_id(press(at, "k")) == ids[0] and at.button(key="reader.k").disabled
    assert open_id(press(at, "j")) == ids[1]


def test_a_row_of_a_link_that_is_in_no_list_stands_in_the_pool(pool, app):
    at = open_row(app("select"), 3)  # not measured, so without a ranking
    assert "4 of " in page_text(at)
    assert open_id(press(at, "j")) == pool.rows["id"][4].as_py()
    assert open_id(press(press(at, "k"), "k")) == pool.rows["id"][2].as_py()


@pytest.mark.parametrize(("key", "side", "words"), [("i", "in", "included"), ("x", "out", "excluded")])
def test_a_pin_keeps_the_row_and_its_list(ranked, key, side, words):
    at, ids = ranked
    press(at, key)
    assert open_id(at) == ids[3] and settings(at).pins == (Pin(ids[3], side),)
    assert f"Always {words}" in page_text(at) and at.button(key=f"reader.{key}").label.endswith("Remove pin")
    assert open_id(press(at, "j")) == ids[4]
    assert open_id(press(at, "k")) == ids[3]
    assert f"always {words[:-1]} {ids[3]}" in at.button(key="reader.u").help.replace("\\", "")
    assert settings(press(at, "u")).pins == () and open_id(at) == ids[3]


def test_a_pin_changes_sides_with_its_reason_and_is_removed_by_the_same_button(ranked):
    at, ids = ranked
    assert not [field for field in at.text_input if str(field.key).startswith("reader.reason")]
    reason = f"reader.reason.{ids[3].removeprefix('row-')}"
    press(at, "x").text_input(key=reason).set_value("too easy").run()
    assert settings(at).pins == (Pin(ids[3], "out", "too easy"),)
    assert settings(press(at, "i")).pins == (Pin(ids[3], "in", "too easy"),)
    assert at.text_input(key=reason).value == "too easy"
    assert settings(press(at, "i")).pins == ()


def test_the_reader_closes_and_opens_again_at_its_row(ranked):
    at, ids = ranked
    assert at.query_params["row"] in (ids[3], [ids[3]])
    press(at, "escape")
    assert at.session_state[OPEN] is None and "row" not in at.query_params
    assert [button.key for button in at.button if str(button.key).startswith("reader.")] == ["reader.open"]
    assert open_id(press(at, "open")) == ids[3]


def test_the_reader_opens_at_the_first_of_the_rows_of_the_page(run, app):
    at = press(app("select"), "open")
    assert open_id(at) == f"row-{load_ranking(at)[0]}"


def test_the_reader_is_wider_on_request(ranked):
    at, _ = ranked
    before = [column.weight for column in at.columns if column.weight != 1]
    press(at, "w")
    assert pytest.approx(2 / 3) in [column.weight for column in at.columns] and not before.count(2 / 3)


# Hostile text


def test_text_of_a_pool_stays_text_in_every_part(workspace, tmp_path, app):
    rows = [
        {"id": f"{HOSTILE} {i}", "instruction": f"{HOSTILE} {i}", "output": HOSTILE, "category": HOSTILE}
        for i in range(8)
    ]
    rows.append({**rows[0], "id": f"{HOSTILE} again"})
    file = tmp_path / "hostile.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(file), workspace=workspace.root)
    run = entropy_shift_run(workspace, pool, dtype="float32")
    folder = run.stage_folder("base")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(2 * len(pool), np.float16)), 2)
    parts = Parts.open(folder, {}, [np.arange(len(pool))])
    parts.write(0, pa.table({"prompt_embedding": flat, "response_embedding": flat}))
    text = TokenView((HOSTILE, "<script>"), np.ones(2, np.float32), np.ones(2, np.float32), (0,))
    write_view(token_file(workspace, run, 0, None), text)
    at = app("pool")
    at.session_state[OPEN] = OpenRow(rows[0]["id"], 0)
    at.run()
    for name in ("Scores", "Tokens", "Ranks", "Similar"):
        part(at, name)
        labels = [one.label for kind in ("button", "button_group", "expander") for one in at.get(kind)]
        interpreted = [
            *(str(one.value) for kind in (at.markdown, at.caption, at.title, at.error) for one in kind),
            *labels,
        ]
        assert not [one for one in interpreted if BEACON in one or "<script" in one or "<img" in one], name
        tags = ParsedHtml(html(at)).tags
        assert {tag for tag, _ in tags} <= {"div", "span", "br", "a"}
        assert all(dict(about)["href"].startswith(ANCHOR) for tag, about in tags if tag == "a")  # of the glossary
    part(at, "Tokens")
    assert HOSTILE in shown(at) and "<script>" in shown(at)
