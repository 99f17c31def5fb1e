"""Original row -> what a model and a person read: prompt, response, turns.

`RowReader` is compiled once from a FieldMap and called for every row. It either returns a view whose
prompt is not blank, and whose response is not blank where the pool has responses, or raises
`UnusableRow` with the reason the row is set aside for.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from core.pool.turns import (
    Turn,
    UnusableRow,
    is_turn,
    parse_list,
    read_history,
    read_text,
    read_transcript,
    read_turns,
)
from core.schema import FieldMap

EMPTY_PROMPT = "empty prompt"
EMPTY_RESPONSE = "empty response"
SPEAKER_NAMES = {"user": "User", "assistant": "Assistant", "tool": "Tool", "system": "System"}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# What is worth saying about the pool when it happened to some of its rows.
REMARKS = {
    "nan": "NaN or Infinity, which JSON does not have, stands in {n}; read and written as null.",
    "number": "A number or true/false stands where text belongs in {n}; read as its JSON text.",
    "first": "Several answers are given in {n}; the first is read as the response.",
    "instance": "Several instances are given in {n}; the first is read.",
    "unanswered": "Turns after the last answer are left out in {n}.",
}


class RowView(NamedTuple):
    """One row as read. `turns` is null for one user turn and, at most, one assistant turn."""

    prompt: str  # what was asked; earlier turns with their speakers' names, system turns left out
    response: str | None  # the last assistant turn; None in a pool of prompts
    turns: str | None  # JSON; ends in the response where there is one


class RowReader:
    """Reads rows under one mapping and counts what it had to decide (`remarks`, keys of REMARKS)."""

    def __init__(self, fields: FieldMap) -> None:
        self.fields = fields
        self.remarks: Counter[str] = Counter()
        self.has_responses = fields.schema != "prompts_only" and bool(fields.turns or fields.response)
        self.read = self._choose()

    def __call__(self, row: dict[str, Any]) -> RowView:
        """The view of one row; Unusable says why there is none."""
        return self.read(row)

    def _choose(self) -> Callable[[dict[str, Any]], RowView]:
        fields = self.fields
        if fields.turns:
            return self._conversation
        if fields.schema == "self_instruct":
            return self._instance
        if fields.schema == "multiple_choice":
            return self._choice
        plain = not (fields.system or fields.history or fields.tools)
        return self._flat if plain and fields.schema != "preference" else self._mixed

    def _flat(self, row: dict[str, Any]) -> RowView:
        """Strings only: the common case, kept short because a million rows go through it."""
        parts = []
        for name in self.fields.prompt:
            value = row.get(name)
            if type(value) is not str:
                if isinstance(value, list):  # TRL's conversational prompt
                    return self._mixed(row)
                value = self._text(value, name)
            if value and not value.isspace():
                parts.append(value)
        prompt = "\n".join(parts) if len(parts) != 1 else parts[0]
        if not prompt:
            raise UnusableRow(EMPTY_PROMPT)
        return RowView(prompt, self._response(row), None)

    def _response(self, row: dict[str, Any]) -> str | None:
        name = self.fields.response
        if name is None or not self.has_responses:
            return None
        value = row.get(name)
        if type(value) is not str:
            value = self._answer(value, name, row)
        if not value or value.isspace():
            raise UnusableRow(EMPTY_RESPONSE)
        return str(value)

    def _answer(self, value: Any, name: str, row: dict[str, Any]) -> str:
        """A response that is no string: a turn, turns, or several answers of which one is preferred."""
        if is_turn(value) or (isinstance(value, list) and any(map(is_turn, value))):
            said = [t for t in read_turns(value, name) if t["role"] == "assistant"]
            return said[-1]["content"] if said else ""
        if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
            if len(value) > 1:
                self.remarks["first"] += "pairs" not in row
            return str(value[_preferred(row.get("pairs"), len(value))])
        return self._text(value, name)

    def _text(self, value: Any, name: str) -> str:
        self.remarks["number"] += isinstance(value, (bool, int, float))
        return read_text(value, name)

    def _mixed(self, row: dict[str, Any]) -> RowView:
        """Fields that may be strings, turns or transcripts, with system, history and tools."""
        whole = self._whole(row)
        if whole:
            return self._compose(whole)
        turns = read_history(row.get(self.fields.history), self.fields.history) if self.fields.history else []
        for name in self.fields.prompt:
            _add(turns, self._prompt_turns(row.get(name), name))
        turns = self._system(row) + turns
        response = self._response(row)
        if response is not None:
            turns.append({"role": "assistant", "content": response})
        return self._compose(turns)

    def _whole(self, row: dict[str, Any]) -> list[Turn] | None:
        """The chosen answer when it repeats the whole conversation before it."""
        name = self.fields.response
        value = row.get(name) if name else None
        if isinstance(value, str):
            turns = read_transcript(value) if self.fields.schema == "preference" else None
        elif isinstance(value, list) and any(map(is_turn, value)):
            turns = read_turns(value, str(name))
        else:
            return None
        return turns if turns and any(turn["role"] == "user" for turn in turns) else None

    def _prompt_turns(self, value: Any, name: str) -> list[Turn]:
        if isinstance(value, list) or is_turn(value):
            return read_turns(value, name)
        text = self._text(value, name)
        transcript = read_transcript(text) if self.fields.schema == "preference" else None
        return transcript or [{"role": "user", "content": text}]

    def _system(self, row: dict[str, Any]) -> list[Turn]:
        """One system turn of the system prompt and the tools, as they stand."""
        parts = []
        for name in filter(None, (self.fields.system, self.fields.tools)):
            value = row.get(name)
            text = orjson.dumps(value).decode() if isinstance(value, (list, dict)) else self._text(value, name)
            if text and not text.isspace() and text.strip() not in ("[]", "{}"):
                parts.append(text)
        return [{"role": "system", "content": "\n\n".join(parts)}] if parts else []

    def _conversation(self, row: dict[str, Any]) -> RowView:
        name = str(self.fields.turns)
        value = row.get(name)
        if not value:
            raise UnusableRow(EMPTY_PROMPT)
        turns = read_turns(value, name)
        added = self._system(row)
        if added and turns and turns[0]["role"] == "system":
            said = turns.pop(0)["content"]
            added[0]["content"] = "\n\n".join(filter(None, (said, added[0]["content"])))
        return self._compose(added + turns)

    def _compose(self, turns: list[Turn]) -> RowView:
        turns = [t for t in turns if t["role"] != "system" or t["content"].strip()]
        if not self.has_responses:
            return RowView(_readable(turns), None, _kept(turns))
        last = max((i for i, t in enumerate(turns) if t["role"] == "assistant"), default=-1)
        prompt = _readable(turns[:last] if last >= 0 else turns)
        if last < 0 or not turns[last]["content"].strip():
            raise UnusableRow(EMPTY_RESPONSE)
        self.remarks["unanswered"] += last + 1 < len(turns)
        turns = turns[: last + 1]
        return RowView(prompt, turns[last]["content"], _kept(turns))

    def _instance(self, row: dict[str, Any]) -> RowView:
        """Self-Instruct: {"instruction", "instances": [{"input", "output"}]}."""
        name = str(self.fields.response)
        instances = row.get(name)
        if isinstance(instances, str):
            instances = parse_list(instances)
        if not isinstance(instances, list) or not all(isinstance(i, dict) for i in instances):
            raise UnusableRow(f"'{name}' is no list of instances")
        self.remarks["instance"] += len(instances) > 1
        first = instances[0] if instances else {}
        asked = [self._text(row.get(n), n) for n in self.fields.prompt if n != name]
        prompt = "\n".join(t for t in (*asked, self._text(first.get("input"), "input")) if t.strip())
        response = self._text(first.get("output"), "output")
        if not prompt:
            raise UnusableRow(EMPTY_PROMPT)
        if not response.strip():
            raise UnusableRow(EMPTY_RESPONSE)
        return RowView(prompt, response, None)

    def _choice(self, row: dict[str, Any]) -> RowView:
        """A question and its lettered choices; an answer given as a number becomes its letter."""
        lines = [line for name in self.fields.prompt for line in _lettered(row.get(name), name)]
        prompt = "\n".join(line for line in lines if line.strip())
        if not prompt:
            raise UnusableRow(EMPTY_PROMPT)
        answer = row.get(self.fields.response or "")
        if type(answer) is int and 0 <= answer < len(LETTERS):
            return RowView(prompt, LETTERS[answer], None)
        return RowView(prompt, self._response(row), None)


def _lettered(value: Any, name: str) -> list[str]:
    """The lines of one field of a multiple-choice question; columns A, B, … and lists are choices."""
    if isinstance(value, dict):  # ARC: {"text": […], "label": […]}
        value = value.get("text")
    if isinstance(value, str) and len(name) > 1:
        value = parse_list(value) or value
    if isinstance(value, list):
        return [f"{letter}. {read_text(v, name)}" for letter, v in zip(LETTERS, value, strict=False)]
    text = read_text(value, name)
    return [f"{name.upper()}. {text}"] if len(name) == 1 and text else [text]


def _preferred(pairs: Any, count: int) -> int:
    """The winner of the first [better, worse] pair of indices; 0 without pairs."""
    try:
        winner = pairs[0][0]
    except (TypeError, IndexError, KeyError):
        return 0
    return winner if isinstance(winner, int) and 0 <= winner < count else 0


def _add(turns: list[Turn], more: list[Turn]) -> None:
    """Append the turns of a further field; text after a user's turn joins it, as fields do elsewhere."""
    if more and more[0]["role"] == "user" and not more[0]["content"].strip():
        more = more[1:]
    if more and turns and turns[-1]["role"] == more[0]["role"] == "user":
        first, *more = more
        turns[-1] = {"role": "user", "content": turns[-1]["content"] + "\n" + first["content"]}
    turns.extend(more)


def _readable(turns: list[Turn]) -> str:
    """Turns as one text; speakers are named when there is more than one turn. Unusable when blank."""
    asked = [t for t in turns if t["role"] != "system"] or turns
    if not any(t["content"].strip() for t in asked):
        raise UnusableRow(EMPTY_PROMPT)
    if len(asked) == 1:
        return asked[0]["content"]
    return "\n\n".join(f"{SPEAKER_NAMES[t['role']]}: {t['content']}" for t in asked)


def _kept(turns: list[Turn]) -> str | None:
    """JSON of the turns; None when prompt and response say it all."""
    roles = [t["role"] for t in turns]
    return None if roles in (["user"], ["user", "assistant"]) else orjson.dumps(turns).decode()
