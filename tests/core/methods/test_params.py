"""Parameters: read from text, and refused if a method cannot use them."""

from dataclasses import dataclass, fields
from typing import ClassVar

import pytest

from core.errors import MethodError
from core.methods import build_method, describe_method
from core.methods.answer_divergence import AnswerDivergence
from core.methods.entropy_shift import EntropyShift
from core.methods.params import (
    BaseMethod,
    has_effect,
    later_defaults,
    measure_param,
    measure_params,
    name_param,
    number,
    value_in_words,
    written_params,
)
from core.methods.preference_influence import PreferenceInfluence


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


def test_a_value_that_stands_for_something_else_is_shown_in_words():
    shift, influence = ({f.name: f for f in fields(cls)} for cls in (EntropyShift, PreferenceInfluence))
    assert value_in_words(shift["lora_rank"], 0) == "off"
    assert value_in_words(shift["lora_rank"], 8) == "8"
    assert value_in_words(shift["gamma"], 0.0) == "off"
    assert value_in_words(shift["min_group"], 1000) == "1,000"
    assert value_in_words(shift["per"], "") == "the whole pool"
    assert value_in_words(shift["learning_rate"], 2e-5) == "2e-05"
    assert value_in_words(influence["learning_rate"], 0.0) == "automatic"
    assert value_in_words(influence["objective"], "sft") == "chosen answers (LESS)"
    assert value_in_words(influence["subtask"], "kind") == "kind"


def test_a_parameter_is_named_by_its_label_or_else_by_its_name():
    shift = {f.name: f for f in fields(EntropyShift)}
    assert name_param(shift["gamma"]) == "ΔNLL filter γ"
    assert name_param(shift["batch_size"]) == "Batch size"


def test_a_parameter_has_no_effect_where_the_others_do_not_use_it():
    answers = {f.name: f for f in fields(AnswerDivergence)}
    used = {source: AnswerDivergence(source=source) for source in ("local", "server", "file")}
    assert [has_effect(method, answers["base_url"]) for method in used.values()] == [False, True, False]
    assert [has_effect(method, answers["temperature"]) for method in used.values()] == [True, True, False]
    assert all(has_effect(method, answers["answers"]) for method in used.values())


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
