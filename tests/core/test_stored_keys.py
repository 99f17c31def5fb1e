"""Stored measurements stay valid: their keys, and a whole workspace that an earlier version wrote.

Everything goes through the command line. Data in this folder:

    stored_pool.jsonl         17 rows of the demo pool, two of them duplicates, with a number in each
    stored_keys.json          what measuring the pool stores: keys with their specs, files, and the rows selected
    stored_workspace.tar.gz   the workspace itself with its exports, without the weights of trained states

`python -m tests.core.test_stored_keys` writes the last two again. Do so only for a change that is meant to invalidate
all stored measurements.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from core.__main__ import app
from core.workspace.checksums import JSON_HEAD, SUFFIX, seal_json, unseal_json
from core.workspace.files import read_json

HERE = Path(__file__).parent
POOL, KEYS, ARCHIVE = (HERE / f"stored_{name}" for name in ("pool.jsonl", "keys.json", "workspace.tar.gz"))
ANSWERS = "answers.jsonl"  # written by tests, with a fixed modification time, which is part of a run's key
MODIFIED = 1_700_000_000
ARCHIVED = ("pools", "measurements", "runs", "exports")  # folders in the archive
PLAIN = (  # methods with the parameters suggested for the embedded model
    *("entropy_shift", "activation_coverage", "task_confidence"),
    *("random", "longest", "lowest_nll", "highest_nll"),
)
VARIED = {  # name -> options with other settings, small where time depends on them; each makes another run
    "answer_divergence": ["--method", "answer_divergence", "--set", "max_new_tokens=4"],
    "preference_influence": ["--method", "preference_influence", "--set", "pairs=1"],
    "imported": ["--method", "imported", "--set", "field=quality"],
    "combined": ["--method", "combined"],
    "two rounds": [
        *("--method", "entropy_shift", "--set", "rounds=2", "--set", "beta=1", "--set", "epochs=1"),
        *("--set", "batch_size=4", "--set", "lora_rank=2", "--seed", "3"),
    ],
    "all tokens": ["--method", "activation_coverage", "--set", "tokens=all", "--set", "share=0.05"],
    "derived tasks": ["--method", "task_confidence", "--set", "tasks=derived", "--set", "derived_tasks=2"],
    "confidence of responses": ["--method", "task_confidence", "--set", "confidence=response"],
    "answers of a file": [
        *("--method", "answer_divergence", "--set", "source=file", "--set", f"answers_file={ANSWERS}"),
        *("--set", "answers=3"),
    ],
    "three bins": [
        *("--method", "answer_divergence", "--set", "answers=2", "--set", "max_new_tokens=4"),
        *("--set", "bins_measured=3", "--set", "top_p=0.8", "--seed", "5"),
    ],
    "other influence": [
        *("--method", "preference_influence", "--set", "pairs=1", "--set", "epochs=1", "--set", "form=release"),
        *("--set", "lora_rank=2", "--set", "batch_size=8", "--set", "learning_rate=0.001"),
    ],
    "other reading": [
        *("--method", "lowest_nll", "--template", "alpaca", "--answers", "all", "--max-length", "48"),
        *("--dtype", "float32"),
    ],
}
COMMANDS = {name: ["--method", name] for name in PLAIN} | VARIED
MAPS = ("prompt", "response", "answers", "activations")
TOKENS = ["--method", "entropy_shift", "--number", "2", "--json"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="the stored keys are those of a processor's float32"),
]


def winnow(*words: str | Path) -> str:
    """Return the output of `python -m core WORDS`."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


# Write


def write_answers() -> None:
    """Write three answers to each row, in the working directory, because a run stores the path of the file as given."""
    rows = [json.loads(line) for line in POOL.read_text().splitlines()]
    answers = [[row["output"], f"Not so: {row['task']}.", row["instruction"][:k]] for k, row in enumerate(rows, 5)]
    lines = [{"id": row["id"], "generated_answers": three} for row, three in zip(rows, answers, strict=True)]
    Path(ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(ANSWERS, (MODIFIED, MODIFIED))


def measure_everything(place: Path) -> str:
    """Measure the pool in every way in one workspace; return its fingerprint."""
    write_answers()
    pool: str = json.loads(winnow("inspect", POOL, "--json", "--workspace", place))["fingerprint"]
    for words in COMMANDS.values():
        winnow("measure", pool, *words, "--workspace", place)
    for threshold in ("0.8", "0.5"):
        winnow("duplicates", pool, "--threshold", threshold, "--workspace", place)
    winnow("tokens", pool, *TOKENS, "--workspace", place)
    for of in MAPS:
        make_map(pool, of, place)
    return pool


def make_map(pool: str, of: str, place: Path) -> str:
    """Make a map unless stored; return the name of its folder."""
    words = ["--method", "answer_divergence", "--set", "max_new_tokens=4", "--of", of, "--layout", "pca", "--json"]
    return Path(json.loads(winnow("project", pool, *words, "--workspace", place))["pca"]).parent.name


def select_everything(pool: str, place: Path, out: Path) -> None:
    """Write a selection for each of COMMANDS, with its manifest."""
    for name, words in COMMANDS.items():
        more = ["--filter", "near duplicates once"] if name == "longest" else []
        more += ["--rejected", "--held-out", "20%"] if name == "entropy_shift" else []
        winnow("select", pool, *words, "--budget", "6", *more, "--out", out / file_of(name), "--workspace", place)


def file_of(name: str) -> str:
    return f"{name.replace(' ', '-')}.jsonl"


# Describe


def describe(place: Path) -> dict[str, Any]:
    """Return every key in a workspace, its spec if stored, and its files, without measured numbers."""
    facts: dict[str, Any] = {"pools": [], "measurements": {}, "models": {}, "runs": {}}
    for folder in sorted((place / "pools").iterdir()):  # the key depends on a path and a time
        about = read_json(folder / "pool.json")
        stored = {name: about[name] for name in ("fingerprint", "fields", "rows")}
        facts["pools"].append(stored | {"files": files_in(folder)})
    for folder in sorted((place / "measurements").iterdir()):
        spec = folder / "spec.json"
        stored = read_json(spec) if spec.exists() else None
        facts["measurements"][folder.name] = {"spec": stored, "files": files_in(folder)}
    for folder in sorted((place / "models").iterdir()):
        about = read_json(folder / "loss.json")
        stored = {name: about[name] for name in ("format", "key", "spec", "rows", "dtype")}
        facts["models"][folder.name] = stored | {"files": files_in(folder)}
    for folder in sorted((place / "runs").iterdir()):
        about = read_json(folder / "run.json")
        shared = {about["kept"].pop(name, None) for name in ("tokens", "base")} - {None}  # in `kept` since version 0.2
        assert shared <= set(facts["measurements"])
        facts["runs"][folder.name] = {k: v for k, v in about.items() if k != "summary"} | {
            "summary": sorted(about["summary"]),
            "given": about["summary"].get("given"),
            "files": files_in(folder),
        }
    return facts


def files_in(folder: Path) -> list[str]:
    """Return the names of the stored files below a folder, without those of their checksums."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != SUFFIX]
    return sorted(path.relative_to(folder).as_posix() for path in files)


def ids_of(file: Path) -> list[str]:
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]


def manifest_of(file: Path) -> dict[str, Any]:
    """Load the manifest of an exported file, without version, facts and checksums, which stored ones lack."""
    manifest: dict[str, Any] = json.loads(file.with_suffix(".manifest.json").read_text())
    for name in ("tool", "facts", "files"):
        manifest.pop(name, None)
    return manifest


# The keys


@pytest.fixture(scope="module")
def frozen() -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(KEYS.read_text())
    return stored


def test_measuring_in_every_way_gives_the_stored_keys(frozen: dict[str, Any], tmp_path: Path):
    with chdir(tmp_path):
        pool = measure_everything(tmp_path / "workspace")
    assert pool == frozen["pool"]
    actual = json.loads(json.dumps(describe(tmp_path / "workspace")))
    for kind, stored in frozen["stored"].items():
        assert actual[kind] == stored, kind


# The workspace


@pytest.fixture(scope="module")
def old(frozen: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Unpack an earlier version's workspace, which no test may change; make its parent the working directory."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        if hasattr(tarfile, "data_filter"):  # not in the first versions of Python 3.11
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    for state in frozen["stored"]["models"]:  # empty: no stored result needs the weights
        (folder / "workspace" / "models" / state / "state").mkdir(parents=True)
    before = contents(folder / "workspace")
    with chdir(folder):
        write_answers()
        yield folder
    assert contents(folder / "workspace") == before, "something was measured again"


def contents(place: Path) -> dict[str, str]:
    names = [f"{kind}/{name}" for kind in (*ARCHIVED, "models") for name in files_in(place / kind)]
    return {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in names}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_is_left_to_measure_in_a_stored_workspace(frozen: dict[str, Any], old: Path, name: str):
    assert find_run(frozen["pool"], *COMMANDS[name], "--workspace", old / "workspace") == frozen["runs"][name]


def test_the_stored_pool_file_is_still_the_stored_pool(frozen: dict[str, Any], old: Path, tmp_path: Path):
    shutil.copytree(old / "workspace", tmp_path / "workspace")
    words = [POOL, *COMMANDS["entropy_shift"], "--workspace", tmp_path / "workspace"]
    assert find_run(*words) == frozen["runs"]["entropy_shift"]


def find_run(*words: str | Path) -> str:
    """Return the run of a stored measurement; fail if the command does more work than opening the pool."""
    result = CliRunner().invoke(app, ["measure", *map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert set(re.findall(r"([A-Z][^:\r\n|]*):", result.stderr)) <= {"Loading the pool"}
    run: str = json.loads(result.stdout)["run"]
    return run


def test_a_stored_workspace_gives_the_stored_selections(frozen: dict[str, Any], old: Path, tmp_path: Path):
    select_everything(frozen["pool"], old / "workspace", tmp_path)
    assert {name: ids_of(tmp_path / file_of(name)) for name in COMMANDS} == frozen["selected"]
    for name in COMMANDS:
        stored = old / "workspace" / "exports" / file_of(name)
        now, then = manifest_of(tmp_path / file_of(name)), manifest_of(stored)
        added = {"constant", "proof", "measured_on", "benchmarks"}  # since then
        more = now["pool"].pop("files"), now["output"].pop("filled"), now["recipe"].pop("workers")
        assert more == ([], 0, "local")  # added since, too
        assert {field: value for field, value in now.items() if field not in added} == then, name
        for file in sorted(stored.parent.glob(f"{stored.stem}.*jsonl")):
            assert (tmp_path / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_replaying_a_stored_manifest_gives_the_same_bytes(old: Path, tmp_path: Path, name: str):
    stored = old / "workspace" / "exports" / file_of(name)
    manifest = stored.with_suffix(".manifest.json")
    winnow("replay", manifest, "--out", tmp_path / "again.jsonl", "--workspace", old / "workspace")
    assert (tmp_path / "again.jsonl").read_bytes() == stored.read_bytes()


def test_stored_maps_near_duplicates_and_token_views_are_reused(frozen: dict[str, Any], old: Path):
    pool, place = frozen["pool"], old / "workspace"
    for of in MAPS:
        assert make_map(pool, of, place) == frozen["maps"][of]
    for threshold, stored in frozen["near_duplicates"].items():
        words = ["--threshold", threshold, "--json", "--workspace", place]
        assert json.loads(winnow("duplicates", pool, *words)) == stored
    assert json.loads(winnow("tokens", pool, *TOKENS, "--workspace", place)) == frozen["tokens"]


# Freeze


def freeze() -> None:
    """Write stored_keys.json and stored_workspace.tar.gz."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        place = Path(folder) / "workspace"
        pool = measure_everything(place)
        exports = place / "exports"
        select_everything(pool, place, exports)
        keys = {"pool": pool, "runs": {}, "selected": {}, "maps": {}, "near_duplicates": {}}
        for name, words in COMMANDS.items():
            keys["runs"][name] = json.loads(winnow("measure", pool, *words, "--json", "--workspace", place))["run"]
            keys["selected"][name] = ids_of(exports / file_of(name))
        for of in MAPS:
            keys["maps"][of] = make_map(pool, of, place)
        for threshold in ("0.8", "0.5"):
            words = ["--threshold", threshold, "--json", "--workspace", place]
            keys["near_duplicates"][threshold] = json.loads(winnow("duplicates", pool, *words))
        keys["tokens"] = json.loads(winnow("tokens", pool, *TOKENS, "--workspace", place))
        keys["stored"] = describe(place)
        KEYS.write_text(json.dumps(keys, indent=1) + "\n")
        with (
            ARCHIVE.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for path in sorted(path for kind in ARCHIVED for path in (place / kind).rglob("*") if path.is_file()):
                pack(archive, path, path.relative_to(folder).as_posix())


def pack(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file to the archive, without paths or users of this machine."""
    data = path.read_bytes()
    if path.suffix == ".json":
        sealed, data = data.startswith(JSON_HEAD), unseal_json(data) or data
        data = data.replace(str(HERE).encode(), b"/elsewhere")
        data = seal_json(data) if sealed else data
    about = tarfile.TarInfo(name)
    about.size, about.mtime = len(data), path.stat().st_mtime
    archive.addfile(about, io.BytesIO(data))


if __name__ == "__main__":
    freeze()
