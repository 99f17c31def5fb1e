"""Shingles, bands and groups of near-duplicates, worked by hand and against a comparison of all pairs."""

from itertools import combinations

import numpy as np
import pytest

from core.pool import minhash
from core.pool.minhash import choose_bands, compute_signatures, group_near_duplicates, shingles


def jaccard(a: str, b: str) -> float:
    one, two = shingles(a), shingles(b)
    return len(one & two) / len(one | two)


def group_texts(texts, similarity=0.8, size=50):
    signatures = compute_signatures(texts)
    blocks = [signatures[k : k + size] for k in range(0, len(texts), size)]
    return group_near_duplicates(blocks, size, texts.__getitem__, similarity, lambda done, total: None).tolist()


def sentence(random, words=40):
    return " ".join(f"w{k}" for k in random.integers(0, 5000, words))


def test_shingles_are_neighbouring_words_without_case_or_punctuation():
    assert shingles("The cat, the CAT sat!") == {"the cat", "cat the", "cat sat"}
    assert shingles("Yes.") == {"yes"}
    assert shingles("?!") == {"?!"}
    assert shingles("") == {""}


def test_characters_of_scripts_without_spaces_are_words():
    assert shingles("猫が好き") == {"猫 が", "が 好", "好 き"}
    assert shingles("GPT猫 ok") == {"gpt 猫", "猫 ok"}


def test_similarity_is_shared_shingles_over_all():
    assert jaccard("a b c d", "a b c e") == pytest.approx(2 / 4)


def test_signatures_agree_as_often_as_the_texts_are_similar():
    shared = [f"w{k}" for k in range(300)]
    a, b = " ".join(shared[:200]), " ".join(shared[100:])  # 99 of 299 pairs of words
    first, second = compute_signatures([a, b])
    assert (first == second).mean() == pytest.approx(99 / 299, abs=4 * np.sqrt(1 / 3 * 2 / 3 / 128))
    assert (compute_signatures([a])[0] == first).all()  # alone or with others


@pytest.mark.parametrize("similarity", [0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
def test_bands_find_pairs_at_the_threshold(similarity):
    count, width = choose_bands(similarity)
    assert count * width <= minhash.SIGNATURE_LENGTH
    assert 1 - (1 - similarity**width) ** count >= 0.995


def test_groups_are_those_of_all_pairs_compared():
    random = np.random.default_rng(0)
    texts = []
    for _ in range(60):
        words = sentence(random).split()
        texts.append(" ".join(words))
        for _ in range(random.integers(0, 4)):
            words[random.integers(0, len(words))] = "changed"
            texts.append(" ".join(words))
    random.shuffle(texts)
    parent = list(range(len(texts)))
    for a, b in combinations(range(len(texts)), 2):
        if jaccard(texts[a], texts[b]) >= 0.8:
            low, high = sorted((parent[a], parent[b]))
            parent = [low if one == high else one for one in parent]
    assert len(set(parent)) < len(texts) - 30
    assert group_texts(texts) == parent


def test_a_chain_is_one_group_named_by_its_earliest_row():
    words = [f"w{k}" for k in range(50)]
    chain = [" ".join([f"x{k}" if k < n else w for k, w in enumerate(words)]) for n in (0, 4, 8)]
    assert jaccard(chain[0], chain[1]) >= 0.8 > jaccard(chain[0], chain[2])
    assert group_texts([chain[2], "something else entirely", chain[0], chain[1]]) == [0, 1, 0, 0]


def test_the_order_of_rows_does_not_change_the_groups():
    random = np.random.default_rng(1)
    texts = [sentence(random) for _ in range(30)]
    texts += [one + " and more" for one in texts[::2]] + texts[::3]
    first = group_texts(texts)
    order = random.permutation(len(texts))
    second = group_texts([texts[k] for k in order])
    sets = {frozenset(np.flatnonzero(np.array(first) == g).tolist()) for g in first}
    again = {frozenset(order[np.flatnonzero(np.array(second) == g)].tolist()) for g in second}
    assert sets == again


def test_one_text_many_times_is_one_group():
    assert group_texts(["the same old text"] * 500 + ["another one"]) == [0] * 500 + [500]


@pytest.mark.parametrize(("size", "pairs"), [(1, 3), (7, 1), (64, 1 << 16)])
def test_blocks_of_any_size_give_the_same_groups(monkeypatch, size, pairs):
    random = np.random.default_rng(2)
    texts = [sentence(random, 12) for _ in range(20)]
    texts += [f"{one} more" for one in texts[3:9]] + texts[5:12]
    expected = group_texts(texts)
    monkeypatch.setattr(minhash, "COMPARED_PAIRS", pairs)
    assert group_texts(texts, size=size) == expected != list(range(len(texts)))


def test_no_row_and_one_row():
    assert group_texts(["alone"]) == [0]
    assert group_texts([]) == []
