"""Schema detection: which format a pool has, and what its fields mean.

`detect_schema` proposes a FieldMap from a sample; the user may change it. Rules are tried from the most specific
to the most general. Field names are compared without case, spaces and hyphens.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

from core.errors import PoolError
from core.pool.nested_fields import ABSENT, get_field, iter_fields
from core.pool.turns import ROLES, is_turn, list_turns, read_transcript
from core.schema import FieldMap

# Stable names -> descriptions on screen. Written into recipes; never rename.
SCHEMAS: dict[str, str] = {
    "alpaca": "instruction, input?, output (or response), system?, history?",
    "dolly": "instruction, context, response, category",
    "messages": "messages: a list of {role, content}; content may be a list of typed parts",
    "sharegpt": "conversations: a list of {from, value}, system?, tools?",
    "prompt_completion": "prompt and completion",
    "question_answer": "question and answer",
    "text_code": "text and code",
    "input_output": "input (or text) and output, without an instruction",
    "multiple_choice": "question, lettered choices, answer",
    "self_instruct": "instruction and instances: a list of {input, output}",
    "preference": "prompt, chosen and rejected; the chosen answer is the response",
    "prompts_only": "no response",
    "custom": "fields chosen by hand",
}

PROMPT_FIELDS = ("prompt", "instruction", "question", "query", "input", "text", "problem", "inputs")
CONVERSATION_FIELDS = (
    *("messages", "conversations", "conversation", "dialogues", "dialogue", "dialogs", "dialog", "chat", "turns"),
)
RIVAL_RESPONSES = {  # votes or a label in other fields prefer one of the two
    **{"response1": "response2", "response_1": "response_2", "response_0": "response_1"},
    **{"response_a": "response_b", "response_j": "response_k"},
    **{"output1": "output2", "output_1": "output_2"},
}
MIN_RESPONSE_SHARE = 0.1  # with responses in a smaller share of the sample, a pool counts as prompts only


@dataclass(frozen=True)
class Rule:
    """One format of a row. Of alternative fields, the first that is filled often enough is used."""

    schema: str
    prompt: tuple[str, ...] = ()  # alternatives
    response: tuple[str, ...] = ()  # alternatives
    required: tuple[str, ...] = ()  # must be present, empty or not
    turns: tuple[str, ...] = ()  # alternatives, each holding turns in `turn_format`
    extra_prompt: tuple[str, ...] = ()  # joined to the prompt if present
    turn_format: Literal["role", "from", "any", "text"] = "any"


RULES = (
    Rule("preference", turns=("chosen_messages",), required=("rejected_messages",)),
    Rule("preference", PROMPT_FIELDS + CONVERSATION_FIELDS, ("chosen",), ("rejected",), extra_prompt=("input",)),
    Rule("preference", turns=("chosen",), required=("rejected",)),
    Rule("preference", PROMPT_FIELDS, ("sft_target", "responses"), required=("responses",)),
    *(Rule("preference", PROMPT_FIELDS, (a,), (b,), extra_prompt=("input",)) for a, b in RIVAL_RESPONSES.items()),
    Rule("messages", turns=CONVERSATION_FIELDS, turn_format="role"),
    Rule("sharegpt", turns=CONVERSATION_FIELDS, turn_format="from"),
    Rule("self_instruct", ("instruction",), ("instances",), extra_prompt=("instances",)),
    Rule("multiple_choice", ("question",), ("answer",), extra_prompt=tuple("abcdefghij"), required=("a", "b")),
    Rule("multiple_choice", ("question",), ("answer", "answerkey"), extra_prompt=("choices",), required=("choices",)),
    Rule("multiple_choice", ("question",), ("answer", "answerkey"), extra_prompt=("options",), required=("options",)),
    Rule("dolly", ("instruction",), ("response",), extra_prompt=("context",), required=("context",)),
    Rule("alpaca", ("instruction",), ("output", "response", "completion", "answer"), extra_prompt=("input",)),
    Rule(
        "prompt_completion",
        ("prompt_messages", "prompt", "inputs"),
        ("completion", "response", "output", "answer", "targets"),
    ),
    Rule(
        "question_answer",
        ("question", "query", "problem"),
        ("answer", "std_answer", "response", "output", "solution", "answers"),
    ),
    Rule("text_code", ("text", "prompt", "docstring", "description"), ("code", "canonical_solution")),
    # text is read where input is mostly blank: then it holds the instruction, and input belongs to it
    Rule(
        "input_output",
        ("input", "inputs", "text"),
        ("output", "target", "targets", "response"),
        extra_prompt=("input",),
    ),
)
PROMPT_ONLY_RULES = (
    Rule("prompts_only", turns=CONVERSATION_FIELDS, turn_format="any"),
    Rule("prompts_only", turns=("turns", "prompts", "questions"), turn_format="text"),
    Rule(
        "prompts_only",
        ("prompt_messages", "instruction", "prompt", "question", "query", "problem", "input", "text"),
        extra_prompt=("input",),
    ),
)
OPTIONAL_FIELDS = {"system": ("system", "system_prompt"), "history": ("history",), "tools": ("tools", "functions")}

ID_FIELDS = ("id", "_id", "uid", "uuid", "guid")  # meant as ids: mapped even when they repeat, which is reported
FALLBACK_ID_FIELDS = (
    *("row_id", "example_id", "sample_id", "question_id", "prompt_id", "conversation_id", "task_id"),
    *("idx", "index"),
)
TASK_FIELDS = (
    *("task", "task_name", "task_type", "category", "class", "subject", "topic", "domain", "type", "skill"),
    *("motivation_app", "subset", "source", "dataset", "template", "language", "lang"),
)
NON_TASK_FIELDS = ("label", "split", "model", "rating", "score", "answer", "chosen", "rejected")
MAX_LABEL_CHARS = 80


def detect_schema(sample: Sequence[Mapping[str, Any]]) -> FieldMap:
    """Return the field map of these rows. Raise PoolError with the fields found if they are no pool."""
    summary = _Sample(sample)
    rule = summary.best(RULES)
    if rule is None or (rule.turns and not summary.has_responses(rule)):
        rule = summary.best(PROMPT_ONLY_RULES)
    if rule is None:
        names = ", ".join(sorted(summary.names.values())[:30]) or "no fields"
        raise PoolError(
            f"its rows have an unknown format: found {names}. Map the prompt and response fields on the Pool "
            "page, or with --fields."
        )
    optional: dict[str, Any] = {part: summary.filled_of(names) for part, names in OPTIONAL_FIELDS.items()}
    fields = FieldMap(rule.schema, **summary.mapping(rule), **optional, id=summary.id_field())
    return replace(fields, task=summary.task(used=mapped_fields(fields)))


def mapped_fields(fields: FieldMap) -> set[str]:
    """Return every field of a row that the mapping uses."""
    named = {fields.response, fields.system, fields.history, fields.turns, fields.tools, fields.task, fields.id}
    return {name for name in (*fields.prompt, *named) if name}


def check_fields(fields: FieldMap, sample: Sequence[Mapping[str, Any]]) -> None:
    """Raise PoolError if a mapping cannot apply to a pool with these first rows.

    Fields that may be absent from some rows are checked after all rows are read (`check_fields_exist`).
    """
    if fields.schema not in SCHEMAS:
        raise PoolError(f"There is no schema '{fields.schema}'. Choose one of {', '.join(SCHEMAS)}.")
    if fields.turns and (fields.prompt or fields.response):
        raise PoolError("A field of turns contains prompt and response. Map either the turns, or prompt and response.")
    if not fields.turns and not fields.prompt:
        raise PoolError("No field is mapped to the prompt. Map one or more, or a field with a list of turns.")
    for wanted in ((fields.turns,), fields.prompt, (fields.response,)):
        named = [name for name in wanted if name]
        if named and all(get_field(row, name, ABSENT) is ABSENT for row in sample for name in named):
            raise _missing_field(named[0], {field for row in sample for field, _ in iter_fields(row)})


def check_fields_exist(fields: FieldMap, names: Sequence[str]) -> None:
    """Raise PoolError if a mapped field occurs in no row."""
    absent = sorted(mapped_fields(fields) - set(names))
    if absent:
        raise _missing_field(absent[0], names)


def _missing_field(name: str, names: Iterable[str]) -> PoolError:
    return PoolError(f"No row has a field '{name}'. The fields are {', '.join(sorted(names)) or 'none'}.")


def late_fields(fields: FieldMap, names_found: Sequence[str]) -> list[str]:
    """Return fields of the same schema that occur in the source but not in the sample, so that they are not read."""
    rules = [r for r in (*RULES, *PROMPT_ONLY_RULES) if r.schema == fields.schema and fields.schema != "custom"]
    schema_names = {*chain.from_iterable((*(r.extra_prompt for r in rules), *OPTIONAL_FIELDS.values()))}
    return [n for n in names_found if normalize_field_name(n) in schema_names and n not in mapped_fields(fields)]


def normalize_field_name(name: str) -> str:
    """Return the name in lower case, with underscores for spaces and hyphens."""
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _blank(value: Any) -> bool:
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def _holds_turns(value: Any, turn_format: str) -> bool:
    """Return whether a value holds turns in this format."""
    turns = list_turns(value)
    if not turns:
        return turn_format == "any" and bool(read_transcript(value))
    if turn_format == "text":
        return all(isinstance(turn, str) for turn in turns)
    return all(is_turn(turn) and (turn_format == "any" or turn_format in turn) for turn in turns)


class _Sample:
    """Some rows of a pool, by normalized field name."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.names: dict[str, str] = {}  # normalized name -> name as written
        for row in rows:
            for name in row:
                self.names.setdefault(normalize_field_name(name), name)
        self.rows = rows
        self.filled = Counter(plain for row in rows for plain, name in self.names.items() if not _blank(row.get(name)))

    def values(self, plain: str) -> Iterator[Any]:
        """Return the values of one field that are not blank."""
        name = self.names.get(plain)  # "" is a name, too
        return (row[name] for row in self.rows if name is not None and not _blank(row.get(name)))

    def filled_of(self, alternatives: tuple[str, ...]) -> str | None:
        """Return the first of these fields that is filled at least half as often as the best of them."""
        most = max((self.filled[a] for a in alternatives), default=0)
        return next((self.names[a] for a in alternatives if most and 2 * self.filled[a] >= most), None)

    def mapping(self, rule: Rule) -> dict[str, Any]:
        """Return FieldMap's prompt, response and turns under a rule."""
        if rule.turns:
            return {"turns": self._turns_field(rule)}
        prompt = self.filled_of(rule.prompt)
        extra_prompt = [self.names[a] for a in rule.extra_prompt if a in self.names and self.names[a] != prompt]
        return {"prompt": (str(prompt), *extra_prompt), "response": self.filled_of(rule.response)}

    def _turns_field(self, rule: Rule) -> str | None:
        return next((self.names[t] for t in rule.turns if self._mostly_turns(t, rule.turn_format)), None)

    def _mostly_turns(self, plain: str, turn_format: str) -> bool:
        values = list(self.values(plain))
        return sum(_holds_turns(v, turn_format) for v in values) > 0.5 * len(values)

    def fits(self, rule: Rule) -> int:
        """Count the rows that have everything a rule requires."""
        if any(need not in self.names for need in rule.required):
            return 0
        prompt = self._turns_field(rule) if rule.turns else self.filled_of(rule.prompt)
        response = self.filled_of(rule.response) if rule.response else prompt
        if prompt is None or response is None or (rule.response and response == prompt):
            return 0
        required = {self.names[need] for need in rule.required}
        rows = [row for row in self.rows if required <= row.keys()]
        return sum(not _blank(row.get(prompt)) and not _blank(row.get(response)) for row in rows)

    def best(self, rules: Sequence[Rule]) -> Rule | None:
        """Return the first rule that fits at least half as many rows as the best one; None if all fit too few."""
        counts = [self.fits(rule) for rule in rules]
        most = max(counts, default=0)
        if most < max(1, MIN_RESPONSE_SHARE * len(self.rows)):
            return None
        return next(rule for rule, count in zip(rules, counts, strict=True) if 2 * count >= most)

    def has_responses(self, rule: Rule) -> bool:
        """Return whether enough conversations hold an assistant turn."""
        name = self._turns_field(rule) or ""
        count = sum(_has_answer(row.get(name)) for row in self.rows)
        return count >= max(1, MIN_RESPONSE_SHARE * len(self.rows))

    def id_field(self) -> str | None:
        """Return the field that holds the user's ids."""
        for plain in (*ID_FIELDS, *FALLBACK_ID_FIELDS):
            values = list(self.values(plain))
            scalar = all(isinstance(v, (str, int)) and not isinstance(v, bool) for v in values)
            unique = len(set(map(str, values))) == len(self.rows)
            if values and scalar and (unique or plain in ID_FIELDS):
                return self.names[plain]
        return None

    def task(self, used: set[str]) -> str | None:
        """Return a field of few distinct short values: by name first, else any text or yes/no field."""
        for plain in TASK_FIELDS:
            if self.names.get(plain, "") not in used and self._is_label(plain, named=True):
                return self.names[plain]
        for plain, name in self.names.items():
            skip = plain in NON_TASK_FIELDS or plain.startswith("annotator") or plain.endswith(("_id", "score"))
            if name not in used and not skip and self._is_label(plain, named=False):
                return name
        return None

    def _is_label(self, plain: str, *, named: bool) -> bool:
        if 2 * self.filled[plain] < len(self.rows) or plain not in self.names:
            return False
        values = list(self.values(plain))
        kinds = (str, int, bool) if named else (str, bool)
        if not all(isinstance(v, kinds) and len(str(v)) <= MAX_LABEL_CHARS for v in values):
            return False
        distinct = len(set(values))
        return distinct <= max(20, len(values) // 3) if named else 2 <= distinct <= min(50, len(values) // 5)


def _has_answer(value: Any) -> bool:
    turns = list_turns(value) or read_transcript(value) or []
    speakers = (str(t.get("role", t.get("from"))).lower() for t in turns if is_turn(t))
    return any(ROLES.get(speaker) == "assistant" for speaker in speakers)
