"""Which words a conversation loses, in which order, and how many it takes to fit."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.models.chat_layout import Turn
from core.models.shortening import WORD, Shortening, count_tokens, shorten

TEXTS = st.text(st.sampled_from("ab \n\u3000\u4e2d\U0001f600\u0e01"), max_size=40)
TURNS = st.lists(st.builds(Turn, st.sampled_from(["system", "user", "assistant", "tool"]), TEXTS), max_size=6)


def spell(turns):
    return [f"{turn.role[0]}:{turn.content}" for turn in turns]


def ways(*talk):
    """Return every way to shorten these (role, content), whole first."""
    shortening = Shortening([Turn(*turn) for turn in talk])
    return [spell(shortening(dropped)) for dropped in range(shortening.most + 1)]


def test_older_turns_lose_words_and_are_dropped_before_the_system_turn_and_the_last_one_lose_any():
    assert ways(("system", "be kind"), ("user", "a b"), ("assistant", ""), ("user", "c d e")) == [
        ["s:be kind", "u:a b", "a:", "u:c d e"],
        ["s:be kind", "u:b", "a:", "u:c d e"],
        ["s:be kind", "a:", "u:c d e"],
        ["s:be kind", "u:c d e"],
        ["s:be kind", "u:d e"],  # the longer one of the two first
        ["s:be", "u:e"],
        ["s:", "u:"],
    ]


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        ([], [[]]),
        ([("user", "")], [["u:"]]),
        ([("user", " a b ")], [["u: a b "], ["u:b "], ["u:"], ["u:"]]),  # whole as it is; the last space counts
        ([("system", "a b")], [["s:a b"], ["s:a"], ["s:"]]),
        ([("user", "a"), ("system", "b"), ("user", "c")], [["u:a", "s:b", "u:c"], ["s:b", "u:c"], ["u:c"], ["u:"]]),
    ],
)
def test_short_conversations(talk, expected):
    assert ways(*talk) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("two  words\n", ["two", "  words", "\n"]),
        ("x" * 20, ["x" * 16, "x" * 4]),
        ("中文 字", ["中", "文", " 字"]),
        ("a\u3000中", ["a", "\u3000中"]),
    ],
)
def test_words(text, words):
    assert WORD.findall(text) == words


@given(TEXTS)
def test_words_make_up_the_text(text):
    assert "".join(WORD.findall(text)) == text


@given(TURNS)
def test_each_word_dropped_leaves_less_and_in_the_end_only_the_turns_that_stay(turns):
    shortening = Shortening(turns)
    assert shortening(0) == turns
    for dropped in range(shortening.most):
        more, less = shortening(dropped), shortening(dropped + 1)
        assert sum(map(len, spell(less))) <= sum(map(len, spell(more)))
        assert len(less) <= len(more)
    roles = [turn.role for turn in turns]
    system = roles[:1] if roles[:1] == ["system"] and len(roles) > 1 else []
    assert [(turn.role, turn.content) for turn in shortening(shortening.most)] == [
        (role, "") for role in [*system, *roles[-1:]]
    ]


def lay_out(turns):
    """Return one token per character and three for a header."""
    return [(range(3 + len(turn.content)), False) for turn in turns]


@given(TURNS, st.integers(0, 200))
def test_as_few_words_are_dropped_as_need_be_to_within_a_mean_word(turns, room):
    whole = lay_out(turns)
    if count_tokens(whole) <= room:
        return
    found, shortening = shorten(turns, whole, room, lay_out), Shortening(turns)
    sizes = [count_tokens(lay_out(shortening(dropped))) for dropped in range(shortening.most + 1)]
    size = count_tokens(found)
    if sizes[-1] > room:
        assert size == sizes[-1]
        return
    assert size <= room
    mean = (sizes[0] - sizes[-1]) / max(1, shortening.most)
    best = max(n for n in sizes if n <= room)
    assert size == best or room - size < mean


def test_a_long_conversation_is_laid_out_a_few_times_only():
    text = " ".join(itertools.islice(itertools.cycle(re.findall(r"\w+", str(__doc__))), 5000))
    turns, calls = [Turn("user", text)], []

    def count(turns):
        calls.append(turns)
        return lay_out(turns)

    for room in (10, 500, 9000, 20_000):
        calls.clear()
        assert room - 10 < count_tokens(shorten(turns, lay_out(turns), room, count)) <= room
        assert len(calls) < 10
