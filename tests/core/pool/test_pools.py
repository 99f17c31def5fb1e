"""Opening a pool, and reading its rows."""

import gzip
import json
import os
import random

import numpy as np
import psutil
import pyarrow as pa
import pytest

from core.errors import Cancelled, DamagedFile, PoolError, WorkspaceError
from core.pool.pools import (
    COLUMNS,
    field_names,
    iter_text,
    load_answer_key,
    load_pool,
    open_pool,
    read_rows,
    recent_pools,
    search,
    unread_fields,
)
from core.schema import FieldMap
from core.workspace.files import write_stored

ROWS = [
    {"id": "a", "instruction": "Name a fruit", "input": "", "output": "Apple", "kind": "list"},
    {"id": "b", "instruction": "Say it in French", "input": "Apple", "output": "Pomme", "kind": "translate"},
    {"id": "c", "instruction": "Name a fruit", "input": "", "output": "Apple", "kind": "other"},
]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "workspace"


@pytest.fixture
def load(tmp_path, root):
    """Return a function that writes rows, or bytes, to a file and opens it; options go to load_pool."""

    def open_rows(rows, name="pool.jsonl", **options):
        data = rows if isinstance(rows, bytes) else "".join(json.dumps(r) + "\n" for r in rows).encode()
        (tmp_path / name).write_bytes(data)
        return load_pool(str(tmp_path / name), workspace=root, **options)

    return open_rows


def test_the_columns_are_those_of_the_schema_in_order(load):
    rows = load(ROWS).rows
    assert tuple(rows.column_names) == COLUMNS
    kinds = dict(zip(rows.column_names, map(str, rows.schema.types), strict=True))
    assert kinds == {
        **dict.fromkeys(("id", "hash", "prompt", "response", "task", "turns", "original"), "string"),
        **dict.fromkeys(("line", "duplicate_of"), "int64"),
        **dict.fromkeys(("prompt_chars", "response_chars"), "int32"),
    }


def test_a_row_has_place_task_prompt_response_and_turns(load):
    row = read_rows(
        load(ROWS, fields=FieldMap("alpaca", ("instruction", "input"), "output", task="kind", id="id")), [1]
    )[0]
    assert (row.index, row.id, row.line, row.task) == (1, "b", 2, "translate")
    assert (row.prompt, row.response) == ("Say it in French\nApple", "Pomme")
    assert row.turns == ({"role": "user", "content": row.prompt}, {"role": "assistant", "content": "Pomme"})
    assert json.loads(row.original) == ROWS[1]


def test_lengths_are_in_characters(load):
    pool = load([{"prompt": "Grüße 🙂", "completion": "é"}])
    assert (pool.rows["prompt_chars"].to_pylist(), pool.rows["response_chars"].to_pylist()) == ([7], [1])


def test_the_line_survives_rows_that_were_set_aside(load):
    pool = load(b'{"prompt": "a", "completion": "x"}\n\nnonsense\n{"prompt": "b", "completion": "y"}\n')
    assert pool.rows["line"].to_pylist() == [1, 4]
    assert pool.set_aside["line"].to_pylist() == [3]


def test_repeats_point_to_the_first_row_with_the_same_text(load):
    assert load(ROWS).rows["duplicate_of"].to_pylist() == [None, None, 0]
    same = [{"prompt": p, "completion": "x"} for p in "abaab"]
    assert load(same, "same.jsonl").rows["duplicate_of"].to_pylist() == [None, None, 0, 0, 1]


def test_text_that_moves_from_prompt_to_response_is_no_repeat(load):
    rows = [{"prompt": "ab", "completion": "c"}, {"prompt": "a", "completion": "bc"}]
    assert load(rows).rows["duplicate_of"].to_pylist() == [None, None]


def test_rows_with_different_system_prompts_are_no_repeats(load):
    rows = [{"instruction": "Hi", "output": "Hello", "system": s} for s in ("Be brief", "Be kind")]
    assert load(rows).rows["duplicate_of"].to_pylist() == [None, None]


class TestIds:
    def ids(self, pool):
        return pool.rows["id"].to_pylist()

    def test_they_are_the_users_if_each_row_has_its_own(self, load):
        assert self.ids(load(ROWS)) == ["a", "b", "c"]

    def test_numbers_can_be_ids(self, load):
        assert self.ids(load([{"prompt": "a", "completion": "x", "id": k} for k in (7, 8)])) == ["7", "8"]

    def test_one_that_repeats_makes_all_of_them_hashes_and_is_reported(self, load):
        pool = load([{"prompt": p, "completion": "x", "id": i} for p, i in ("a1", "b2", "c1")])
        assert self.ids(pool) == [h[:16] for h in pool.rows["hash"].to_pylist()]
        assert any("'id' is not unique (1 values repeat, as '1' does)" in n for n in pool.notices)

    def test_one_that_is_missing_makes_all_of_them_hashes_and_is_reported(self, load):
        pool = load([{"prompt": "a", "completion": "x", "id": "1"}, {"prompt": "b", "completion": "x"}])
        assert self.ids(pool) == [h[:16] for h in pool.rows["hash"].to_pylist()]
        assert any("'id' is missing, or is neither number nor text, in 1 of 2 rows" in n for n in pool.notices)

    def test_a_row_set_aside_does_not_spoil_them(self, load):
        rows = [{"prompt": "a", "completion": "x", "id": 1}, {"prompt": "b", "completion": "", "id": 1}]
        assert self.ids(load(rows)) == ["1"]

    def test_equal_rows_are_numbered_in_order(self, load):
        pool = load([{"prompt": p, "completion": "x"} for p in "abaab"])
        a, b = (pool.rows["hash"][k].as_py()[:16] for k in (0, 1))
        assert self.ids(pool) == [a, b, f"{a}-2", f"{a}-3", f"{b}-2"]

    def test_they_are_unique_whatever_the_rows(self, load):
        pool = load([{"prompt": "ab"[k % 2], "completion": "xyz"[k % 3]} for k in range(100)])
        assert len(set(self.ids(pool))) == 100


class TestMapping:
    def test_it_can_be_chosen_by_hand(self, load):
        pool = load(ROWS, fields=FieldMap("custom", ("kind", "instruction"), "input"))
        assert pool.rows["prompt"].to_pylist() == ["translate\nSay it in French"]
        assert pool.set_aside["reason"].to_pylist() == ["empty response"] * 2

    def test_a_response_can_be_left_out(self, load):
        pool = load(ROWS, fields=FieldMap("prompts_only", ("instruction",)))
        assert pool.rows["response"].null_count == len(pool) == 3

    def test_any_scalar_can_be_the_task(self, load):
        rows = [{"prompt": "a", "completion": "x", "level": v} for v in (1, 2.5, True, "", None, [1])]
        pool = load(rows, fields=FieldMap("prompt_completion", ("prompt",), "completion", task="level"))
        assert pool.rows["task"].to_pylist() == ["1", "2.5", "true", None, None, None]

    def test_every_field_of_the_source_can_be_named(self, load):
        rows = [*ROWS, {"instruction": "Add", "output": "3", "late": 1}]
        assert field_names(load(rows)) == ["id", "instruction", "input", "output", "kind", "late"]

    def test_fields_that_are_not_read_are_named(self, load):
        row = {"question": "Add", "truth": "3", "ground_truth": "3", "meta": {"kind": "sum", "level": 1}, "id": 1}
        pool = load([row])
        assert (pool.fields.response, unread_fields(pool)) == (None, ["truth", "ground_truth", "meta"])
        nested = load([row], fields=FieldMap("custom", ("question",), "truth", task="meta.kind"))
        assert unread_fields(nested) == ["ground_truth", "id"]

    def test_a_field_that_no_row_has_is_refused_even_if_it_need_not_be_in_all(self, load):
        with pytest.raises(PoolError, match=r"pool\.jsonl: No row has a field 'topic'\. The fields are id, input"):
            load(ROWS, fields=FieldMap("alpaca", ("instruction",), "output", task="topic"))

    def test_a_mapping_that_fits_no_row_is_refused_and_leaves_nothing_behind(self, load, root):
        with pytest.raises(PoolError, match=r"none of the 2 rows can be used with a, b as mapped \(empty response: 2;"):
            load([{"a": "x", "b": ""}] * 2, fields=FieldMap("custom", ("a",), "b"))
        assert list((root / "pools").iterdir()) == []

    def test_a_field_that_first_appears_late_is_reported(self, load):
        rows = [{"instruction": f"Add {k}", "output": "3"} for k in range(1500)]
        pool = load([*rows, {"instruction": "And", "output": "4", "input": "this", "system": "Be brief"}])
        assert any("Fields that the first rows do not have are not read: input, system" in n for n in pool.notices)

    def test_task_and_id_do_not_change_what_the_pool_is_but_the_prompt_does(self, load):
        plain = FieldMap("alpaca", ("instruction",), "output")
        labelled = FieldMap("alpaca", ("instruction",), "output", task="kind", id="id")
        other = FieldMap("alpaca", ("instruction", "input"), "output")
        first, second, third = (load(ROWS, fields=f).fingerprint for f in (plain, labelled, other))
        assert first == second != third


class TestStorage:
    def test_a_stored_pool_is_not_read_again(self, load, root):
        first = load(ROWS)
        (folder,) = (root / "pools").iterdir()
        before = (folder / "rows.arrow").stat().st_mtime_ns
        again = load_pool(first.source, workspace=root, on_progress=lambda done, total: pytest.fail("read again"))
        assert again.rows.equals(first.rows)
        assert (again.fingerprint, again.fields, again.notices) == (first.fingerprint, first.fields, first.notices)
        assert (folder / "rows.arrow").stat().st_mtime_ns == before

    def test_a_changed_file_is_read_again(self, load):
        assert len(load(ROWS)) == 3
        assert len(load(ROWS[:2])) == 2

    def test_a_pool_can_be_opened_by_its_fingerprint(self, load, root):
        pool = load(ROWS)
        again = open_pool(pool.fingerprint, workspace=root)
        assert again.rows.equals(pool.rows)
        assert (again.name, again.fields) == (pool.name, pool.fields)

    def test_an_unknown_fingerprint_is_refused(self, load, root):
        load(ROWS)
        with pytest.raises(PoolError, match="no pool with fingerprint 0000"):
            open_pool("0000", workspace=root)

    def test_recent_pools_are_listed_last_opened_first(self, load, root):
        first, second = load(ROWS, "one.jsonl"), load(ROWS[:2], "two.jsonl")
        for entry in recent_pools(root):  # two hours pass after the first, one after the second
            age = {"one.jsonl": 7200, "two.jsonl": 3600}[entry["name"]]
            file = root / "pools" / entry["key"] / "pool.json"
            os.utime(file, (file.stat().st_mtime - age,) * 2)
        assert [r["name"] for r in recent_pools(root)] == ["two.jsonl", "one.jsonl"]
        load_pool(first.source, workspace=root)
        entry = recent_pools(root)[0]
        assert entry["name"] == "one.jsonl"
        assert (entry["fingerprint"], entry["rows"], entry["schema"]) == (first.fingerprint, 3, "alpaca")
        assert entry["opened"].startswith("20") and entry["opened"].endswith("+00:00")
        assert len(second) == recent_pools(root)[1]["rows"] == 2

    def test_a_relative_path_can_be_opened_from_elsewhere(self, load, root, tmp_path, monkeypatch):
        load(ROWS)
        monkeypatch.chdir(tmp_path)
        assert load_pool("pool.jsonl", workspace=root).source == "pool.jsonl"
        monkeypatch.chdir("/")
        assert len(load_pool(recent_pools(root)[0]["source"], workspace=root)) == 3

    def test_nothing_is_recent_in_a_new_workspace(self, root):
        assert recent_pools(root) == []

    def test_stopping_an_import_leaves_nothing_behind(self, load, root):
        def stop(done, total):
            raise Cancelled("Stopped.")

        with pytest.raises(Cancelled):
            load(ROWS, on_progress=stop)
        assert list((root / "pools").iterdir()) == []

    def test_a_workspace_that_cannot_be_written_is_one_sentence(self, load, root):
        root.mkdir()
        (root / "pools").write_text("a file in the way")
        with pytest.raises(WorkspaceError, match="it is a file, and a folder is needed"):
            load(ROWS)

    @pytest.mark.parametrize("name", ["rows.arrow", "ids.arrow", "set_aside.arrow", "pool.json"])
    def test_a_damaged_pool_is_imported_again_from_its_source(self, load, root, name, caplog):
        pool = load(ROWS)
        rows = pool.rows.to_pylist()
        (folder,) = (root / "pools").iterdir()
        for damage in (lambda path: path.write_bytes(path.read_bytes()[:-1]), os.unlink):
            damage(folder / name)
            assert load_pool(pool.source, workspace=root).rows.to_pylist() == rows
            assert f"{folder / name} is " in caplog.text
            caplog.clear()

    def test_a_damaged_upload_is_refused(self, root, tmp_path):
        upload = tmp_path / "uploads" / "pool.jsonl"
        write_stored(upload, b'{"instruction": "Add", "output": "2"}\n')
        assert len(load_pool(str(upload), workspace=root)) == 1
        upload.write_bytes(upload.read_bytes().replace(b"2", b"3"))
        with pytest.raises(DamagedFile, match=r"pool\.jsonl is damaged: .* Upload the file again\."):
            load_pool(str(upload), workspace=root)

    def test_the_error_of_a_damaged_pool_names_the_way_to_repair_it(self, load, root):
        pool = load(ROWS)
        (folder,) = (root / "pools").iterdir()
        os.truncate(folder / "rows.arrow", 100)
        with pytest.raises(DamagedFile, match=r"rows\.arrow is damaged: .* Open the pool's file again to import"):
            open_pool(pool.fingerprint, workspace=root)


def test_progress_ends_at_the_size_of_the_file(tmp_path, root):
    path = tmp_path / "pool.jsonl.gz"
    path.write_bytes(
        gzip.compress(
            b'{"prompt": "Add", "completion": "%s"}\n' % random.Random(0).randbytes(500).hex().encode() * 6000
        )
    )
    seen = []
    load_pool(str(path), workspace=root, on_progress=lambda *now: seen.append(now))
    done = [d for d, _ in seen]
    assert len(seen) > 2
    assert done == sorted(done)
    assert seen[-1] == (path.stat().st_size, path.stat().st_size)


class TestReading:
    @pytest.fixture
    def many(self, load):
        """Open 9,000 rows of about 600 bytes, which take several batches."""
        return load([{"prompt": f"Question {k}", "completion": f"Answer {k} " * 50} for k in range(9000)])

    def test_rows_come_in_the_order_asked_for_across_batches(self, many):
        assert many.rows["prompt"].num_chunks > 1
        wanted = [8999, 0, 4500, 4500, 17]
        assert [(r.index, r.prompt, r.line) for r in read_rows(many, wanted)] == [
            (k, f"Question {k}", k + 1) for k in wanted
        ]

    def test_any_integer_type_is_accepted(self, many):
        assert [r.index for r in read_rows(many, np.array([3, 1]))] == [3, 1]
        assert read_rows(many, []) == []

    @pytest.mark.parametrize("index", [-1, 9000])
    def test_a_row_that_is_not_there_is_refused(self, many, index):
        with pytest.raises(PoolError, match=rf"has no row {index}\. It has 9,000 rows, counted from 0"):
            read_rows(many, [index])

    def test_text_is_read_a_slice_at_a_time(self, many):
        parts = list(iter_text(many, 10, 2500, size=1000))
        assert [len(p["prompt"]) for p in parts] == [1000, 1000, 490]
        assert parts[0]["prompt"][0] == "Question 10"
        assert set(parts[0]) == {"prompt", "response", "turns"}
        assert sum(len(p["prompt"]) for p in iter_text(many)) == 9000

    def test_search_finds_prompts_and_responses_without_regard_to_case(self, many):
        assert search(many, "QUESTION 8123", limit=10).tolist() == [8123]
        assert search(many, "answer 8123", limit=10).tolist() == [8123]

    def test_search_gives_the_first_matches_in_order(self, many):
        matches = search(many, "question", limit=7)
        assert (matches.tolist(), matches.dtype) == (list(range(7)), np.int64)

    def test_search_finds_nothing_where_there_is_nothing(self, many):
        assert search(many, "no such words", limit=5).tolist() == []

    def test_search_takes_signs_literally(self, load):
        pool = load([{"prompt": "a.c (x", "completion": "1"}, {"prompt": "abc", "completion": "2"}])
        assert search(pool, "A.C (", limit=5).tolist() == [0]
        assert search(pool, "é", limit=5).tolist() == []

    def test_search_reads_prompts_where_there_are_no_responses(self, load):
        assert search(load([{"instruction": "Add"}, {"instruction": "Sub"}]), "su", limit=5).tolist() == [1]


def test_rows_stay_in_the_file_and_not_in_memory(load):
    before = pa.total_allocated_bytes()
    pool = load([{"prompt": f"Question {k}", "completion": "Answer " * 100} for k in range(5000)])
    assert pool.rows.nbytes > 7_000_000
    assert pa.total_allocated_bytes() - before < 100_000


def test_a_search_leaves_no_pages_of_the_file_in_memory(load):
    pool = load([{"prompt": f"Question {k}", "completion": "Answer " * 1000} for k in range(5000)])
    memory = psutil.Process().memory_info
    before = memory().shared
    assert len(search(pool, "question", limit=9000)) == 5000
    assert memory().shared - before < 10_000_000  # of 35 MB


class TestAnswerKey:
    def test_it_is_read_from_the_file_next_to_the_pool(self, load, tmp_path):
        (tmp_path / "pool.key.jsonl").write_text('{"id": "b", "fault": "swapped", "of": "a"}\n')
        assert load_answer_key(load(ROWS)) == {"b": {"fault": "swapped", "of": "a"}}
        packed = gzip.compress(b"".join(json.dumps(r).encode() + b"\n" for r in ROWS))
        assert load_answer_key(load(packed, "pool.jsonl.gz")) == {"b": {"fault": "swapped", "of": "a"}}

    def test_most_pools_have_none(self, load):
        assert load_answer_key(load(ROWS)) is None


def test_the_demo_pool_opens_by_name_with_its_key(root):
    pool = load_pool("demo", workspace=root)
    assert (pool.source, pool.set_aside.num_rows) == ("demo", 0)
    key = load_answer_key(pool)
    assert key and set(key) <= set(pool.rows["id"].to_pylist())
    assert {"fault"} <= set(next(iter(key.values())))
    assert recent_pools(root)[0]["source"] == "demo"


def test_the_demo_pool_is_the_one_of_this_version(root):
    first = load_pool("demo", workspace=root)
    path = root / "demo" / "demo.jsonl"
    stamp = path.stat().st_mtime_ns
    assert load_pool("demo", workspace=root).rows.equals(first.rows)
    assert path.stat().st_mtime_ns == stamp
    path.write_text(json.dumps(ROWS[0]) + "\n")  # as an older version might have left it
    assert load_pool("demo", workspace=root).fingerprint == first.fingerprint
