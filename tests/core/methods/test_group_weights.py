"""Weights of groups, read from text."""

import numpy as np
import pytest

from core.errors import MethodError
from core.methods.group_weights import parse_group_weights, weigh_groups

NAMES, SIZES = ("math", "code", "a, b"), np.array([30, 20, 10])


def weights(text: str) -> list[float]:
    return weigh_groups(text, NAMES, SIZES).tolist()


def test_without_weights_a_group_counts_by_its_rows():
    assert weights("") == [30, 20, 10]


def test_named_groups_weigh_as_they_say_and_all_others_one():
    assert weights("math:2, code:0.5") == [2, 0.5, 1]
    assert weights("equal") == [1, 1, 1]


def test_a_label_with_a_comma_is_named_in_json():
    assert weights('{"a, b": 3, "code": "2"}') == [1, 2, 3]


def test_a_label_may_hold_a_colon():
    assert parse_group_weights("web:en:2") == {"web:en": 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("math", "cannot be read: 'math'. Write label:weight"),
        ("math:2,", "cannot be read"),
        ("math:two", "the weight of 'math' must be a number of 0 or more, not 'two'"),
        ("math:-1", "a number of 0 or more"),
        ("math:inf", "a number of 0 or more"),
        ("math:nan", "a number of 0 or more"),
        ("math:1,math:2", "'math' is named twice"),
        ('{"math": true}', "a number of 0 or more, not True"),
        ('{"math": [1]}', "a number of 0 or more"),
        ('{"math": 1', "is not JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(text, reason):
    with pytest.raises(MethodError, match=reason.replace(".", r"\.")):
        parse_group_weights(text)


def test_a_group_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(MethodError, match=r"no group 'maths'\. There are math, code, a, b"):
        weights("maths:2")
