"""Several answers to each prompt: how they are sampled, the columns they are kept in, and what is wrong with some.

A row has K answers, always: one that is not there is null. Three ways lead to them, and all give these columns:
a local model (core/models/generation/sampler.py), a server (core/models/generation/server.py), a file of answers made
elsewhere
(core/measurement/answer_file.py).
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

ANSWER_COLUMNS: Mapping[str, pa.DataType] = {
    "answers": pa.list_(pa.string()),  # K texts, without the token that ends them; null: missing
    "answer_tokens": pa.list_(pa.int32()),  # how many tokens each is, its end counted; null: not known
    "ended": pa.list_(pa.string()),  # STOP or LENGTH; null: not known
}
STOP: Literal["stop"] = "stop"  # the model ended it
LENGTH: Literal["length"] = "length"  # it was cut where it became too long
MAX_ANSWERS = 64  # answers to a prompt

# How answers begin that refuse. A heuristic, of English alone: it misses refusals in other words, and takes a story
# that begins "I can't" for one. Compared in lower case, typewriter apostrophes, no white space or quotes before it.
REFUSAL_OPENINGS = (
    "i'm sorry",
    "i am sorry",
    "sorry, i",
    "sorry, but",
    "i apologi[sz]e",
    "my apologies",
    "i can't",
    "i cannot",
    "i can not",
    "i won't",
    "i will not",
    "i'm unable",
    "i am unable",
    "i'm not able",
    "i am not able",
    "i do not feel comfortable",
    "i don't feel comfortable",
    "unfortunately, i ",
    "as an ai",
    "as a large language model",
    "as a language model",
    "i'm just an ai",
    "i am just an ai",
)
_REFUSED = r"^[\s\"'*]*(?:" + "|".join(REFUSAL_OPENINGS) + ")"


@dataclass(frozen=True)
class SamplingSettings:
    """How answers are sampled. Every field decides them, so every field is part of their key."""

    answers: int = 5  # K, answers to a prompt
    temperature: float = 1.4  # logits are divided by it; 0 is not allowed, near 0 is the likeliest answer K times
    top_p: float = 0.9  # only the likeliest tokens that together have this share, in (0, 1]
    max_new_tokens: int = 256  # tokens of an answer
    seed: int = 0
    prompt_tokens: int | None = None  # prompts keep their first so many; None: all. The ADG release cuts them at 80

    def __post_init__(self) -> None:
        for wrong, what in (
            (not 2 <= self.answers <= MAX_ANSWERS, f"answers must be between 2 and {MAX_ANSWERS}, not {self.answers}"),
            (not 0 < self.temperature <= 100, f"temperature must be above 0 and at most 100, not {self.temperature}"),
            (not 0 < self.top_p <= 1, f"top_p must be above 0 and at most 1, not {self.top_p}"),
            (self.max_new_tokens < 1, f"max_new_tokens must be at least 1, not {self.max_new_tokens}"),
            (self.seed < 0, f"seed must be 0 or more, not {self.seed}"),
            (
                self.prompt_tokens is not None and self.prompt_tokens < 1,
                f"prompt_tokens must be at least 1, not {self.prompt_tokens}",
            ),
        ):
            if wrong:
                raise MethodError(f"{what[0].upper()}{what[1:]}.")


@dataclass(frozen=True)
class AnswerCounts:
    """How many answers there are, and how many of them are of little use. One answer may be counted several times."""

    rows: int
    asked: int  # rows times K
    missing: int  # null
    empty: int  # nothing but white space
    refused: int  # begins as a refusal does (REFUSALS, a heuristic)
    truncated: int  # cut at its longest
    short_rows: int  # rows that lack an answer or more
    lone_rows: int  # rows with fewer than two answers, between which there is no divergence


def random_streams(seed: int, ids: Sequence[str], answers: int) -> NDArray[np.uint64]:
    """(N, K) the number that names the random stream of each answer: a hash of seed, row id and k, nothing else."""
    names = (f"{seed}\0{name}\0{k}" for name in ids for k in range(answers))
    hashes = b"".join(hashlib.blake2b(n.encode("utf-8", "surrogatepass"), digest_size=8).digest() for n in names)
    return np.frombuffer(hashes, "<u8").astype(np.uint64).reshape(len(ids), answers)


def missing_answers(rows: int, answers: int) -> dict[str, list[list[Any]]]:
    """The columns of so many rows without any answer."""
    return {name: [[None] * answers for _ in range(rows)] for name in ANSWER_COLUMNS}


def answer_table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """The columns as they are stored."""
    return pa.table({name: pa.array(columns[name], kind) for name, kind in ANSWER_COLUMNS.items()})


def find_refusals(texts: pa.Array) -> pa.Array:
    """Which texts begin as refusals do; null stays null. A heuristic: see REFUSALS."""
    plain = pc.utf8_lower(pc.replace_substring(texts, "’", "'"))
    return pc.match_substring_regex(plain, _REFUSED)


def count_answers(table: pa.Table) -> AnswerCounts:
    """What is there and what is wrong with it, of a table with COLUMNS, all lists of one length K."""
    rows, lists = table.num_rows, table["answers"].combine_chunks()
    texts, ended = lists.flatten(), table["ended"].combine_chunks().flatten()
    there = np.asarray(pc.is_valid(texts)).reshape(rows, -1) if rows else np.empty((0, 0), np.bool_)
    return AnswerCounts(
        rows=rows,
        asked=len(texts),
        missing=texts.null_count,
        empty=_true(pc.equal(pc.utf8_trim_whitespace(texts), "")),
        refused=_true(find_refusals(texts)),
        truncated=_true(pc.equal(ended, LENGTH)),
        short_rows=int((~there.all(axis=1)).sum()),
        lone_rows=int((there.sum(axis=1) < 2).sum()),
    )


def _true(flags: pa.Array) -> int:
    return int(pc.sum(flags).as_py() or 0)
