"""Descriptions of generated answers: of a pool and of bins."""

import numpy as np
import pytest

from core.models.generation.answers import AnswerCounts
from pages.ui.explore import answer_bins, answers


@pytest.mark.parametrize(("shape", "ways"), [(0, 1), (0.5, 2), (2 / 3, 3), (0.75, 4)])
def test_directions_are_the_number_of_equally_used_ones(shape, ways):
    assert answers.effective_directions(np.float64(shape)) == pytest.approx(ways)


def test_problems_of_answers_are_counted_and_zero_counts_omitted():
    fine = AnswerCounts(10, 50, 0, 0, 0, 0, 0, 0)
    assert (
        answers.describe_answer_counts(fine, 5)
        == "50 answers to 10 rows · none missing, empty, refused or at the token limit."
    )
    some = answers.describe_answer_counts(AnswerCounts(1000, 5000, 7, 0, 1, 2500, 4, 1), 5)
    assert "7 missing (0.1%) · 1 started with a refusal (under 0.1%) · 2,500 hit the token limit (50.0%)" in some
    assert "empty" not in some and "4 rows with fewer than 5 answers" in some
    assert some.endswith("1 row with fewer than two answers: no score.")


def test_a_score_decided_by_one_part_is_reported():
    assert "I alone decides the score here" in answers.describe_dominant_part({"dispersion": 0.1, "anisotropy": 0.97})
    assert "D alone decides the score here" in answers.describe_dominant_part(
        {"dispersion": 0.95, "anisotropy": float("nan")}
    )
    assert not answers.describe_dominant_part({"dispersion": 0.7, "anisotropy": 0.92})
    assert not answers.describe_dominant_part({"dispersion": 0.5, "anisotropy": 0.8})
    assert not answers.describe_dominant_part({})


# Bins


def test_bins_are_compared_with_random_rows():
    bin_of = np.array([0, 0, 0, 1, 1, 2, -1])
    counts = answer_bins.count_by_bin(bin_of, np.array([0, 1, 6]), [np.array([0, 3]), np.array([0, 3, 5])])
    assert counts.sizes.tolist() == [3, 2, 1] and counts.subset.tolist() == [2, 0, 0]
    assert counts.share == pytest.approx(1 / 3)
    assert answer_bins.describe(counts) == (
        "The selection has rows from **1 of 3** bins; random selections have rows from 2 to 3. "
        "The other **2** hold 3 rows."
    )


def test_untouched_bins_are_omitted_if_there_are_none():
    counts = answer_bins.count_by_bin(np.array([0, 0]), np.array([1]), [])
    assert answer_bins.describe(counts) == "The selection has rows from **1 of 1** bins."
