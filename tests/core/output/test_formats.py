"""Rows in other trainers' schemas, and what each of them cannot express."""

import json
from dataclasses import replace

import orjson
import pytest

from core.errors import RecipeError
from core.output.formats import CONVERSIONS, convert_row, messages_of_text, one_line
from core.pool.row_view import RowReader
from core.schema import FieldMap
from tests.core.pool.pools import ALPACA, make_row

ASKED = ("user", "What is 2 + 2?")
SAID = ("assistant", "4")
CALL = '{"name": "add", "arguments": {"a": 2, "b": 2}}'
TOOLS = '[{"name": "add"}]'
WITH_TOOLS = FieldMap("sharegpt", turns="conversations", tools="tools")


def converted(row, schema, fields=None):
    line = orjson.dumps(convert_row(row, schema, fields))
    assert b"\n" not in line
    return json.loads(line)


def test_the_original_schema_is_the_text_itself():
    text = '{ "z":1.0,  "a": "\\u00e9\u2028",\t"n": 12345678901234567890 }'
    assert one_line(text) == text


def test_json_over_several_lines_becomes_one_equal_line():
    text = '{\r\n  "a": "x\\ny",\n  "b": [1,\n 2]\n}\n'
    line = one_line(text)
    assert not set("\r\n") & set(line)
    assert json.loads(line) == json.loads(text)


def test_a_question_and_its_answer_in_every_schema():
    row = make_row(ASKED, SAID)
    assert converted(row, "alpaca") == {"instruction": "What is 2 + 2?", "input": "", "output": "4"}
    assert converted(row, "messages") == {
        "messages": [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]
    }
    assert converted(row, "sharegpt") == {
        "conversations": [{"from": "human", "value": "What is 2 + 2?"}, {"from": "gpt", "value": "4"}]
    }


def test_alpaca_keeps_instruction_and_input_separate_as_in_the_pool():
    row = make_row(("user", "Add.\n2, 2"), SAID, instruction="Add.", input="2, 2", output="4")
    assert converted(row, "alpaca", ALPACA) == {"instruction": "Add.", "input": "2, 2", "output": "4"}
    dolly = FieldMap("dolly", prompt=("instruction", "context"), response="response")
    row = make_row(("user", "Add.\n2, 2"), SAID, context="2, 2", instruction="Add.", response="4")
    assert converted(row, "alpaca", dolly)["input"] == "2, 2"


def test_alpaca_never_splits_a_prompt_that_was_not_joined_from_fields():
    row = make_row(("user", "Add, please.\n2, 2"), SAID, instruction="Add.", input="2, 2", output="4")
    assert converted(row, "alpaca", ALPACA)["instruction"] == "Add, please.\n2, 2"
    row = make_row(("user", "Add."), SAID, instruction="Add.", input="", output="4")
    assert converted(row, "alpaca", ALPACA) == {"instruction": "Add.", "input": "", "output": "4"}


def test_system_and_earlier_turns_go_to_their_fields():
    row = make_row(("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ASKED, SAID)
    assert converted(row, "alpaca") == {
        "instruction": "What is 2 + 2?",
        "input": "",
        "output": "4",
        "system": "Be brief.",
        "history": [["Hi", "Yes?"]],
    }
    assert converted(row, "sharegpt")["system"] == "Be brief."
    assert [turn["from"] for turn in converted(row, "sharegpt")["conversations"]] == ["human", "gpt", "human", "gpt"]
    assert converted(row, "messages")["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_tool_turn_is_an_observation_and_the_turn_before_it_the_call():
    row = make_row(ASKED, ("assistant", CALL), ("tool", "4"), ("assistant", "It is 4."), tools=TOOLS)
    sharegpt = converted(row, "sharegpt", WITH_TOOLS)
    assert [turn["from"] for turn in sharegpt["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert sharegpt["conversations"][1]["value"] == CALL
    assert sharegpt["tools"] == TOOLS  # text, as LLaMA-Factory expects it
    messages = converted(row, "messages", WITH_TOOLS)
    assert [turn["role"] for turn in messages["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert messages["tools"] == [{"type": "function", "function": {"name": "add"}}]  # a list, as TRL expects it


SUM = {"name": "add", "arguments": {"a": 2, "b": 2}}
THOUGHT = "<think>\nAdd them.\n</think>\n\n"


def read(turns, field="messages", **rest):
    """A row of a pool of conversations, with its turns as models read them."""
    fields = FieldMap("messages" if field == "messages" else "sharegpt", turns=field, tools="tools")
    original = {field: turns, **rest}
    prompt, response, as_json = RowReader(fields).read(original)
    row = make_row(("user", prompt), ("assistant", response), **original)
    return (row if as_json is None else replace(row, turns=tuple(json.loads(as_json)))), fields


def parts(*types):
    return [{"type": kind, "value": value} for kind, value in types]


CALLS = [  # a conversation with one call, in four formats; the last three with reasoning
    [
        {"from": "human", "value": "2 + 2?"},
        {"from": "function_call", "value": json.dumps(SUM)},
        {"from": "observation", "value": "4"},
        {"from": "gpt", "value": "4"},
    ],
    [
        {"from": "human", "value": "2 + 2?"},
        {"from": "function_call", "value": THOUGHT + json.dumps(SUM)},
        {"from": "observation", "value": "4"},
        {"from": "gpt", "value": "4"},
    ],
    [
        {"role": "user", "content": parts(("text", "2 + 2?"))},
        {"role": "assistant", "content": parts(("reasoning", "Add them."), ("tool_call", json.dumps(SUM)))},
        {"role": "tool", "content": parts(("text", "4"))},
        {"role": "assistant", "content": parts(("text", "4"))},
    ],
    [
        {"role": "user", "content": "2 + 2?"},
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": "Add them.",
            "tool_calls": [
                {"type": "function", "function": {"name": "add", "arguments": json.dumps(SUM["arguments"])}}
            ],
        },
        {"role": "tool", "content": "4"},
        {"role": "assistant", "content": "4"},
    ],
]


@pytest.mark.parametrize("turns", CALLS)
def test_a_call_and_its_reasoning_are_the_same_in_every_format(turns):
    row, fields = read(turns, "messages" if "role" in turns[0] else "conversations")
    thought = "" if turns is CALLS[0] else THOUGHT
    call = {"role": "assistant", "content": thought, "tool_calls": [{"type": "function", "function": SUM}]}
    asked, answered, said = (
        {"role": r, "content": c} for r, c in [("user", "2 + 2?"), ("tool", "4"), ("assistant", "4")]
    )
    assert converted(row, "messages", fields) == {"messages": [asked, call, answered, said]}
    sharegpt = converted(row, "sharegpt", fields)["conversations"]
    assert [turn["from"] for turn in sharegpt] == ["human", "function_call", "observation", "gpt"]
    assert sharegpt[1]["value"].startswith(thought) and json.loads(sharegpt[1]["value"].removeprefix(thought)) == SUM
    for again, field in ((sharegpt, "conversations"), ([asked, call, answered, said], "messages")):
        row, fields = read(again, field)
        assert converted(row, "messages", fields) == {"messages": [asked, call, answered, said]}


def test_several_calls_are_a_list_and_keep_their_ids():
    calls = [{"id": f"call{k}", "type": "function", "function": SUM} for k in range(2)]
    answers = [{"role": "tool", "name": "add", "tool_call_id": f"call{k}", "content": "4"} for k in range(2)]
    asked, said = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}
    turns = [asked, {"role": "assistant", "content": "I add.", "tool_calls": calls}, *answers, said]
    row, fields = read(turns)
    assert converted(row, "messages", fields) == {"messages": turns}


@pytest.mark.parametrize(
    ("turn", "schema", "why"),
    [
        ({"from": "function_call", "value": "add(2, 2)"}, "messages", "it calls a tool with text that is not JSON"),
        ({"from": "function_call", "value": '{"a": 1}'}, "messages", "it calls a tool without a name"),
        ({"from": "function_call", "value": '{"name": "add", "arguments": "2"}'}, "messages", "no JSON object"),
        ({"from": "gpt", "value": "I add.", "tool_calls": [SUM]}, "sharegpt", "says something in the same turn"),
        ({"from": "gpt", "value": parts(("text", "4."), ("reasoning", "Add."))}, "messages", "reasoning after a text"),
        ({"from": "function_call", "value": json.dumps(SUM)}, "alpaca", "it has tools"),
    ],
)
def test_a_call_that_a_schema_cannot_express_is_refused_with_the_row(turn, schema, why):
    row, fields = read([{"from": "human", "value": "2 + 2?"}, turn], "conversations")
    with pytest.raises(RecipeError, match=rf"^Row 'r0' \(line 1\) cannot be written as {schema}: .*{why}"):
        convert_row(row, schema, fields)


def test_reasoning_is_the_beginning_of_the_text():
    turns = [
        {"role": "user", "content": "2 + 2?"},
        {"role": "assistant", "content": parts(("reasoning", "Add."), ("text", "4"))},
    ]
    row, fields = read(turns)
    assert row.turns[-1]["content"] == "Add.\n4"  # as a model reads it
    assert converted(row, "messages", fields)["messages"][-1]["content"] == "<think>\nAdd.\n</think>\n\n4"
    assert converted(row, "alpaca", fields)["output"] == "<think>\nAdd.\n</think>\n\n4"
    assert messages_of_text(row, fields)["messages"][-1]["content"] == "Add.\n4"


def test_tools_are_removed_from_the_system_turn():
    for system, left in [
        ("Be brief.\n\n" + TOOLS, "Be brief."),
        (TOOLS, None),
        ("Use " + TOOLS + "!", "Use " + TOOLS + "!"),
    ]:
        row = make_row(("system", system), ASKED, SAID, tools=TOOLS)
        assert converted(row, "sharegpt", WITH_TOOLS).get("system") == left
        roles = [turn["role"] for turn in converted(row, "messages", WITH_TOOLS)["messages"]]
        assert roles == (["system"] if left else []) + ["user", "assistant"]


def test_a_call_in_openais_wrapping_is_unwrapped_for_sharegpt():
    wrapped = '[{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]'
    row = make_row(ASKED, ("assistant", wrapped), ("tool", "4"), SAID)
    assert json.loads(converted(row, "sharegpt")["conversations"][1]["value"]) == {"name": "add", "arguments": {}}


@pytest.mark.parametrize("tools", ["[]", [], "", None])
def test_without_tools_there_is_no_field(tools):
    row = make_row(ASKED, SAID, tools=tools)
    assert set(converted(row, "sharegpt", WITH_TOOLS)) == {"conversations"}
    assert set(converted(row, "messages", WITH_TOOLS)) == {"messages"}


def test_tools_that_are_not_json_are_unchanged():
    row = make_row(ASKED, SAID, tools="add(a, b)")
    assert converted(row, "sharegpt", WITH_TOOLS)["tools"] == "add(a, b)"


def test_an_unmapped_field_called_tools_is_ignored():
    row = make_row(ASKED, SAID, tools="hammer")
    assert "tools" not in converted(row, "messages", ALPACA)


CANNOT = [
    ("alpaca", [ASKED], {}, "it has no response"),
    ("sharegpt", [ASKED], {}, "it has no response"),
    ("alpaca", [ASKED, SAID, ("user", "And?")], {}, "its last turn is from user"),
    ("sharegpt", [ASKED, SAID, ("user", "And?")], {}, "its last turn is from user"),
    ("alpaca", [ASKED, ("assistant", CALL), ("tool", "4"), SAID], {}, "its turns are not user and assistant in turn"),
    ("alpaca", [ASKED, SAID], {"tools": TOOLS}, "it has tools"),
    ("alpaca", [SAID], {}, "its turns are not user and assistant in turn"),
    ("sharegpt", [("user", "Hi"), ASKED, SAID], {}, "must alternate, and turn 2 does not"),
    ("sharegpt", [SAID], {}, "must alternate, and turn 1 does not"),
    ("sharegpt", [ASKED, ("system", "Stop."), SAID], {}, "must alternate, and turn 2 does not"),
    ("sharegpt", [ASKED, ("assistant", "Let me see."), ("tool", "4"), SAID], {}, "text that is not JSON"),
    ("sharegpt", [ASKED, ("assistant", '{"a": 1}'), ("tool", "4"), SAID], {}, "a tool without a name"),
]


@pytest.mark.parametrize(("schema", "turns", "original", "why"), CANNOT)
def test_what_a_schema_cannot_express_is_refused_with_the_row(schema, turns, original, why):
    with pytest.raises(RecipeError) as refused:
        convert_row(make_row(*turns, **original), schema, WITH_TOOLS)
    assert str(refused.value).startswith(f"Row 'r0' (line 1) cannot be written as {schema}: ")
    assert why in str(refused.value)


@pytest.mark.parametrize(("schema", "turns", "original", "why"), CANNOT)
def test_messages_can_express_what_the_others_cannot(schema, turns, original, why):
    assert len(converted(make_row(*turns, **original), "messages")["messages"]) == len(turns)


def test_an_unknown_schema_is_refused_with_the_choices():
    with pytest.raises(
        RecipeError, match=r"no schema 'csv'\. There are original, alpaca, messages, sharegpt, llamafactory, annotation"
    ):
        convert_row(make_row(ASKED, SAID), "csv")


ODD = 'a "quoted"\u2028\u0085\ttab\nline \\n \x00 \U0001f600 <s> é'


@pytest.mark.parametrize("schema", [name for name in CONVERSIONS if name != "annotation"])
def test_any_text_is_preserved(schema):
    text = orjson.dumps(convert_row(make_row(("user", ODD), ("assistant", ODD[::-1])), schema))
    assert ODD in _texts(orjson.loads(text))
    assert ODD[::-1] in _texts(orjson.loads(text))


def test_a_queue_asks_for_the_missing_response():
    row = replace(make_row(("user", ODD)), task="sums")
    assert converted(row, "annotation") == {"id": "r0", "prompt": ODD, "task": "sums", "response": ""}
    assert list(converted(row, "annotation"))[-1] == "response"  # where people look for it
    assert converted(make_row(ASKED), "annotation")["task"] is None


@pytest.mark.parametrize(
    "turns", [[("system", "Be brief."), ASKED], [("user", "Hi"), ("assistant", "Yes?"), ASKED], [("user", "Hi"), ASKED]]
)
def test_a_queue_keeps_the_turns_of_a_conversation_with_its_prompt(turns):
    row = replace(make_row(*turns), prompt="as people read it", response=None)
    written = converted(row, "annotation")
    assert written["prompt"] == "as people read it"
    assert written["prompt_messages"] == [{"role": role, "content": content} for role, content in turns]


def test_a_queue_leaves_the_response_out():
    asked = {"id": "r0", "prompt": ASKED[1], "task": None, "response": ""}
    assert converted(make_row(ASKED, SAID), "annotation") == asked
    talk = converted(make_row(("system", "Be brief."), ASKED, SAID, ("user", "More?"), SAID), "annotation")
    assert [turn["role"] for turn in talk["prompt_messages"]] == ["system", "user", "assistant", "user"]
    assert talk["response"] == ""


def test_a_prompt_that_ends_with_the_assistant_asks_nothing():
    """A mapping to prompts only drops the response, not the turn."""
    with pytest.raises(RecipeError) as refused:
        convert_row(replace(make_row(ASKED, SAID), response=None), "annotation")
    assert str(refused.value) == (
        "Row 'r0' (line 1) cannot be written as annotation: it ends with an assistant turn, so there is no question. "
        "Export the original schema or messages, or always exclude this row."
    )


@pytest.mark.parametrize("schema", ["alpaca", "sharegpt"])
def test_for_a_prompt_alone_the_error_names_schemas_that_can_express_it(schema):
    with pytest.raises(
        RecipeError, match=r"no response\. Export the original schema, messages or annotation, or always"
    ):
        convert_row(make_row(ASKED), schema)


def _texts(value):
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [text for part in parts for text in _texts(part)]
