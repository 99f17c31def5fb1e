"""View of an original row as models and people read it: prompt, response, turns.

`RowReader` is built once from a FieldMap and reads every row. It returns a view whose prompt is not blank,
and whose response is not blank if the pool has responses, or raises `UnusableRow` with the reason for setting
the row aside.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import orjson

from core.pool.nested_fields import lift_fields, nested_among
from core.pool.schema_detection import mapped_fields
from core.pool.turn_parts import read_parts
from core.pool.turns import (
    ReadTurn,
    Turn,
    UnusableRow,
    is_turn,
    parse_list,
    read_history,
    read_text,
    read_transcript,
    read_turn,
    read_turns,
)
from core.schema import FieldMap, Row

EMPTY_PROMPT = "empty prompt"
EMPTY_RESPONSE = "empty response"
SPEAKER_NAMES = {"user": "User", "assistant": "Assistant", "tool": "Tool", "system": "System"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Notices about the pool, for what happened to some of its rows.
REMARKS = {
    "nan": "NaN or Infinity, which JSON does not have, in {n}. It is read and written as null.",
    "number": "A number or true/false in place of text in {n}. It is read as its JSON text.",
    "first": "Several answers in {n}. The first is the response.",
    "instance": "Several instances in {n}. The first is read.",
    "unanswered": "Turns after the last answer in {n}. They are not read.",
}


# One row as read: (prompt, response, turns). A plain tuple, as a million of them are made.
#   prompt     the question; earlier turns with speaker names, without system turns
#   response   the last assistant turn; None in a pool without responses
#   turns      JSON that ends in the response where there is one; None for one user turn and at most one assistant turn
RowView = tuple[str, str | None, str | None]


class RowReader:
    """Reader of rows under one field map. `remarks` counts the choices it had to make (keys of REMARKS)."""

    def __init__(self, fields: FieldMap, read_turn: ReadTurn = read_turn) -> None:
        self.fields = fields
        self._read_turn = read_turn
        self.remarks: Counter[str] = Counter()
        self.has_responses = fields.schema != "prompts_only" and bool(fields.turns or fields.response)
        self._answer = fields.response if self.has_responses else None
        nested, read = nested_among(mapped_fields(fields)), self._select_reader()
        # Return the view of one row. Raise UnusableRow with the reason if it has none.
        self.read = (lambda row: read(lift_fields(row, nested))) if nested else read

    def _select_reader(self) -> Callable[[dict[str, Any]], RowView]:
        fields = self.fields
        if fields.turns:
            return self._read_conversation
        if fields.schema == "self_instruct":
            return self._read_instance
        if fields.schema == "multiple_choice":
            return self._read_choice
        plain = self._read_turn is read_turn and not (fields.system or fields.history or fields.tools)
        return self._read_strings if plain and fields.schema != "preference" else self._read_mixed

    def _read_strings(self, row: dict[str, Any]) -> RowView:
        """Read string fields: the common case, kept short because a million rows go through it."""
        parts = []
        for name in self.fields.prompt:
            value = row.get(name)
            if type(value) is not str:
                if isinstance(value, list):  # TRL's conversational prompt
                    return self._read_mixed(row)
                value = self._text(value, name)
            if value and not value.isspace():
                parts.append(value)
        if not parts:
            raise UnusableRow(EMPTY_PROMPT)
        response = row.get(self._answer) if self._answer else None
        if type(response) is not str or not response or response.isspace():
            response = self._response(row)
        return "\n".join(parts), response, None

    def _response(self, row: dict[str, Any]) -> str | None:
        name = self._answer
        if name is None:
            return None
        value = row.get(name)
        return _not_blank(value if type(value) is str else self._response_text(value, name, row), EMPTY_RESPONSE)

    def _response_text(self, value: Any, name: str, row: dict[str, Any]) -> str:
        """Return the text of a response field that holds a turn, turns, or several responses with one preferred."""
        if holds_turns(value):
            return str(self._answer_turn(value, name)["content"])
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            if len(value) > 1:
                self.remarks["first"] += "pairs" not in row
            return str(value[_preferred_index(row.get("pairs"), len(value))])
        return self._text(value, name)

    def _answer_turn(self, value: Any, name: str) -> Turn:
        """Return the last turn of the assistant; an empty one if there is none."""
        turns = read_turns(value, name, self._read_turn)
        empty = {"role": "assistant", "content": ""}
        return next((turn for turn in reversed(turns) if turn["role"] == "assistant"), empty)

    def _text(self, value: Any, name: str) -> str:
        self.remarks["number"] += isinstance(value, (bool, int, float))
        return read_text(value, name)

    def _read_mixed(self, row: dict[str, Any]) -> RowView:
        """Read fields that may be strings, turns or transcripts, with system, history and tools."""
        whole = self._whole_conversation(row)
        if whole:
            return self._compose(whole)
        turns = read_history(row.get(self.fields.history), self.fields.history) if self.fields.history else []
        for name in self.fields.prompt:
            _append_turns(turns, self._prompt_turns(row.get(name), name))
        turns = self._system(row) + turns
        response = self._response(row)
        if response is not None:
            value, name = row.get(self._answer or ""), str(self._answer)
            plain = {"role": "assistant", "content": response}
            turns.append(self._answer_turn(value, name) if holds_turns(value) else plain)
        return self._compose(turns)

    def _whole_conversation(self, row: dict[str, Any]) -> list[Turn] | None:
        """Return the turns of the chosen response if it repeats the whole conversation before it."""
        name = self.fields.response
        value = row.get(name) if name else None
        turns = read_transcript(value) if self.fields.schema == "preference" else None
        if isinstance(value, list) and holds_turns(value):
            turns = read_turns(value, str(name), self._read_turn)
        return turns if turns and any(turn["role"] == "user" for turn in turns) else None

    def _prompt_turns(self, value: Any, name: str) -> list[Turn]:
        if isinstance(value, list) or is_turn(value):
            return read_turns(value, name, self._read_turn)
        text = self._text(value, name)
        transcript = read_transcript(text) if self.fields.schema == "preference" else None
        return transcript or [{"role": "user", "content": text}]

    def _system(self, row: dict[str, Any]) -> list[Turn]:
        """Return one system turn of the system prompt and the tools, verbatim; [] without them."""
        parts = []
        for name in filter(None, (self.fields.system, self.fields.tools)):
            value = row.get(name)
            text = orjson.dumps(value).decode() if isinstance(value, (list, dict)) else self._text(value, name)
            if text and not text.isspace() and text.strip() not in ("[]", "{}"):
                parts.append(text)
        return [{"role": "system", "content": "\n\n".join(parts)}] if parts else []

    def _read_conversation(self, row: dict[str, Any]) -> RowView:
        name = str(self.fields.turns)
        value = row.get(name)
        if not value:
            raise UnusableRow(EMPTY_PROMPT)
        turns = read_turns(value, name, self._read_turn)
        system = self._system(row)
        if system and turns and turns[0]["role"] == "system":
            text = turns.pop(0)["content"]
            system[0]["content"] = "\n\n".join(filter(None, (text, system[0]["content"])))
        return self._compose(system + turns)

    def _compose(self, turns: list[Turn]) -> RowView:
        turns = [t for t in turns if t["role"] != "system" or t["content"].strip()]
        if not self.has_responses:
            return _join_turns(turns), None, _turns_json(turns)
        last = max((i for i, t in enumerate(turns) if t["role"] == "assistant"), default=-1)
        prompt = _join_turns(turns[:last] if last >= 0 else turns)
        if last < 0 or not turns[last]["content"].strip():
            raise UnusableRow(EMPTY_RESPONSE)
        self.remarks["unanswered"] += last + 1 < len(turns)
        turns = turns[: last + 1]
        return prompt, turns[last]["content"], _turns_json(turns)

    def _read_instance(self, row: dict[str, Any]) -> RowView:
        """Read a row of Self-Instruct: {"instruction", "instances": [{"input", "output"}]}."""
        name = str(self.fields.response)
        instances = parse_list(row.get(name))
        if instances is None or not all(isinstance(i, dict) for i in instances):
            raise UnusableRow(f"'{name}' is not a list of instances")
        self.remarks["instance"] += len(instances) > 1
        first = instances[0] if instances else {}
        prompts = [self._text(row.get(n), n) for n in self.fields.prompt if n != name]
        prompt = _join_prompt([*prompts, self._text(first.get("input"), "input")])
        return prompt, _not_blank(self._text(first.get("output"), "output"), EMPTY_RESPONSE), None

    def _read_choice(self, row: dict[str, Any]) -> RowView:
        """Read a question with lettered choices; an answer given as a number becomes its letter."""
        prompt = _join_prompt([line for name in self.fields.prompt for line in _lettered_lines(row.get(name), name)])
        answer = row.get(self.fields.response or "")
        if type(answer) is int and 0 <= answer < len(LETTERS):
            return prompt, LETTERS[answer], None
        return prompt, self._response(row), None


def _join_prompt(texts: list[str]) -> str:
    """Return the texts that are not blank, joined with newlines. Raise UnusableRow if all are blank."""
    return _not_blank("\n".join([text for text in texts if text and not text.isspace()]), EMPTY_PROMPT)


def _not_blank(text: str, reason: str) -> str:
    """Return the text. Raise UnusableRow with the reason if it is blank."""
    if not text or text.isspace():
        raise UnusableRow(reason)
    return text


def _lettered_lines(value: Any, name: str) -> list[str]:
    """Return the lines of one field of a multiple-choice question; columns A, B, … and lists are choices."""
    if isinstance(value, dict):  # ARC: {"text": […], "label": […]}
        value = value.get("text")
    if len(name) > 1:
        value = parse_list(value) or value
    if isinstance(value, list):
        return [f"{letter}. {read_text(v, name)}" for letter, v in zip(LETTERS, value, strict=False)]
    text = read_text(value, name)
    return [f"{name.upper()}. {text}"] if len(name) == 1 and text else [text]


def _preferred_index(pairs: Any, count: int) -> int:
    """Return the winner of the first [better, worse] pair of indices; 0 without pairs."""
    try:
        winner = pairs[0][0]
    except (TypeError, IndexError, KeyError):
        return 0
    return winner if isinstance(winner, int) and 0 <= winner < count else 0


def _append_turns(turns: list[Turn], more: list[Turn]) -> None:
    """Append the turns of a further field; text after a user's turn is joined to it, as fields are elsewhere."""
    if more and more[0]["role"] == "user" and not more[0]["content"].strip():
        more = more[1:]
    if more and turns and turns[-1]["role"] == more[0]["role"] == "user":
        first, *more = more
        turns[-1] = {"role": "user", "content": turns[-1]["content"] + "\n" + first["content"]}
    turns.extend(more)


def _join_turns(turns: list[Turn]) -> str:
    """Return turns as one text, with speaker names if there are several. Raise UnusableRow if it is blank."""
    shown = [t for t in turns if t["role"] != "system"] or turns
    if not any(t["content"].strip() for t in shown):
        raise UnusableRow(EMPTY_PROMPT)
    if len(shown) == 1:
        return str(shown[0]["content"])
    return "\n\n".join(f"{SPEAKER_NAMES[t['role']]}: {t['content']}" for t in shown)


def _turns_json(turns: list[Turn]) -> str | None:
    """Return the turns as JSON; None if prompt and response hold all of it."""
    roles = [t["role"] for t in turns]
    plain = roles in (["user"], ["user", "assistant"]) and all(len(turn) == 2 for turn in turns)
    return None if plain else orjson.dumps(turns).decode()


def holds_turns(value: Any) -> bool:
    """Return whether a value is a turn, or a list with some."""
    return is_turn(value) or (isinstance(value, list) and any(map(is_turn, value)))


@cache
def _parts_reader(fields: FieldMap) -> RowReader:
    return RowReader(fields, read_parts)


def read_turn_parts(row: Row, fields: FieldMap) -> Sequence[Turn]:
    """Return the turns of a row with their parts (core.pool.turn_parts). Raise UnusableRow for an unreadable call."""
    if '"role"' not in row.original and '"from"' not in row.original:  # no field holds turns
        return row.turns
    turns = _parts_reader(fields).read(orjson.loads(row.original))[2]
    return row.turns if turns is None else orjson.loads(turns)
