"""One row in the schema another trainer reads, or people answer.

    original   the row's own text, byte for byte
    alpaca     instruction, input, output; system and history (pairs) where the row has them
    messages   TRL: messages of role and content; tools where the row has them
    sharegpt   LLaMA-Factory: conversations of from and value; system, tools where the row has them
    annotation a queue for people: id, prompt, task (or null) and a blank response; prompt_messages, all turns, where
               the prompt is more than one turn of the user

What a schema cannot say is a RecipeError, never a row bent to fit: LLaMA-Factory leaves out, with a line in its log,
every conversation that does not alternate between human (or observation) and gpt (or function_call). Messages
keep a tool call as the text of its turn. Fields that a schema does not know, such as a rejected answer, are not
carried over. A queue asks for what is missing, so a row that is answered is refused, never blanked.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from core.errors import RecipeError
from core.schema import FieldMap, Row

Turn = dict[str, str]
_NOTHING = ("", "null", "[]", "{}")  # ways to say that there are no tools
TURNS_FIELD = "prompt_messages"  # not "messages": a file with those is read as whole conversations, not as prompts
_ALTERNATING = (("human", "observation"), ("gpt", "function_call"))  # at even and odd places, counted from 0


class _Talk(NamedTuple):
    """A row taken apart."""

    row: Row
    system: str  # "" = none
    turns: Sequence[Turn]  # the others
    tools: str  # JSON, as a rule; "" = none


def format_row(row: Row, schema: str, fields: FieldMap | None = None) -> str:
    """The row as one line of JSON, without a line end. `fields` (the pool's) says where its tools are, and what
    of its prompt was an input apart from the instruction."""
    if schema == "original":
        return one_line(row.original)
    return orjson.dumps(convert_row(row, schema, fields)).decode()


def convert_row(row: Row, schema: str, fields: FieldMap | None = None) -> dict[str, Any]:
    """The row as an object of a schema other than its own; RecipeError when it cannot be said in it."""
    if schema not in CONVERSIONS:
        raise RecipeError(f"There is no schema '{schema}'. There are original, {', '.join(CONVERSIONS)}.")
    return CONVERSIONS[schema](_apart(row, fields), fields)


def one_line(text: str) -> str:
    """JSON text on one line. A raw line end in valid JSON is mere spacing: within strings it is escaped."""
    return text.strip().replace("\r", " ").replace("\n", " ")


def _apart(row: Row, fields: FieldMap | None) -> _Talk:
    """System text, turns and tools. A model reads the tools at the end of the system turn; here they leave it."""
    said = orjson.loads(row.original).get(fields.tools) if fields and fields.tools else None
    tools = said if isinstance(said, str) else orjson.dumps(said).decode()
    leads = row.turns[0]["role"] == "system"
    system = row.turns[0]["content"] if leads else ""
    if said and system.endswith(tools):
        system = system.removesuffix(tools).removesuffix("\n\n")
    return _Talk(row, system, row.turns[1 if leads else 0 :], "" if tools.strip() in _NOTHING else tools)


def _messages(talk: _Talk, fields: FieldMap | None) -> dict[str, Any]:
    system = [{"role": "system", "content": talk.system}] if talk.system else []
    return {"messages": [*system, *talk.turns]} | ({"tools": _listed(talk.tools)} if talk.tools else {})


def _listed(tools: str) -> Any:
    """Tools as TRL wants them, a list; text that is no JSON stays as it is."""
    try:
        return orjson.loads(tools)
    except orjson.JSONDecodeError:
        return tools


def _sharegpt(talk: _Talk, fields: FieldMap | None) -> dict[str, Any]:
    _answered(talk, "sharegpt")
    conversation = []
    for place, turn in enumerate(talk.turns):
        speaker = _speaker(talk.turns, place)
        if speaker not in _ALTERNATING[place % 2]:
            why = f"questions and answers must alternate, and turn {place + 1} does not"
            raise _cannot(talk.row, "sharegpt", why)
        value = _call(talk.row, turn["content"]) if speaker == "function_call" else turn["content"]
        conversation.append({"from": speaker, "value": value})
    said: dict[str, Any] = {"conversations": conversation}
    if talk.system:
        said["system"] = talk.system
    if talk.tools:
        said["tools"] = talk.tools
    return said


def _speaker(turns: Sequence[Turn], place: int) -> str:
    """LLaMA-Factory's word for who speaks; an assistant turn that a tool answers is the call."""
    role = turns[place]["role"]
    answered_by_tool = place + 1 < len(turns) and turns[place + 1]["role"] == "tool"
    if role == "assistant":
        return "function_call" if answered_by_tool else "gpt"
    return {"user": "human", "tool": "observation"}.get(role, role)


def _call(row: Row, text: str) -> str:
    """A tool call as LLaMA-Factory parses it: {name, arguments}, or a list of such; OpenAI's wrapping taken off."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _cannot(row, "sharegpt", "it calls a tool in words that are not JSON") from None
    calls = said if isinstance(said, list) else [said]
    wrapped = [call["function"] for call in calls if isinstance(call, dict) and "function" in call]
    if wrapped:
        return orjson.dumps(wrapped).decode()
    if not all(isinstance(call, dict) and "name" in call for call in calls):
        raise _cannot(row, "sharegpt", "it calls a tool without a name")
    return text


def _alpaca(talk: _Talk, fields: FieldMap | None) -> dict[str, Any]:
    _answered(talk, "alpaca")
    roles = [turn["role"] for turn in talk.turns]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise _cannot(talk.row, "alpaca", "its turns are not user and assistant in turn")
    if talk.tools:
        raise _cannot(talk.row, "alpaca", "it has tools")
    texts = [turn["content"] for turn in talk.turns]
    instruction, further = _instruction(talk.row, fields, texts[-2])
    said: dict[str, Any] = {"instruction": instruction, "input": further, "output": texts[-1]}
    if talk.system:
        said["system"] = talk.system
    if len(texts) > 2:
        said["history"] = [texts[k : k + 2] for k in range(0, len(texts) - 2, 2)]
    return said


def _instruction(row: Row, fields: FieldMap | None, prompt: str) -> tuple[str, str]:
    """The prompt as instruction and input, if it was joined from several fields."""
    if fields is None or len(fields.prompt) < 2:
        return prompt, ""
    original = orjson.loads(row.original)
    parts = [part for name in fields.prompt if isinstance(part := original.get(name), str) and part.strip()]
    if len(parts) < 2 or "\n".join(parts) != prompt:
        return prompt, ""
    return parts[0], "\n".join(parts[1:])


def _annotation(talk: _Talk, fields: FieldMap | None) -> dict[str, Any]:
    row = talk.row
    if row.response is not None or row.turns[-1]["role"] == "assistant":
        raise _cannot(row, "annotation", "it has a response already, and a queue asks people for missing ones")
    plain = [turn["role"] for turn in row.turns] == ["user"]
    said: dict[str, Any] = {"id": row.id, "prompt": row.prompt, "task": row.task}
    return said | ({} if plain else {TURNS_FIELD: row.turns}) | {"response": ""}


def _answered(talk: _Talk, schema: str) -> None:
    if talk.row.response is None:
        raise _cannot(talk.row, schema, "it has no response", instead="the original schema, messages or annotation")
    if talk.turns[-1]["role"] != "assistant":
        raise _cannot(talk.row, schema, f"it ends with a turn of {talk.turns[-1]['role']}")


def _cannot(row: Row, schema: str, why: str, *, instead: str = "the original schema or messages") -> RecipeError:
    return RecipeError(
        f"Row '{row.id}' (line {row.line}) cannot be written as {schema}: {why}. Export {instead}, or pin this row out."
    )


CONVERSIONS: dict[str, Callable[[_Talk, FieldMap | None], dict[str, Any]]] = {
    "alpaca": _alpaca,
    "messages": _messages,
    "sharegpt": _sharegpt,
    "annotation": _annotation,
}
