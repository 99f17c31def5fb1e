from collections import Counter

import pytest

from core.demo.pairs import demo_pairs, write_pairs
from core.demo.pool import FAMILIES, demo_rows, prompt_of


@pytest.fixture(scope="module")
def pairs():
    return demo_pairs()


def pairs_of(pairs, fault):
    return [pair for pair in pairs if pair["fault"] == fault]


def test_there_are_eight_pairs_of_each_fault(pairs):
    assert Counter(pair["fault"] for pair in pairs) == {"swapped": 8, "truncated": 8, "gibberish": 8}


def test_no_prompt_occurs_twice_or_in_the_demo_pool(pairs):
    prompts = {pair["prompt"] for pair in pairs}
    assert len(prompts) == 24
    assert not prompts & {prompt_of(row) for row in demo_rows()[0]}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_pairs(tmp_path, pairs):
    first = write_pairs(tmp_path).read_bytes()
    assert write_pairs(tmp_path).read_bytes() == first
    assert demo_pairs() == pairs
    assert not {pair["chosen"] for pair in demo_pairs(1)} & {
        pair["chosen"] for pair in pairs if len(pair["chosen"]) > 60
    }


def test_both_responses_have_text_and_differ(pairs):
    for pair in pairs:
        assert pair["chosen"].strip() and pair["rejected"].strip()
        assert pair["chosen"] != pair["rejected"]


def test_a_swapped_response_is_the_correct_one_to_the_next_question(pairs):
    swapped = pairs_of(pairs, "swapped")
    assert [pair["rejected"] for pair in swapped[:-1]] == [pair["chosen"] for pair in swapped[1:]]
    assert swapped[-1]["rejected"] not in [pair["chosen"] for pair in swapped]


def test_a_truncated_response_is_the_beginning_of_the_correct_one_cut_inside_a_word(pairs):
    for pair in pairs_of(pairs, "truncated"):
        whole, part = pair["chosen"], pair["rejected"]
        assert whole.startswith(part) and len(part) < 0.7 * len(whole)
        assert (part[-1] + whole[len(part)]).isalnum()


def test_gibberish_shares_no_long_word_with_the_correct_response(pairs):
    for pair in pairs_of(pairs, "gibberish"):
        assert not {word for word in pair["chosen"].lower().split() if len(word) > 4} & set(pair["rejected"].split())


@pytest.mark.parametrize("seed", range(6))
def test_every_seed_finds_eight_families_for_each_fault(seed):
    assert len(demo_pairs(seed)) == 24 < len(FAMILIES) * 3
