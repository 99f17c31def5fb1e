"""Preference influence as an order: by target, by loss, by sub-task."""

import numpy as np
import pytest

from core.algorithms.influences import Influences
from core.errors import MethodError
from core.methods.preference_influence import PreferenceInfluence, TargetSpec, format_targets, parse_targets
from core.schema import Measured

BOTH = "help=/data/help.jsonl; safe=/data/safe.jsonl"
ALL = np.ones(5, bool)


@pytest.fixture
def measured():
    """Return five rows; the last has no response. help has two sub-tasks, safe one."""
    rose = np.array([[0.1, 0.2, 0.9], [0.5, -0.9, 0.1], [0.3, 0.4, -0.2], [-0.4, 0.45, 0.3], [np.nan] * 3], np.float32)
    tokens = {"prompt_tokens": np.full(5, 3), "response_tokens": np.array([4, 4, 4, 4, 0])}
    columns = tokens | {
        **dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(5, np.int64)),
        "truncated": np.zeros(5, bool),
        "nll_adapted": np.ones(5, np.float32),
    }
    influences = Influences({"help": ("facts", "style"), "safe": ("all pairs",)}, rose, -rose)
    return Measured("some", columns, {"influences": influences})


def order(measured, **params):
    return PreferenceInfluence(targets=BOTH, **params).order(measured, ALL, seed=0)


def test_the_highest_influence_on_any_subtask_comes_first(measured):
    assert order(measured).rows.tolist() == [1, 3, 2, 0]  # 0.5, 0.45, 0.4, 0.2
    assert order(measured).excluded["no response"].tolist() == [4]


def test_each_target_has_its_own_order(measured):
    assert order(measured, target="safe").rows.tolist() == [0, 3, 1, 2]
    assert order(measured, target="help").rows.tolist() == order(measured).rows.tolist()


def test_less_reads_the_same_measurement_with_the_other_loss(measured):
    assert order(measured, target="safe", objective="sft").rows.tolist() == [2, 1, 3, 0]


def test_subtasks_in_turn_take_their_best_row(measured):
    # facts: 1 2 0 3, style: 3 2 0 1
    assert order(measured, subtasks="in turn").rows.tolist() == [1, 3, 2, 0]
    assert PreferenceInfluence(subtasks="in turn").ranks_by == "preference_influence.rank"


def test_scores_are_the_best_of_each_target(measured):
    scores = PreferenceInfluence(targets=BOTH, target="safe").scores(measured)
    np.testing.assert_allclose(scores["influence"], [0.9, 0.1, -0.2, 0.3, np.nan])
    np.testing.assert_allclose(scores["influence.help"], [0.2, 0.5, 0.4, 0.45, np.nan])
    np.testing.assert_allclose(scores["less.help"], [-0.1, 0.9, -0.3, 0.4, np.nan])


def test_targets_without_a_name_are_named_after_their_files():
    text = "/data/pref hh (v2).jsonl.gz; safe = ~/s.parquet; Org/data-set; demo"
    assert parse_targets(text) == (
        TargetSpec("pref-hh-v2", "/data/pref hh (v2).jsonl.gz"),
        TargetSpec("safe", "~/s.parquet"),
        TargetSpec("data-set", "Org/data-set"),
        TargetSpec("demo", "demo"),
    )
    assert parse_targets(format_targets(parse_targets(text))) == parse_targets(text)


def test_one_set_written_two_ways_is_one_method():
    assert PreferenceInfluence(targets="a=x.jsonl;b=y.jsonl") == PreferenceInfluence(
        targets=" a=x.jsonl ;b=y.jsonl;".strip()
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "needs a target set"),
        ("a=x; a=y", "Two target sets are called 'a'"),
        ("/data/x.jsonl; /other/x.csv", "Two target sets are called 'x'"),
        ("...", "is not a valid name for a target"),
    ],
)
def test_text_that_names_no_targets_is_refused(text, words):
    with pytest.raises(MethodError, match=words):
        PreferenceInfluence(targets=text)


def test_a_target_that_is_not_among_the_sets_is_refused(measured):
    with pytest.raises(MethodError, match="target must be one of help, safe, not 'other'"):
        PreferenceInfluence(targets=BOTH, target="other")
    with pytest.raises(MethodError, match="measured for help, safe, not for 'third'"):
        PreferenceInfluence(targets="third=x.jsonl").scores(measured)
