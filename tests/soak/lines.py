"""Damaged pool lines: each is a row or set aside with a reason and its line number, whatever stands around it."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

from core.demo.pool import demo_rows
from core.errors import PoolError
from core.pool.pools import load_pool

PER_TRIAL = 250  # lines in one file
VALUES: list[Any] = [
    None, True, 0, -1, 1e308, 10**40, "", " \n", "\x00", "\ud800", "\u2028", "é" * 50, "x" * 5000, "<script>", "=1+1",
    [], {}, [[]], ["a", "b"], {"a": {"b": "c"}}, [{"role": "user", "content": "hi"}], [{"role": 7}], [{"from": "gpt"}],
]  # fmt: skip


def prepare(folder: Path) -> Path:
    """Return the folder of one lane."""
    return folder


def trial(folder: Path, seed: str) -> tuple[dict[str, int], str | None]:
    """Open one pool of damaged lines between whole ones; every line must be accounted for."""
    rng = random.Random(seed)
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    good = rng.sample(demo_rows()[0], PER_TRIAL)
    lines = [damage(rng, row) if rng.random() < 0.7 else (json.dumps(row).encode(), row) for row in good]
    end = rng.choice([b"\n", b"\n", b"\r\n"])
    (place / "pool.jsonl").write_bytes(end.join(line for line, _ in lines) + rng.choice([b"", end]))
    try:
        pool = load_pool(str(place / "pool.jsonl"), workspace=place / "workspace")
    except PoolError as error:
        return {"lines": len(lines)}, f"the pool is refused: {error}"
    rows = dict(zip(pool.rows["line"].to_pylist(), pool.rows.select(["prompt", "original"]).to_pylist(), strict=True))
    aside = {row["line"]: row for row in pool.set_aside.to_pylist()}
    outcomes = {"lines": len(lines), "rows": len(rows), "set aside": len(aside)}
    for number, (line, whole) in enumerate(lines, start=1):
        fault = check(line, whole, rows.get(number), aside.get(number))
        if fault:
            return outcomes, f"line {number}, {line[:200]!r}: {fault}"
    extra = (rows.keys() | aside.keys()) - set(range(1, len(lines) + 1))
    return outcomes, f"lines {sorted(extra)[:5]} do not exist" if extra else None


def check(line: bytes, whole: dict[str, Any] | None, row: Any, aside: Any) -> str | None:
    """Return what is wrong with how one line was read; None if nothing is."""
    if not line.strip():
        return "a blank line was read as a row" if row or aside else None
    if (row is None) == (aside is None):
        return "neither a row nor set aside" if row is None else "both a row and set aside"
    if aside and not aside["reason"]:
        return "set aside without a reason"
    if whole and not row:
        return f"a whole row was set aside: {aside['reason']}"
    if whole and json.loads(row["original"]) != whole:
        return "a whole row was changed"
    return None


def damage(rng: random.Random, row: dict[str, Any]) -> tuple[bytes, dict[str, Any] | None]:
    """Return a damaged line that stays one line, and None: what becomes of it is not known."""
    data = bytearray(json.dumps(change_values(rng, dict(row)) if rng.random() < 0.5 else row).encode())
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at : at + rng.choice([1, 3, len(data)])]
            case 2:
                data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 2, 8])))
            case 3:
                data[at:at] = data[: rng.randrange(len(data))]
            case _:
                data[at:at] = rng.choice([b"[" * 300, b'"', b"\\", b"NaN", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\0"])
        data = data or bytearray(b" ")
    return bytes(data).replace(b"\n", b" ").replace(b"\r", b" "), None


def change_values(rng: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    """Give a field another value or name, or remove it."""
    name = rng.choice(list(row))
    match rng.randrange(3):
        case 0:
            row[name] = rng.choice(VALUES)
        case 1:
            row[rng.choice(["", "text", "messages", "x.y", name.upper()])] = row.pop(name)
        case _:
            row.pop(name)
    return row
