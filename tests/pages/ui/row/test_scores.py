"""One row's scores in words: over all columns, the words never contradict the number, its sign or its percentile."""

import re
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.columns import Signs
from core.measurement import MEASUREMENTS, SHARED, all_signals
from pages.ui.row.scores import describe_score
from pages.ui.words import describe_ends, is_identifier, meaning

COLUMNS = {
    name
    for columns in (*all_signals().values(), *(each.scores for each in (SHARED, *MEASUREMENTS.values())))
    for name in columns
    if not is_identifier(name)
}
NO_GOOD_END = {"prompt_tokens", "response_tokens", "answers_counted", "imported", "truncated"}
# column -> words for a negative, a zero and a positive value, each false of the other two
BY_SIGN = {
    "delta_nll": ("easier", "as predictable", "harder"),
    "delta_entropy": ("less certain", "as certain", "more certain"),
    "influence": ("away from", "does not change", "towards"),
    "less": ("less likely", "does not change", "more likely"),
}
COMPARATIVES = re.compile(r"\b(more|less|fewer|better|smaller|larger|lower|higher|most|least|longer|shorter)\b")
SCORES = st.one_of(  # with ties, missing values, constant columns and single rows
    arrays(np.float64, st.integers(1, 30), elements=st.sampled_from([-2.5, -0.01, 0.0, 0.01, 1.0, 2.5, np.nan])),
    arrays(np.float64, st.integers(1, 30), elements=st.floats(-20, 20)),
    st.tuples(st.integers(1, 30), st.floats(-20, 20)).map(lambda pair: np.full(*pair)),
)


def check_position(words, values, value):
    """Assert that what the words say of other rows is true of the values."""
    others = np.delete(values[np.isfinite(values)], np.flatnonzero(values[np.isfinite(values)] == value)[0])
    if found := re.search(r"(higher|lower) than (\d+)% of rows", words):
        side = others < value if found[1] == "higher" else others > value
        assert int(found[2]) <= 100 * side.mean() < int(found[2]) + 1
        assert side.mean() >= 1 / 3
    elif found := re.search(r"the (highest|lowest) (?:of all rows|value, shared by (\d+) rows)", words):
        assert (others <= value).all() if found[1] == "highest" else (others >= value).all()
        assert int(found[2] or 1) == (others == value).sum() + 1
        assert not (others == value).all()
    elif found := re.search(r"the same as (\d+)% of rows", words):
        assert int(found[1]) <= 100 * (others == value).mean() < int(found[1]) + 1
    elif "the same for all rows" in words:
        assert len(others) and (others == value).all()
    else:
        assert words.endswith("the only row with this score") and not len(others)


@pytest.mark.parametrize("name", sorted(COLUMNS))
@given(values=SCORES)
def test_words_never_contradict_the_number(name, values):
    column = meaning(name)
    for row in np.flatnonzero(np.isfinite(values)):
        value = float(values[row])
        line = describe_score(name, values, int(row))
        check_position(line.meaning, values, value)
        others = np.delete(values, row)
        below, above = (others < value).sum(), (others > value).sum()
        if name in BY_SIGN:
            right = int(np.sign(value)) + 1
            assert [word in line.meaning for word in BY_SIGN[name]] == [k == right for k in range(3)]
        if column.low and column.low in line.meaning:
            assert below < above
        if column.high and column.high in line.meaning:
            assert above < below
        if found := re.search(r"(?:perplexity|uncertain as) ([\d.,]+)", line.meaning):
            assert float(found[1].replace(",", "")) == pytest.approx(np.exp(value), rel=0.06, abs=0.06)
        if name in NO_GOOD_END:
            assert ";" not in line.meaning  # only the position
        assert line.share is None or (line.share > 0.5) == (below > above) or below == above


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_a_column_with_a_good_end_says_what_both_ends_mean(name):
    column = meaning(name)
    if name in NO_GOOD_END:
        assert not column.low and describe_ends(name) == "Neither end is better."
        assert not any(getattr(column.signs, side.name) for side in fields(Signs))
    else:
        assert column.low != column.high
        assert COMPARATIVES.search(column.low) and COMPARATIVES.search(column.high)  # never absolute: ends are relative


@pytest.mark.parametrize("name", ["entropy", "entropy_cal"])
def test_the_lowest_entropy_of_an_uncertain_model_is_not_called_certain(name):
    values = np.linspace(2.1, 4, 50)
    assert (
        describe_score(name, values, 0).meaning == "as uncertain as 8.2 equally likely tokens; the lowest of all rows"
    )


def test_a_negative_shift_high_in_its_pool_is_still_easier_to_predict():
    values = np.append(np.full(64, -0.2), [-0.31, *np.linspace(-3, -1, 35)])
    assert describe_score("delta_nll", values, 64).meaning == (
        "easier to predict after warm-up; lower than 64% of rows"
    )


def test_a_constant_score_has_no_percentile():
    assert describe_score("nll", np.full(5, 2.0), 3).share is None
    assert describe_score("nll", np.array([2.0, np.nan]), 0).share is None
