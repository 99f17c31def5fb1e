"""Hostile command lines: every command with wrong, odd and damaged values, each in a process of its own.

`attack(seed, count, folder)` runs them and returns what went wrong: a traceback, an exit code that is not promised, no
end, too much memory, more than one sentence, or an input that changed. Each command line follows from the seed and its
number alone: `python -m tests.core.cli.hostile_commands SEED NUMBER` prints and repeats one.
"""

import copy
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from typer.main import get_command

from core.cli.app import app
from core.demo.pool import clean_rows
from core.measurement import cost, token_view  # noqa: F401  imports torch once, for all children
from core.methods import METHODS

ROWS = 12
LIMIT_S = 120.0  # for one command, on a busy machine
MEMORY = 3 << 30  # bytes a command may use at its peak; torch alone takes 0.5 GB
KEPT = ("pool.jsonl", "link.jsonl", "binary", "empty")  # files of the user
PROMISED = {0, 2, 130}  # exit codes: done, a correction is needed, cancelled

ODD = [
    *("", " ", "-", "--", "-1", "0", "1", "1.5", "1e400", "nan", "inf", "-inf", str(2**63), str(2**64), "9" * 5000),
    *(
        "a" * 5000,
        "a/" * 2500,
        "a b",
        "a\nb",
        "\t",
        "\x1b[31mred",
        "\x7f",
        "🙂" * 100,
        "\u202egnp.exe",
        "\ufeff",
        "%s%n{0}",
    ),
    *("\udcff", "x\udcff\udcfe", "None", "null", "true", "[]", "{}", '""', "0x10", "1_000", "١٢", "½"),
    *("..", ".", "/", "../../..", "~", "~nobody/x", "/proc/self/mem", "/proc/x", "/dev/zero", "/dev/full", "/etc"),
    *("demo", "embedded", "owner/name", "a--b/c", "http://h/x", "file:///etc/passwd", "*", "?", "$(id)", "`id`", ";"),
    *(
        "pool.jsonl",
        "link.jsonl",
        "folder",
        "empty",
        "binary",
        "pool.jsonl/x",
        "pool.jsonl\udcff",
        "inputs",
        "workspace",
    ),
]
NESTED = "[" * 3000 + "]" * 3000
TAGS = [
    *("keep=pool.jsonl", "keep=", "=pool.jsonl", "keep", "keep=folder", "keep=binary", "keep=empty", "keep=x.jsonl"),
    *(f"{'x' * 65}=pool.jsonl", "a\nb=pool.jsonl", "a=b=pool.jsonl", " =pool.jsonl", "keep=link.jsonl", "keep=\x00"),
]
FILTERS = [
    *(
        "nll<=2",
        "nll<2",
        "nll in 1..",
        "nll in 2..1",
        "nll<=inf",
        "nll>=-inf",
        "nll is missing",
        "not",
        "not not nll<=1",
    ),
    *(
        "tag.keep=1",
        "tag.=1",
        "tag.keep contains x",
        "prompt~(",
        "prompt~" + "(a{1000}){1000}",
        "prompt~^",
        "prompt!~a|",
        "prompt contains ",
        "prompt<=1",
        "task=",
        "=a",
    ),
    *(
        "duplicates once",
        "near duplicates once",
        "near_duplicate_of@7 is missing",
        "near_duplicate_of@x<=1",
        "nothing=1",
    ),
    *(
        '{"column": "nll"}',
        '{"column": "nll", "low": "x"}',
        '{"column": 5, "low": 1}',
        '{"column": "nll", "values": [[1]]}',
    ),
    *(
        '{"column": "nll", "extra": 1}',
        '{"column": "nll", "low": 1e999}',
        '{"column": "task", "values": [true, null, 1]}',
    ),
    *(
        "{",
        "{}",
        '{"a":' * 2000 + "1" + "}" * 2000,
        "prompt contains \udcff",
        "task=\udcff",
        "prompt~\udcff",
        "id=" + "a|" * 5000,
    ),
]
FIELDS = [
    *("[]", "5", '"x"', "true", "null", "{}", NESTED, '{"prompt": 5}', '{"prompt": [["a"]]}', '{"prompt": {"a": 1}}'),
    *('{"id": ["x"]}', '{"schema": ["x"]}', '{"schema": "alpaca"}', '{"schema": "alpaca", "prompt": ["instruction"]}'),
    *(
        '{"schema": "x", "prompt": ["instruction"], "response": "output"}',
        '{"prompt": [""]}',
        '{"response": "nothing"}',
    ),
    *('{"schema": "messages", "turns": "instruction"}', '{"schema": "alpaca", "prompt": ["instruction"], "task": {}}'),
    *('{"schema": "alpaca", "prompt": "instruction", "response": "output"}', '{"a": 1}', '{"prompt": null}'),
]
SETTINGS = {
    "lowest_nll": ["gamma", "=", "gamma=", "seed=1", "a.b=1", "longest.x=1"],
    "entropy_shift": [
        *(
            "group_weights=" + '{"a":' * 3000,
            'group_weights={"a":[1]}',
            "group_weights=[" + "9" * 5000 + "]",
            "group_weights=:",
        ),
        *(
            "gamma=x",
            "gamma=nan",
            "gamma=1e999",
            "rounds=2",
            "epochs=0",
            "batch_size=0",
            "learning_rate=1e30",
            "per=task",
        ),
        *("per=nothing", "per=a.b.c", "beta=-1", "lora_rank=999999", "gamma= 0.5 ", "learning_rate=0"),
    ],
    "activation_coverage": ["share=1", "share=0", "tokens=x", "clusters=999999", "share=1e-300"],
    "task_confidence": [
        "tasks=derived",
        "tasks=x",
        "derived_tasks=9999",
        "embeddings=folder",
        "embeddings=a--b",
        "confidence=x",
    ],
    "combined": [
        *(
            "members=[]",
            "members=5",
            'members=["combined","longest"]',
            f"members={NESTED}",
            'members=["longest","random"]',
        ),
        *(
            'members=[{"name":"longest","params":5}]',
            "weights=1,nan",
            "weights=1e999,1",
            "rule=x",
            "keep=2",
            "members={}",
        ),
        *(
            'members=[{"name":["x"]}]',
            'members=["longest","longest"]',
            'members=[{"name":"imported","params":{"field":1}}]',
        ),
    ],
    "imported": ["field=", "field=id", "field=a.b.c", "field=" + "x" * 5000, "field=.", "pick=x"],
    "answer_divergence": [
        *(
            "source=server",
            "base_url=http://127.0.0.1:1/v1",
            "base_url=x",
            "served_model=m",
            "source=file",
            "answers=2",
        ),
        *("answers_file=/dev/zero", "answers_file=pool.jsonl", "answers_file=folder", "answers_file=" + "a" * 5000),
        *(
            "max_new_tokens=99999999999999999999",
            "temperature=-1",
            "bins=1e3",
            "quota=x",
            "embeddings=folder",
            "top_p=0",
        ),
    ],
    "preference_influence": [
        *(
            "targets=",
            "targets=x=pool.jsonl",
            "targets=" + "a" * 5000,
            "targets=/dev/zero",
            "targets=folder",
            "pairs=0",
        ),
        *("targets=a=demo;a=demo", "targets===", "subtask=x", "target=x", "targets=binary", "targets=empty"),
    ],
}
OFTEN = {"run": 4, "replay": 4, "select": 4, "measure": 2, "demo": 0.3, "estimate": 0.5}
SELDOM = {
    "job": 0.2,
    "revision": 0.3,
    "name": 0.3,
    "split": 0.3,
    "pool_revision": 0.3,
    "no_header": 0.2,
    "workspace": 0.3,
}
BUDGETS = [
    "5",
    "50%",
    "0",
    "-1",
    "1e9",
    "200ktok",
    "0.1ktok",
    "%",
    "nan%",
    "inf",
    "10 %",
    "99999999999999999999",
    "1e400%",
    "١0%",
]
VALUES = [  # to put into recipes and manifests
    *(
        None,
        True,
        -1,
        0,
        1.5,
        2**63,
        2**64,
        10**400,
        float("inf"),
        float("nan"),
        "",
        "..",
        "/",
        "../x.jsonl",
        "\0",
        "a/b",
    ),
    *(
        "x" * 5000,
        "\ud800",
        "1",
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        {"": ""},
        ["x"] * 2000,
        "pool.jsonl",
        "embedded",
        "nothing",
    ),
]


@dataclass(frozen=True)
class Failure:
    """A command line that did not end as promised."""

    seed: int
    number: int
    words: tuple[str, ...]
    what: str
    said: str  # the end of stderr

    def __str__(self) -> str:
        line = " ".join(word if len(word) < 100 else f"{word[:100]}…" for word in self.words)
        return f"{self.seed} {self.number}: {self.what}\n    {line!a}\n    {self.said[-1500:]}\n"


def attack(
    seed: int, count: int, folder: Path, *, first: int = 0, spoken: Callable[[str], None] = lambda _: None
) -> list[Failure]:
    """Run `count` hostile command lines in `folder`, which must be empty or of an earlier attack."""
    prepare(folder)
    failures: list[Failure] = []
    for number in range(first, first + count):
        failure = run_one(seed, number, folder)
        if failure is not None:
            failures.append(failure)
            spoken(str(failure))
    return failures


# The place


def prepare(folder: Path) -> None:
    """Make the inputs, and a workspace in which they are measured by the cheapest methods, unless they are there."""
    if (folder / "inputs" / "chosen.manifest.json").exists():
        return
    inputs = folder / "inputs"
    (inputs / "folder").mkdir(parents=True)
    rows = [{"id": f"row-{i}"} | row for i, row in enumerate(clean_rows(0)[::200][:ROWS])]
    (inputs / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (inputs / "empty").write_bytes(b"")
    (inputs / "binary").write_bytes(bytes(range(256)) * 40)
    (inputs / "link.jsonl").symlink_to("pool.jsonl")
    for words in (
        ["measure", "pool.jsonl", "--method", "lowest_nll", "--also", "longest", "--also", "random"],
        ["select", "pool.jsonl", "--method", "longest", "--budget", "50%", "--rejected", "--held-out", "20%"],
    ):
        status, _, said = in_a_child([*words, "--workspace", str(folder / "workspace")], inputs)
        assert status == 0, said


def digest_inputs(place: Path) -> dict[str, str]:
    """Return a checksum of every file that no command may change by itself."""
    return {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in KEPT}


def run_one(seed: int, number: int, folder: Path) -> Failure | None:
    """Run the command line with this number in a copy of the inputs; return what went wrong."""
    rng = random.Random(f"{seed} {number}")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = Path(scratch) / "place"
        shutil.copytree(folder / "inputs", place, symlinks=True)
        words = command_line(rng, place, folder / "workspace")
        before = digest_inputs(place)
        status, memory, said = in_a_child(words, place)
        what = judge(status, memory, said)
        if digest_inputs(place) != before and "--overwrite" not in words:  # which may name a file that is no input
            what = "an input has changed"
        return Failure(seed, number, tuple(words), what, said) if what else None


def judge(status: int, memory: int, said: str) -> str:
    """Return what is wrong with the end of a command; "" if nothing is."""
    if status == -signal.SIGKILL:
        return f"no end within {LIMIT_S:g} s"
    if status not in PROMISED or "Traceback" in said:
        return f"exit code {status}"
    if memory > MEMORY:
        return f"{memory >> 20} MB of memory"
    lines = [line for line in said.splitlines() if line.strip()]
    if status == 2 and len(lines) != 1 and not said.startswith("Usage:"):
        return f"{len(lines)} lines on stderr instead of one sentence"
    return ""


def in_a_child(words: list[str], place: Path) -> tuple[int, int, str]:
    """Run the command line in a fork; return its exit code (minus a signal), peak memory in bytes and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        if (child := os.fork()) == 0:
            _become(words, place, out.fileno(), err.fileno())
        until = time.monotonic() + LIMIT_S
        pid = 0
        while not pid:
            pid, status, used = os.wait4(child, os.WNOHANG)
            if not pid and time.monotonic() > until:
                os.killpg(child, signal.SIGKILL)
                pid, status, used = os.wait4(child, 0)
            elif not pid:
                time.sleep(0.01)
        err.seek(0)
        return os.waitstatus_to_exitcode(status), used.ru_maxrss << 10, err.read().decode("utf-8", "replace")


def _become(words: list[str], place: Path, out: int, err: int) -> None:
    """Turn the forked process into the command line, and end it."""
    status = 1
    try:
        os.setsid()
        os.chdir(place)
        with open(os.devnull) as nothing:  # noqa: PTH123
            os.dup2(nothing.fileno(), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = open(1, "w", encoding="utf-8", errors="strict", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
        torch.set_num_threads(torch.get_num_threads())  # makes its pool again, before threads race to do so
        app(words, prog_name="winnow")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  what a process would print
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


# The command lines


def command_line(rng: random.Random, place: Path, workspace: Path) -> list[str]:
    """Return the words of a command line: a plausible one, of which one to three values are hostile."""
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    name = rng.choices(sorted(commands), [OFTEN.get(c, 1.0) for c in sorted(commands)])[0]
    params = [p for p in commands[name].params if p.name != "help"]
    order = sorted(params, key=lambda p: rng.random() ** (1 / SELDOM.get(p.name, 1.0)), reverse=True)
    hostile = {p.name for p in order[: rng.choice((1, 1, 1, 2, 3))]}
    usual = USUAL | _usual_method(rng)
    words = [name]
    for p in params:
        given = list(_values(rng, name, p, place, workspace, usual, hostile=p.name in hostile))
        if p.param_type_name == "argument":
            words[1:1] = given  # arguments first, in their order: there is one
        elif getattr(p, "is_flag", False):
            words += [p.opts[0]] * len(given)
        else:
            words += [word for value in given for word in (p.opts[0], value)]
    if rng.random() < 0.03:
        words.insert(rng.randrange(len(words)), rng.choice(ODD))
    return words


def _values(
    rng: random.Random, command: str, p: Any, place: Path, workspace: Path, usual: Any, *, hostile: bool
) -> Iterator[str]:
    """Yield the values of one parameter: none to leave it out."""
    if p.name == "workspace":
        yield rng.choice(WORKSPACES) if hostile else str(workspace)
    elif (command, p.name) == ("demo", "budget"):
        yield rng.choice(("x", "-1", "", "\udcff"))  # a whole demo takes minutes
    elif p.name in ("recipe", "manifest") and rng.random() < 0.9:
        yield _plan_file(rng, p.name, place, hostile=hostile)
    elif getattr(p, "is_flag", False):
        yield from [""] * hostile
    elif hostile:
        for _ in range(rng.choice((1, 1, 2)) if p.multiple else 1):
            yield rng.choice(_specific(p.name) if rng.random() < 0.6 else ODD)
    else:
        yield from usual.get(p.name, ())


WORKSPACES = ("", "pool.jsonl", "/proc/x", "pool.jsonl/x", "a" * 300, "\udcff")
USUAL = {
    "pool": ["pool.jsonl"],
    "method": ["lowest_nll"],
    "budget": ["50%"],
    "number": ["1"],
    "layout": ["pca"],
    "out": ["out.jsonl"],
}


def _usual_method(rng: random.Random) -> dict[str, list[str]]:
    """Return the options of a method with hostile settings, now and then; else none."""
    if rng.random() < 0.7:
        return {}
    method = rng.choice(sorted(SETTINGS))
    return {"method": [method], "set_": rng.sample(SETTINGS[method], min(len(SETTINGS[method]), rng.choice((1, 1, 2))))}


def _specific(name: str) -> list[str]:
    """Return values made for one parameter, which pass its first checks."""
    tables = {
        "filters": FILTERS,
        "fields": FIELDS,
        "set_": [setting for own in SETTINGS.values() for setting in own],
        "budget": BUDGETS,
        "held_out": [*BUDGETS, "5%", "0.1"],
        "tag": TAGS,
    }
    outputs = [
        "pool.jsonl",
        "link.jsonl",
        "folder",
        "binary",
        "",
        "..",
        "folder/x.jsonl",
        "x.parquet",
        "pool.jsonl.gz",
        "a" * 260,
    ]
    tables |= {"out": outputs, "scores": outputs, "method": [*METHODS, "x"], "also": ["all", *METHODS, "x"]}
    tables |= {"schema": ["alpaca", "messages", "sharegpt", "annotation", "x"], "layout": ["umap", "pca", "x"]}
    tables |= {
        "of": ["prompt", "response", "answers", "activations", "x"],
        "model": ["embedded", "folder", "a/b", "smollm2"],
    }
    tables |= {
        "pool": ["demo", "folder", "binary", "empty", "link.jsonl", "a/b", "0" * 32],
        "threshold": ["0.5", "0.8", "2"],
    }
    return tables.get(name, ODD)


def _plan_file(rng: random.Random, kind: str, place: Path, *, hostile: bool) -> str:
    """Write a recipe or manifest, damaged if `hostile`, and return its name."""
    name = "plan.yaml" if kind == "recipe" else "plan.manifest.json"
    text = (place / ("chosen.recipe.yaml" if kind == "recipe" else "chosen.manifest.json")).read_text()
    data = yaml.safe_load(text)
    if hostile:
        for _ in range(rng.choice((1, 1, 2, 4))):
            _damage(rng, data)
        text = _spoil(rng, yaml.safe_dump(data) if kind == "recipe" else json.dumps(data))
    (place / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return name


def _damage(rng: random.Random, data: Any) -> None:
    """Change, remove or add one value somewhere in nested data."""
    places: list[tuple[Any, Any]] = []
    todo = [data]
    while todo:
        value = todo.pop()
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        places += [(value, key) for key in keys]
        todo += [value[key] for key in keys if isinstance(value[key], dict | list)]
    if not places:
        return
    parent, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.15:
        del parent[key]
    elif kind < 0.25 and isinstance(parent, dict):
        parent[rng.choice(("extra", "", "x" * 300, "format"))] = copy.deepcopy(rng.choice(VALUES))
    else:
        parent[key] = copy.deepcopy(rng.choice(VALUES))


def _spoil(rng: random.Random, text: str) -> str:
    """Return the text, now and then cut, nested, or with an alias bomb or a wrong tag in it."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    others = [
        text[: len(text) // 2],
        f"pool: {NESTED}",
        NESTED,
        bomb,
        "pool: !!int ''",
        "pool: !!timestamp x",
        "pool: 2026-99-99",
    ]
    others += [
        "&a [*a]",
        "pool: {source: &a [*a]}",
        "",
        "\0",
        "- 1",
        "!!python/object/apply:os.system [id]",
        "a: b: c",
        "\ud800",
    ]
    return rng.choice(others) if rng.random() < 0.15 else text


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as made:
        count = numbers[2] if len(numbers) > 2 else 1
        found = attack(numbers[0], count, Path(made), first=numbers[1], spoken=sys.stdout.write)
    sys.exit(bool(found))
