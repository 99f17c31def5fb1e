"""Training text of the embedded model: permissively licensed pools as plain documents.

A document is prompt, blank line, response: running text, no instruction template and no roles.
Held-out rows are selected by a hash of the prompt's words, so the same question is on the same
side in every pool that repeats it (gsm8k and flan_cot share theirs), in any row order. Training
rows that share a passage with a held-out row are dropped as well (`drop_leaks`).
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.demo.pool import clean_rows, prompt_of

Row = dict[str, Any]
Pair = tuple[str, str]  # prompt, response

HELD_OUT_SHARE = 0.06  # at least 150 rows of each pool that the card reports
PASSAGE_WORDS = 20  # a run of this many equal words counts as the same passage
DEMO_SEEDS = range(1, 4)  # the shipped pool is seed 0
TEMPLATE_ROWS = 25  # a passage in more training rows than this is a template, not a leak


@dataclass(frozen=True)
class Source:
    """One pool file, how its rows are read as text, and how often training repeats it."""

    name: str
    file: str
    licence: str
    repeats: float
    pairs: Callable[[Row], Iterable[Pair]]


@dataclass(frozen=True)
class Document:
    """One row as text; `prompt` decides the side of the split."""

    source: str
    prompt: str
    response: str

    @property
    def text(self) -> str:
        """Return the row as running text."""
        return f"{self.prompt}\n\n{self.response}"


def _fields(prompt: str, response: str) -> Callable[[Row], list[Pair]]:
    return lambda row: [(row[prompt], row[response])]


def _alpaca(row: Row) -> list[Pair]:
    return [("\n".join(filter(None, (row["instruction"], row.get("input")))), row["output"])]


def _cot(row: Row) -> list[Pair]:
    question, rationale = (row[k].replace("\\n", "\n") for k in ("question", "rationale"))
    return [(question, f"{rationale}\n{row['answer']}")]


def _t0(row: Row) -> list[Pair]:
    return [(row["prompt"], row["completion"].removesuffix("<|endoftext|>"))]


def _seed_task(row: Row) -> list[Pair]:
    return [pair for case in row["instances"] for pair in _alpaca(row | case)]


def _induction(row: Row) -> list[Pair]:
    return [(row["input"], row["output"])] if "input" in row and "output" in row else []


def _mmlu(row: Row) -> list[Pair]:
    choices = "\n".join(f"{letter}. {row[letter]}" for letter in "ABCD")
    return [(f"{row['question']}\n{choices}", f"{row['answer']}. {row[row['answer']]}")]


def _hh(row: Row) -> list[Pair]:
    return [(row["prompt"].removesuffix("Assistant:"), row["sft_target"])]


def _turns(row: Row) -> list[Pair]:
    """Return the first question and the rest of the conversation, without speaker names."""
    turns = row.get("conversations") or row.get("messages") or []
    texts = [turn.get("value") or turn.get("content") for turn in turns]
    chosen = row.get("chosen")
    texts += [chosen["value"]] if isinstance(chosen, dict) else []
    if row.get("label") is False or not all(isinstance(text, str) for text in texts):
        return []
    return [(texts[0], "\n\n".join(texts[1:]))] if len(texts) > 1 else []


SOURCES = (
    Source("gsm8k", "gsm8k_train.jsonl.gz", "MIT", 2, _fields("question", "answer")),
    Source("roleplay", "gpteacher_roleplay.jsonl.gz", "MIT", 10, _alpaca),
    Source("flan_cot", "flan_cot.jsonl.gz", "Apache-2.0", 1.5, _cot),
    Source("t0", "t0_labelled.jsonl.gz", "Apache-2.0", 0.2, _t0),
    Source("toolformer", "gpteacher_toolformer.jsonl.gz", "MIT", 0.2, _alpaca),
    Source("seed_tasks", "selfinstruct_seed_tasks.jsonl", "Apache-2.0", 2, _seed_task),
    Source("induction", "instruction_induction.jsonl.gz", "Apache-2.0", 1, _induction),
    Source("mbpp", "mbpp.jsonl.gz", "CC BY 4.0", 2, _fields("text", "code")),
    Source("mmlu", "mmlu_dev_val.jsonl.gz", "MIT", 0.5, _mmlu),
    Source("ultrafeedback", "pref_ultrafeedback_1000.jsonl.gz", "MIT", 1, _fields("prompt", "chosen")),
    Source("hh", "pref_hh_fewshot_100.jsonl.gz", "MIT", 2, _hh),
    Source("dpo_demo", "formats/dpo_en_demo.json", "Apache-2.0", 1, _turns),
    Source("kto_demo", "formats/kto_en_demo.json", "Apache-2.0", 1, _turns),
    Source("glaive_demo", "formats/glaive_toolcall_en_demo.json", "Apache-2.0", 0.5, _turns),
)

REPEATS: Mapping[str, float] = MappingProxyType({source.name: source.repeats for source in SOURCES} | {"demo": 1.0})


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a JSON array, or of JSON Lines split on newline only, gzipped or not."""
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    if path.suffix == ".json":
        yield from json.loads(text)
    else:
        yield from (json.loads(line) for line in text.split("\n") if line.strip())


def read_documents(source: Source, data: Path) -> list[Document]:
    """Return the rows of one source as documents, in file order, without empty ones and repeats."""
    pairs = (pair for row in read_rows(data / source.file) for pair in source.pairs(row))
    texts = ((prompt.strip(), response.strip()) for prompt, response in pairs)
    return list(dict.fromkeys(Document(source.name, *text) for text in texts if all(text)))


def is_held_out(prompt: str, seed: int = 0) -> bool:
    """Return whether a row with this prompt is excluded from tokenizer and training."""
    digest = hashlib.blake2b(f"{seed}:{' '.join(prompt.split())}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < HELD_OUT_SHARE * 2**64


def split_documents(docs: Iterable[Document], seed: int = 0) -> tuple[list[Document], list[Document]]:
    """Split documents into training and held-out ones, each in the order given."""
    sides: tuple[list[Document], list[Document]] = ([], [])
    for doc in docs:
        sides[is_held_out(doc.prompt, seed)].append(doc)
    return sides


def passages(doc: Document) -> set[str]:
    """Return every run of PASSAGE_WORDS words in the document."""
    words = doc.text.split()
    ends = range(PASSAGE_WORDS, len(words) + 1)
    return {" ".join(words[end - PASSAGE_WORDS : end]) for end in ends}


def drop_leaks(train: Iterable[Document], held_out: Iterable[Document]) -> list[Document]:
    """Return the training documents that share no passage with a held-out one, except templates.

    A passage in more than TEMPLATE_ROWS training rows is wording that a whole family shares
    (a tool's description, a prompt template) and not text of the held-out row.
    """
    held_out_passages = {passage for doc in held_out for passage in passages(doc)}
    shared = [(doc, passages(doc) & held_out_passages) for doc in train]
    rows = Counter(passage for _, leaks in shared for passage in leaks)
    return [doc for doc, leaks in shared if all(rows[p] > TEMPLATE_ROWS for p in leaks)]


def demo_documents() -> list[Document]:
    """Return demo rows without faults, of seeds that never ship, without repeated texts."""
    rows = (row for seed in DEMO_SEEDS for row in clean_rows(seed))
    return list(dict.fromkeys(Document("demo", prompt_of(row), row["output"]) for row in rows))


def read_corpus(data: Path, seed: int = 0) -> tuple[list[Document], list[Document]]:
    """Return training and held-out documents of every source and of the demo families, without leaks.

    The demo families are exempt from the passage rule: they have few sentences, and a demo pool is made of
    new rows of the same families.
    """
    pools = [doc for source in SOURCES for doc in read_documents(source, data)]
    train, held_out = split_documents(pools, seed)
    demo_train, demo_held_out = split_documents(demo_documents(), seed)
    return drop_leaks(train, held_out) + demo_train, held_out + demo_held_out
