"""One row's answers are read from its own part, whichever row it is."""

import numpy as np
import pytest

from core.errors import WorkspaceError
from core.measurement.run_data import load_measured
from core.workspace.parts import Parts
from pages.ui.row import answer_source
from tests.pages.conftest import entropy_shift_run


def test_every_row_gives_its_own_answers(divergence_run, pool):
    for row in range(0, len(pool), 7):
        answers = answer_source.load_answers(pool, divergence_run, row)
        assert next(text for text in answers.texts if text is not None) == f"Answer 0 to {row}."
        assert len(answers.tokens) == len(answers.ended) == 5 and answers.gram.shape == (5, 5)


def test_the_similarities_are_those_of_the_row(divergence_run, pool):
    assert np.array_equal(answer_source.load_answers(pool, divergence_run, 2).gram, np.eye(5))
    assert np.array_equal(answer_source.load_answers(pool, divergence_run, 0).gram, np.ones((5, 5)))
    lost = answer_source.load_answers(pool, divergence_run, 5)
    assert lost.texts[1] is None and lost.tokens[1] is None and lost.ended[1] is None
    assert np.isnan(lost.gram[1]).all() and np.isfinite(lost.gram[0, 2:]).all()


def test_only_one_part_is_read(divergence_run, pool, monkeypatch):
    seen, read = [], Parts.read
    monkeypatch.setattr(Parts, "read", lambda parts, k, columns=None: seen.append(k) or read(parts, k, columns))
    answer_source.load_answers(pool, divergence_run, 11)
    assert len(seen) == 2 and seen[0] == seen[1]  # texts and similarities have the same plan


def test_a_run_without_answers_finds_those_of_another(divergence_run, workspace, pool):
    other = entropy_shift_run(workspace, pool)
    assert answer_source.load_answers(pool, other, 0) is None
    assert answer_source.find_answers_run(pool, other).id == divergence_run.id
    assert answer_source.find_answers_run(pool, divergence_run) is divergence_run


def test_without_answers_there_is_no_run_and_no_count(run, pool):
    assert answer_source.find_answers_run(pool, run) is None and answer_source.answer_counts(run) is None


def test_answer_counts_are_those_of_the_run(divergence_run):
    counts = answer_source.answer_counts(divergence_run)
    assert (counts.missing, counts.empty, counts.refused, counts.truncated) == (5, 1, 1, 1)
    assert counts.short_rows == int((load_measured(divergence_run).columns["answers_counted"] < 5).sum()) == 2


def test_missing_parts_are_an_error(tmp_path):
    with pytest.raises(WorkspaceError, match=r"are missing\. Measure again"):
        answer_source.open_parts(tmp_path)
    assert not list(tmp_path.iterdir())  # the search creates no files
