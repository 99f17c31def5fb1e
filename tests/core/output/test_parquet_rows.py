"""Rows as Parquet: the same rows again, by this project and by `datasets`."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import RecipeError
from core.output import parquet_rows
from core.output.row_files import sibling_path
from core.output.writer import write_selection
from core.pool.pools import iter_originals, load_pool

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
TOOLS = [{"name": "add", "parameters": {"type": "object", "required": ["a", "b"]}}]
CONVERSATION = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
SCHEMAS = {
    "alpaca": {
        "instruction": "Add",
        "input": "1 é\n\u2028",
        "output": "2",
        "n": 3,
        "share": 0.5,
        "ok": True,
        "none": None,
    },
    "messages": {"messages": TURNS, "meta": {"noise": {"kind": "none", "levels": [[1], [], [2, 3]]}, "tags": []}},
    "sharegpt": {"conversations": CONVERSATION, "system": "", "tools": TOOLS, "scores": [1.5, -2.0]},
}


@pytest.fixture
def load(tmp_path):
    def load_rows(rows, name="pool.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_pool(str(tmp_path / name), workspace=tmp_path / "workspace")

    return load_rows


@pytest.fixture
def write(tmp_path):
    def write_rows(pool, rows=None, **options):
        return write_selection(
            pool, np.arange(len(pool)) if rows is None else rows, tmp_path / "out.parquet", **options
        )

    return write_rows


@pytest.fixture
def load_dataset(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return lambda path: datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache")
    )


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_pool_written_and_read_again_is_the_same_pool(schema, load, write, tmp_path):
    pool = load([SCHEMAS[schema] | {"id": k} for k in range(5)])
    written = write(pool)
    again = load_pool(str(written.path), workspace=tmp_path / "workspace")
    assert (again.fingerprint, again.fields, again.fields.schema) == (pool.fingerprint, pool.fields, schema)
    assert again.rows["hash"] == pool.rows["hash"]
    assert (written.rows, written.filled) == (5, 0)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_datasets_reads_the_rows_with_the_features_that_are_stored(schema, load, write, load_dataset):
    import datasets

    rows = [SCHEMAS[schema] | {"id": k} for k in range(5)]
    path = write(load(rows), scores={"nll": np.arange(5, dtype=np.float32)}).path
    data = load_dataset(path)
    assert [{k: v for k, v in row.items() if k != "winnow.nll"} for row in data] == rows
    stored = pq.read_schema(path)
    assert data.features == datasets.Features.from_arrow_schema(stored.remove_metadata())
    by_metadata = datasets.Features.from_dict(json.loads(stored.metadata[b"huggingface"])["info"]["features"])
    assert by_metadata.arrow_schema.remove_metadata() == stored.remove_metadata()  # others are passed over


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(JSON, min_size=1, max_size=4))
def test_a_row_is_read_back_as_it_is_or_counted_or_refused(values, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    rows = [{"instruction": "Add", "output": "1", "x": value} for value in values]
    (folder / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(folder / "p.jsonl"), workspace=folder / "w")
    originals = list(iter_originals(pool))
    try:
        written = write_selection(pool, np.arange(len(pool)), folder / "out.parquet")
    except RecipeError as error:
        assert "'x'" in str(error) or "Parquet value" in str(error)
        return
    back = pq.read_table(folder / "out.parquet").to_pylist()
    assert sum(row != original for row, original in zip(back, originals, strict=True)) == written.filled
    assert [without_null(row) for row in back] == [without_null(row) for row in originals]


def without_null(value):
    """Return a value without null fields, which is all that a column may add to a row."""
    if isinstance(value, dict):
        return {k: without_null(v) for k, v in value.items() if v is not None and without_null(v) != {}}
    return [without_null(v) for v in value] if isinstance(value, list) else value


def test_fields_that_only_some_rows_have_are_null_elsewhere_and_counted(load, write):
    rows = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d", "meta": {"k": [1]}}]
    written = write(load(rows))
    assert written.filled == 1
    assert pq.read_table(written.path).to_pylist() == [rows[0] | {"meta": None}, rows[1]]


@pytest.mark.parametrize("values", [[1, "a"], [[1], ["a"]], [{"a": 1}, [1]], [True, 2], [{"k": 1}, {"k": "x"}]])
def test_values_without_a_common_type_are_refused_with_their_row(values, load, write, tmp_path):
    pool = load([{"id": f"r{k}", "instruction": "a", "output": "b", "x": value} for k, value in enumerate(values)])
    shown = json.dumps(values[1], separators=(",", ":")).replace("[", r"\[").replace("{", r"\{")
    with pytest.raises(RecipeError, match=rf"^Row 'r1' \(line 2\) has {shown} in 'x', which has no common type"):
        write(pool)
    assert not (tmp_path / "out.parquet").exists()


def test_a_type_that_changes_after_many_rows_is_found_too(load, write, monkeypatch):
    monkeypatch.setattr(parquet_rows, "BATCH", 3)
    rows = [{"id": f"r{k}", "instruction": "a", "output": "b", "x": k if k < 7 else "seven"} for k in range(9)]
    with pytest.raises(RecipeError, match=r"^Row 'r7' \(line 8\) has \"seven\" in 'x'"):
        write(load(rows))


def test_integers_and_floats_share_a_column_unless_that_would_round_them(load, write):
    rows = [{"instruction": "a", "output": "b", "x": x} for x in (1, 0.5)]
    assert [row["x"] for row in pq.read_table(write(load(rows)).path).to_pylist()] == [1.0, 0.5]
    rows = [{"instruction": "a", "output": "b", "x": x} for x in (2**53 + 1, 0.5)]
    with pytest.raises(RecipeError, match=r"in 'x', which has no common type|cannot be a Parquet value"):
        write(load(rows, "large.jsonl"))


def test_an_object_without_fields_is_refused(load, write):
    with pytest.raises(RecipeError, match=r"Field 'x' holds objects without a field, which Parquet does not have\."):
        write(load([{"instruction": "a", "output": "b", "x": [{}]}]))


def test_scores_are_columns_with_null_for_nan_and_ranks_as_integers(load, write):
    pool = load([{"instruction": f"a{k}", "output": "b"} for k in range(4)])
    scores = {"nll": np.array([1, np.nan, 3, 4], np.float32), "m.rank": np.array([np.nan, 1, 0, 2])}
    scores["m.excluded"] = np.array(["filter", None, None, None], object)
    table = pq.read_table(write(pool, np.array([3, 0, 1]), scores=scores).path)
    assert table.select(["winnow.nll", "winnow.m.rank", "winnow.m.excluded"]).to_pydict() == {
        "winnow.nll": [1.0, None, 4.0],
        "winnow.m.rank": [None, 1, 2],
        "winnow.m.excluded": ["filter", None, None],
    }
    assert table.schema.field("winnow.m.rank").type == pa.int64()


def test_a_field_with_the_name_of_a_score_is_never_overwritten(load, write):
    pool = load([{"instruction": "a", "output": "b", "winnow.nll": 1}])
    with pytest.raises(RecipeError, match=r"already have a field 'winnow\.nll', and an export never overwrites"):
        write(pool, scores={"nll": np.ones(1)})


def test_other_schemas_and_the_other_files_are_parquet_too(load, write, tmp_path):
    pool = load([{"instruction": f"a{k}", "output": str(k)} for k in range(6)])
    written = write(pool, np.array([0, 2, 4]), schema="messages", rejected=True, held_out=np.array([2]))
    assert [row["messages"][-1]["content"] for row in pq.read_table(written.path).to_pylist()] == ["0", "4"]
    assert written.held_out.path.name == "out.heldout.parquet"
    assert pq.read_table(written.held_out.path).num_rows == written.held_out.rows == 1
    assert [row["output"] for row in pq.read_table(tmp_path / "out.rejected.parquet").to_pylist()] == ["1", "3", "5"]
    assert sibling_path(written.path, ".manifest.json").name == "out.manifest.json"


def test_row_groups_are_bounded_in_rows_and_bytes(load, write, monkeypatch):
    monkeypatch.setattr(parquet_rows, "BATCH", 4)
    monkeypatch.setattr(parquet_rows, "GROUP_ROWS", 10)
    pool = load([{"instruction": f"a{k}", "output": "b"} for k in range(30)])
    scores = {"n": np.arange(30)}
    groups = pq.read_metadata(write(pool, scores=scores).path)
    assert [groups.row_group(k).num_rows for k in range(groups.num_row_groups)] == [8, 8, 8, 6]
    assert pq.read_table(write(pool, scores=scores).path)["winnow.n"].to_pylist() == list(range(30))
    monkeypatch.setattr(parquet_rows, "GROUP_BYTES", 1)
    assert pq.read_metadata(write(pool).path).num_row_groups == 8


def test_the_same_rows_give_the_same_bytes(load, write):
    pool = load([SCHEMAS["messages"] | {"id": k} for k in range(9)])
    assert write(pool).sha256 == write(pool).sha256
