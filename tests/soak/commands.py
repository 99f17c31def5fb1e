"""Hostile command lines: each is done or ends in a sentence, and the pool stays as it was."""

import random
from pathlib import Path

from tests.soak import process
from tests.soak.scenes import LIGHT, Stage

PER_TRIAL = 1
HOSTILE = [
    "", " ", "-1", "0", "1e309", "nan", "inf", "-inf", "9" * 400, "0x10", "1_000", "true", "null", "[]", "{}",
    '"x"', "5", '{"prompt":', '{"prompt": [["a"]]}', '{"schema": ["x"]}', "x" * 5000, "../../..", "/",
    "/dev/null", "/dev/full", "/proc/self/mem", "/proc/x", "a\x01b", "a\nb", "prompt~\udcff", "\udcff", "nll<=",
    "nll<=x", "prompt~(", "=", "a=b", "a=b=c", "epochs=x", "epochs=nan", "epochs=1e9", "targets=x=/dev/zero",
    "%", "-5%", "101%", "1e30%", "0ktok", "$HOME", "`id`", "http://[127.0.0.1]", "http://127.0.0.1:1",
    "file:///etc/passwd", "pool.jsonl", "workspace", "out", ".", "pool.jsonl/x", "embedded", "demo", "é",
    "--help", "--out", "owner/model", "a/b/c", "cuda:99", "float8", "task=qa", "7", "2",
]  # fmt: skip
OPTIONS = {
    "pool": "--fields --task --name --split --pool-revision --workspace",
    "recipe": "--method --model --set --seed --template --answers --max-length --dtype --device --revision",
    "select": "--budget --filter --threshold --out --schema --held-out --scores --job",
}
COMMANDS = {
    "inspect": ["pool"], "duplicates": ["pool"], "estimate": ["pool", "recipe"], "tokens": ["pool", "recipe"],
    "measure": ["pool", "recipe"], "select": ["pool", "recipe", "select", "select"], "run": ["select"],
    "replay": ["select"],
}  # fmt: skip
UNTOUCHED = ("pool.jsonl", "pool.csv")


def prepare(folder: Path) -> Stage:
    """Return what the trials of one lane share."""
    return Stage(folder)


def trial(stage: Stage, seed: str) -> tuple[dict[str, int], str | None]:
    """Run one hostile command line; return the outcome and a finding, if there is one."""
    rng = random.Random(seed)
    folder = stage.reset("measured")
    before = {name: (folder / name).read_bytes() for name in UNTOUCHED}
    argv = draw(rng)
    ended = process.run(folder, argv)
    said = f"{[word[:80] for word in argv]}"
    if ended.fault:
        return {"commands": 1}, f"{said}: {ended.fault}"
    changed = [
        name for name in UNTOUCHED if not (folder / name).exists() or (folder / name).read_bytes() != before[name]
    ]
    if changed:
        return {"commands": 1}, f"{said}: {changed[0]} was changed"
    return {"commands": 1, "refused": int(ended.code == 2), "done": int(ended.code == 0)}, None


def draw(rng: random.Random) -> list[str]:
    """Return a command line with one to three hostile words."""
    command = rng.choice(list(COMMANDS))
    source = {"run": "made/chosen.recipe.yaml", "replay": "made/chosen.manifest.json"}.get(command, "pool.jsonl")
    argv = [command, source if rng.random() < 0.85 else rng.choice(HOSTILE)]
    if "recipe" in COMMANDS[command] and rng.random() < 0.7:
        name = rng.choice(list(LIGHT))
        argv += ["--method", name, "--max-length", "128", *(w for s in LIGHT[name] for w in ("--set", s))]
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        option = rng.choice(OPTIONS[rng.choice(COMMANDS[command])].split())
        argv += [option, rng.choice(HOSTILE)]
    return argv
