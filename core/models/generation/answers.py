"""Generated answers: how K answers per prompt are sampled, their columns, and counts of unusable ones.

A row always has K answers; a missing one is null. They come from a local model (`core.models.generation.sampler`), a
server (`core.models.generation.server`) or a file (`core.measurement.answer_file`), all in these columns.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.errors import MethodError
from core.schema import BoolArray

ANSWER_COLUMNS: Mapping[str, pa.DataType] = {
    "answers": pa.list_(pa.string()),  # K texts, without the end token; null: missing
    "answer_tokens": pa.list_(pa.int32()),  # tokens of each answer, including its end; null: unknown
    "ended": pa.list_(pa.string()),  # STOP or LENGTH; null: unknown
}
ROW_TOKENS = "row_tokens"  # a further column of a server's answers: tokens of all answers of a row; null: unknown
STOP: Literal["stop"] = "stop"  # ended by the model
LENGTH: Literal["length"] = "length"  # cut at the maximum length
MAX_ANSWERS = 64  # answers per prompt

# How refusals begin. A heuristic for English: it misses other phrasings, and counts a story that begins "I can't".
# Compared in lower case, with plain apostrophes and without leading white space or quotes.
REFUSAL_OPENINGS = (
    "(?:i'm|i am) (?:sorry|unable|not able)",
    "sorry, (?:i|but)",
    "i apologi[sz]e|my apologies",
    "i (?:can't|cannot|can not|won't|will not)",
    "i (?:do not|don't) feel comfortable",
    "unfortunately, i ",
    "(?:as|i'm just|i am just) an ai",
    "as a (?:large )?language model",
)
_REFUSED = r"^[\s\"'*]*(?:" + "|".join(REFUSAL_OPENINGS) + ")"


@dataclass(frozen=True)
class SamplingSettings:
    """How answers are sampled. Every field affects them, so every field is part of their content key."""

    answers: int = 5  # K, answers per prompt
    temperature: float = 1.4  # divides the logits; above 0, and near 0 all K answers are the likeliest one
    top_p: float = 0.9  # probability mass of the likeliest tokens to sample from, in (0, 1]
    max_new_tokens: int = 256  # tokens per answer
    seed: int = 0
    prompt_tokens: int | None = None  # cut prompts after this many tokens; None: no limit. The ADG release uses 80

    def __post_init__(self) -> None:
        limit = self.prompt_tokens
        for wrong, what in (
            (not 2 <= self.answers <= MAX_ANSWERS, f"answers must be between 2 and {MAX_ANSWERS}, not {self.answers}"),
            (not 0 < self.temperature <= 100, f"temperature must be above 0 and at most 100, not {self.temperature}"),
            (not 0 < self.top_p <= 1, f"top_p must be above 0 and at most 1, not {self.top_p}"),
            (self.max_new_tokens < 1, f"max_new_tokens must be at least 1, not {self.max_new_tokens}"),
            (self.seed < 0, f"seed must be 0 or more, not {self.seed}"),
            (limit is not None and limit < 1, f"prompt_tokens must be at least 1, not {limit}"),
        ):
            if wrong:
                raise MethodError(f"{what[0].upper()}{what[1:]}.")

    def random_streams(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        """Return (N, K) numbers of each answer's random stream: a hash of seed, row id and k, nothing else."""
        names = (f"{self.seed}\0{name}\0{k}" for name in ids for k in range(self.answers))
        hashes = b"".join(hashlib.blake2b(n.encode("utf-8", "surrogatepass"), digest_size=8).digest() for n in names)
        return np.frombuffer(hashes, "<u8").astype(np.uint64).reshape(len(ids), self.answers)


@dataclass(frozen=True)
class AnswerCounts:
    """Numbers of answers and of unusable ones. An answer may be counted under several headings."""

    rows: int
    asked: int  # rows times K
    missing: int  # null
    empty: int  # only white space
    refused: int  # begins with a usual refusal (REFUSAL_OPENINGS, a heuristic)
    truncated: int  # cut at the maximum length
    short_rows: int  # rows with at least one missing answer
    lone_rows: int  # rows with fewer than two answers, for which divergence is undefined
    blank_rows: int = 0  # rows with at least one empty answer; runs stored before do not say
    tokens: int = 0  # of all answers whose tokens are known, alone or with the others of their row
    tokens_unknown: int = 0  # answers whose tokens are known neither way


def missing_answers(rows: int, answers: int) -> dict[str, list[list[Any]]]:
    """Return the columns of this many rows with all answers missing."""
    return {name: [[None] * answers for _ in range(rows)] for name in ANSWER_COLUMNS}


def answer_table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Build the table of these columns, as it is stored. ROW_TOKENS may be missing."""
    table = pa.table({name: pa.array(columns[name], kind) for name, kind in ANSWER_COLUMNS.items()})
    return (
        table.append_column(ROW_TOKENS, pa.array(columns[ROW_TOKENS], pa.int32())) if ROW_TOKENS in columns else table
    )


def find_refusals(texts: pa.Array) -> pa.Array:
    """Return which texts begin with a usual refusal, by the heuristic REFUSAL_OPENINGS; null stays null."""
    plain = pc.utf8_lower(pc.replace_substring(texts, "’", "'"))
    return pc.match_substring_regex(plain, _REFUSED)


def count_answers(table: pa.Table) -> AnswerCounts:
    """Count the answers of a table with ANSWER_COLUMNS, whose lists all have length K."""
    rows, lists = table.num_rows, table["answers"].combine_chunks()
    texts, ended = lists.flatten(), table["ended"].combine_chunks().flatten()
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    flags = texts.is_valid(), pc.fill_null(blank, False)
    present, empty = (np.asarray(flag).reshape(rows, -1 if rows else 0) for flag in flags)
    return AnswerCounts(
        rows=rows,
        asked=len(texts),
        missing=texts.null_count,
        empty=int(empty.sum()),
        refused=_count_true(find_refusals(texts)),
        truncated=_count_true(pc.equal(ended, LENGTH)),
        short_rows=int((~present.all(axis=1)).sum()),
        lone_rows=int((present.sum(axis=1) < 2).sum()),
        blank_rows=int(empty.any(axis=1).sum()),
        **_count_tokens(table, present),
    )


def _count_tokens(table: pa.Table, present: BoolArray) -> dict[str, int]:
    """Count the tokens of all answers, and the answers among those `present` (N, K) whose tokens are unknown."""
    counts = table["answer_tokens"].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    by_answer = counts.reshape(present.shape)
    known = ~np.isnan(by_answer)
    by_row = np.full(len(present), np.nan)
    if ROW_TOKENS in table.column_names:
        by_row = table[ROW_TOKENS].to_numpy().astype(np.float64)
    summed = ~np.isnan(by_row)
    tokens = np.where(summed, by_row, np.nansum(by_answer, axis=1)).sum()
    return {"tokens": int(tokens), "tokens_unknown": int((present & ~known)[~summed].sum())}


def _count_true(flags: pa.Array) -> int:
    return int(pc.sum(flags).as_py() or 0)
