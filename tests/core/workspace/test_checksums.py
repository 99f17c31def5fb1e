"""What is read is what was written: every damage is found, and nothing whole seems damaged."""

import os
import random
import shutil
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from core.errors import DamagedFile
from core.workspace import checksums
from core.workspace.files import (
    atomic_folder,
    damaged_files,
    is_whole,
    read_json,
    reading,
    remove_damaged,
    stored_path,
    write_array,
    write_atomic,
    write_json,
)

DOCUMENT = {"name": "é", "rows": [1, 2.5, None], "nested": {"a": True}}


def write_table(path):
    with stored_path(path) as temporary:
        if path.suffix == ".arrow":
            feather.write_feather(pa.table({"x": [1, 2, 3]}), str(temporary), compression="uncompressed")
        else:
            pq.write_table(pa.table({"x": [1, 2, 3]}), temporary)


WRITERS = {
    "a.json": lambda path: write_json(path, DOCUMENT),
    "a.npy": lambda path: write_array(path, np.arange(5)),
    "a.parquet": write_table,
    "a.arrow": write_table,
}
READERS = {
    ".json": read_json,
    ".npy": lambda path: np.load(path, mmap_mode="r"),
    ".parquet": pq.read_table,
    ".arrow": lambda path: feather.read_table(path, memory_map=True),
}


def read(path):
    with reading(path):
        return READERS[path.suffix](path)


@pytest.fixture(params=WRITERS)
def stored(request, tmp_path):
    path = tmp_path / request.param
    WRITERS[request.param](path)
    return path


def damage(path, data):
    """Overwrite a file in place. Its size and time may stay the same, so it is verified as by another process."""
    path.write_bytes(data)
    checksums.forget_verified()


def test_every_flipped_bit_is_found(stored):
    data = stored.read_bytes()
    for bit in range(8 * len(data)) if len(data) < 500 else random.Random(0).sample(range(8 * len(data)), 300):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        damage(stored, changed)
        assert not is_whole(stored), bit
        with pytest.raises(
            DamagedFile, match=f"^{stored} is damaged: its content has changed since it was written. Rem"
        ):
            read(stored)
    damage(stored, data)
    assert is_whole(stored)
    read(stored)


@pytest.mark.parametrize("cut", [lambda d: b"", lambda d: d[: len(d) // 2], lambda d: d[:-1], lambda d: bytes(len(d))])
def test_a_cut_or_zeroed_file_is_found_before_it_is_mapped(stored, cut):
    damage(stored, cut(stored.read_bytes()))
    with pytest.raises(DamagedFile, match="is damaged"):
        read(stored)


def test_a_file_that_is_gone_is_missing(stored):
    stored.unlink()
    assert not is_whole(stored)
    with pytest.raises(DamagedFile, match=f"^{stored} is missing. "):
        read(stored)


def test_a_damaged_checksum_is_damage_and_a_missing_one_is_written_at_the_first_read(tmp_path):
    path, checksum = tmp_path / "a.npy", tmp_path / "a.npy.xxh128"
    write_array(path, np.arange(5))
    line = checksum.read_bytes()
    for changed in (b"", line[:-1], line.upper(), b"1" + line[1:], line.replace(b"a.npy", b"b.npy")):
        damage(checksum, changed)
        assert not is_whole(path)
    checksum.unlink()
    checksums.forget_verified()
    assert is_whole(path)
    assert not checksum.exists()
    read(path)
    assert checksum.read_bytes() == line


def test_a_file_without_a_checksum_that_cannot_be_read_gets_none(tmp_path):
    for name in ("a.npy", "a.parquet", "a.arrow", "a.json"):
        write_atomic(tmp_path / name, b"{\n nonsense")
        with pytest.raises(DamagedFile, match=rf"{name} is damaged: .* Remove it and run the same command again\.$"):
            read(tmp_path / name)
    assert not list(tmp_path.glob("*.xxh128"))


def test_json_of_an_older_version_has_no_checksum_and_is_read(tmp_path):
    for name, text in {"a": '{\n  "x": 1\n}\n', "b": "{}", "c": '[\n  "x"\n]\n'}.items():
        write_atomic(tmp_path / f"{name}.json", text.encode())
    assert [read_json(tmp_path / f"{name}.json") for name in "abc"] == [{"x": 1}, {}, ["x"]]


@pytest.mark.parametrize("document", [DOCUMENT, {}, {"checked": "checksum"}])
def test_json_is_read_as_it_was_written(tmp_path, document):
    write_json(tmp_path / "a.json", document)
    assert read_json(tmp_path / "a.json") == document


def test_a_remade_file_is_verified_anew(tmp_path):
    path = tmp_path / "a.npy"
    write_array(path, np.arange(5))
    read(path)
    path.write_bytes(b"nonsense")
    assert not is_whole(path)
    write_array(path, np.arange(5))
    assert read(path).tolist() == [0, 1, 2, 3, 4]


def test_a_new_folder_is_not_hashed_again_until_a_file_of_it_changes(tmp_path, monkeypatch):
    with atomic_folder(tmp_path / "new") as folder:
        (folder / "a.bin").write_bytes(b"content")
    path = tmp_path / "new" / "a.bin"
    hashed = []
    real = checksums.hash_file
    monkeypatch.setattr(checksums, "hash_file", lambda path: hashed.append(path) or real(path))
    assert is_whole(path) and not hashed
    path.write_bytes(b"nonsense of another size")
    assert not is_whole(path) and hashed == [path]


def test_a_file_is_hashed_once_in_a_process(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    write_array(path, np.arange(5))
    hashed = []
    monkeypatch.setattr(checksums, "hash_file", lambda p: hashed.append(p) or checksums.read_checksum(path))
    for _ in range(3):
        read(path)
    os.utime(path, (1, 1))
    read(path)
    assert hashed == [path, path]


def test_damaged_files_are_removed_and_counted(tmp_path, caplog):
    paths = [tmp_path / f"{k}.npy" for k in range(3)]
    for path in paths[:2]:
        write_array(path, np.arange(5))
        damage(path, b"nonsense")
    write_array(paths[2], np.arange(5))
    remove_damaged([*paths, tmp_path / "none.npy"])
    assert [path.exists() for path in paths] == [False, False, True]
    assert caplog.messages == [f"{tmp_path}: 2 damaged files are computed again."]


def test_every_file_of_a_folder_has_a_checksum(tmp_path):
    with atomic_folder(tmp_path / "state") as temporary:
        write_json(temporary / "ours.json", {"a": 1})
        (temporary / "theirs.json").write_text('{\n  "a": 1\n}')
        (temporary / "deeper").mkdir()
        (temporary / "deeper" / "weights").write_bytes(b"1234")
    folder = tmp_path / "state"
    assert damaged_files(folder) == []
    for name in ("ours.json", "theirs.json", "deeper/weights"):
        data = (folder / name).read_bytes()
        damage(folder / name, data.replace(b"1", b"0"))
        assert damaged_files(folder) == [folder / name]
        damage(folder / name, data)
    (folder / "deeper" / "weights").unlink()
    (folder / ".half.json").write_bytes(b"what a killed worker left")
    assert damaged_files(folder) == [folder / "deeper" / "weights"]


@pytest.mark.skipif(shutil.which("xxh128sum") is None, reason="xxhsum is not installed")
def test_checksums_are_those_of_xxh128sum(tmp_path):
    write_array(tmp_path / "a.npy", np.arange(5))
    subprocess.run(["xxh128sum", "--check", "--quiet", "a.npy.xxh128"], cwd=tmp_path, check=True)


def test_damage_that_was_found_is_known_until_the_file_is_made_again(tmp_path):
    path = tmp_path / "stage" / "a.npy"
    write_array(path, np.arange(5))
    damage(path, b"nonsense")
    assert not checksums.has_known_damage(path.parent)
    with pytest.raises(DamagedFile):
        read(path)
    assert checksums.has_known_damage(path.parent) and not checksums.has_known_damage(tmp_path / "other")
    write_array(path, np.arange(5))
    assert not checksums.has_known_damage(path.parent)
