"""What is read of a row under a field map: prompt, response, turns."""

from typing import NamedTuple

import orjson
import pytest

from core.pool.row_view import RowReader
from core.pool.turns import UnusableRow, read_transcript
from core.schema import FieldMap


class View(NamedTuple):
    prompt: str
    response: str | None
    turns: str | None


def view(row, schema="custom", prompt=(), response=None, **fields) -> View:
    return View(*RowReader(FieldMap(schema, tuple(prompt), response, **fields)).read(row))


def turns_of(result: View) -> list[tuple[str, str]]:
    return [(t["role"], t["content"]) for t in orjson.loads(result.turns or "[]")]


def chat(*turns, key="messages", role_key="role", text_key="content"):
    return {key: [{role_key: who, text_key: what} for who, what in turns]}


def test_prompt_fields_are_joined_with_one_newline_and_blank_ones_left_out():
    alpaca = {"prompt": ("instruction", "input"), "response": "output"}
    assert view({"instruction": "Add", "input": "1 2", "output": "3"}, **alpaca) == ("Add\n1 2", "3", None)
    assert view({"instruction": "Add", "input": " \n", "output": "3"}, **alpaca) == ("Add", "3", None)
    assert view({"instruction": "Add", "output": "3"}, **alpaca) == ("Add", "3", None)


def test_text_keeps_every_space():
    assert view({"a": " x \r\n", "b": "\ty "}, prompt="a", response="b") == (" x \r\n", "\ty ", None)


def test_numbers_and_truth_values_are_read_as_their_json_text_and_counted():
    viewer = RowReader(FieldMap("custom", ("a",), "b"))
    assert viewer.read({"a": "Is it?", "b": True}) == ("Is it?", "true", None)
    assert viewer.read({"a": 7, "b": 4.5}) == ("7", "4.5", None)
    assert viewer.remarks["number"] == 3


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"a": "Add", "b": ""}, "empty response"),
        ({"a": "Add", "b": " \n\t\u00a0"}, "empty response"),
        ({"a": "Add", "b": None}, "empty response"),
        ({"a": "Add"}, "empty response"),
        ({"a": "", "b": "3"}, "empty prompt"),
        ({"b": "3"}, "empty prompt"),
        ({"a": "Add", "b": {"x": 1}}, "'b' is an object, not text"),
        ({"a": {"x": 1}, "b": "3"}, "'a' is an object, not text"),
        ({"a": "Add", "b": [["x"]]}, "'b' is a list, not of text"),
    ],
)
def test_a_row_without_text_is_refused_with_the_reason(row, reason):
    with pytest.raises(UnusableRow) as error:
        view(row, prompt="a", response="b")
    assert str(error.value) == reason


def test_a_pool_of_prompts_needs_no_response():
    assert view({"a": "Add"}, "prompts_only", prompt="a") == ("Add", None, None)


def test_one_question_and_one_answer_need_no_turns():
    row = chat(("user", "Hi"), ("assistant", "Hello"))
    assert view(row, "messages", turns="messages") == ("Hi", "Hello", None)


def test_the_response_is_the_last_answer_and_the_prompt_all_before_it():
    row = chat(("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "See you"))
    result = view(row, "messages", turns="messages")
    assert result.prompt == "User: Hi\n\nAssistant: Hello\n\nUser: Bye"
    assert result.response == "See you"
    assert turns_of(result)[-1] == ("assistant", "See you")
    assert len(turns_of(result)) == 4


def test_a_system_turn_is_read_but_is_not_the_question():
    result = view(chat(("system", "Be brief"), ("user", "Hi"), ("assistant", "Hello")), "messages", turns="messages")
    assert result.prompt == "Hi"
    assert turns_of(result)[0] == ("system", "Be brief")


def test_turns_after_the_last_answer_are_not_read_and_are_counted():
    viewer = RowReader(FieldMap("messages", turns="messages"))
    result = View(*viewer.read(chat(("user", "Hi"), ("assistant", "Hello"), ("user", "Still there?"))))
    assert result == ("Hi", "Hello", None)
    assert viewer.remarks["unanswered"] == 1


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([("user", "Hi")], "empty response"),
        ([("user", "Hi"), ("assistant", " ")], "empty response"),
        ([("assistant", "Hello")], "empty prompt"),
        ([("user", ""), ("assistant", "Hello")], "empty prompt"),
        ([], "empty prompt"),
        ([("narrator", "Once"), ("assistant", "Hello")], "'messages' has a turn of an unknown speaker"),
        ([(None, "Once"), ("assistant", "Hello")], "'messages' has a turn of an unknown speaker"),
        ([("user", 1), ("assistant", {"a": 1})], "'messages' is an object, not text"),
    ],
)
def test_a_conversation_without_text_is_refused_with_the_reason(turns, reason):
    with pytest.raises(UnusableRow) as error:
        view(chat(*turns), "messages", turns="messages")
    assert str(error.value) == reason


@pytest.mark.parametrize("value", ["no list", 7, [7], [["user", "Hi"]], {"x": 1}])
def test_what_is_no_conversation_is_not_read_as_one(value):
    with pytest.raises(UnusableRow):
        view({"messages": value}, "messages", turns="messages")


def test_sharegpt_speakers_and_tools():
    turns = [("human", "Weather?"), ("function_call", "{}"), ("observation", "rain"), ("gpt", "It rains.")]
    row = chat(*turns, key="conversations", role_key="from", text_key="value") | {
        "system": "Be brief",
        "tools": "[weather]",
    }
    result = view(row, "sharegpt", turns="conversations", system="system", tools="tools")
    assert turns_of(result) == [
        ("system", "Be brief\n\n[weather]"),
        ("user", "Weather?"),
        ("assistant", "{}"),
        ("tool", "rain"),
        ("assistant", "It rains."),
    ]
    assert result.prompt == "User: Weather?\n\nAssistant: {}\n\nTool: rain"


def test_tools_join_an_existing_system_turn():
    row = chat(("system", "Be brief"), ("user", "Hi"), ("assistant", "Hello")) | {"tools": [{"name": "weather"}]}
    result = view(row, "messages", turns="messages", tools="tools")
    assert turns_of(result)[0] == ("system", 'Be brief\n\n[{"name":"weather"}]')


@pytest.mark.parametrize("tools", ["[]", "", None, []])
def test_empty_tools_add_no_turn(tools):
    row = chat(("user", "Hi"), ("assistant", "Hello")) | {"tools": tools}
    assert view(row, "messages", turns="messages", tools="tools") == ("Hi", "Hello", None)


def test_typed_parts_are_joined_line_by_line():
    parts = [{"type": "reasoning", "value": "Hm."}, {"type": "text", "text": "Hello"}]
    row = chat(("user", [{"type": "text", "value": "Hi"}]), ("assistant", parts))
    assert view(row, "messages", turns="messages") == ("Hi", "Hm.\nHello", None)


def test_an_image_part_is_no_text():
    row = chat(("user", [{"type": "image_url", "image_url": {"url": "x"}}]), ("assistant", "A cat"))
    with pytest.raises(UnusableRow, match="a part without text"):
        view(row, "messages", turns="messages")


def test_an_answer_that_only_calls_a_tool_is_an_answer():
    row = {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]},
        ]
    }
    assert view(row, "messages", turns="messages").response == '[{"id":1}]'


def test_alpaca_with_system_and_history_is_a_conversation():
    row = {
        "instruction": "And",
        "input": "this?",
        "output": "Four",
        "system": "Sums",
        "history": [["Two and one?", "Three"]],
    }
    result = view(row, "alpaca", ("instruction", "input"), "output", system="system", history="history")
    assert turns_of(result) == [
        ("system", "Sums"),
        ("user", "Two and one?"),
        ("assistant", "Three"),
        ("user", "And\nthis?"),
        ("assistant", "Four"),
    ]


@pytest.mark.parametrize("history", [None, [], "", "[]"])
def test_alpaca_without_history_is_one_turn(history):
    row = {"instruction": "Add", "output": "3", "history": history}
    assert view(row, "alpaca", ("instruction",), "output", history="history") == ("Add", "3", None)


def test_a_transcript_is_split_at_its_speakers():
    assert read_transcript("\n\nHuman: Hi\nthere\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:") == [
        {"role": "user", "content": "Hi\nthere"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
    ]


def test_speakers_in_the_middle_of_a_line_are_text():
    assert read_transcript("Say Human: and Assistant: aloud") is None
    (turn,) = read_transcript("Human: Say Assistant: aloud")
    assert turn["content"] == "Say Assistant: aloud"


class TestPreference:
    def test_the_chosen_answer_is_the_response(self):
        row = {"prompt": "Hi", "chosen": "Hello", "rejected": "Go away"}
        assert view(row, "preference", ("prompt",), "chosen") == ("Hi", "Hello", None)

    @pytest.mark.parametrize(
        "chosen",
        [
            {"from": "gpt", "value": "Hello"},
            [{"role": "assistant", "content": "Hello"}],
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
            "\n\nHuman: Hi\n\nAssistant: Hello",
        ],
    )
    def test_it_may_be_a_turn_turns_the_whole_conversation_or_a_transcript(self, chosen):
        assert view({"prompt": "Hi", "chosen": chosen}, "preference", ("prompt",), "chosen") == ("Hi", "Hello", None)

    def test_the_prompt_may_be_a_conversation_or_a_transcript(self):
        turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}, {"from": "human", "value": "Bye"}]
        for prompt in (turns, "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye\n\nAssistant:"):
            result = view({"p": prompt, "chosen": "See you"}, "preference", ("p",), "chosen")
            assert result.prompt == "User: Hi\n\nAssistant: Hello\n\nUser: Bye"
            assert result.response == "See you"

    def test_a_whole_transcript_alone_is_enough(self):
        result = view({"chosen": "\n\nHuman: Hi\n\nAssistant: Hello"}, "preference", turns="chosen")
        assert result == ("Hi", "Hello", None)

    @pytest.mark.parametrize(
        ("pairs", "best"), [([[1, 0]], "b"), ([[0, 1]], "a"), ([], "a"), (None, "a"), ([[9, 0]], "a")]
    )
    def test_of_several_answers_the_winner_of_the_first_pair_is_read(self, pairs, best):
        row = {"prompt": "Hi", "responses": ["a", "b"], "pairs": pairs}
        assert view(row, "preference", ("prompt",), "responses").response == best


class TestMultipleChoice:
    def test_columns_are_lettered(self):
        row = {"question": "1 + 2?", "A": "2", "B": "3", "answer": "B"}
        assert view(row, "multiple_choice", ("question", "A", "B"), "answer") == ("1 + 2?\nA. 2\nB. 3", "B", None)

    @pytest.mark.parametrize("choices", [["2", "3"], '["2", "3"]', {"text": ["2", "3"], "label": ["A", "B"]}])
    def test_lists_are_lettered_and_a_numbered_answer_becomes_its_letter(self, choices):
        row = {"question": "1 + 2?", "choices": choices, "answer": 1}
        assert view(row, "multiple_choice", ("question", "choices"), "answer") == ("1 + 2?\nA. 2\nB. 3", "B", None)


class TestSelfInstruct:
    def test_the_first_instance_is_read_and_further_ones_are_counted(self):
        viewer = RowReader(FieldMap("self_instruct", ("instruction", "instances"), "instances"))
        row = {"instruction": "Add", "instances": [{"input": "1 2", "output": "3"}, {"input": "2 2", "output": "4"}]}
        assert viewer.read(row) == ("Add\n1 2", "3", None)
        assert viewer.remarks["instance"] == 1

    @pytest.mark.parametrize("instances", [None, "none", [1], [], [{"input": "1", "output": ""}]])
    def test_a_row_without_one_is_not_usable(self, instances):
        with pytest.raises(UnusableRow):
            view(
                {"instruction": "Add", "instances": instances},
                "self_instruct",
                ("instruction", "instances"),
                "instances",
            )


def test_questions_without_answers_are_all_the_prompt():
    result = view({"turns": ["Write.", "Rewrite."]}, "prompts_only", turns="turns")
    assert result[:2] == ("User: Write.\n\nUser: Rewrite.", None)
    assert turns_of(result) == [("user", "Write."), ("user", "Rewrite.")]
