"""What a turn holds besides text: reasoning and tool calls, which an export writes as such.

A model reads a turn as one text (core.pool.turns). `read_parts` reads the same turn apart, and adds to it what differs:

    text          its text alone; reasoning is its beginning, as <think> ... </think>, which chat templates recognise
    calls         its tool calls: {"name", "arguments": an object} and "id", where it has one
    name, tool_call_id   of a tool's answer, where it has them
"""

import re
from typing import Any

import orjson

from core.pool.turns import Turn, UnusableRow, read_text, read_turn

CALL_SPEAKERS = ("function_call", "tool_call")  # whose text is the call
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
REASONING_PARTS = ("reasoning", "thinking")
THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)  # at the beginning of a text


def read_parts(value: Any, name: str) -> Turn:
    """Return a turn of either format, with its parts. Raise UnusableRow for what is not to be written so."""
    turn = read_turn(value, name)
    thought = think(next((value[field] for field in REASONING_FIELDS if isinstance(value.get(field), str)), ""))
    content = value.get("content", value.get("value", value.get("text")))
    if isinstance(content, str) and str(value.get("role", value.get("from"))).strip().lower() in CALL_SPEAKERS:
        own = match[0] if (match := THOUGHT.match(content)) else ""
        thought, said, calls = thought + own, "", read_calls(content.removeprefix(own))
    else:
        own, said, calls = _read_content(content, name)
        thought += own
    calls += read_calls(value.get("tool_calls") or [])
    text = thought + said
    parts: Turn = {"text": text} if text != turn["content"] else {}
    parts |= {"calls": calls} if calls else {}
    if turn["role"] == "tool":
        parts |= {field: value[field] for field in ("name", "tool_call_id") if isinstance(value.get(field), str)}
    return turn | parts


def _read_content(content: Any, name: str) -> tuple[str, str, list[dict[str, Any]]]:
    """Return the reasoning, the text and the calls of a content, which may be a list of typed parts."""
    if not isinstance(content, list):
        return "", read_text(content, name), []
    thought, said, calls = "", [], []
    for part in content:
        kind, text = part.get("type") if isinstance(part, dict) else "text", read_text([part], name)
        if kind in CALL_SPEAKERS:
            calls += read_calls(text)
        elif kind not in REASONING_PARTS:
            said.append(text)
        elif said or calls:
            raise UnusableRow("it has reasoning after a text or a call")
        else:
            thought += think(text)
    return thought, "\n".join(said), calls


def think(reasoning: str) -> str:
    """Return reasoning as chat templates recognise it at the beginning of a text; "" without any."""
    return f"<think>\n{reasoning.strip()}\n</think>\n\n" if reasoning.strip() else ""


def read_calls(value: Any) -> list[dict[str, Any]]:
    """Return tool calls, given as JSON text or as objects, one or several, with or without OpenAI's wrapping."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise UnusableRow("it calls a tool with text that is not JSON") from None
    return [_read_call(call) for call in (value if isinstance(value, list) else [value])]


def _read_call(call: Any) -> dict[str, Any]:
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise UnusableRow("it calls a tool without a name")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            arguments = None
    if not isinstance(arguments, dict):
        raise UnusableRow(f"it calls '{function['name']}' with arguments that are no JSON object")
    number = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {"name": function["name"], "arguments": arguments} | number
