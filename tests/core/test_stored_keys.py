"""Measurements that were stored before stay valid: their keys, and a whole workspace that an earlier Winnow wrote.

Everything goes through the command line. Beside this file:

    stored_pool.jsonl         17 rows of the demo pool, two of them duplicates, with a number in each
    stored_keys.json          what measuring it stores: every key, what it is made of, and the files; rows selected
    stored_workspace.tar.gz   the workspace itself, without the weights of trained states; exports among it

`python -m tests.core.test_stored_keys` writes the last two again. Only a change that is meant to make all stored
measurements invalid is a reason to do so.
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

HERE = Path(__file__).parent
POOL, KEYS, ARCHIVE = (HERE / f"stored_{name}" for name in ("pool.jsonl", "keys.json", "workspace.tar.gz"))
ANSWERS = "answers.jsonl"  # made here, with a fixed time of change, as that enters the key of a run
CHANGED = 1_700_000_000
KEPT = ("pools", "measurements", "runs", "exports")  # in the archive
PLAIN = (  # the methods as they are, with the suggestions for the embedded model
    *("entropy_shift", "activation_coverage", "task_confidence"),
    *("random", "longest", "lowest_nll", "highest_nll"),
)
VARIED = {  # with other settings, small where time depends on them: each is a run of its own
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
ASKED = {name: ["--method", name] for name in PLAIN} | VARIED
MAPS = ("prompt", "response", "answers", "activations")
TOKENS = ["--method", "entropy_shift", "--number", "2", "--json"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="the stored keys are those of a processor's float32"),
]


def winnow(*words: str | Path) -> str:
    """What `python -m core WORDS` prints."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


# Write


def make_answers() -> None:
    """Three answers to each row, in the working directory: what a run says of a file holds its path as given."""
    rows = [json.loads(line) for line in POOL.read_text().splitlines()]
    answers = [[row["output"], f"Not so: {row['task']}.", row["instruction"][:k]] for k, row in enumerate(rows, 5)]
    lines = [{"id": row["id"], "generated_answers": three} for row, three in zip(rows, answers, strict=True)]
    Path(ANSWERS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    os.utime(ANSWERS, (CHANGED, CHANGED))


def make_everything(place: Path) -> str:
    """A workspace with the pool measured in every way; the pool's fingerprint."""
    make_answers()
    pool: str = json.loads(winnow("inspect", POOL, "--json", "--workspace", place))["fingerprint"]
    for words in ASKED.values():
        winnow("measure", pool, *words, "--workspace", place)
    for threshold in ("0.8", "0.5"):
        winnow("duplicates", pool, "--threshold", threshold, "--workspace", place)
    winnow("tokens", pool, *TOKENS, "--workspace", place)
    for of in MAPS:
        map_of(pool, of, place)
    return pool


def map_of(pool: str, of: str, place: Path) -> str:
    """The folder of a map, made now or before."""
    words = ["--method", "answer_divergence", "--set", "max_new_tokens=4", "--of", of, "--layout", "pca", "--json"]
    return Path(json.loads(winnow("project", pool, *words, "--workspace", place))["pca"]).parent.name


def select_everything(pool: str, place: Path, out: Path) -> None:
    """A selection for each of ASKED, with its manifest."""
    for name, words in ASKED.items():
        more = ["--filter", "near duplicates once"] if name == "longest" else []
        more += ["--rejected", "--held-out", "20%"] if name == "entropy_shift" else []
        winnow("select", pool, *words, "--budget", "6", *more, "--out", out / file_of(name), "--workspace", place)


def file_of(name: str) -> str:
    return f"{name.replace(' ', '-')}.jsonl"


# Describe


def describe(place: Path) -> dict[str, Any]:
    """Every key in a workspace, what it is made of where that is stored, and the files; no measured number."""
    found: dict[str, Any] = {"pools": [], "measurements": {}, "models": {}, "runs": {}}
    for folder in sorted((place / "pools").iterdir()):  # its key holds a path and a time
        about = json.loads((folder / "pool.json").read_text())
        stored = {name: about[name] for name in ("fingerprint", "fields", "rows")}
        found["pools"].append(stored | {"files": files_in(folder)})
    for folder in sorted((place / "measurements").iterdir()):
        spec = folder / "spec.json"
        stored = json.loads(spec.read_text()) if spec.exists() else None
        found["measurements"][folder.name] = {"spec": stored, "files": files_in(folder)}
    for folder in sorted((place / "models").iterdir()):
        about = json.loads((folder / "loss.json").read_text())
        stored = {name: about[name] for name in ("format", "key", "spec", "rows", "dtype")}
        found["models"][folder.name] = stored | {"files": files_in(folder)}
    for folder in sorted((place / "runs").iterdir()):
        about = json.loads((folder / "run.json").read_text())
        shared = {about["kept"].pop(name, None) for name in ("tokens", "base")} - {None}  # named since version 0.2
        assert shared <= set(found["measurements"])
        found["runs"][folder.name] = {k: v for k, v in about.items() if k != "summary"} | {
            "summary": sorted(about["summary"]),
            "given": about["summary"].get("given"),
            "files": files_in(folder),
        }
    return found


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def ids_of(file: Path) -> list[str]:
    return [json.loads(line)["id"] for line in file.read_text().splitlines()]


def manifest_of(chosen: Path) -> dict[str, Any]:
    """A manifest without the version that wrote it."""
    manifest: dict[str, Any] = json.loads(chosen.with_suffix(".manifest.json").read_text())
    del manifest["tool"]
    return manifest


# The keys


@pytest.fixture(scope="module")
def frozen() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(KEYS.read_text())
    return known


def test_measuring_in_every_way_makes_the_stored_keys(frozen: dict[str, Any], tmp_path: Path):
    with chdir(tmp_path):
        pool = make_everything(tmp_path / "workspace")
    assert pool == frozen["pool"]
    made = json.loads(json.dumps(describe(tmp_path / "workspace")))
    for kind, stored in frozen["stored"].items():
        assert made[kind] == stored, kind


# The workspace


@pytest.fixture(scope="module")
def old(frozen: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that holds an earlier Winnow's workspace, which no test may change; the working directory."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    for state in frozen["stored"]["models"]:  # empty: what is stored is not read again with a model
        (folder / "workspace" / "models" / state / "state").mkdir(parents=True)
    before = contents(folder / "workspace")
    with chdir(folder):
        make_answers()
        yield folder
    assert contents(folder / "workspace") == before, "something was measured again"


def contents(place: Path) -> dict[str, str]:
    paths = (path for kind in (*KEPT, "models") for path in (place / kind).rglob("*") if path.is_file())
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("name", ASKED)
def test_nothing_is_left_to_measure_in_a_stored_workspace(frozen: dict[str, Any], old: Path, name: str):
    assert measured_again(frozen["pool"], *ASKED[name], "--workspace", old / "workspace") == frozen["runs"][name]


def test_the_stored_pool_file_is_still_the_stored_pool(frozen: dict[str, Any], old: Path, tmp_path: Path):
    shutil.copytree(old / "workspace", tmp_path / "workspace")
    words = [POOL, *ASKED["entropy_shift"], "--workspace", tmp_path / "workspace"]
    assert measured_again(*words) == frozen["runs"]["entropy_shift"]


def measured_again(*words: str | Path) -> str:
    """The run of a measurement that has been made; no stage of work but that of the pool."""
    result = CliRunner().invoke(app, ["measure", *map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert set(re.findall(r"([A-Z][^:\r\n|]*):", result.stderr)) <= {"Reading the pool"}
    run: str = json.loads(result.stdout)["run"]
    return run


def test_selections_from_a_stored_workspace_are_the_stored_ones(frozen: dict[str, Any], old: Path, tmp_path: Path):
    select_everything(frozen["pool"], old / "workspace", tmp_path)
    assert {name: ids_of(tmp_path / file_of(name)) for name in ASKED} == frozen["selected"]
    for name in ASKED:
        stored = old / "workspace" / "exports" / file_of(name)
        assert manifest_of(tmp_path / file_of(name)) == manifest_of(stored), name
        for file in sorted(stored.parent.glob(f"{stored.stem}.*jsonl")):
            assert (tmp_path / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", ASKED)
def test_stored_manifests_are_replayed_to_the_same_bytes(old: Path, tmp_path: Path, name: str):
    stored = old / "workspace" / "exports" / file_of(name)
    manifest = stored.with_suffix(".manifest.json")
    winnow("replay", manifest, "--out", tmp_path / "again.jsonl", "--workspace", old / "workspace")
    assert (tmp_path / "again.jsonl").read_bytes() == stored.read_bytes()


def test_stored_maps_near_duplicates_and_token_views_are_found(frozen: dict[str, Any], old: Path):
    pool, place = frozen["pool"], old / "workspace"
    for of in MAPS:
        assert map_of(pool, of, place) == frozen["maps"][of]
    for threshold, stored in frozen["near_duplicates"].items():
        words = ["--threshold", threshold, "--json", "--workspace", place]
        assert json.loads(winnow("duplicates", pool, *words)) == stored
    assert json.loads(winnow("tokens", pool, *TOKENS, "--workspace", place)) == frozen["tokens"]


# Freeze


def freeze() -> None:
    """Write stored_keys.json and stored_workspace.tar.gz."""
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        place = Path(folder) / "workspace"
        pool = make_everything(place)
        exports = place / "exports"
        select_everything(pool, place, exports)
        known = {"pool": pool, "runs": {}, "selected": {}, "maps": {}, "near_duplicates": {}}
        for name, words in ASKED.items():
            known["runs"][name] = json.loads(winnow("measure", pool, *words, "--json", "--workspace", place))["run"]
            known["selected"][name] = ids_of(exports / file_of(name))
        for of in MAPS:
            known["maps"][of] = map_of(pool, of, place)
        for threshold in ("0.8", "0.5"):
            words = ["--threshold", threshold, "--json", "--workspace", place]
            known["near_duplicates"][threshold] = json.loads(winnow("duplicates", pool, *words))
        known["tokens"] = json.loads(winnow("tokens", pool, *TOKENS, "--workspace", place))
        known["stored"] = describe(place)
        KEYS.write_text(json.dumps(known, indent=1) + "\n")
        with (
            ARCHIVE.open("wb") as file,
            gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for path in sorted(path for kind in KEPT for path in (place / kind).rglob("*") if path.is_file()):
                pack(archive, path, path.relative_to(folder).as_posix())


def pack(archive: tarfile.TarFile, path: Path, name: str) -> None:
    """Add a file, without a path or a user of this machine in it."""
    data = path.read_bytes()
    data = data.replace(str(HERE).encode(), b"/elsewhere") if path.suffix == ".json" else data
    about = tarfile.TarInfo(name)
    about.size, about.mtime = len(data), path.stat().st_mtime
    archive.addfile(about, io.BytesIO(data))


if __name__ == "__main__":
    freeze()
