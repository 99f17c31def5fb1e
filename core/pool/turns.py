"""Values of a field as text, or as turns of a conversation.

The same content is written in many ways: a string, a list of typed parts, {"role", "content"} or
{"from", "value"} objects, pairs of earlier questions and answers, one transcript with speakers in it.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson

from core.errors import PoolError

Turn = dict[str, Any]  # {"role": system | user | assistant | tool, "content": text}; parts of core.pool.turn_parts

SPEAKERS = {  # role -> names of the speaker
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter"),
    # a call is written by the model, so it must be scored as a response
    "assistant": ("assistant", "gpt", "chatgpt", "bot", "model", "function_call", "tool_call"),
    "tool": ("tool", "function", "ipython", "observation", "function_response", "tool_response"),
}
ROLES = {speaker: role for role, speakers in SPEAKERS.items() for speaker in speakers}

# hh-rlhf: "\n\nHuman: …\n\nAssistant: …"; a speaker counts only at the start or after an empty line
_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")


class UnusableRow(PoolError):
    """A row that cannot be read as mapped; it is skipped with this message as the reason."""


def read_text(value: Any, name: str) -> str:
    """Return the text of a value; "" for null. Numbers and true/false become their JSON text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return orjson.dumps(value).decode()
    if isinstance(value, list):
        return "\n".join(_part(part, name) for part in value)
    raise UnusableRow(f"'{name}' is an object, not text")


def _part(part: Any, name: str) -> str:
    """Return the text of one part: {"type": "text" | "reasoning" | "tool_call" | …, "text" or "value": str}."""
    if isinstance(part, str):
        return part
    if isinstance(part, dict):
        for key in ("text", "value", "content"):
            if isinstance(part.get(key), str):
                return str(part[key])
        raise UnusableRow(f"'{name}' has a part without text ({part.get('type', 'no type')})")
    raise UnusableRow(f"'{name}' is a list, not of text")


def is_turn(value: Any) -> bool:
    """Return whether a value is one turn of a conversation."""
    return isinstance(value, dict) and ("role" in value or "from" in value)


def read_turn(value: Any, name: str) -> Turn:
    """Return one turn of either format. Raise UnusableRow for an unknown speaker."""
    if not is_turn(value):
        raise UnusableRow(f"'{name}' has an element that is not a turn (no 'role' and no 'from')")
    speaker = value.get("role", value.get("from"))
    role = ROLES.get(speaker.strip().lower()) if isinstance(speaker, str) else None
    if role is None:
        raise UnusableRow(f"'{name}' has a turn of an unknown speaker")
    content = value.get("content", value.get("value", value.get("text")))
    text = read_text(content, name)
    calls = value.get("tool_calls")
    if calls:  # a tool call often comes without text
        text = "\n".join(filter(None, (text, orjson.dumps(calls).decode())))
    return {"role": role, "content": text}


ReadTurn = Callable[[Any, str], Turn]


def read_turns(value: Any, name: str, read: ReadTurn = read_turn) -> list[Turn]:
    """Return the turns of a list, of one turn, of a list written as JSON text, or of a transcript.

    `read` reads one turn of a list.
    """
    transcript = read_transcript(value)
    if transcript is not None:
        return transcript
    turns = list_turns(value)
    if turns is None:
        raise UnusableRow(f"'{name}' is not a list of turns")
    if turns and all(isinstance(turn, str) for turn in turns):  # questions in sequence
        return [{"role": "user", "content": turn} for turn in turns]
    return [read(turn, name) for turn in turns]


def list_turns(value: Any) -> list[Any] | None:
    """Return one turn as a list, or the list of `parse_list`, whose elements need not be turns."""
    return [value] if is_turn(value) else parse_list(value)


def parse_list(value: Any) -> list[Any] | None:
    """Return a list, or the list that a CSV cell holds as JSON; None if the value is neither."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(value)
    return value if isinstance(value, list) else None


def read_transcript(text: Any) -> list[Turn] | None:
    """Return the turns of an hh-rlhf transcript without an empty last one; None if it is no transcript."""
    if not (isinstance(text, str) and _SPEAKER.match(text)):
        return None
    _, *pieces = _SPEAKER.split(text)
    spoken = zip(pieces[::2], pieces[1::2], strict=True)
    turns = [{"role": ROLES[speaker.lower()], "content": content.strip()} for speaker, content in spoken]
    return turns[:-1] if not turns[-1]["content"] else turns


def read_history(value: Any, name: str) -> list[Turn]:
    """Return the turns of Alpaca's `history`: a list of [question, answer] pairs."""
    if value is None or value == "":
        return []
    pairs = parse_list(value)
    if pairs is None or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise UnusableRow(f"'{name}' is not a list of [question, answer] pairs")
    turns = [turn for question, answer in pairs for turn in (("user", question), ("assistant", answer))]
    return [{"role": role, "content": read_text(text, name)} for role, text in turns]
