"""Examples are from both sides of the cutoff, none twice, and bounded in size."""

import json

import numpy as np

from core.measurement.run_data import load_measured
from core.output.report.examples import MAX_CHARACTERS, MAX_TURNS, choose_examples
from core.output.report.subject import Subject
from core.pool.pools import load_pool
from core.selection.recipe import make_selection
from tests.pages.conftest import entropy_shift_run


def numbers(group):
    return [int(row.id.removeprefix("row-").replace("again", "239")) for row in group.rows]


def test_rows_are_the_best_the_last_selected_the_next_and_random_unselected_ones(subject):
    about = subject("longest", budget="10%")
    rows = about.selection.order.rows.tolist()
    top, near, missed, random = choose_examples(about)
    assert [numbers(each) for each in (top, near, missed)] == [rows[:5], rows[19:24], rows[24:29]]
    assert len(numbers(random)) == 5 and not set(numbers(random)) & set(rows[:24])
    assert [each.rank for each in top.rows][:1] == ["rank 1 of 240 eligible"]
    assert choose_examples(about) == choose_examples(about)


def test_a_row_is_shown_once_where_few_are_selected(subject):
    top, near, *_ = choose_examples(subject("longest", budget="7"))
    assert len(top.rows) == 5 and len(near.rows) == 2
    assert not set(numbers(top)) & set(numbers(near))


def test_nothing_to_show_is_a_sentence(subject):
    *_, missed, random = choose_examples(subject("longest", budget="100%"))
    assert (missed.rows, random.rows) == ((), ())
    assert (missed.empty, random.empty) == ("Every eligible row is selected.", "Every row is selected.")
    assert choose_examples(subject("longest", budget="0"))[0].empty == "No row is selected."


def test_long_rows_are_cut_and_what_is_left_out_is_counted(place, tmp_path, recipe):
    turns = [{"role": ("user", "assistant")[k % 2], "content": f"{k} " + "x" * 5000} for k in range(12)]
    (tmp_path / "long.jsonl").write_text(json.dumps({"messages": turns}) + "\n")
    pool = load_pool(str(tmp_path / "long.jsonl"), workspace=place.root)
    run = entropy_shift_run(place, pool)
    plain = recipe("longest", budget="1").model_copy(update={"pool": recipe().pool.model_copy(update={"source": "p"})})
    measured = load_measured(run)
    about = Subject(plain, pool, run, place, measured, make_selection(plain, pool, measured))
    (row,) = choose_examples(about)[0].rows
    assert (len(row.turns), row.left_out) == (MAX_TURNS, 12 - MAX_TURNS)
    assert row.turns[-1].text.startswith("11 x") and len(row.turns[-1].text) == MAX_CHARACTERS
    assert row.turns[-1].left_out == 5003 - MAX_CHARACTERS
    assert np.array_equal(about.selection.rows, [0])
