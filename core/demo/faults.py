"""Known faults, planted in clean rows, with their answer key."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from core.demo.words import WORDS

DemoRow = dict[str, Any]

# Shares of the planted pool, about 14% in all: enough to show in a selection, too few to dominate it.
FAULT_SHARES: Mapping[str, float] = MappingProxyType(
    {"swapped": 0.04, "truncated": 0.03, "gibberish": 0.02, "exact_duplicate": 0.02, "near_duplicate": 0.03}
)
MIN_RESPONSE_CHARS = 60  # characters: a shorter response cannot be cut visibly
OPENERS = ("Please help: ", "Quick question. ", "Hello! ", "I need this today. ", "Next task: ")
LETTERS = "bcdfghjklmnpqrstvwxzaeiou"


def plant_faults(rng: random.Random, rows: list[DemoRow]) -> tuple[list[DemoRow], list[DemoRow]]:
    """Return rows with faults, and each fault as {"row", "fault", "of"}: positions in the new list.

    Duplicates are appended; the other faults change rows in place. No row has two faults, and no faulty row
    is the original of a duplicate. Each family gets its share of each fault.
    """
    total = round(len(rows) / (1 - FAULT_SHARES["exact_duplicate"] - FAULT_SHARES["near_duplicate"]))
    counts = {fault: round(total * share) for fault, share in FAULT_SHARES.items()}
    planted, key = list(rows), []
    free = _families_in_turn(rng, rows)
    for fault, change in RESPONSE_FAULTS.items():
        for i in _take(free, counts[fault], lambda i: len(rows[i]["output"]) >= MIN_RESPONSE_CHARS):
            planted[i] = rows[i] | {"output": change(rng, rows[i]["output"])}
            key.append({"row": i, "fault": fault})
    key += _swap(planted, _take(free, counts["swapped"]))
    for fault, copy in DUPLICATE_FAULTS.items():
        for i in _take(free, counts[fault]):
            key.append({"row": len(planted), "fault": fault, "of": i})
            planted.append(copy(rng, rows[i]))
    return planted, key


def truncate(rng: random.Random, text: str) -> str:
    """Cut the text in the middle of a word, between a quarter and two thirds of its length."""
    inside = [i for i in range(len(text) // 4, 2 * len(text) // 3) if text[i - 1 : i + 1].isalnum()]
    return text[: rng.choice(inside)]


def gibberish(rng: random.Random, text: str) -> str:
    """Return as many words of random letters as the text has words, but at least 4."""
    words = (rng.choices(LETTERS, k=rng.randint(2, 9)) for _ in range(max(4, len(text.split()))))
    return " ".join("".join(word) for word in words)


def repeat(rng: random.Random, row: DemoRow) -> DemoRow:
    """Return a copy of the row."""
    return dict(row)


def reword(rng: random.Random, row: DemoRow) -> DemoRow:
    """Return the row with an opener before the question and, if it stays true, another name in it."""
    changed = dict(row)
    names = [name for name in WORDS["name"] if name in row["instruction"]]
    if names:
        new = rng.choice([name for name in WORDS["name"] if name not in str(row)])
        changed |= {f: row[f].replace(names[0], new) for f in ("instruction", "input", "output")}
    return changed | {"instruction": rng.choice(OPENERS) + changed["instruction"]}


RESPONSE_FAULTS: Mapping[str, Callable[[random.Random, str], str]] = {"truncated": truncate, "gibberish": gibberish}
DUPLICATE_FAULTS: Mapping[str, Callable[[random.Random, DemoRow], DemoRow]] = MappingProxyType(
    {"exact_duplicate": repeat, "near_duplicate": reword}
)


def _swap(planted: list[DemoRow], positions: list[int]) -> list[DemoRow]:
    """Exchange responses between rows of different families and return their key rows."""
    key = []
    left = list(positions)
    while len(left) > 1:
        one = left.pop(0)
        two = next(i for i in left if planted[i]["task"] != planted[one]["task"])
        left.remove(two)
        first, second = planted[one], planted[two]
        planted[one] = first | {"output": second["output"]}
        planted[two] = second | {"output": first["output"]}
        key += [{"row": one, "fault": "swapped", "of": two}, {"row": two, "fault": "swapped", "of": one}]
    return key


def _families_in_turn(rng: random.Random, rows: list[DemoRow]) -> list[int]:
    """Return row positions in random order, each family once before any comes again."""
    seen: Counter[str] = Counter()
    keyed = []
    for i in rng.sample(range(len(rows)), len(rows)):
        seen[rows[i]["task"]] += 1
        keyed.append((seen[rows[i]["task"]], i))
    return [i for _, i in sorted(keyed, key=lambda pair: pair[0])]


def _take(free: list[int], count: int, fits: Callable[[int], bool] = lambda _: True) -> list[int]:
    """Remove the first `count` positions that fit from `free` and return them."""
    positions = [i for i in free if fits(i)][:count]
    free[:] = [i for i in free if i not in set(positions)]
    return positions
