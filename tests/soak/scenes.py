"""The pool and the commands of the soak test, and the state of a folder that two runs are compared by."""

import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

from core.demo.pool import demo_rows
from tests.soak import process

ROWS, PAIRS = 40, 6
LIGHT = {
    "entropy_shift": ["epochs=1", "batch_size=8", "alpha=0.3"],
    "activation_coverage": ["clusters=4"],
    "task_confidence": ["prompts_per_task=2", "new_tokens=4"],
    "answer_divergence": ["answers=3", "max_new_tokens=4", "bins_measured=6"],
    "preference_influence": ["epochs=1", f"pairs={PAIRS}", "batch_size=8"],
}


def method(name: str) -> list[str]:
    """Return the options that choose a method with light settings."""
    return ["--method", name, "--max-length", "128", *(w for s in LIGHT.get(name, ()) for w in ("--set", s))]


def select(name: str, *more: str) -> list[str]:
    """Return a command that selects by a method and writes every kind of file."""
    out = ["--out", "out/chosen.jsonl", "--scores", "out/scores.jsonl", "--rejected", "--held-out", "20%"]
    return ["select", "pool.jsonl", *method(name), "--budget", "50%", *out, "--with-scores", *more]


MEASURE = {name: ["measure", "pool.jsonl", *method(name)] for name in LIGHT}
SELECT = {name: select(name) for name in (*LIGHT, "random", "longest", "lowest_nll")}
FILTERED = select("longest", "--filter", "duplicates once", "--filter", "response_tokens in 2..200")
OTHERS = {
    "inspect": ["inspect", "pool.jsonl", "--json"],
    "inspect csv": ["inspect", "pool.csv", "--json"],
    "duplicates": ["duplicates", "pool.jsonl", "--json"],
    "map": ["project", "pool.jsonl", *method("entropy_shift"), "--layout", "pca"],
    "tokens": ["tokens", "pool.jsonl", *method("entropy_shift"), "--number", "3", "--json"],
    "select filtered": FILTERED,
    "delete runs": ["workspace", "delete", "runs", "all", "--yes"],
    "replay": ["replay", "made/chosen.manifest.json", "--pool", "pool.jsonl", "--out", "out/chosen.jsonl"],
    "run": ["run", "made/chosen.recipe.yaml", "--out", "out/chosen.jsonl"],
}


def write_pool(folder: Path) -> None:
    """Write the pool, as JSON Lines and as CSV."""
    rows = random.Random(0).sample(demo_rows()[0], ROWS - 4)
    rows += [dict(row, id=f"again-{k}") for k, row in enumerate(rows[:4])]
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cells = [",".join('"' + str(row[k]).replace('"', '""') + '"' for k in rows[0]) for row in rows]
    (folder / "pool.csv").write_text("\n".join([",".join(rows[0]), *cells]) + "\n")


class Stage:
    """A folder whose content is put back before every trial: nothing measured yet ("fresh"), or everything."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "place"
        self._copies = {name: folder / name for name in ("fresh", "measured")}
        if not (folder / "made").exists():
            self._make()
            (folder / "made").touch()

    def _make(self) -> None:
        for path in (self.place, *self._copies.values()):
            shutil.rmtree(path, ignore_errors=True)
        self.place.mkdir()
        write_pool(self.place)
        shutil.copytree(self.place, self._copies["fresh"])
        made = select("entropy_shift")
        made[made.index("out/chosen.jsonl")] = "made/chosen.jsonl"
        made[made.index("out/scores.jsonl")] = "made/scores.jsonl"
        for argv in (*MEASURE.values(), OTHERS["duplicates"], made):
            self.must(argv)
        if not (self.place / "made/chosen.recipe.yaml").exists():
            write_recipe(self.place)
        shutil.rmtree(self.place / ".log")
        shutil.copytree(self.place / "made", self._copies["fresh"] / "made")
        self.place.rename(self._copies["measured"])

    def reset(self, name: str) -> Path:
        """Put one of the two contents back and return the folder."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self._copies[name], self.place)
        return self.place

    def must(self, argv: list[str]) -> process.Ended:
        """Run a command undisturbed; RuntimeError unless it is done."""
        ended = process.run(self.place, argv)
        if ended.code:
            raise RuntimeError(f"{argv}: exit code {ended.code}: {ended.err[-2000:]}")
        return ended


def write_recipe(folder: Path) -> None:
    """Write the recipe of the selection in made/, as its manifest has it."""
    manifest = json.loads((folder / "made/chosen.manifest.json").read_text())
    (folder / "made/chosen.recipe.yaml").write_text(json.dumps(manifest["recipe"]))


def state(folder: Path) -> dict[str, Any]:
    """Return everything that two runs must agree on: JSON files by their values, others by a hash.

    Of stages, only the names: their parts may be cut in another way.
    """
    found: dict[str, Any] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        top = name.split("/")
        if any(part.startswith(".") for part in top) or top[:2] in (["workspace", "locks"], ["workspace", "jobs"]):
            continue
        if top[:2] in (["workspace", "measurements"], ["workspace", "models"]) and len(top) > 3:
            found["/".join(top[:3])] = True
        elif path.suffix == ".json":
            found |= flatten(json.loads(path.read_text()), name)
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def flatten(value: Any, name: str) -> dict[str, Any]:
    """Return the leaves of JSON data by their path."""
    if isinstance(value, dict) and value:
        return {k: v for key, part in value.items() for k, v in flatten(part, f"{name}/{key}").items()}
    if isinstance(value, list) and value:
        return {k: v for key, part in enumerate(value) for k, v in flatten(part, f"{name}/{key}").items()}
    return {name: value}


def differences(expected: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Return the names whose values differ, or that only one side has."""
    return sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))


def leftovers(folder: Path) -> list[Path]:
    """Return hidden files and folders: what an atomic write had not renamed yet."""
    return [p for p in folder.rglob(".*") if p.name not in (".log",) and ".log" not in p.parts]
