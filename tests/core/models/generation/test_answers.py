"""Sampling settings, random streams, and counts of answers."""

import numpy as np
import pyarrow as pa
import pytest

from core.errors import MethodError
from core.models.generation.answers import (
    ANSWER_COLUMNS,
    ROW_TOKENS,
    AnswerCounts,
    SamplingSettings,
    answer_table,
    count_answers,
    find_refusals,
    missing_answers,
)


def test_the_defaults_are_those_of_the_paper():
    s = SamplingSettings()
    assert (s.answers, s.temperature, s.top_p, s.max_new_tokens, s.prompt_tokens) == (5, 1.4, 0.9, 256, None)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"answers": 1}, "Answers must be between 2 and 64, not 1"),
        ({"answers": 65}, "between 2 and 64"),
        ({"temperature": 0.0}, "Temperature must be above 0"),
        ({"temperature": float("nan")}, "not nan"),
        ({"top_p": 0.0}, "Top_p must be above 0"),
        ({"top_p": 1.1}, "at most 1, not 1.1"),
        ({"max_new_tokens": 0}, "Max_new_tokens must be at least 1"),
        ({"seed": -1}, "Seed must be 0 or more"),
        ({"prompt_tokens": 0}, "Prompt_tokens must be at least 1, not 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, words):
    with pytest.raises(MethodError, match=words):
        SamplingSettings(**wrong)


def test_a_stream_depends_only_on_seed_id_and_k():
    names = SamplingSettings(seed=3, answers=4).random_streams(["a", "b", "c"])
    assert names.shape == (3, 4) and names.dtype == np.uint64 and len(np.unique(names)) == 12
    np.testing.assert_array_equal(SamplingSettings(seed=3, answers=4).random_streams(["c", "a"]), names[[2, 0]])
    np.testing.assert_array_equal(SamplingSettings(seed=3, answers=2).random_streams(["b"]), names[1:2, :2])
    assert not np.isin(SamplingSettings(seed=4, answers=4).random_streams(["a", "b", "c"]), names).any()
    assert SamplingSettings(seed=0, answers=5).random_streams([]).shape == (0, 5)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("  “I’m sorry”", False),  # after an opening quote: a quotation
        ("I’m sorry, no.", True),
        ("As an AI language model, I have no body.", True),
        ("\nSorry, I will not.", True),
        ("Sorry is a word of five letters.", False),
        ("The assistant said: I'm sorry", False),
        ("I apologise for that.", True),
        ("Icannot", False),
        ("", False),
    ],
)
def test_a_refusal_is_recognised_by_its_opening(text, is_one):
    assert find_refusals(pa.array([text, None])).to_pylist() == [is_one, None]


def test_answers_and_their_faults_are_counted():
    table = answer_table(
        {
            "answers": [["Yes.", " \n", "I cannot"], ["No.", None, None], [None, None, None], ["a", "", "I won't"]],
            "answer_tokens": [[3, 1, 9], [2, None, None], [None] * 3, [1, 1, 9]],
            "ended": [["stop", "stop", "length"], [None] * 3, [None] * 3, ["stop", "stop", "length"]],
        }
    )
    assert {name: table[name].type for name in table.column_names} == dict(ANSWER_COLUMNS)
    assert count_answers(table) == AnswerCounts(
        rows=4, asked=12, missing=5, empty=2, refused=2, truncated=2, short_rows=2, lone_rows=2, blank_rows=2, tokens=26
    )
    chunks = pa.concat_tables([table.slice(0, 1), table.slice(1, 2), table.slice(3)])
    assert count_answers(chunks) == count_answers(table)
    assert count_answers(table.slice(2, 1)).missing == 3  # a slice counts its own rows only


def test_counts_of_no_rows_are_zero():
    assert count_answers(answer_table(missing_answers(0, 5))) == AnswerCounts(*[0] * 8)
    assert count_answers(answer_table(missing_answers(2, 5))) == AnswerCounts(2, 10, 10, 0, 0, 0, 2, 2)


def test_tokens_are_counted_by_answer_or_by_row_and_unknown_ones_are_told_apart():
    columns = {
        "answers": [["a", "b"], ["a", "b"], ["a", None], ["a", "b"]],
        "answer_tokens": [[3, 4], [None, None], [None, None], [5, None]],
        "ended": [[None] * 2] * 4,
    }
    alone = count_answers(answer_table(columns))
    assert (alone.tokens, alone.tokens_unknown) == (12, 4)
    summed = count_answers(answer_table(columns | {ROW_TOKENS: [7, 20, None, None]}))
    assert (summed.tokens, summed.tokens_unknown) == (32, 2)
