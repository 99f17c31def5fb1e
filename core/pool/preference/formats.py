"""Formats of preference data: an original row -> pairs (preferred, rejected) of responses to one prompt.

Preference sets come in the formats of SHAPES. `detect_shape` finds the format of a file from a sample, with the fields
that `core.pool.schema_detection.detect_schema` maps; `PairReader` reads every row. Prompts are read as those of a pool,
so the same prompt has the same text in both. Responses are not searched for speakers, except in whole transcripts.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson

from core.errors import PoolError
from core.pool.preference.labels import LabelReader
from core.pool.row_view import RowReader
from core.pool.schema_detection import RIVAL_RESPONSES, detect_schema, normalize_field_name
from core.pool.turns import Turn, UnusableRow, is_turn, list_turns, parse_list, read_text, read_transcript, read_turns
from core.schema import FieldMap

# Stable names -> descriptions on screen.
SHAPES: dict[str, str] = {
    "standard": "prompt, chosen and rejected as text",
    "conversational": "chosen and rejected as lists of {role, content}, after a prompt or with it",
    "sharegpt": "conversations, then chosen and rejected as {from, value}",
    "transcripts": "chosen and rejected as whole transcripts of Human and Assistant",
    "answers": "a prompt, several responses, and pairs of [better, worse]",
    "votes": "two responses, and votes for one of them",
    "labels": "two responses, and a label that names the better one",
}
EXPECTED_FIELDS = (
    "Each row needs a chosen and a rejected answer to one prompt: prompt, chosen and rejected (text, turns or whole "
    "conversations), responses and pairs, response1, response2 and annotator1, or output_1, output_2 and label."
)
REJECTED_FIELDS = {"chosen": "rejected", "chosen_messages": "rejected_messages", "response_j": "response_k"}
ALWAYS_BETTER = ("response_j",)  # fields of rival responses whose name marks the better one
VOTE_FIELD = re.compile(r"annotator_?\d*")
LABEL_FIELDS = ("preference", "label", "winner")  # alternatives; beside one, `annotator` is who gave it
VOTE_FIRST, VOTE_SECOND = 1, 2  # values of a vote; 0 is a tie

SAME_RESPONSE = "chosen equals rejected"
NO_CHOSEN = "chosen holds no answer"
NO_REJECTED = "rejected holds no answer"
PROMPTS_DIFFER = "chosen and rejected differ before their last answer"
NO_MAJORITY = "no answer has more than half of the votes"
PROMPT_NOT_OPEN = "the prompt does not end with a question"
NO_PAIR = "no pair of answers"
PLACEHOLDER = "."  # replaces the response while the prompt is read


class Pair(NamedTuple):
    """Two responses to one prompt."""

    prompt: list[Turn]  # ends with a user's turn, or a tool's
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Shape:
    """The format of a file's pairs, and the fields that hold them."""

    name: str  # one of SHAPES
    fields: FieldMap  # of the prompt; its response, or turns, is the chosen side
    chosen: str  # for "answers", the list of responses
    rejected: str  # for "answers", the pairs
    votes: tuple[str, ...] = ()  # for "labels", the field of the label


def detect_shape(sample: Sequence[Mapping[str, Any]]) -> Shape:
    """Return the format that most of these rows have. Raise PoolError if they are no preference set."""
    names = {normalize_field_name(name): name for row in sample for name in row}
    listed = ", ".join(sorted(names.values())[:30]) or "no fields"
    try:
        fields = detect_schema(sample)
    except PoolError:
        fields = FieldMap("custom")
    if fields.schema != "preference":
        hint = "" if fields.schema == "custom" else f", as in the pool format '{fields.schema}'"
        raise PoolError(f"not a target set: found {listed}{hint}. {EXPECTED_FIELDS}")
    first = normalize_field_name(fields.turns or fields.response or "")
    if first in ("sft_target", "responses"):
        if "pairs" not in names:
            raise PoolError(f"not a target set: found {listed}, so several answers but no 'pairs' of [better, worse].")
        fields = replace(fields, response=names["responses"])
        return Shape("answers", fields, names["responses"], names["pairs"])
    chosen, rejected = names[first], names[REJECTED_FIELDS.get(first) or RIVAL_RESPONSES[first]]
    if first in RIVAL_RESPONSES and first not in ALWAYS_BETTER:
        votes = tuple(name for plain, name in names.items() if VOTE_FIELD.fullmatch(plain))
        label = next((names[plain] for plain in LABEL_FIELDS if plain in names), None)
        if label is not None and votes in ((), (names.get("annotator"),)):
            return Shape("labels", fields, chosen, rejected, (label,))
        if not votes:
            raise PoolError(
                f"not a target set: found {listed}, so two answers but no votes (annotator1, …) and no label "
                "for one of them."
            )
        return Shape("votes", fields, chosen, rejected, votes)
    shapes = Counter(_suggest_shape(row[chosen]) for row in sample if row.get(chosen) not in (None, "", []))
    return Shape(shapes.most_common(1)[0][0], fields, chosen, rejected)


def _suggest_shape(value: Any) -> str:
    """Return the format that one chosen side suggests."""
    turns = list_turns(value)
    if not turns or not is_turn(turns[0]):
        return "transcripts" if read_transcript(value) else "standard"
    return "conversational" if "role" in turns[0] else "sharegpt"


class PairReader:
    """Reader of rows of one format."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._view = RowReader(shape.fields).read
        self._labels = LabelReader("".join(shape.votes[:1]), (shape.chosen, shape.rejected))
        readers = {"standard": self._read_texts, "answers": self._read_index_pairs}
        readers |= {"votes": self._read_votes, "labels": self._read_labelled}
        self._read = readers.get(shape.name, self._read_conversations)

    def __call__(self, row: dict[str, Any]) -> Iterator[Pair | str]:
        """Yield the pairs of a row, or the reason in place of an unusable one. UnusableRow: the whole row is."""
        try:
            yield from self._read(row)
        except orjson.JSONEncodeError as error:
            raise UnusableRow("nested too deeply") from error

    def check(self) -> None:
        """Raise PoolError if, after all rows, the labels may mean something else than was read."""
        self._labels.check()

    def _read_texts(self, row: dict[str, Any]) -> Iterator[Pair | str]:
        sides = (read_text(row.get(name), name) for name in (self.shape.chosen, self.shape.rejected))
        yield _pair(self._prompt(row), *self._unpad(row, *sides))

    def _read_votes(self, row: dict[str, Any]) -> Iterator[Pair | str]:
        """Yield the pair in which the chosen response has more than half of the votes."""
        given = (row.get(name) for name in self.shape.votes)
        votes = [str(vote).removesuffix(".0") for vote in given if vote not in (None, "")]  # 1.0 if some lack one
        fields = (self.shape.chosen, self.shape.rejected)
        if 2 * votes.count(str(VOTE_SECOND)) > len(votes):
            fields = fields[::-1]
        elif 2 * votes.count(str(VOTE_FIRST)) <= len(votes):
            raise UnusableRow(NO_MAJORITY)
        yield _pair(self._prompt(row), *self._unpad(row, *(read_text(row.get(name), name) for name in fields)))

    def _read_labelled(self, row: dict[str, Any]) -> Iterator[Pair | str]:
        """Yield the pair in which the chosen response is the one that the label names."""
        sides = (read_text(row.get(name), name) for name in self._labels.better_first(row))
        yield _pair(self._prompt(row), *self._unpad(row, *sides))

    def _read_index_pairs(self, row: dict[str, Any]) -> Iterator[Pair | str]:
        """Yield one pair for each [better, worse] of indices into the responses; repeated index pairs count once."""
        texts, index_pairs = (parse_list(row.get(name)) for name in (self.shape.chosen, self.shape.rejected))
        if texts is None or not index_pairs:
            raise UnusableRow(NO_PAIR)
        prompt = self._prompt(row)
        responses = self._unpad(row, *(read_text(answer, self.shape.chosen) for answer in texts))
        if not all(_is_pair(pair, len(responses)) for pair in index_pairs):
            raise UnusableRow(f"'{self.shape.rejected}' must hold pairs of answer numbers, counted from 0")
        for better, worse in dict.fromkeys(map(tuple, index_pairs)):
            yield _pair(prompt, responses[better], responses[worse])

    def _read_conversations(self, row: dict[str, Any]) -> Iterator[Pair | str]:
        """Yield the pair of last turns. The turns before them must be equal and are the prompt, or its end."""
        before, chosen = _split_last_answer(row.get(self.shape.chosen), self.shape.chosen, NO_CHOSEN)
        other, rejected = _split_last_answer(row.get(self.shape.rejected), self.shape.rejected, NO_REJECTED)
        if before != other:
            raise UnusableRow(PROMPTS_DIFFER)
        whole = bool(self.shape.fields.turns) or any(turn["role"] == "user" for turn in before)
        prompt = self._prompt(row, before) if whole else self._prompt(row) + before
        yield _pair(prompt, chosen, rejected)

    def _prompt(self, row: dict[str, Any], before: Sequence[Turn] | None = None) -> list[Turn]:
        """Return the turns before the response: from the prompt's fields, or `before` if a side repeats them all."""
        placeholder = PLACEHOLDER if before is None else [*before, {"role": "assistant", "content": PLACEHOLDER}]
        name = self.shape.fields.turns or self.shape.chosen
        prompt, _, turns = self._view(row | {name: placeholder})
        return orjson.loads(turns)[:-1] if turns else [{"role": "user", "content": prompt}]

    def _unpad(self, row: dict[str, Any], *responses: str) -> list[str]:
        """Return responses without the space that a transcript puts after "Assistant:", if the prompt is one."""
        if any(read_transcript(row.get(name)) for name in self.shape.fields.prompt):
            return [response.strip() for response in responses]
        return list(responses)


def _split_last_answer(value: Any, name: str, empty: str) -> tuple[list[Turn], str]:
    """Return the turns before the last one, which must be the assistant's, and its text."""
    turns = read_turns(value, name) if value else []
    if not turns or turns[-1]["role"] != "assistant":
        raise UnusableRow(empty)
    return turns[:-1], turns[-1]["content"]


def _is_pair(pair: Any, count: int) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(type(n) is int and 0 <= n < count for n in pair)


def _pair(prompt: list[Turn], chosen: str, rejected: str) -> Pair | str:
    """Return the pair, or the reason why it is unusable."""
    if prompt[-1]["role"] not in ("user", "tool"):
        return PROMPT_NOT_OPEN
    if not chosen.strip():
        return NO_CHOSEN
    if not rejected.strip():
        return NO_REJECTED
    return SAME_RESPONSE if chosen.strip() == rejected.strip() else Pair(prompt, chosen, rejected)
