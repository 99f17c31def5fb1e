"""Small pools and rows for tests, built without a file, with the columns that core.schema.Pool promises."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from core.schema import FieldMap, Pool, Row

ALPACA = FieldMap("alpaca", prompt=("instruction", "input"), response="output", task="task", id="id")
COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("line", pa.int64()),
        ("hash", pa.string()),
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("task", pa.string()),
        ("turns", pa.string()),
        ("original", pa.string()),
        ("prompt_chars", pa.int32()),
        ("response_chars", pa.int32()),
        ("duplicate_of", pa.int64()),
    ]
)
SET_ASIDE = pa.schema([("line", pa.int64()), ("reason", pa.string()), ("text", pa.string())])


def make_pool(
    rows: Sequence[Mapping[str, Any] | str], *, fields: FieldMap = ALPACA, name: str = "hand.jsonl", set_aside: int = 0
) -> Pool:
    """Return a pool of these objects (or JSON texts, kept verbatim), read by `fields`.

    `fields` names prompt and response fields, or a field of turns in role and content, and task and id. A row without
    an id field is called "r0", "r1", ...
    """
    table_rows = [_columns(row, place, fields) for place, row in enumerate(rows)]
    hashes = "".join(row["hash"] for row in table_rows)
    view = orjson.dumps(fields.content_fields(), option=orjson.OPT_SORT_KEYS)
    return Pool(
        fingerprint=hashlib.sha256(view + hashes.encode()).hexdigest()[:32],
        name=name,
        source=name,
        fields=fields,
        rows=pa.Table.from_pylist(table_rows, COLUMNS),
        set_aside=pa.Table.from_pylist(
            [{"line": k, "reason": "no JSON", "text": "{"} for k in range(set_aside)], SET_ASIDE
        ),
    )


def make_row(*turns: tuple[str, str], **original: Any) -> Row:
    """Return a conversation of (role, content) as a row of a pool; `original` is the content of the user's row."""
    conversation = tuple({"role": role, "content": content} for role, content in turns)
    answers = [turn["content"] for turn in conversation if turn["role"] == "assistant"]
    return Row(
        index=0,
        id="r0",
        line=1,
        prompt="\n".join(turn["content"] for turn in conversation if turn["role"] == "user"),
        response=answers[-1] if answers else None,
        task=None,
        turns=conversation,
        original=orjson.dumps(original).decode(),
    )


def _columns(row: Mapping[str, Any] | str, place: int, fields: FieldMap) -> dict[str, Any]:
    text = row if isinstance(row, str) else orjson.dumps(row).decode()
    original = orjson.loads(text)
    prompt, response, turns = _read_fields(original, fields)
    return {
        "id": str(original.get(fields.id or "", f"r{place}")),
        "line": place + 1,
        "hash": hashlib.sha256(orjson.dumps(original, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32],
        "prompt": prompt,
        "response": response,
        "task": original.get(fields.task or ""),
        "turns": turns,
        "original": text,
        "prompt_chars": len(prompt),
        "response_chars": len(response or ""),
        "duplicate_of": None,
    }


def _read_fields(original: Mapping[str, Any], fields: FieldMap) -> tuple[str, str | None, str | None]:
    if fields.turns is None:
        prompt = "\n".join(part for name in fields.prompt if (part := original.get(name)))
        return prompt, original.get(fields.response or ""), None
    turns = original[fields.turns]
    answers = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    prompt = "\n".join(turn["content"] for turn in turns if turn["role"] == "user")
    return prompt, answers[-1] if answers else None, orjson.dumps(turns).decode()
