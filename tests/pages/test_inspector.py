"""The row inspector: scores, tokens, ranks, neighbours and answers, each computed when it is opened."""

import json
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pages.ui.row.place import Place

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
from tests.pages.conftest import entropy_shift_run
from tests.pages.test_explore import click, page_text
from tests.pages.ui.row.test_drawings import ParsedHtml

BEACON = "![beacon](http://evil.example/x.png)"
HOSTILE = f'{BEACON} <script>alert(1)</script> <img src="http://evil.example/y.png"> **bold** :red[x] $x$'
STATE = "feedfeedfeedfeed"


def html(at):
    return "\n".join(str(one.value) for one in at.get("html"))


def shown(at):
    """Return the text of everything that is drawn as HTML."""
    return ParsedHtml(html(at)).text


def part(at, name):
    keys = [one.key for one in at.get("button_group") if str(one.key).endswith(".part")]
    at.get_by_key(keys[0]).set_value(name).run()
    assert not at.exception
    return at


def open_row(at, row):
    """Open a row by a click on its dot."""
    at.get_by_key("explore.section").set_value("Entropy shift").run()
    click(at, "explore.shift", points=[{"customdata": row}])
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


def test_scores_are_open_at_once_with_percentile_and_meaning(run, confidence_run, app):
    at = open_row(app("explore"), 11)
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
    part(at.run(), "Ranks")  # of row 0, whose task is sums
    assert "Entropy shift–unselected · excluded: filtered out" in shown(at)
    assert "Task confidence–unselected · filters: there is no column 'delta_nll'" in shown(at)


def test_a_pinned_row_is_first_in_every_order(at):
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], pins=(Pin("row-11", "in"),))
    part(open_row(at, 11), "Ranks")
    assert "Longest response1 of 240" in shown(at)
    assert shown(at).count("selected · always included") >= 5


# Neighbours


def test_the_nearest_selected_row_is_shown_with_its_similarity(at, read, pool):
    part(at, "Similar rows")
    assert "The pool has no exact duplicates of this row" in page_text(at)
    assert "**Most similar selected row: not a duplicate**" in page_text(at)
    assert "Cosine similarity of the responses: 0.99" in page_text(at) or "of the responses: 1.000" in page_text(at)
    ids = [text.value for text in at.text if text.value.startswith("row-")]
    other = int(ids[-1].removeprefix("row-"))
    assert other % 4 == 11 % 4 and other != 11
    texts = [block.value for block in at.text]
    assert pool.rows["prompt"][other].as_py() in texts and pool.rows["response"][other].as_py() in texts


def test_the_nearest_row_of_a_row_that_was_not_picked_is_found_on_request(read, app):
    at = app("explore")
    at.get_by_key("explore.section").set_value("Entropy shift").run()
    click(at, "explore.shift", lasso=[{"x": [-9.0, 9.0, 9.0, -9.0], "y": [-9.0, -9.0, 9.0, 9.0]}])
    part(at, "Similar rows")
    assert "Most similar selected row" not in page_text(at)
    at.button(key="explore.shift.nearest").click().run()
    assert not at.exception and "**Most similar selected row:" in page_text(at)
    at.button(key="explore.shift.next").click().run()
    assert "**Most similar selected row:" in page_text(at)


def test_duplicates_are_listed_with_whether_they_are_selected(at, pool):
    part(open_row(at, 239), "Similar rows")  # repeats row 0
    assert "**2 rows are exact duplicates**" in page_text(at)
    table = at.dataframe[-1].value
    assert table["Id"].tolist() == ["row-0", "again"]
    assert table["Which"].tolist() == ["", "this row"]


def test_near_duplicates_are_listed_once_they_are_found(workspace, tmp_path, app):
    words = " ".join(f"word{i}" for i in range(60))
    rows = [{"instruction": "Say it.", "output": text} for text in (words, f"{words} too", "Something else.")]
    file = tmp_path / "near.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(file), workspace=workspace.root)
    entropy_shift_run(workspace, pool, dtype="float32")
    at = part(app("pool"), "Similar rows")
    assert "near-duplicates" not in page_text(at)
    find_near_duplicates(pool, workspace, 0.8, SilentReporter())
    part(at, "Similar rows")
    assert "no exact duplicates" in page_text(at)
    assert "**2 rows are near-duplicates (similarity ≥ 0.8)** of each other; " in page_text(at)
    assert at.dataframe[-1].value["Which"].tolist() == ["this row", ""]


def test_missing_embeddings_show_one_sentence(at, workspace):
    for file in workspace.root.glob("measurements/*/plan.parquet"):
        file.unlink()
    part(at, "Similar rows")
    assert "Measure again" in at.error[0].value.replace("\\", "")


# Tokens


def test_tokens_are_drawn_as_stored_and_switch_to_entropy(at, read, workspace):
    view(workspace, read, 11, ["It", " is", " so", "."])
    part(at, "Tokens")
    assert "NLL in nats" in shown(at) and "It is so." in shown(at)
    assert "Mean NLL 2.000 → 1.000 after warm-up" in page_text(at)
    at.get_by_key("explore.shift.measure").set_value("entropy").run()
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
    part(at.run(), "Tokens")
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
    assert at.get_by_key("explore.shift.part").value == "Ranks"
    at.switch_page("pages/pool.py").run()
    assert not at.exception
    assert "Longest response" in shown(at) and "At 10" in shown(at)


def test_the_pool_page_has_the_inspector_once_a_model_has_read_the_pool(pool, app):
    at = app("pool")
    assert not [one for one in at.get("button_group") if str(one.key).endswith(".part")]


def test_buttons_step_from_row_to_row_and_over_the_end_of_a_page(read, app):
    at = app("explore")
    at.get_by_key("explore.section").set_value("Entropy shift").run()
    whole_plane = {"x": [-9.0, 9.0, 9.0, -9.0], "y": [-9.0, -9.0, 9.0, 9.0]}
    click(at, "explore.shift", lasso=[whole_plane])

    def opened():
        return next(text.value for text in at.text if text.value.startswith(("row-", "again")))

    ids = at.dataframe[0].value["Id"].tolist()
    assert opened() == ids[0]
    assert selected_cells(at) == [(0, "Prompt")]
    assert at.button(key="explore.shift.previous").disabled
    at.button(key="explore.shift.next").click().run()
    at.button(key="explore.shift.next").click().run()
    assert not at.exception and opened() == ids[2]
    at.button(key="explore.shift.previous").click().run()
    assert opened() == ids[1]
    at.session_state["explore.shift.place"] = Place(int(ids[99].removeprefix("row-")), 99, None)
    at.run()
    at.button(key="explore.shift.next").click().run()
    second = at.dataframe[0].value["Id"].tolist()
    assert second != ids and opened() == second[0]
    at.button(key="explore.shift.previous").click().run()
    assert opened() == ids[99]


def selected_cells(at):
    return at.session_state[at.dataframe[0].key]["selection"]["cells"]


def open_id(at):
    return next(text.value for text in at.text if text.value.startswith(("row-", "again")))


@pytest.fixture
def first_ranked(run, app):
    """Return the Select page with the fourth of the rows that rank first open."""
    at = app("select")
    at.get_by_key("select.view").set_value("Top ranked").run()
    for _ in range(3):
        at.button(key="select.next").click().run()
    return at


@pytest.mark.parametrize(("side", "words"), [("in", "include"), ("out", "exclude")])
def test_a_pin_keeps_the_reader_at_its_row(first_ranked, side, words):
    at, ids = first_ranked, first_ranked.dataframe[0].value["Id"].tolist()
    assert open_id(at) == ids[3]
    at.button(key=f"select.pin.{side}").click().run()
    assert not at.exception and open_id(at) == ids[3]
    listed = at.dataframe[0].value["Id"].tolist()
    assert listed[:4] == ([ids[3], *ids[:3]] if side == "in" else [*ids[:3], ids[4]])  # first, or gone
    assert selected_cells(at) == ([(0, "Prompt")] if side == "in" else [])
    assert ("The open row left the list." in page_text(at)) == (side == "out")
    assert at.button(key="select.undo.pin").label.replace("\\", "") == f"Undo: always {words} {ids[3]}"
    at.button(key="select.undo.pin").click().run()
    assert at.dataframe[0].value["Id"].tolist() == ids
    assert open_id(at) == ids[3] and selected_cells(at) == [(3, "Prompt")]


def test_after_a_row_left_the_list_the_next_one_is_that_which_took_its_place(first_ranked):
    at, ids = first_ranked, first_ranked.dataframe[0].value["Id"].tolist()
    at.button(key="select.pin.out").click().run()
    at.button(key="select.next").click().run()
    assert open_id(at) == ids[4]
    at.button(key="select.previous").click().run()
    assert open_id(at) == ids[2]


def test_a_pinned_row_can_go_to_the_other_side_with_its_reason(first_ranked):
    at = first_ranked
    row = open_id(at)
    at.text_input[-1].set_value("too easy").run()
    for side, label in (("out", "always excluded"), ("in", "always included")):
        at.button(key=f"select.pin.{side}").click().run()
        assert at.session_state[state.SETTINGS].pins == (Pin(row, side, "too easy"),)
        assert at.button(key="select.unpin").label == "Remove pin" and label in page_text(at).lower()
    at.button(key="select.unpin").click().run()
    assert at.session_state[state.SETTINGS].pins == () and open_id(at) == row


def test_another_list_opens_at_its_first_row(first_ranked):
    at = first_ranked
    at.get_by_key("select.view").set_value("Near the cutoff").run()
    assert open_id(at) == at.dataframe[0].value["Id"][0]


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
    for name in ("Scores", "Tokens", "Ranks", "Similar rows"):
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
