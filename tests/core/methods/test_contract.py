"""Contract of every method. A new method is tested here by being in METHODS."""

import json
from dataclasses import FrozenInstanceError, fields
from typing import get_args

import numpy as np
import pytest

from core.algorithms.active_neurons import ActiveNeurons
from core.algorithms.greedy_coverage import coverage_gains
from core.algorithms.influences import Influences
from core.errors import MethodError
from core.measurement import all_signals
from core.methods import METHODS, build_method, describe_method
from core.methods.params import Names, has_effect, list_choices, measure_params
from core.schema import Measured
from core.selection.used_rows import REPEATS, USED, UsedRows, order_rows

N = 60
TASKS = 4
NO_RESPONSE = [3, 17, 18, 40]  # no response to measure
NOT_MEASURED = [5, 29]  # a response, but no value from the model

every_method = pytest.mark.parametrize("cls", METHODS.values(), ids=METHODS)
PICKS = [
    build_method(name, {f.name: choice})
    for name, cls in METHODS.items()
    for f in fields(cls)
    for choice in list_choices(f)
]
DEFAULTS = [cls() for cls in METHODS.values() if not any(list_choices(f) for f in fields(cls))]
every_choice = pytest.mark.parametrize("method", DEFAULTS + PICKS, ids=repr)
# a method that ranks by its own rank has no score to compare its order with
BY_SCORE = [method for method in DEFAULTS + PICKS if method.ranks_by != f"{method.name}.rank"]
every_score = pytest.mark.parametrize("method", BY_SCORE, ids=repr)
EQUAL = ("combined",)  # rows that differ in every column may still have the same mean rank


def some_pool(seed: int = 0) -> Measured:
    """Return a pool in which all rows differ in every column, so that no order depends on a tie."""
    rng = np.random.default_rng(seed)
    tokens = rng.permutation(np.arange(10, 10 + N))
    columns = {name: rng.normal(2, 1, N).astype(np.float32) for name in ("nll", "entropy", "nll_cal", "entropy_cal")}
    tokens[NO_RESPONSE] = 0
    for values in columns.values():
        values[NO_RESPONSE + NOT_MEASURED] = np.nan
    columns |= {
        "prompt_tokens": np.full(N, 7),
        "response_tokens": tokens,
        **dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(N, np.int64)),
        "truncated": np.zeros(N, bool),
    }
    columns["task_code"] = np.where(np.isin(np.arange(N), NOT_MEASURED), -1, np.arange(N) % TASKS)
    columns["confidence"] = np.where(np.arange(N) % 3 == 0, rng.uniform(0.1, 0.9, N), np.nan).astype(np.float32)
    states = some_active_neurons(rng, np.setdiff1d(np.arange(N), NO_RESPONSE + NOT_MEASURED))
    columns["coverage_gain"] = coverage_gains(states, np.flatnonzero(np.diff(states.indptr)))
    columns["activation_cluster"] = rng.integers(0, 5, N)
    for name in ("dispersion", "anisotropy"):
        columns[name] = np.where(np.isnan(columns["nll"]), np.nan, rng.uniform(0, 0.7, N)).astype(np.float32)
    columns["answers_counted"] = np.where(np.isnan(columns["nll"]), 1, 5)
    columns["semantic_bin"] = np.arange(N) % 7
    columns["imported"] = np.where(np.isnan(columns["nll"]), np.nan, rng.uniform(0, 1, N))
    columns["nll_adapted"] = columns["nll"]
    halves = [np.where(np.isnan(columns["nll"]), np.nan, rng.normal(0, 1, (2, N))).T for _ in range(2)]
    return Measured("some", columns, {"activations": states, "influences": Influences({"sound": ("a", "b")}, *halves)})


def some_active_neurons(rng: np.random.Generator, rows: np.ndarray) -> ActiveNeurons:
    """Return rows with different numbers of active neurons, none shared: all gains differ."""
    sizes = np.zeros(N, np.int64)
    sizes[rows] = rng.permutation(len(rows)) + 1
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return ActiveNeurons(ends, np.arange(ends[-1], dtype=np.uint32), int(ends[-1]))


def reordered(measured: Measured, order: np.ndarray) -> Measured:
    columns = {name: values[order] for name, values in measured.columns.items()}
    table = measured.need("influences")
    moved = Influences(table.subtasks, table.preference[order], table.sft[order])
    return Measured(
        measured.pool_id, columns, {"activations": measured.need("activations").take(order), "influences": moved}
    )


ALL = np.ones(N, bool)
SOME = np.arange(N) % 3 != 0


@every_choice
@pytest.mark.parametrize("eligible", [ALL, SOME, ~ALL], ids=["all", "some", "none"])
def test_every_row_is_once_in_the_order_or_under_one_reason(method, eligible):
    order = method.order(some_pool(), eligible, seed=1)
    left_out = list(order.excluded.values())
    assert sorted(np.concatenate([order.rows, *left_out]).tolist()) == list(range(N))
    assert order.rows.dtype == np.int64
    assert all(len(rows) for rows in left_out)


@every_choice
def test_no_filtered_row_is_ever_in_the_order(method):
    order = method.order(some_pool(), SOME, seed=1)
    assert SOME[order.rows].all()
    assert order.excluded["filtered out"].tolist() == np.flatnonzero(~SOME).tolist()


@every_score
def test_no_row_without_a_value_is_ever_in_the_order(method):
    measured = some_pool()
    values = (measured.columns | method.scores(measured))[method.ranks_by]
    order = method.order(measured, ALL, seed=1)
    assert len(order.rows)
    assert np.isfinite(values[order.rows]).all()


@every_choice
def test_no_row_without_a_response_is_ever_in_the_order(method):
    order = method.order(some_pool(), ALL, seed=1)
    assert not np.isin(NO_RESPONSE, order.rows).any()
    assert order.excluded["no response"].tolist() == NO_RESPONSE


@every_choice
def test_the_same_input_gives_the_same_order(method):
    one, other = (method.order(some_pool(), SOME, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.rows, other.rows)


@every_score
def test_permuting_rows_permutes_the_order(method):
    measured, moved = some_pool(), np.random.default_rng(9).permutation(N)
    straight = method.order(measured, SOME, seed=1)
    shuffled = method.order(reordered(measured, moved), SOME[moved], seed=1)
    np.testing.assert_array_equal(moved[shuffled.rows], straight.rows)


@every_score
def test_the_order_begins_at_the_preferred_end(method):
    measured = some_pool()
    table = measured.columns | method.scores(measured)
    values = table[method.ranks_by][method.order(measured, ALL, seed=1).rows]
    if method.prefer == "middle":
        distance = np.abs(values.argsort().argsort() - (len(values) - 1) / 2)
        assert (np.diff(distance) >= 0).all()
    else:
        better_first = np.diff(values) * (1 if method.prefer == "low" else -1)
        assert (better_first >= 0 if method.name in EQUAL else better_first > 0).all()


@every_choice
def test_scores_have_one_value_per_row_and_change_no_input(method):
    measured = some_pool()
    for values in measured.columns.values():
        values.flags.writeable = False  # as loaded from stored runs
    before = {name: values.copy() for name, values in measured.columns.items()}
    scores = method.scores(measured)
    method.order(measured, ALL, seed=1)
    assert all(values.shape == (N,) for values in scores.values())
    assert not set(scores) & set(measured.columns)
    for name, values in before.items():
        np.testing.assert_array_equal(measured.columns[name], values)


@every_choice
@pytest.mark.parametrize("length", [0, 20])
def test_its_facts_on_a_selection_are_data_that_a_card_can_tell_again(method, length):
    measured = some_pool()
    order = method.order(measured, SOME, seed=1)
    facts = method.facts(measured, order, order.rows[:length])
    stored = json.loads(json.dumps(facts, allow_nan=False))
    assert stored == facts
    words = method.facts_in_words(stored)
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in words)
    assert facts or not words
    assert method.facts_in_words({}) == []  # of a manifest that is older than the facts


@every_choice
def test_an_empty_pool_has_an_empty_order(method):
    nothing = np.empty(0, np.int64)
    empty = reordered(some_pool(), nothing)
    assert len(method.order(empty, np.ones(0, bool), seed=1).rows) == 0
    assert all(len(values) == 0 for values in method.scores(empty).values())


@every_choice
def test_without_its_measurements_the_error_names_what_is_missing(method):
    nothing = Measured("bare", {"prompt_tokens": np.full(N, 7)})
    with pytest.raises(MethodError, match="not measured yet"):
        method.order(nothing, ALL, seed=1)


@every_choice
def test_a_saved_description_makes_the_same_method(method):
    assert build_method(**json.loads(json.dumps(describe_method(method)))) == method


@every_method
def test_its_needs_can_be_measured_and_suffice(cls):
    needs = cls().needs
    assert set(needs) <= set(all_signals())
    measured = some_pool()
    given = {name: measured.columns[name] for signal in needs for name in all_signals()[signal]}
    table = Measured("some", given, {"influences": measured.need("influences")})
    assert len(cls().order(table, ALL, seed=1).rows)


@every_method
def test_it_has_one_name_and_a_summary(cls):
    assert METHODS[cls.name] is cls
    assert cls.label and cls.summary.endswith(".")
    assert cls.__doc__


@every_method
def test_its_parameters_cannot_be_changed_afterwards(cls):
    for f in fields(cls):
        with pytest.raises(FrozenInstanceError):
            setattr(cls(), f.name, f.default)


@every_method
def test_every_parameter_can_be_shown_as_a_widget(cls):
    for f in fields(cls):
        about = f.metadata
        assert about["help"].endswith(".")
        assert about["stage"] in ("order", "measure")
        if choices := list_choices(f):
            assert f.default in choices
        elif type(f.default) is str:
            assert about["low"] is about["high"] is None
            assert about["names"] in get_args(Names)
        else:
            assert about["low"] <= f.default <= about["high"]
            assert about["low"] < about["high"]
            assert type(f.default) in (int, float)
        assert set(about["words"]) <= (set(choices) or {type(f.default)()})
        assert has_effect(cls(), f) in (True, False)


@every_method
def test_both_ends_of_every_range_are_allowed_and_nothing_beyond(cls):
    for f in (f for f in fields(cls) if f.metadata["low"] is not None):
        for edge in (f.metadata["low"], f.metadata["high"]):
            assert getattr(build_method(cls.name, {f.name: edge}), f.name) == edge
        for beyond in (f.metadata["low"] - 1, f.metadata["high"] + 1):
            with pytest.raises(MethodError, match=f.name):
                build_method(cls.name, {f.name: beyond})


@every_method
def test_order_parameters_do_not_change_what_is_measured(cls):
    for f in fields(cls):
        assert (f.name in measure_params(cls())) == (f.metadata["stage"] == "measure")


# Rows used already


@every_choice
@pytest.mark.parametrize("k", [1, 12, 30])
def test_after_the_first_rows_of_the_plain_order_come_the_others_in_the_same_order(method, k):
    plain = method.order(some_pool(), SOME, seed=1)
    used = UsedRows(np.sort(plain.rows[:k]))
    topped_up = order_rows(method, some_pool(), SOME, seed=1, used=used)
    assert topped_up.rows.tolist() == plain.rows[k:].tolist()
    assert topped_up.excluded[USED].tolist() == topped_up.used.tolist() == used.rows.tolist()
    rest = {reason: rows.tolist() for reason, rows in topped_up.excluded.items() if reason != USED}
    assert rest == {reason: rows.tolist() for reason, rows in plain.excluded.items()}


@every_choice
def test_every_row_is_once_somewhere_whichever_rows_are_used_and_none_of_them_is_in_the_order(method):
    rng = np.random.default_rng(0)
    for _ in range(3):
        used, repeats = np.split(rng.permutation(N)[:25], [20])
        order = order_rows(method, some_pool(), SOME, seed=1, used=UsedRows(np.sort(used), np.sort(repeats)))
        assert not np.isin(order.rows, [*used, *repeats]).any()
        assert sorted(np.concatenate([order.rows, *order.excluded.values()]).tolist()) == list(range(N))
        assert order.excluded[REPEATS].tolist() == sorted(repeats)
        facts = method.facts(some_pool(), order, order.rows[:10])
        assert json.loads(json.dumps(facts, allow_nan=False)) == facts
