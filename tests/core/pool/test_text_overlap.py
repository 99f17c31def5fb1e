"""Overlap of texts: coverage and similarity by hand, and the search for near-duplicates against all pairs."""

import random

import numpy as np
import pytest

from core.pool import text_overlap
from core.pool.minhash import shingles
from core.pool.text_overlap import MIN_WORDS, NGRAM_WORDS, ReferenceIndex, iter_strings

WORDS = [f"w{k}" for k in range(400)]


def text(*numbers: int) -> str:
    return " ".join(f"w{k}" for k in numbers)


def test_coverage_is_the_share_of_words_inside_a_shared_ngram():
    index = ReferenceIndex([text(*range(20))], 0.9)
    own = [*range(100, 105), *range(2, 2 + NGRAM_WORDS + 1), *range(110, 111)]  # two n-grams, of 14 words in 20
    overlap = index.find_overlap([text(*own), text(*range(12)), text(*range(20)), ""])
    assert overlap.coverage.tolist() == pytest.approx([14 / 20, 0, 1, 0])
    assert overlap.reference.tolist() == [0, -1, 0, -1]


def test_an_ngram_does_not_reach_from_one_text_into_the_next():
    index = ReferenceIndex([text(*range(13))], 0.9)
    assert index.find_overlap([text(*range(7)), text(*range(7, 13))]).coverage.tolist() == [0, 0]


def test_similarity_by_hand():
    reference, own = text(*range(10)), text(0, 1, 2, 3, 4, 5, 6, 7, 8, 99)  # 9 pairs; 8 of them, and one more
    overlap = ReferenceIndex([reference], 0.5).find_overlap([own])
    assert overlap.similarity[0] == pytest.approx(8 / 10) and overlap.reference[0] == 0
    assert ReferenceIndex([reference], 0.81).find_overlap([own]).similarity[0] == 0


def test_case_and_punctuation_do_not_count_and_short_references_are_left_out():
    index = ReferenceIndex(["Natalia sold clips to 48 of her friends, in April!", text(*range(MIN_WORDS - 1))], 0.5)
    overlap = index.find_overlap(["natalia SOLD clips to 48 of her friends in april", text(*range(MIN_WORDS - 1))])
    assert overlap.similarity.tolist() == [1, 0]


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 1.0])
def test_the_search_finds_what_all_pairs_find(similarity):
    rng = random.Random(int(10 * similarity))
    references = [" ".join(rng.choices(WORDS[:60], k=rng.randint(MIN_WORDS, 30))) for _ in range(60)]
    texts = [" ".join(rng.choices(WORDS[:60], k=rng.randint(2, 30))) for _ in range(100)]
    for reference in references:
        words = reference.split()
        for share in (0, 0.1, 0.3):
            texts.append(" ".join(word if rng.random() >= share else rng.choice(WORDS) for word in words))
    sets = [shingles(one) for one in references]
    similarities = [max(len(own & other) / len(own | other) for other in sets) for own in map(shingles, texts)]
    expected = [value if value >= similarity else 0 for value in similarities]
    found = ReferenceIndex(references, similarity).find_overlap(texts)
    assert found.similarity.tolist() == pytest.approx(expected)
    assert (found.reference[found.similarity > 0] >= 0).all()


def test_the_result_does_not_depend_on_the_batch():
    rng = random.Random(3)
    references = [" ".join(rng.choices(WORDS[:40], k=20)) for _ in range(30)]
    texts = [one for reference in references for one in (reference, " ".join(reference.split()[:15]), text(1, 2, 3))]
    index = ReferenceIndex(references, 0.5)
    whole = index.find_overlap(texts)
    single = [index.find_overlap([one]) for one in texts]
    assert whole.score.tolist() == np.concatenate([one.score for one in single]).tolist()
    assert whole.reference.tolist() == np.concatenate([one.reference for one in single]).tolist()


@pytest.mark.parametrize(("name", "value"), [("COMPARED", 7), ("KEY_BITS", 0)])
def test_the_result_does_not_depend_on_how_much_is_compared_or_sorted_at_once(name, value, monkeypatch):
    rng = random.Random(4)
    references = [" ".join(rng.choices(WORDS[:40], k=20)) for _ in range(30)]
    texts = [" ".join(one.split()[k % 7 :]) for k, one in enumerate(references)]
    whole = ReferenceIndex(references, 0.5).find_overlap(texts)
    assert whole.similarity.min() > 0.5
    monkeypatch.setattr(text_overlap, name, value)
    again = ReferenceIndex(references, 0.5).find_overlap(texts)
    np.testing.assert_array_equal(again.similarity, whole.similarity)
    np.testing.assert_array_equal(again.reference, whole.reference)


def test_pieces_are_compared_as_one_text():
    index = ReferenceIndex([text(*range(10))], 0.5)
    tokens = index.tokenize([["w0", "w1", "w2", "w3"], ["w4", "w5", "w6", "w7", "w8", "w9"], [], ["w1"]])
    both = index.compare(tokens.pick(np.array([True, True, True, True]), np.array([0, 0, 1, 1])))
    assert both.similarity.tolist() == [1, 0]
    assert index.compare(tokens.pick(np.array([True, False, True, False]), np.array([0, 0, 1, 1]))).score.max() == 0


def test_an_index_without_a_usable_text_matches_nothing():
    overlap = ReferenceIndex(["yes", ""], 0.5).find_overlap(["yes", text(*range(20))])
    assert overlap.score.tolist() == [0, 0] and overlap.reference.tolist() == [-1, -1]


def test_the_texts_inside_a_row():
    row = {"question": "Why?", "choices": ["a", {"text": "b"}], "n": 3, "none": None}
    assert list(iter_strings(row)) == ["Why?", "a", "b"]
