"""One bit of a stored file flipped, then all that reads it: the same result as before, or one sentence."""

import json
import random
import shutil
from pathlib import Path

from tests.soak import process
from tests.soak.scenes import OTHERS, SELECT, Stage, differences, state

PER_TRIAL = 1
READERS = {**SELECT, "inspect": OTHERS["inspect"], "tokens": OTHERS["tokens"], "filtered": OTHERS["select filtered"]}
ROWS = "selected rows"
KINDS = ("pools", "runs", "measurements", "models", "runs", "pools")  # where a flip may be


class Context:
    """The stage, and what each command writes and prints when nothing is damaged."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.expected = {}
        for name, argv in READERS.items():
            folder = self.stage.reset("measured")
            self.stage.must(argv)
            first = output(folder)
            shutil.rmtree(folder / "out", ignore_errors=True)
            ended = self.stage.must(argv)
            varies = set(differences(first, output(folder)))
            self.expected[name] = (first, varies, ended.out)


def output(folder: Path) -> dict[str, object]:
    """Return the files that a command wrote for its user, and the ids of the selected rows."""
    files = {name: value for name, value in state(folder).items() if name.startswith("out/")}
    chosen = folder / "out/chosen.jsonl"
    return files | ({ROWS: [json.loads(line)["id"] for line in chosen.open()]} if chosen.exists() else {})


def prepare(folder: Path) -> Context:
    """Return what the trials of one lane share."""
    return Context(folder)


def trial(context: Context, seed: str) -> tuple[dict[str, int], str | None]:
    """Flip one bit and run every reader; return the outcomes and a finding, if there is one."""
    rng = random.Random(seed)
    folder = context.stage.reset("measured")
    files = sorted(p for p in (folder / "workspace" / rng.choice(KINDS)).rglob("*") if p.is_file() and p.stat().st_size)
    file = rng.choice(files)
    data = bytearray(file.read_bytes())
    at, bit = rng.randrange(len(data)), rng.randrange(8)
    data[at] ^= 1 << bit
    file.write_bytes(data)
    where = f"{file.relative_to(folder)}, byte {at} of {len(data)}, bit {bit}"
    refused = told = 0
    for name, argv in READERS.items():
        shutil.rmtree(folder / "out", ignore_errors=True)
        ended = process.run(folder, argv)
        if ended.fault:
            return {"flips": 1}, f"{where}, {name}: {ended.fault}"
        refused += ended.code == 2
        first, varies, out = context.expected[name]
        different = [k for k in differences(first, output(folder)) if k not in varies]
        if ended.code == 0 and "damaged" in ended.err:  # it went on with another run of the same measurement
            told += 1
            different = [ROWS] if first.get(ROWS) != output(folder).get(ROWS) else []
        elif ended.code == 0 and ended.out != out:
            different = different or ["what it prints"]
        if ended.code == 0 and different:
            return {"flips": 1}, f"{where}, {name}: silently used, {different[0]} differs"
    outcome = "refused in a sentence" if refused else "told in a sentence" if told else "without effect or mended"
    return {"flips": 1, outcome: 1}, None
