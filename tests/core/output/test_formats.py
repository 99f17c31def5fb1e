"""Rows in other trainers' schemas, and what none of them can say."""

import json
from dataclasses import replace

import orjson
import pytest

from core.errors import RecipeError
from core.output.formats import CONVERSIONS, format_row
from core.schema import FieldMap
from tests.core.pool.pools import ALPACA, make_row

ASKED = ("user", "What is 2 + 2?")
SAID = ("assistant", "4")
CALL = '{"name": "add", "arguments": {"a": 2, "b": 2}}'
TOOLS = '[{"name": "add"}]'
WITH_TOOLS = FieldMap("sharegpt", turns="conversations", tools="tools")


def said(row, schema, fields=None):
    line = format_row(row, schema, fields)
    assert "\n" not in line
    return json.loads(line)


def test_the_original_schema_is_the_text_itself():
    row = make_row(ASKED, SAID)
    text = '{ "z":1.0,  "a": "\\u00e9\u2028",\t"n": 12345678901234567890 }'
    object.__setattr__(row, "original", text)
    assert format_row(row, "original") == text


def test_json_over_several_lines_becomes_one_line_that_says_the_same():
    row = make_row(ASKED, SAID)
    text = '{\r\n  "a": "x\\ny",\n  "b": [1,\n 2]\n}\n'
    object.__setattr__(row, "original", text)
    line = format_row(row, "original")
    assert not set("\r\n") & set(line)
    assert json.loads(line) == json.loads(text)


def test_a_question_and_its_answer_in_every_schema():
    row = make_row(ASKED, SAID)
    assert said(row, "alpaca") == {"instruction": "What is 2 + 2?", "input": "", "output": "4"}
    assert said(row, "messages") == {
        "messages": [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]
    }
    assert said(row, "sharegpt") == {
        "conversations": [{"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": "4"}]
    }


def test_alpaca_keeps_instruction_and_input_apart_where_the_pool_had_them_apart():
    row = make_row(("user", "Add.\n2, 2"), SAID, instruction="Add.", input="2, 2", output="4")
    assert said(row, "alpaca", ALPACA) == {"instruction": "Add.", "input": "2, 2", "output": "4"}
    dolly = FieldMap("dolly", prompt=("instruction", "context"), response="response")
    row = make_row(("user", "Add.\n2, 2"), SAID, context="2, 2", instruction="Add.", response="4")
    assert said(row, "alpaca", dolly)["input"] == "2, 2"


def test_alpaca_never_splits_a_prompt_that_the_fields_do_not_make_up():
    row = make_row(("user", "Add, please.\n2, 2"), SAID, instruction="Add.", input="2, 2", output="4")
    assert said(row, "alpaca", ALPACA)["instruction"] == "Add, please.\n2, 2"
    row = make_row(("user", "Add."), SAID, instruction="Add.", input="", output="4")
    assert said(row, "alpaca", ALPACA) == {"instruction": "Add.", "input": "", "output": "4"}


def test_system_and_earlier_turns_find_their_places():
    row = make_row(("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ASKED, SAID)
    assert said(row, "alpaca") == {
        "instruction": "What is 2 + 2?",
        "input": "",
        "output": "4",
        "system": "Be brief.",
        "history": [["Hi", "Yes?"]],
    }
    assert said(row, "sharegpt")["system"] == "Be brief."
    assert [turn["from"] for turn in said(row, "sharegpt")["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert said(row, "messages")["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_tool_turn_is_an_observation_and_the_turn_before_it_the_call():
    row = make_row(ASKED, ("assistant", CALL), ("tool", "4"), ("assistant", "It is 4."), tools=TOOLS)
    sharegpt = said(row, "sharegpt", WITH_TOOLS)
    assert [turn["from"] for turn in sharegpt["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert sharegpt["conversations"][1]["value"] == CALL
    assert sharegpt["tools"] == TOOLS  # text, as LLaMA-Factory wants it
    messages = said(row, "messages", WITH_TOOLS)
    assert [turn["role"] for turn in messages["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert messages["tools"] == [{"name": "add"}]  # a list, as TRL wants it


def test_tools_that_a_model_reads_in_the_system_turn_leave_it_again():
    for system, left in [
        ("Be brief.\n\n" + TOOLS, "Be brief."),
        (TOOLS, None),
        ("Use " + TOOLS + "!", "Use " + TOOLS + "!"),
    ]:
        row = make_row(("system", system), ASKED, SAID, tools=TOOLS)
        assert said(row, "sharegpt", WITH_TOOLS).get("system") == left
        roles = [turn["role"] for turn in said(row, "messages", WITH_TOOLS)["messages"]]
        assert roles == (["system"] if left else []) + ["user", "assistant"]


def test_a_call_in_openais_wrapping_is_unwrapped_for_sharegpt():
    wrapped = '[{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]'
    row = make_row(ASKED, ("assistant", wrapped), ("tool", "4"), SAID)
    assert json.loads(said(row, "sharegpt")["conversations"][1]["value"]) == [{"name": "add", "arguments": "{}"}]


@pytest.mark.parametrize("tools", ["[]", [], "", None])
def test_no_tools_are_no_field(tools):
    row = make_row(ASKED, SAID, tools=tools)
    assert set(said(row, "sharegpt", WITH_TOOLS)) == {"conversations"}
    assert set(said(row, "messages", WITH_TOOLS)) == {"messages"}


def test_tools_that_are_no_json_stay_as_they_are():
    row = make_row(ASKED, SAID, tools="add(a, b)")
    assert said(row, "sharegpt", WITH_TOOLS)["tools"] == "add(a, b)"


def test_a_field_called_tools_that_the_pool_does_not_map_is_not_taken_for_tools():
    row = make_row(ASKED, SAID, tools="hammer")
    assert "tools" not in said(row, "messages", ALPACA)


CANNOT = [
    ("alpaca", [ASKED], {}, "it has no response"),
    ("sharegpt", [ASKED], {}, "it has no response"),
    ("alpaca", [ASKED, SAID, ("user", "And?")], {}, "it ends with a turn of user"),
    ("sharegpt", [ASKED, SAID, ("user", "And?")], {}, "it ends with a turn of user"),
    ("alpaca", [ASKED, ("assistant", CALL), ("tool", "4"), SAID], {}, "its turns are not user and assistant in turn"),
    ("alpaca", [ASKED, SAID], {"tools": TOOLS}, "it has tools"),
    ("alpaca", [SAID], {}, "its turns are not user and assistant in turn"),
    ("sharegpt", [("user", "Hi"), ASKED, SAID], {}, "must alternate, and turn 2 does not"),
    ("sharegpt", [SAID], {}, "must alternate, and turn 1 does not"),
    ("sharegpt", [ASKED, ("system", "Stop."), SAID], {}, "must alternate, and turn 2 does not"),
    ("sharegpt", [ASKED, ("assistant", "Let me see."), ("tool", "4"), SAID], {}, "words that are not JSON"),
    ("sharegpt", [ASKED, ("assistant", '{"a": 1}'), ("tool", "4"), SAID], {}, "a tool without a name"),
]


@pytest.mark.parametrize(("schema", "turns", "original", "why"), CANNOT)
def test_what_a_schema_cannot_say_is_refused_with_the_row(schema, turns, original, why):
    with pytest.raises(RecipeError) as refused:
        format_row(make_row(*turns, **original), schema, WITH_TOOLS)
    assert str(refused.value).startswith(f"Row 'r0' (line 1) cannot be written as {schema}: ")
    assert why in str(refused.value)


@pytest.mark.parametrize(("schema", "turns", "original", "why"), CANNOT)
def test_whatever_the_others_cannot_say_messages_can(schema, turns, original, why):
    assert len(said(make_row(*turns, **original), "messages")["messages"]) == len(turns)


def test_an_unknown_schema_is_refused_with_the_choices():
    with pytest.raises(
        RecipeError, match=r"no schema 'csv'\. There are original, alpaca, messages, sharegpt, annotation"
    ):
        format_row(make_row(ASKED, SAID), "csv")


ODD = 'a "quoted"\u2028\u0085\ttab\nline \\n \x00 \U0001f600 <s> é'


@pytest.mark.parametrize("schema", [name for name in CONVERSIONS if name != "annotation"])
def test_text_of_any_kind_comes_through_unchanged(schema):
    text = format_row(make_row(("user", ODD), ("assistant", ODD[::-1])), schema)
    assert ODD in _texts(orjson.loads(text))
    assert ODD[::-1] in _texts(orjson.loads(text))


def test_a_queue_asks_for_the_response_that_is_missing():
    row = replace(make_row(("user", ODD)), task="sums")
    assert said(row, "annotation") == {"id": "r0", "prompt": ODD, "task": "sums", "response": ""}
    assert list(said(row, "annotation"))[-1] == "response"  # where people look for it
    assert said(make_row(ASKED), "annotation")["task"] is None


@pytest.mark.parametrize(
    "turns",
    [
        [("system", "Be brief."), ASKED],
        [("user", "Hi"), ("assistant", "Yes?"), ASKED],
        [("user", "Hi"), ASKED],
    ],
)
def test_a_queue_keeps_the_turns_of_a_conversation_beside_its_prompt(turns):
    row = replace(make_row(*turns), prompt="as people read it", response=None)
    written = said(row, "annotation")
    assert written["prompt"] == "as people read it"
    assert written["prompt_messages"] == [{"role": role, "content": content} for role, content in turns]


@pytest.mark.parametrize("dropped", [False, True])  # a mapping to prompts only drops the response, not the turn
def test_a_queue_never_asks_for_an_answer_that_is_there(dropped):
    row = make_row(ASKED, SAID)
    with pytest.raises(RecipeError) as refused:
        format_row(replace(row, response=None) if dropped else row, "annotation")
    assert str(refused.value) == (
        "Row 'r0' (line 1) cannot be written as annotation: it has a response already, and a queue asks people for "
        "missing ones. Export the original schema or messages, or pin this row out."
    )


@pytest.mark.parametrize("schema", ["alpaca", "sharegpt"])
def test_a_prompt_alone_is_pointed_to_the_schemas_that_can_say_it(schema):
    with pytest.raises(RecipeError, match=r"no response\. Export the original schema, messages or annotation, or pin"):
        format_row(make_row(ASKED), schema)


def _texts(value):
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [text for part in parts for text in _texts(part)]
