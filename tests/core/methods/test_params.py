"""Parameters: read from text, and refused if a method cannot use them."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from core.errors import MethodError
from core.methods import build_method, describe_method
from core.methods.entropy_shift import EntropyShift
from core.methods.params import BaseMethod, later_defaults, measure_param, measure_params, number, written_params


def test_text_from_the_command_line_becomes_the_type_of_the_field():
    method = build_method("entropy_shift", {"gamma": "0.2", "rounds": "2", "pick": "middle", "learning_rate": "5e-5"})
    assert method == EntropyShift(gamma=0.2, rounds=2, pick="middle", learning_rate=5e-5)


def test_a_whole_number_in_a_fractional_field_is_the_same_method():
    assert describe_method(EntropyShift(gamma=0))["params"]["gamma"] == 0.0
    assert repr(describe_method(EntropyShift(gamma=0))) == repr(describe_method(EntropyShift(gamma=0.0)))


def test_a_description_holds_the_defaults_too():
    assert describe_method(EntropyShift())["params"]["gamma"] == 0.1
    assert describe_method(build_method("random", {})) == {"name": "random", "params": {}}


def test_only_measuring_parameters_belong_to_a_measurement():
    assert measure_params(EntropyShift(gamma=0.3, alpha=0.2)) == {
        "alpha": 0.2,
        "rounds": 1,
        "beta": 0.1,
        "learning_rate": 2e-5,
        "epochs": 3,
        "batch_size": 16,
        "lora_rank": 0,
        "per": "",
        "min_group": 0,
    }


@dataclass(frozen=True)
class Grown(BaseMethod):
    """A method that got its second parameter after runs had been stored."""

    label: ClassVar[str] = "Grown"
    first: int = measure_param(number(1, 0, 9), "First.")
    second: int = measure_param(number(0, 0, 9), "Second.", later=True)


def test_a_parameter_added_later_is_written_only_where_it_is_not_at_its_default():
    assert later_defaults(Grown()) == {"second": 0}
    assert written_params(Grown()) == {"first": 1}
    assert written_params(Grown(second=2)) == {"first": 1, "second": 2}
    assert measure_params(Grown()) == {"first": 1, "second": 0}


def test_an_unknown_method_is_refused_with_the_choices():
    with pytest.raises(
        MethodError, match=r"no method 'ifd'.*entropy_shift, .*random, longest, lowest_nll, highest_nll"
    ):
        build_method("ifd", {})


def test_an_unknown_parameter_is_refused_with_the_choices():
    with pytest.raises(MethodError, match=r"no parameter 'gama'. It has gamma, pick, alpha"):
        build_method("entropy_shift", {"gama": 0.1})
    with pytest.raises(MethodError, match=r"Random has no parameter 'k'. It has none"):
        build_method("random", {"k": 1})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("gamma", 0.5, "a number from 0 to 0.45, not 0.5"),
        ("gamma", float("nan"), "a number from 0 to 0.45, not nan"),
        ("gamma", "wide", "a number from 0 to 0.45, not 'wide'"),
        ("gamma", None, "a number from 0 to 0.45, not None"),
        ("rounds", 4, "a whole number from 1 to 3, not 4"),
        ("rounds", 1.5, "a whole number from 1 to 3, not 1.5"),
        ("rounds", True, "a whole number from 1 to 3, not True"),
        ("rounds", "1.5", "a whole number from 1 to 3, not '1.5'"),
        ("pick", "best", "one of lowest, middle, highest, not 'best'"),
        ("pick", 3, "one of lowest, middle, highest, not 3"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_range(name, value, allowed):
    with pytest.raises(MethodError) as refused:
        build_method("entropy_shift", {name: value})
    assert str(refused.value) == f"Entropy shift: {name} must be {allowed}."
