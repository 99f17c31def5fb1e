"""The numbers of a report are those of the selection, with the range of random selections beside them."""

import numpy as np
import pytest

from core.output.report.make_up import describe_cutoff, draw_scores, list_faults, list_figures, list_lengths, list_tasks

SUMS = [{"column": "task", "values": ["sums"]}]


def test_figures_have_their_chance_range_or_that_of_the_pool(subject):
    about = subject("longest", budget="10%")
    tokens = about.measured.need("response_tokens")
    figures = {each.label: each for each in list_figures(about)}
    assert (figures["Selected rows"].value, figures["Selected rows"].comparison) == ("24", "10.0% of 240")
    assert figures["Response tokens"].value == f"{np.sort(tokens)[-24:].sum():,}"
    low, high = figures["Response tokens"].comparison.removeprefix("chance range ").replace(",", "").split("–")
    assert int(low) < 24 * tokens.mean() < int(high) < np.sort(tokens)[-24:].sum()
    assert "Bad rows kept" not in figures  # nothing is known of this pool


def test_tasks_of_a_filtered_selection_are_compared_with_random_rows_under_the_same_filter(subject):
    shares, _ = list_tasks(subject("longest", budget="10%", filters=SUMS))
    assert [(each.name, each.rows) for each in shares] == [("sums", 24), ("words", 0), ("facts", 0)]
    assert (shares[0].selected, shares[0].low, shares[0].high) == (1, 1, 1) and shares[0].within
    assert shares[0].pool == pytest.approx(1 / 3, abs=0.01)


def test_many_tasks_are_one_line_after_the_largest(subject, monkeypatch):
    monkeypatch.setattr("core.output.report.make_up.MAX_TASKS", 1)
    shares, words = list_tasks(subject("longest", budget="10%", filters=SUMS))
    assert [each.name for each in shares] == ["sums"]
    assert words == "2 more tasks have 0 selected rows."


def test_lengths_count_every_selected_row_once(subject):
    shares = list_lengths(subject("longest", budget="10%"))
    assert sum(each.rows for each in shares) == 24
    assert sum(each.pool for each in shares) == pytest.approx(1)
    assert not shares[-1].within and shares[-1].selected > shares[-1].high  # the longest rows


def test_the_cutoff_is_that_of_the_last_row_and_none_without_a_score(subject):
    about = subject(budget="10%")
    last = about.columns["delta_entropy"][about.selection.rows[-1]]
    assert f"{last:.3g}".replace("-", "−") in describe_cutoff(about)
    assert "cutoff" in draw_scores(about)
    assert draw_scores(subject("random")) is None and describe_cutoff(subject("random")) == ""


def test_a_pool_without_an_answer_key_has_no_faults(subject):
    assert list_faults(subject()) == []
