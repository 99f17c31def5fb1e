"""One bit of a stored file flipped, then all that reads it: the same result as before, or one sentence."""

import random
import shutil
from pathlib import Path

from tests.soak import process
from tests.soak.scenes import OTHERS, SELECT, Stage, differences, state

PER_TRIAL = 1
READERS = {**SELECT, "inspect": OTHERS["inspect"], "tokens": OTHERS["tokens"], "filtered": OTHERS["select filtered"]}
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
    """Return the files that a command wrote for its user."""
    return {name: value for name, value in state(folder).items() if name.startswith("out/")}


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
    refused = 0
    for name, argv in READERS.items():
        shutil.rmtree(folder / "out", ignore_errors=True)
        ended = process.run(folder, argv)
        if ended.fault:
            return {"flips": 1}, f"{where}, {name}: {ended.fault}"
        refused += ended.code == 2
        first, varies, out = context.expected[name]
        different = [k for k in differences(first, output(folder)) if k not in varies]
        if ended.code == 0 and (different or ended.out != out):
            what = f"{different[0]} differs" if different else "it prints something else"
            return {"flips": 1}, f"{where}, {name}: silently used, {what}"
    return {"flips": 1, "found in one sentence": int(refused > 0), "without effect or mended": int(not refused)}, None
