"""The files of a pool are recorded, and one that changes is named."""

import json
import os

import pytest
import xxhash

from core.errors import PoolError
from core.pool import pools
from core.pool.pools import load_pool, open_pool, read_rows, recent_pools, source_files

ROWS = [{"instruction": f"Add {k}", "output": str(k)} for k in range(6)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for k in range(3):
        write(folder / f"part-{k}.jsonl", ROWS[2 * k : 2 * k + 2])
    return folder


@pytest.fixture
def load(data, tmp_path):
    return lambda source=data, **options: load_pool(str(source), workspace=tmp_path / "workspace", **options)


@pytest.fixture
def change(data):
    def change_files():
        write(data / "part-0.jsonl", ROWS[:1])
        (data / "part-1.jsonl").unlink()
        write(data / "part-3.jsonl", ROWS[:3])

    return change_files


CHANGES = "part-0.jsonl has changed, part-1.jsonl is missing, part-3.jsonl is new."


def test_each_file_is_recorded_with_size_rows_and_checksum(load, data):
    for pool in (load(), load(data / "part-2.jsonl")):
        file = pool.files[-1]
        content = (data / "part-2.jsonl").read_bytes()
        assert (file.name, file.bytes, file.rows, file.skipped) == ("part-2.jsonl", len(content), 2, 0)
        assert file.xxh128 == xxhash.xxh3_128_hexdigest(content)


def test_changed_files_are_named_when_the_folder_is_opened_again(load, change):
    first = load()
    assert not first.notices
    change()
    again = load()
    assert again.notices[0] == (
        f"Since data was last opened, {CHANGES} This is another pool; the earlier one opens by its fingerprint, "
        f"{first.fingerprint}."
    )
    assert len(again) == 6


def test_the_only_file_that_is_left_names_the_others(load, data):
    load()
    (data / "part-0.jsonl").unlink()
    (data / "part-2.jsonl").unlink()
    assert load().notices[0].startswith("Since data was last opened, part-0.jsonl and part-2.jsonl are missing. ")


def test_changed_files_are_named_when_the_stored_pool_is_opened_which_keeps_its_rows(load, change, data, tmp_path):
    first = load()
    change()
    stored = open_pool(first.fingerprint, workspace=tmp_path / "workspace")
    assert stored.notices == (
        f"Since this pool was opened, {CHANGES} The pool holds its rows as they were; to read what is there now, open "
        f"{data} again.",
    )
    assert [json.loads(row.original) for row in read_rows(stored, range(6))] == ROWS


def test_a_folder_that_is_gone_is_named(load, data, tmp_path):
    first = load()
    data.rename(tmp_path / "moved")
    stored = open_pool(first.fingerprint, workspace=tmp_path / "workspace")
    assert stored.notices[0].startswith(f"{data} cannot be read (")
    assert len(read_rows(stored, [5])) == 1


def test_files_that_were_only_touched_are_the_same_pool_without_a_notice(load, data):
    first = load()
    os.utime(data / "part-1.jsonl", (1, 1))
    again = load()
    assert (again.fingerprint, again.notices) == (first.fingerprint, ())


def test_what_is_no_data_may_change(load, data, tmp_path):
    load()
    (data / "README.md").write_text("# New")
    load()
    assert len(recent_pools(tmp_path / "workspace")) == 1


def test_the_same_rows_under_other_names_share_their_measurements(load, data):
    first = load()
    (data / "part-2.jsonl").rename(data / "part-7.jsonl")
    again = load()
    assert (again.fingerprint, again.notices) == (first.fingerprint, ())


def test_files_that_change_while_they_are_read_are_refused(load, data, monkeypatch):
    read = pools.import_pool

    def read_slowly(*args):
        document = read(*args)
        write(data / "part-2.jsonl", ROWS)
        return document

    monkeypatch.setattr(pools, "import_pool", read_slowly)
    with pytest.raises(PoolError, match=r"data was changed while it was read\. Open it again"):
        load()
    monkeypatch.undo()
    assert len(load()) == 10


def test_the_inputs_of_a_pattern_are_its_files(load, data):
    assert source_files(load()) == [data]
    assert source_files(load(data / "part-[01].jsonl")) == [data / "part-0.jsonl", data / "part-1.jsonl"]
