"""The map and the similarities of one row's answers."""

import re

import numpy as np
import pytest

from core.algorithms.answer_geometry import answer_coordinates, gram_matrices
from pages.ui.row import answer_drawings


def dots(html):
    """Return words in each dot -> its place, in percent from the left and from the top."""
    pattern = r"left:([\d.]+)%;top:([\d.]+)%;transform[^>]*>([^<]+)<"
    return {words: (float(x), float(y)) for x, y, words in re.findall(pattern, html)}


def test_both_axes_of_the_map_have_one_scale():
    places = dots(answer_drawings.answer_map(np.array([[0.3, 0.0], [-0.3, 0.0], [0.0, 0.15]])))
    assert places["1"] == (50 + 38, 50) and places["2"] == (50 - 38, 50)
    assert places["3"] == (50, 50 - 19)  # up


def test_similar_answers_share_a_dot_and_missing_ones_have_none():
    vectors = np.eye(4)[[0, 1, 0, 2]][None].astype(float)
    vectors[0, 3] = np.nan
    assert set(dots(answer_drawings.answer_map(answer_coordinates(gram_matrices(vectors)[0])))) == {"1, 3", "2"}


def test_answers_that_hardly_differ_are_not_magnified():
    places = dots(answer_drawings.answer_map(np.array([[1e-9, 0.0], [-1e-9, 0.0]])))
    assert places == {"1, 2": (50, 50)}


def test_a_row_without_answers_has_no_map():
    assert answer_drawings.answer_map(np.full((3, 2), np.nan)) == ""


def test_similarities_are_written_and_a_missing_answer_has_none():
    gram = np.array([[1, 0.456, np.nan], [0.456, 1, np.nan], [np.nan, np.nan, np.nan]])
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", answer_drawings.similarity_table(gram))
    assert cells == ["", ".46", "–", ".46", "", "–", "–", "–", ""]


@pytest.mark.parametrize(("value", "text"), [(-0.25, "−.25"), (-0.001, ".00"), (1.0, "1.00"), (0.999, "1.00")])
def test_a_similarity_keeps_two_digits(value, text):
    gram = np.array([[1, value], [value, 1]])
    assert f">{text}</td>" in answer_drawings.similarity_table(gram)
