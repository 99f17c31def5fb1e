"""Text search: hostile patterns end, long columns are searched in blocks, and invalid patterns are explained."""

import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from core.errors import RecipeError
from core.selection import text_search
from core.selection.text_search import check_pattern, contains_text, is_one_of, matches_pattern

WORDS = ["apple", "Pear", None, "pineapple", "", "a|b", "1+1=2", "ÄPFEL"] * 40


def column(*cuts: int) -> pa.ChunkedArray:
    ends = [0, *cuts, len(WORDS)]
    return pa.chunked_array([pa.array(WORDS[a:b], pa.string()) for a, b in pairwise(ends)])


@pytest.mark.parametrize("pattern", ["a+p", "^P", "e$", "(?i)ä", r"\|", "^$", "[0-9]=", "x"])
def test_a_pattern_matches_what_pythons_re_matches(pattern):
    expected = [word is not None and re.search(pattern, word) is not None for word in WORDS]
    assert matches_pattern(column(), pattern).tolist() == expected


@pytest.mark.parametrize("words", ["AP", "pear", "1+1", "|", "", "äp"])
def test_words_are_text_and_case_does_not_matter(words):
    expected = [word is not None and words.lower() in word.lower() for word in WORDS]
    assert contains_text(column(), words).tolist() == expected


def test_blocks_and_chunks_change_nothing(monkeypatch):
    whole = matches_pattern(column(), "ap"), contains_text(column(), "P"), is_one_of(column(), ["", None])
    monkeypatch.setattr(text_search, "FIRST", 3)
    monkeypatch.setattr(text_search, "LAST", 7)
    cut = column(1, 2, 100)
    for a, b in zip(
        whole, (matches_pattern(cut, "ap"), contains_text(cut, "P"), is_one_of(cut, ["", None])), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(a*)*b", "(x+x+)+y", "(.*)(.*)(.*)(.*)(.*)z"])
def test_a_pattern_that_stalls_other_engines_ends(pattern):
    """Each of these takes 2^n steps in a backtracking engine, n = 200,000."""
    assert matches_pattern(pa.chunked_array([["a" * 200_000 + "!"]]), pattern).tolist() in ([False], [True])


def test_a_timeout_between_blocks_gives_one_sentence():
    with pytest.raises(RecipeError, match=r"^The pattern 'a' takes more than -1 s on these 320 texts\.[^.]*\.$"):
        matches_pattern(column(), "a", limit_s=-1)
    with pytest.raises(RecipeError, match=r"^The search for 'a' takes more than"):
        contains_text(column(), "a", limit_s=-1)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing \\)"),
        ("[z-a]", "invalid character class range"),
        ("(?=a)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("(?:a?){1000}" * 20, "repeats too often"),
        ("a" * 1001, "may have 1,000 characters; this one has 1,001"),
    ],
)
def test_an_unusable_pattern_is_explained_in_one_line(pattern, reason):
    with pytest.raises(RecipeError, match=reason) as caught:
        check_pattern(pattern)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pattern", ["", "a{2,5}", r"\b(error|fail)\w{0,20}\b", "(?s)^.{0,200}end", r"^\s*\d+[.)]"])
def test_everyday_patterns_are_accepted(pattern):
    check_pattern(pattern)
