"""Outputs destroy nothing: every role of an output against every input, on real commands."""

import gzip
import json
import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import core as winnow
from core.__main__ import app
from core.demo import MODEL_PATH
from core.demo.pool import clean_rows
from core.errors import OutputError
from core.output import destinations

ROWS = 40
OPTIONS = ["--method", "longest", "--budget", "50%"]
EVERY_FILE = ["--rejected", "--held-out", "20%"]
ROLES = {"chosen": "x.jsonl", "scores": "scores.jsonl"}
ROLES |= {role: "x" + suffix for role, suffix in destinations.SUFFIXES.items()}
REPLAYED = ("chosen", "held_out", "rejected")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a pool, its workspace with a run, a recipe, and an export; copied for each test."""
    folder = tmp_path_factory.mktemp("made")
    lines = [json.dumps({"id": f"row-{i}"} | row) for i, row in enumerate(clean_rows(0)[:: len(clean_rows(0)) // ROWS])]
    (folder / "pool.jsonl").write_text("\n".join(lines[:ROWS]) + "\n")
    assert winnow_says(folder, "measure", folder / "pool.jsonl", "--method", "longest")[0] == 0
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """Return a copy of the folder, with a folder for what is written."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def winnow_says(folder: Path, *arguments: object) -> tuple[int, str]:
    """Run a command in this process; return its exit code and stderr without progress."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--workspace", str(folder / "workspace")])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr.replace("\r", "\n").strip().split("\n")[-1]


def contents(*folders: Path) -> dict[Path, bytes]:
    """Return every file by path, without the workspace."""
    files = [p for folder in folders for p in sorted(folder.rglob("*")) if "workspace" not in p.parts]
    return {p: p.read_bytes() for p in files if p.is_file() and not p.is_symlink()}


def select(place: Path, pool: Path, *more: object) -> tuple[int, str]:
    scores = place / "out" / ROLES["scores"]
    out = place / "out" / ROLES["chosen"]
    return winnow_says(place, "select", pool, *OPTIONS, *EVERY_FILE, "--out", out, "--scores", scores, *more)


def run(place: Path, recipe: Path, *more: object) -> tuple[int, str]:
    out = ("--out", place / "out" / ROLES["chosen"], "--scores", place / "out" / ROLES["scores"])
    return winnow_says(place, "run", recipe, *out, *more)


def recipe_file(pool: Path, path: Path, **changes: object) -> Path:
    export = {"rejected": True, "held_out": 0.2}
    data = {"pool": {"source": str(pool)}, "method": {"name": "longest"}, "budget": "50%", "export": export}
    path.write_text(yaml.safe_dump(data | changes))
    return path


def as_itself(pool: Path, at: Path) -> Path:
    return pool.rename(at)


def as_hard_link(pool: Path, at: Path) -> Path:
    os.link(pool, at)
    return pool


def as_link(pool: Path, at: Path) -> Path:
    at.symlink_to(pool)
    return pool


def as_link_of_a_link(pool: Path, at: Path) -> Path:
    (pool.parent / "between").symlink_to(pool)
    at.symlink_to(pool.parent / "between")
    return pool


def as_packed(pool: Path, at: Path) -> Path:
    packed = at.with_name(at.name + ".gz")
    packed.write_bytes(gzip.compress(pool.read_bytes()))
    return packed


def as_other_case(pool: Path, at: Path) -> Path:
    return pool.rename(at.with_name(at.name.upper()))


IDENTITIES: list[Callable[[Path, Path], Path]] = [
    as_itself,
    as_hard_link,
    as_link,
    as_link_of_a_link,
    as_packed,
    as_other_case,
]


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("role", ROLES)
def test_no_output_of_select_is_the_pool(place, role, identity):
    pool = identity(place / "pool.jsonl", place / "out" / ROLES[role])
    assert winnow_says(place, "measure", pool, "--method", "longest")[0] == 0
    before = contents(place)
    code, said = select(place, pool, "--overwrite")
    assert code == 2 and ("the pool" in said or "is a link to" in said) and ROLES[role] in said
    assert contents(place) == before


def targets_at(path: Path) -> dict[str, object]:
    path.write_text("{}\n")
    return {"method": {"name": "preference_influence", "params": {"targets": f"t={path}"}}}


def answers_at(path: Path) -> dict[str, object]:
    path.write_text("{}\n")
    divergence = {"name": "answer_divergence", "params": {"source": "file", "answers_file": str(path)}}
    return {"method": {"name": "combined", "params": {"members": json.dumps(["longest", divergence])}}}


def model_around(path: Path) -> dict[str, object]:
    shutil.copytree(MODEL_PATH, path.parent, dirs_exist_ok=True)
    return {"reading": {"model": str(path.parent)}}


def embedding_model_around(path: Path) -> dict[str, object]:
    return {"method": {"name": "answer_divergence", "params": {"embeddings": str(path.parent)}}}


@pytest.mark.parametrize("read", [targets_at, answers_at, model_around, embedding_model_around])
@pytest.mark.parametrize("role", ROLES)
def test_no_output_of_run_is_what_the_recipe_names_and_nothing_is_measured_first(place, role, read):
    changes = read(place / "out" / ROLES[role])
    recipe = recipe_file(place / "pool.jsonl", place / "plan.yaml", **changes)
    before, runs = contents(place), sorted((place / "workspace").glob("*/*"))
    code, said = run(place, recipe, "--overwrite")
    assert code == 2 and ("would overwrite a file that" in said or "would be written into the model" in said), said
    new = {path.parent.name for path in set((place / "workspace").glob("*/*")) - set(runs)}
    assert contents(place) == before and not new & {"measurements", "runs"}


@pytest.mark.parametrize("role", ROLES)
def test_a_recipe_is_never_overwritten_by_its_own_run(place, role):
    recipe = recipe_file(place / "pool.jsonl", place / "out" / ROLES[role])
    before = recipe.read_bytes()
    code, said = run(place, recipe, "--overwrite")
    assert recipe.read_bytes() == before
    if role == "recipe":  # `run chosen.recipe.yaml --out chosen.jsonl` is the way to change a budget by hand
        assert code == 0 and (place / "out" / ROLES["manifest"]).exists()
    else:
        assert code == 2 and "would overwrite the recipe or manifest that was given" in said


@pytest.mark.parametrize("role", REPLAYED)
def test_no_output_of_replay_is_its_manifest_or_the_pool(place, role):
    assert select(place, place / "pool.jsonl")[0] == 0
    out, at = place / "out" / "again" / ROLES["chosen"], place / "out" / "again" / ROLES[role]
    at.parent.mkdir()
    (place / "out" / ROLES["manifest"]).rename(at)
    before = contents(place)
    code, said = winnow_says(place, "replay", at, "--out", out, "--overwrite")
    assert code == 2 and "would overwrite the recipe or manifest that was given" in said
    assert contents(place) == before
    manifest = at.rename(place / "manifest.json")
    os.link(place / "pool.jsonl", at)
    code, said = winnow_says(place, "replay", manifest, "--out", out, "--overwrite", "--rows-only")
    assert code == 2 and "would overwrite the pool" in said


@pytest.mark.parametrize("role", [role for role in ROLES if role != "scores"])
def test_no_two_outputs_are_one_file(place, role):
    at = place / "out" / ROLES[role]
    for scores in {at, at.with_name(at.name.upper()), place / "out" / "." / ".." / "out" / at.name}:
        if scores.suffix != ".jsonl":
            continue
        code, said = winnow_says(
            place, "select", "pool.jsonl", *OPTIONS, *EVERY_FILE, "--out", "out/x.jsonl", "--scores", scores
        )
        assert code == 2 and "cannot be both" in said
    assert contents(place / "out") == {}


def identity_of(path: Path) -> tuple[int, int, int]:
    about = path.lstat()
    return about.st_ino, about.st_mode, about.st_mtime_ns


def as_device(at: Path) -> None:
    try:
        os.mknod(at, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # like /dev/null, which a test must not risk
    except PermissionError:
        pytest.skip("only root may make a device")


def as_folder(at: Path) -> None:
    at.mkdir()


def as_pipe(at: Path) -> None:
    os.mkfifo(at)


def as_socket(at: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(at.name)  # from its folder: the name of a socket must be short


def as_device_link(at: Path) -> None:
    at.symlink_to("/dev/full")


def as_dangling_link(at: Path) -> None:
    at.symlink_to("nothing")


@pytest.mark.parametrize("kind", [as_folder, as_pipe, as_socket, as_device, as_device_link, as_dangling_link])
@pytest.mark.parametrize("role", ROLES)
def test_no_output_is_a_folder_a_device_a_pipe_a_socket_or_a_link(place, role, kind, monkeypatch):
    at = place / "out" / ROLES[role]
    with monkeypatch.context() as there:
        there.chdir(place / "out")
        kind(at)
    before = identity_of(at)
    code, said = select(place, place / "pool.jsonl", "--overwrite")
    assert code == 2 and ROLES[role] in said and ("is a " in said)
    assert identity_of(at) == before and contents(place / "out") == {}


@pytest.mark.parametrize(
    ("out", "sentence"),
    [
        ("", "is not a file name"),
        ("..", "is not a file name"),
        ("pool.jsonl/x.jsonl", "is a file, not a folder"),
        ("/proc/x.jsonl", "cannot be written"),
        ("a" * 250 + ".jsonl", "too many for a file name"),
        ("a/" * 2000 + "x.jsonl", "too many for a path"),
        ("workspace/runs/x.jsonl", "would be written into the workspace"),
    ],
)
def test_an_output_that_cannot_be_is_refused_in_one_sentence(place, out, sentence):
    for option in ("--out", "--scores"):
        code, said = winnow_says(place, "select", "pool.jsonl", *OPTIONS, option, out)
        assert code == 2 and (sentence in said or "Give the file one of these endings" in said)


# Files that are there already


@pytest.mark.parametrize("role", ROLES)
def test_a_file_that_no_export_wrote_is_kept_unless_it_may_be_overwritten(place, role):
    at = place / "out" / ROLES[role]
    at.write_text("mine")
    code, said = select(place, place / "pool.jsonl")
    assert code == 2 and "already exists" in said and "--overwrite" in said
    assert contents(place / "out") == {at: b"mine"}
    assert select(place, place / "pool.jsonl", "--overwrite")[0] == 0
    assert at.read_bytes() != b"mine"


def test_the_same_command_again_writes_the_same_files_and_another_budget_replaces_them(place):
    assert select(place, place / "pool.jsonl")[0] == 0
    before = contents(place / "out")
    assert {path.name for path in before} == set(ROLES.values())
    assert select(place, place / "pool.jsonl")[0] == 0
    assert contents(place / "out") == before
    assert select(place, place / "pool.jsonl", "--budget", "6")[0] == 0
    assert len((place / "out" / "x.jsonl").read_text().splitlines()) == 5  # one of six is held out


@pytest.mark.parametrize("role", [role for role in ROLES if role != "manifest"])
def test_a_file_that_was_edited_since_is_kept(place, role):
    assert select(place, place / "pool.jsonl")[0] == 0
    at = place / "out" / ROLES[role]
    at.write_bytes(at.read_bytes() + b"edited")
    before = contents(place / "out")
    code, said = select(place, place / "pool.jsonl", "--budget", "6")
    assert code == 2 and f"{at} already exists" in said
    assert contents(place / "out") == before


def test_replay_writes_the_format_of_the_manifest(place):
    assert select(place, place / "pool.jsonl")[0] == 0
    manifest = place / "out" / ROLES["manifest"]
    code, said = winnow_says(place, "replay", manifest, "--out", place / "again.parquet")
    assert code == 2
    assert "again.parquet is not of the format of x.jsonl. Give a name with the ending .jsonl." in said


def test_replay_writes_over_what_it_wrote_and_not_over_another_file(place):
    assert select(place, place / "pool.jsonl")[0] == 0
    manifest, again = place / "out" / ROLES["manifest"], place / "again.jsonl"
    for _ in range(2):
        assert winnow_says(place, "replay", manifest, "--out", again)[0] == 0
        assert winnow_says(place, "replay", manifest)[0] == 0
    again.write_text("mine")
    code, said = winnow_says(place, "replay", manifest, "--out", again)
    assert code == 2 and "already exists" in said and again.read_text() == "mine"


@pytest.mark.parametrize("moved", range(len(ROLES)))
def test_after_a_kill_between_two_files_the_same_command_ends_as_if_undisturbed(place, moved):
    """The process dies as it moves the file with this number into place, over an earlier export."""
    pool = place / "pool.jsonl"
    assert select(place, pool)[0] == 0
    expected = contents(place / "out")
    assert select(place, pool, "--budget", "6")[0] == 0
    if (child := os.fork()) == 0:
        replace, count = Path.replace, iter(range(100))

        def replace_or_die(path: Path, target: Path) -> Path:
            if target.parent == place / "out" and next(count) == moved:
                os._exit(9)
            return replace(path, target)

        Path.replace = replace_or_die  # type: ignore[method-assign]
        select(place, pool)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert select(place, pool)[0] == 0
    left = {path for path in contents(place / "out") if destinations.TEMPORARY in str(path)}
    assert {path: data for path, data in contents(place / "out").items() if path not in left} == expected


def test_demo_keeps_a_file_that_it_did_not_write_and_says_so_before_measuring(place):
    (place / "demo").mkdir()
    (place / "demo" / "random.README.md").write_text("mine")
    code, said = winnow_says(place, "demo", "--out", place / "demo")
    assert code == 2 and "random.README.md already exists" in said
    assert [path.name for path in (place / "demo").iterdir()] == ["random.README.md"]


# The public API


def test_the_api_refuses_the_same(place):
    pool = winnow.load_pool("pool.jsonl", report=None)
    selection = winnow.select(winnow.measure(pool, "longest", report=None), 5, report=None)
    before = contents(place)
    for options in ({"out": "pool.jsonl"}, {"scores": place / "pool.jsonl"}, {"out": "a\0b.jsonl"}, {"out": ""}):
        with pytest.raises(OutputError):
            winnow.export(selection, **options, overwrite=True, report=None)
    assert contents(place) == before
    written = winnow.export(selection, "x.jsonl", report=None)
    with pytest.raises(OutputError, match="would overwrite the pool"):
        winnow.replay(written.manifest, out="pool.jsonl", overwrite=True, report=None)
    written.card.write_text("mine")
    with pytest.raises(OutputError, match="overwrite=True"):
        winnow.export(selection, "x.jsonl", report=None)
    winnow.export(selection, "x.jsonl", overwrite=True, report=None)
    assert written.card.read_text() != "mine"
