"""What is packed of a workspace, and in which order."""

import json
from zipfile import ZipFile

from core.demo.build import pack
from core.demo.measured import ABOUT
from core.workspace.files import write_json


def write(root, *names, kind="probe"):
    for name in names:
        write_json(root / name, {"kind": kind, "name": name})


def test_an_archive_has_stages_then_runs_and_no_model_state(tmp_path):
    work, file = tmp_path / "work", tmp_path / "measured.zip"
    stage = ("measurements/a/plan.parquet", "measurements/a/part-00000.parquet", "measurements/a/spec.json")
    run = ("runs/0/run.json", "runs/1/run.json", "runs/0/columns.parquet", "runs/1/columns.parquet")
    write(work, *run, *stage, "models/m/state/model.safetensors", "pools/p/rows.arrow", "locks/x.lock")
    pack(work, file, {"torch": "2"})
    with ZipFile(file) as archive:
        names, about = archive.namelist(), json.loads(archive.read(ABOUT))
    assert set(names) == {*stage, *run, ABOUT}
    assert names[-3:-1] == ["runs/0/run.json", "runs/1/run.json"]  # a run is complete when all else is there
    assert about["runs"] == ["0", "1"]
    assert about["torch"] == "2"


def test_signatures_of_near_duplicates_are_left_out(tmp_path):
    work, file = tmp_path / "work", tmp_path / "measured.zip"
    names = ("0.8.npy", "0.8.npy.xxh128", "part-00000.arrow", "plan.parquet", "spec.json")
    write(work, *(f"measurements/n/{name}" for name in names), kind="near-duplicates")
    pack(work, file, {})
    with ZipFile(file) as archive:
        packed = [f"measurements/n/{name}" for name in ("0.8.npy", "0.8.npy.xxh128", "spec.json")]
        assert archive.namelist() == [*packed, ABOUT]


def test_the_same_files_give_the_same_bytes(tmp_path):
    files = [tmp_path / name for name in ("one.zip", "two.zip", "other.zip")]
    write(tmp_path / "work", "runs/0/run.json")
    for file in files[:2]:
        pack(tmp_path / "work", file, {})
    write(tmp_path / "work", "runs/1/run.json")
    pack(tmp_path / "work", files[2], {})
    one, two, other = (file.read_bytes() for file in files)
    assert one == two != other
