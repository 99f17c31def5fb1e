"""Rows from tables and folders."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import PoolError
from core.pool.pools import load_pool, read_rows
from core.pool.readers import tables

ROWS = [{"instruction": f"Add {k}", "output": str(k), "tags": ["x", None], "score": k / 4} for k in range(5)]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "workspace"


@pytest.fixture
def load(tmp_path, root):
    def load_file(name, data=None, **options):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        return load_pool(str(tmp_path / name), workspace=root, **options)

    return load_file


class TestCsv:
    def test_every_cell_is_text_and_lines_are_those_of_the_file(self, load):
        pool = load("p.csv", b'instruction,output,n\n"two\nlines",3,1\nAdd,4,2\n\nSub,,3\n')
        assert pool.rows["line"].to_pylist() == [2, 4]
        assert json.loads(read_rows(pool, [0])[0].original) == {"instruction": "two\nlines", "output": "3", "n": "1"}
        assert pool.set_aside.to_pylist()[0] | {"text": ""} == {"line": 6, "reason": "empty response", "text": ""}

    @pytest.mark.parametrize(("name", "mark"), [("p.csv", ";"), ("p.tsv", "\t"), ("p.csv", "\t")])
    def test_other_separators_are_seen_in_the_header(self, load, name, mark):
        pool = load(name, f'question{mark}answer\n"1, 2?"{mark}"3; 4"\n'.encode())
        assert (pool.rows["prompt"].to_pylist(), pool.rows["response"].to_pylist()) == (["1, 2?"], ["3; 4"])

    def test_one_column_is_a_pool_of_prompts(self, load):
        assert load("p.csv", b"prompt\nAdd\tthis; now\n").rows["prompt"].to_pylist() == ["Add\tthis; now"]

    def test_rows_of_another_width_and_other_encodings_are_set_aside(self, load):
        pool = load("p.csv", b"instruction,output\na\nb,c,d\ncaf\xe9,x\nb,c\n")
        assert pool.rows["line"].to_pylist() == [5]
        reasons = ["fewer cells than the header", "more cells than the header", "not UTF-8"]
        assert pool.set_aside["reason"].to_pylist() == reasons

    def test_conversations_may_be_json_in_a_cell(self, load):
        turns = json.dumps([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
        cell = turns.replace('"', '""')
        assert load("p.csv", f'messages\n"{cell}"\n'.encode()).rows["response"].to_pylist() == ["Hello"]

    def test_a_cell_of_350_000_characters_is_read(self, load):
        pool = load("p.csv", b"instruction,output\nAdd," + b"x" * 350_000 + b"\n")
        assert pool.rows["response_chars"].to_pylist() == [350_000]

    def test_a_quote_that_is_never_closed_is_refused_with_its_line(self, load):
        with pytest.raises(PoolError, match=r"p\.csv, line 3: a quote is opened in this row and never closed"):
            load("p.csv", b'instruction,output\na,b\n"c,d\ne,f\ng,h\n')

    def test_a_column_named_twice_is_refused(self, load):
        with pytest.raises(PoolError, match=r"p\.csv: the header repeats a column name \(a, a\)"):
            load("p.csv", b"a,a\n1,2\n")

    def test_a_header_alone_is_no_pool(self, load):
        with pytest.raises(PoolError, match=r"p\.csv: it holds no rows"):
            load("p.csv", b"instruction,output\n")

    def test_json_lines_are_json_lines_even_under_this_name(self, load):
        assert len(load("p.csv", b'{"instruction": "Add", "output": "3"}\n')) == 1


class TestParquet:
    def test_nested_columns_come_back_as_json(self, load, tmp_path):
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "p.parquet", row_group_size=2)
        pool = load("p.parquet")
        assert pool.rows["line"].to_pylist() == [1, 2, 3, 4, 5]
        assert [json.loads(r.original) for r in read_rows(pool, range(5))] == ROWS

    def test_conversations_are_found(self, load, tmp_path):
        turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
        pq.write_table(pa.Table.from_pylist([{"conversations": turns}]), tmp_path / "p.parquet")
        pool = load("p.parquet")
        assert (pool.fields.schema, pool.rows["response"].to_pylist()) == ("sharegpt", ["Hello"])

    def test_dates_become_text_and_nan_becomes_null(self, load, tmp_path):
        table = pa.table(
            {
                "prompt": ["a"],
                "completion": ["b"],
                "day": pa.array([0], pa.date32()),
                "price": pa.array([1], pa.decimal128(5, 2)),
                "score": [float("nan")],
            }
        )
        pq.write_table(table, tmp_path / "p.parquet")
        row = json.loads(read_rows(load("p.parquet"), [0])[0].original)
        assert (row["day"], row["price"], row["score"]) == ("1970-01-01", "1.00", None)

    @pytest.mark.parametrize("kind", [pa.binary(), pa.list_(pa.binary()), pa.struct([("bytes", pa.binary())])])
    def test_a_column_of_bytes_is_refused_by_name(self, load, tmp_path, kind):
        table = pa.table({"prompt": ["a"], "image": pa.array([None], kind)})
        pq.write_table(table, tmp_path / "p.parquet")
        with pytest.raises(PoolError, match=r"column 'image' contains binary data"):
            load("p.parquet")

    def test_two_columns_of_one_name_are_refused(self, load, tmp_path):
        table = pa.table([["a"], ["b"], ["c"]], names=["prompt", "output", "output"])
        pq.write_table(table, tmp_path / "p.parquet")
        with pytest.raises(PoolError, match=r"p\.parquet: two columns are named 'output'. Rename or drop one"):
            load("p.parquet")

    def test_a_date_after_the_year_9999_sets_its_row_aside(self, load, tmp_path):
        days = pa.array([0, 400_000_000_000_000_000, 1], pa.timestamp("us"))
        table = pa.table({"prompt": ["a", "b", "c"], "completion": ["x", "y", "z"], "day": days})
        pq.write_table(table, tmp_path / "p.parquet")
        pool = load("p.parquet")
        assert pool.rows["prompt"].to_pylist() == ["a", "c"]
        (aside,) = pool.set_aside.to_pylist()
        assert (aside["line"], aside["reason"].split(" (")[0]) == (2, "a value cannot be read")

    def test_a_gzipped_file_is_read_from_the_disk_and_removed(self, load, tmp_path, root):
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "p.parquet")
        pool = load("p.parquet.gz", gzip.compress((tmp_path / "p.parquet").read_bytes()))
        assert [json.loads(r.original) for r in read_rows(pool, range(5))] == ROWS
        assert not list(root.rglob("*.parquet"))

    def test_wide_rows_are_read_a_few_at_a_time(self, load, tmp_path, monkeypatch):
        monkeypatch.setattr(tables, "BATCH_BYTES", 10_000)
        long = [{"prompt": "a", "completion": f"{k}" * 4000} for k in range(10)]
        pq.write_table(pa.Table.from_pylist(long), tmp_path / "p.parquet", compression=None)
        assert 3 <= load("p.parquet").rows["prompt"].num_chunks <= 10


class TestFolders:
    """Folders that are read with `datasets`."""

    datasets = pytest.importorskip("datasets")

    @pytest.fixture(autouse=True)
    def quiet(self):
        self.datasets.disable_progress_bars()

    def write(self, path, rows):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))

    def test_a_saved_dataset_opens_row_by_row(self, load, tmp_path):
        self.datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
        pool = load("saved")
        assert (pool.name, pool.fields.schema) == ("saved", "alpaca")
        assert [json.loads(r.original) for r in read_rows(pool, range(5))] == ROWS

    def test_rows_picked_before_saving_stay_picked(self, load, tmp_path):
        self.datasets.Dataset.from_list(ROWS).select([3, 1]).save_to_disk(tmp_path / "saved")
        assert load("saved").rows["response"].to_pylist() == ["3", "1"]

    def test_of_several_splits_train_is_open_and_the_others_are_named(self, load, tmp_path):
        both = {"test": ROWS[:2], "train": ROWS[2:]}
        splits = {name: self.datasets.Dataset.from_list(rows) for name, rows in both.items()}
        self.datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
        pool = load("saved")
        assert (len(pool), pool.notices) == (3, ("The split is 'train'. The dataset has test, train.",))
        assert len(load("saved", split="test")) == 2
        with pytest.raises(PoolError, match=r"saved has no split 'dev'. Choose one of test, train."):
            load("saved", split="dev")

    def test_a_folder_of_json_lines_is_a_dataset(self, load, tmp_path, root):
        self.write(tmp_path / "folder" / "train.jsonl", ROWS)
        self.write(tmp_path / "folder" / "test.jsonl", ROWS[:1])
        assert len(load("folder")) == 5
        assert len(load("folder", split="test")) == 1
        assert not list(root.rglob("cache"))

    def test_a_folder_of_parquet_is_a_dataset(self, load, tmp_path):
        (tmp_path / "folder").mkdir()
        pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "folder" / "part.parquet")
        assert [json.loads(r.original) for r in read_rows(load("folder"), range(5))] == ROWS

    def test_a_changed_file_in_a_folder_is_read_again(self, load, tmp_path):
        self.write(tmp_path / "folder" / "train.jsonl", ROWS)
        assert len(load("folder")) == 5
        self.write(tmp_path / "folder" / "train.jsonl", ROWS[:2])
        assert len(load("folder")) == 2

    def test_a_folder_without_data_is_refused(self, load, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "notes.bin").write_bytes(b"x")
        with pytest.raises(PoolError, match=r"cannot be opened as a dataset: No .supported. data files found"):
            load("folder")

    @pytest.mark.parametrize("state", ["{}", "[]", '{"_data_files": 1}', "null", '{"_data_files": [{"x": 1}]}', "{"])
    def test_a_saved_folder_that_is_none_is_refused(self, load, tmp_path, state):
        (tmp_path / "folder").mkdir()
        for file in ("state.json", "dataset_info.json"):
            (tmp_path / "folder" / file).write_text(state)
        with pytest.raises(PoolError, match="folder cannot be opened as a dataset: ") as error:
            load("folder")
        assert "\n" not in str(error.value)

    def test_a_folder_with_a_script_of_its_own_name_is_refused_and_the_script_does_not_run(self, load, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "folder.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
        with pytest.raises(PoolError, match="cannot be opened as a dataset: Dataset scripts are no longer supported"):
            load("folder")
        assert not (tmp_path / "ran").exists()
