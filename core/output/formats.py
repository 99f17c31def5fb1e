"""Conversion of one row to the schema of another trainer, or to a queue for people to answer.

    original   the row's own text, byte for byte
    alpaca     instruction, input, output; system and history (pairs) if the row has them
    messages   TRL: messages of role and content, tool_calls of a turn that calls; tools if the row has them
    sharegpt   LLaMA-Factory: conversations of from and value; system, tools if the row has them
    llamafactory   the same with system and tools in every row, as `datasets` has to know all fields from the beginning
    annotation a queue for people: id, prompt, task (or null) and a blank response; prompt_messages, all turns, if
               the prompt is more than one turn of the user

What a schema cannot express is a RecipeError; a row is never changed to fit. LLaMA-Factory skips, with a line in its
log, every conversation that does not alternate between human (or observation) and gpt (or function_call). Reasoning is
the beginning of its turn's text: <think> ... </think> (core.pool.turn_parts). Fields that a schema does not define,
such as a rejected answer, are dropped. A queue asks for a response to each prompt: a response that a row has is left
out of the queue.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from core.errors import RecipeError
from core.pool.nested_fields import get_field
from core.pool.row_view import read_turn_parts
from core.pool.turn_parts import THOUGHT, read_calls
from core.pool.turns import Turn, UnusableRow
from core.schema import FieldMap, Row

_NOTHING = ("", "null", "[]", "{}")  # ways to write that there are no tools
TURNS_FIELD = "prompt_messages"  # not "messages": a file with that field is read as whole conversations, not as prompts
_ALTERNATING = (("human", "observation"), ("gpt", "function_call"))  # at even and odd positions, counted from 0


class _Conversation(NamedTuple):
    """A row split into system text, turns and tools."""

    row: Row
    system: str  # "" = none
    turns: Sequence[Turn]  # the others
    tools: str  # JSON, as a rule; "" = none


def check_schema(schema: str) -> None:
    """Raise RecipeError if there is no such schema."""
    if schema != "original" and schema not in CONVERSIONS:
        raise RecipeError(f"There is no schema '{schema}'. There are original, {', '.join(CONVERSIONS)}.")


def convert_row(row: Row, schema: str, fields: FieldMap | None = None) -> dict[str, Any]:
    """Convert the row to an object of a schema other than its own; RecipeError if that cannot express it.

    `fields` (the pool's) names the field of its tools, and which prompt fields were an input besides the instruction.
    """
    check_schema(schema)
    try:
        turns = read_turn_parts(row, fields) if fields else row.turns
    except UnusableRow as error:
        raise _cannot(row, schema, str(error), instead="the original schema") from None
    return CONVERSIONS[schema](_split_row(row, turns, fields), fields)


def messages_of_text(row: Row, fields: FieldMap) -> dict[str, Any]:
    """Convert the row to messages whose turns are text alone, as the models of a measurement read them."""
    return _messages(_split_row(row, row.turns, fields), fields)


def one_line(text: str) -> str:
    """Put JSON text on one line. A raw line end in valid JSON is only whitespace: within strings it is escaped."""
    return text.strip().replace("\r", " ").replace("\n", " ")


def _split_row(row: Row, turns: Sequence[Turn], fields: FieldMap | None) -> _Conversation:
    """Split a row into system text, turns and tools.

    A model reads the tools at the end of the system turn; here they are removed from it.
    """
    tools_value = get_field(orjson.loads(row.original), fields.tools) if fields and fields.tools else None
    tools = tools_value if isinstance(tools_value, str) else orjson.dumps(tools_value).decode()
    leads = turns[0]["role"] == "system"
    system = turns[0]["content"] if leads else ""
    if tools_value and system.endswith(tools):
        system = system.removesuffix(tools).removesuffix("\n\n")
    return _Conversation(row, system, turns[1 if leads else 0 :], "" if tools.strip() in _NOTHING else tools)


def _text(turn: Turn) -> str:
    return str(turn.get("text", turn["content"]))


def _messages(conversation: _Conversation, fields: FieldMap | None) -> dict[str, Any]:
    system = [{"role": "system", "content": conversation.system}] if conversation.system else []
    tools = {"tools": _parse_tools(conversation.tools)} if conversation.tools else {}
    return {"messages": [*system, *map(_message, conversation.turns)]} | tools


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": turn["role"], "content": _text(turn)}
    message |= {name: turn[name] for name in ("name", "tool_call_id") if name in turn}
    return message | ({"tool_calls": [_wrap(call) for call in turn["calls"]]} if "calls" in turn else {})


def _wrap(function: dict[str, Any]) -> dict[str, Any]:
    """Return a call, or a tool, in OpenAI's wrapping, which chat templates expect."""
    number = {"id": function["id"]} if "id" in function else {}
    return number | {"type": "function", "function": {k: v for k, v in function.items() if k != "id"}}


def _parse_tools(tools: str) -> Any:
    """Return tools as a list, as TRL expects them; text that is not JSON is unchanged."""
    try:
        parsed = orjson.loads(tools)
    except orjson.JSONDecodeError:
        return tools
    listed = parsed if isinstance(parsed, list) else [parsed]
    return [_wrap(tool) if isinstance(tool, dict) and "function" not in tool else tool for tool in listed]


def _sharegpt(conversation: _Conversation, fields: FieldMap | None) -> dict[str, Any]:
    _require_response(conversation, "sharegpt")
    turns_out = []
    for place, turn in enumerate(conversation.turns):
        speaker = _speaker(conversation.turns, place)
        if speaker not in _ALTERNATING[place % 2]:
            why = f"questions and answers must alternate, and turn {place + 1} does not"
            raise _cannot(conversation.row, "sharegpt", why)
        value = _call(conversation.row, turn) if speaker == "function_call" else _text(turn)
        turns_out.append({"from": speaker, "value": value})
    optional = {"system": conversation.system, "tools": conversation.tools}
    return {"conversations": turns_out} | {name: text for name, text in optional.items() if text}


def _llamafactory(conversation: _Conversation, fields: FieldMap | None) -> dict[str, Any]:
    return {"system": "", "tools": ""} | _sharegpt(conversation, fields)


def _speaker(turns: Sequence[Turn], place: int) -> str:
    """Return LLaMA-Factory's name for the speaker; an assistant turn answered by a tool is a function call, too."""
    role = str(turns[place]["role"])
    answered_by_tool = place + 1 < len(turns) and turns[place + 1]["role"] == "tool"
    if role == "assistant":
        return "function_call" if answered_by_tool or "calls" in turns[place] else "gpt"
    return {"user": "human", "tool": "observation"}.get(role, role)


def _call(row: Row, turn: Turn) -> str:
    """Return the calls of a turn as LLaMA-Factory parses them: {name, arguments}, or a list, after the reasoning.

    Calls that are written so already are unchanged.
    """
    text = _text(turn)
    thought = match[0] if (match := THOUGHT.match(text)) else ""
    if "calls" in turn and text != thought:
        raise _cannot(row, "sharegpt", "it calls a tool and says something in the same turn")
    try:
        calls = turn.get("calls") or read_calls(text.removeprefix(thought))
    except UnusableRow as error:
        raise _cannot(row, "sharegpt", str(error)) from None
    named = [{"name": call["name"], "arguments": call["arguments"]} for call in calls]
    own = turn["content"].removeprefix(thought)
    with suppress(orjson.JSONDecodeError):
        if orjson.loads(own) in (named, *named):
            return thought + str(own)
    return thought + orjson.dumps(named[0] if len(named) == 1 else named).decode()


def _alpaca(conversation: _Conversation, fields: FieldMap | None) -> dict[str, Any]:
    _require_response(conversation, "alpaca")
    roles = [turn["role"] for turn in conversation.turns]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise _cannot(conversation.row, "alpaca", "its turns are not user and assistant in turn")
    if conversation.tools or any("calls" in turn for turn in conversation.turns):
        raise _cannot(conversation.row, "alpaca", "it has tools")
    texts = [_text(turn) for turn in conversation.turns]
    instruction, further = _instruction(conversation.row, fields, texts[-2])
    history = [texts[k : k + 2] for k in range(0, len(texts) - 2, 2)]
    optional = {"system": conversation.system, "history": history}
    converted: dict[str, Any] = {"instruction": instruction, "input": further, "output": texts[-1]}
    return converted | {name: value for name, value in optional.items() if value}


def _instruction(row: Row, fields: FieldMap | None, prompt: str) -> tuple[str, str]:
    """Split the prompt into instruction and input, if it was joined from several fields."""
    if fields is None or len(fields.prompt) < 2:
        return prompt, ""
    original = orjson.loads(row.original)
    parts = [part for name in fields.prompt if isinstance(part := get_field(original, name), str) and part.strip()]
    if len(parts) < 2 or "\n".join(parts) != prompt:
        return prompt, ""
    return parts[0], "\n".join(parts[1:])


def _annotation(conversation: _Conversation, fields: FieldMap | None) -> dict[str, Any]:
    row = conversation.row
    turns = prompt_turns(row)
    if not turns or turns[-1]["role"] == "assistant":
        raise _cannot(row, "annotation", "it ends with an assistant turn, so there is no question")
    plain = [turn["role"] for turn in turns] == ["user"]
    converted: dict[str, Any] = {"id": row.id, "prompt": row.prompt, "task": row.task}
    return converted | ({} if plain else {TURNS_FIELD: turns}) | {"response": ""}


def prompt_turns(row: Row) -> Sequence[Turn]:
    """Return the turns of a row without its response."""
    return row.turns if row.response is None else row.turns[:-1]


def _require_response(conversation: _Conversation, schema: str) -> None:
    if conversation.row.response is None:
        instead = "the original schema, messages or annotation"
        raise _cannot(conversation.row, schema, "it has no response", instead=instead)
    if conversation.turns[-1]["role"] != "assistant":
        raise _cannot(conversation.row, schema, f"its last turn is from {conversation.turns[-1]['role']}")


def _cannot(row: Row, schema: str, why: str, *, instead: str = "the original schema or messages") -> RecipeError:
    return RecipeError(
        f"Row '{row.id}' ({row.place}) cannot be written as {schema}: {why}. Export {instead}, or always "
        "exclude this row."
    )


Conversion = Callable[[_Conversation, FieldMap | None], dict[str, Any]]
CONVERSIONS: dict[str, Conversion] = {"alpaca": _alpaca, "messages": _messages, "sharegpt": _sharegpt}
CONVERSIONS |= {"llamafactory": _llamafactory, "annotation": _annotation}
