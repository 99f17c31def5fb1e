"""Columns in words: what a value means by itself, and where it lies among those of other rows."""

import numpy as np
import pytest

from core.columns import DUPLICATES, Column, Signs, count_cut, cut_in_words
from core.errors import RecipeError

PLAIN = Column("Score", "it is easier", "it is harder")
SIGNED = Column("Change", "fell most", "rose most", signs=Signs("fell", "stayed", "rose"))
HALF_SIGNED = Column("Gain", "adds less", "adds more", signs=Signs(zero="adds nothing"))
PERPLEXITY = Column("NLL", "easy", "hard", exponential="perplexity {}")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((0, 0, 0), "the only row with this score"),
        ((0, 9, 0), "the same for all rows"),
        ((9, 0, 0), "the highest of all rows"),
        ((0, 0, 9), "the lowest of all rows"),
        ((6, 3, 0), "the highest value, shared by 4 rows"),
        ((0, 90, 9), "the lowest value, shared by 91 rows"),
        ((4, 1, 5), "lower than 50% of rows"),
        ((5, 1, 4), "higher than 50% of rows"),
        ((2, 7, 1), "the same as 70% of rows"),
        ((9999, 0, 1), "higher than 99% of rows"),  # rounded down: not 100%
    ],
)
def test_the_position_among_other_rows_is_told_in_words(counts, words):
    assert Column("Length").explain(5.0, *counts) == words


@pytest.mark.parametrize(("value", "words"), [(-0.31, "fell"), (0.0, "stayed"), (-0.0, "stayed"), (0.31, "rose")])
@pytest.mark.parametrize("counts", [(90, 0, 10), (10, 0, 90), (0, 99, 0), (0, 0, 0)])
def test_a_sign_comes_first_wherever_the_row_lies(value, words, counts):
    assert SIGNED.explain(value, *counts).startswith(f"{words}; ")


def test_a_sign_without_a_meaning_leaves_the_word_to_the_ends():
    assert HALF_SIGNED.explain(0, 0, 0, 99) == "adds nothing; the lowest of all rows"
    assert HALF_SIGNED.explain(2, 90, 0, 9) == "adds more; higher than 90% of rows"


@pytest.mark.parametrize(("value", "words"), [(0, "1.0"), (2, "7.4"), (7, "1,097"), (40, "e^40.0")])
def test_an_exponential_is_true_of_the_value_alone(value, words):
    assert PERPLEXITY.explain(value, 0, 0, 9) == f"perplexity {words}; the lowest of all rows"


def test_the_ends_compare_only_rows_in_the_outer_thirds():
    assert PLAIN.explain(1, 9, 0, 91) == "it is easier; lower than 91% of rows"
    assert PLAIN.explain(1, 91, 0, 9) == "it is harder; higher than 91% of rows"
    assert PLAIN.explain(1, 40, 0, 60) == "lower than 60% of rows"
    assert PLAIN.explain(1, 0, 9, 0) == "the same for all rows"


def test_truncation_is_counted_by_side():

    columns = {
        "truncated": np.array([True, True, False]),
        "prompt_cut": np.array([9, 0, 0]),
        "response_cut": np.array([1, 3, 0]),
    }
    assert cut_in_words(count_cut(columns)) == "1 prompt lost 9 tokens and 2 responses lost 4 tokens"


def test_a_threshold_of_near_duplicates_out_of_range_is_refused():
    with pytest.raises(RecipeError, match=r"a number from 0\.3 to 1, not 0\.2"):
        DUPLICATES["words"].column(0.2)
