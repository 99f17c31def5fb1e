"""Damage to the files of a workspace, and what every command must make of it. Also run by `make soak`, with more of it.

Each trial copies a measured workspace, damages one file and runs commands. A command gives what it gave before, or
ends in one sentence; after `measure` and the commands that store something, all give what they gave before.
"""

import logging
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from typer.testing import CliRunner

from core.__main__ import app
from core.workspace.checksums import forget_verified
from core.workspace.files import LOG, damaged_files, log_once, write_json
from core.workspace.folder import Workspace
from core.workspace.jobs import list_jobs

POOL = Path(__file__).parent / "stored_pool.jsonl"
LOGGED = "damage: "
KINDS = ("pools", "measurements", "models", "runs", "jobs", "selections")
METHODS = ("entropy_shift", "activation_coverage")
MAKING = [*(["measure", "--method", name] for name in METHODS), ["duplicates"], ["project", "--layout", "pca"]]
TELLING = [["inspect"], ["tokens", "--method", "entropy_shift", "--number", "2", "--json"]]
CHOOSING = [["select", "--method", name, "--budget", "6", "--filter", "near duplicates once"] for name in METHODS]


def flip(data: bytes, place: random.Random) -> bytes:
    """Flip one bit."""
    bit = place.randrange(8 * len(data))
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


HOWS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {  # None: the file is removed
    "flip": flip,
    "cut": lambda data, place: data[: place.randrange(len(data))],
    "zero": lambda data, place: bytes(len(data)),
    "empty": lambda data, place: b"",
    "remove": lambda data, place: None,
}


@dataclass(frozen=True)
class Damage:
    """One damaged file."""

    path: Path  # in the workspace
    how: str  # of HOWS
    seed: int

    def apply(self, root: Path) -> Path:
        """Damage the file in a workspace; return it."""
        file = root / self.path
        data = HOWS[self.how](file.read_bytes(), random.Random(self.seed))
        if data is None:
            file.unlink()
        else:
            file.write_bytes(data)
        forget_verified()
        log_once.cache_clear()
        return file


@dataclass
class Outcome:
    """What many trials ended in."""

    counts: Counter[str] = field(default_factory=Counter)  # the same, said (it was logged), sentences, made again ...
    faults: list[str] = field(default_factory=list)  # tracebacks, other results, what was not made again


def kind_of(path: Path) -> str:
    """Return the kind of a stored file: its folder and name without numbers and keys."""
    return f"{path.parts[0]}/{re.sub(r'[0-9]+', '#', path.name)}"


def stored_files(root: Path) -> list[Path]:
    """Return every file of a workspace that has a checksum, and the checksums, by their paths in it."""
    files = (path for kind in KINDS for path in sorted((root / kind).rglob("*")))
    return [path.relative_to(root) for path in files if path.is_file() and path.suffix != ".txt"]


def plan_damages(root: Path, seed: int, count: int, hows: tuple[str, ...] = tuple(HOWS)) -> Iterator[Damage]:
    """Yield damages of all kinds of files in turn, so that `count` of them spread over all kinds."""
    place = random.Random(seed)
    by_kind: dict[str, list[Path]] = {}
    for path in stored_files(root):
        by_kind.setdefault(kind_of(path), []).append(path)
    kinds = sorted(by_kind)
    for number in range(count):
        if number % len(kinds) == 0:
            place.shuffle(kinds)
        path = place.choice(by_kind[kinds[number % len(kinds)]])
        yield Damage(path, hows[number % len(hows)], place.randrange(1 << 30))


def run(root: Path, words: list[str], out: Path | None = None) -> tuple[int, str]:
    """Run a command on the pool; return its exit code and what it gave: its output, or its sentence."""
    target = ["--out", str(out)] if out else []
    return invoke([words[0], str(POOL), *words[1:], *target, "--workspace", str(root)], out)


def invoke(words: list[str], out: Path | None = None) -> tuple[int, str]:
    """Run a command; return its exit code and what it gave. Damage that it logged is at the beginning of that."""
    with capture_log() as logged:
        result = CliRunner().invoke(app, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return -1, repr(result.exception)
    if result.exit_code:
        return result.exit_code, result.stderr
    return 0, "".join(logged) + (out.read_text() if out else result.stdout)


@contextmanager
def capture_log() -> Iterator[list[str]]:
    """Collect what is logged."""
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(f"{LOGGED}{record.getMessage()}\n")  # type: ignore[method-assign]
    LOG.addHandler(handler)
    try:
        yield logged
    finally:
        LOG.removeHandler(handler)


def build(root: Path) -> dict[str, str]:
    """Measure the pool in a new workspace; return what each command that reads gives."""
    for words in MAKING:
        code, said = run(root, words)
        assert code == 0, said
    write_json(root / "jobs" / "one" / "job.json", {"title": "T", "about": {}, "command": ["x"], "created": "now"})
    write_json(root / "selections" / "pool" / "current.json", {"format": 1})
    return {" ".join(words): said for words, (code, said) in results(root).items() if code == 0}


def results(root: Path) -> dict[tuple[str, ...], tuple[int, str]]:
    """Run all commands that read."""
    out = root.parent / "chosen.jsonl"
    told = {tuple(words): run(root, words) for words in TELLING}
    return told | {tuple(words): run(root, words, out) for words in CHOOSING}


def survive(root: Path, expected: dict[str, str], damages: Iterator[Damage]) -> Outcome:
    """Try each damage on a copy of the workspace `root`, which gives `expected`."""
    outcome = Outcome()
    for damage in damages:
        trial = root.parent / "trial" / "workspace"
        shutil.rmtree(trial.parent, ignore_errors=True)
        shutil.copytree(root, trial)
        damage.apply(trial)
        _try(trial, expected, outcome, f"{damage.how} {damage.path} (seed {damage.seed})")
    return outcome


def _try(trial: Path, expected: dict[str, str], outcome: Outcome, what: str) -> None:
    for words, (code, said) in results(trial).items():
        if code == 0 and said.removeprefix(LOGGED) == expected[" ".join(words)]:
            outcome.counts["the same"] += 1
        elif code == 0 and said.startswith(LOGGED):
            outcome.counts["said"] += 1
        elif code == 2 and re.fullmatch(r"[^\n]+\n", said):
            outcome.counts["sentences"] += 1
        else:
            outcome.faults.append(f"{what}: {' '.join(words)} gave {code}, {said[:300]}")
    list_jobs(Workspace(trial))
    for words in MAKING:
        code, said = run(trial, words)
        if code:
            outcome.faults.append(f"{what}: {' '.join(words)} ended with {code}, {said[:300]}")
    again = {" ".join(words): said for words, (_, said) in results(trial).items()}
    forget_verified()
    left = [file for kind in ("pools", "measurements", "models", "runs") for file in damaged_files(trial / kind)]
    if again != expected:
        outcome.faults.append(f"{what}: not made again, {left}")
    else:
        outcome.counts["not read" if left else "made again"] += 1
