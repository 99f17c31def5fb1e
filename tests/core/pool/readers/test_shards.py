"""Several files as one pool: the same rows as in one file are the same pool."""

import csv
import gzip
import io
import json
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import PoolError
from core.pool.pools import iter_originals, load_pool, read_rows
from core.pool.preference.target_sets import load_target_set

ROWS = [
    {"instruction": f"Add {k}", "input": "" if k % 3 else "x", "output": str(k), "n": str(k % 4)} for k in range(50)
]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(ROWS[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def parquet(rows):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out, row_group_size=7)
    return out.getvalue()


FORMATS = {
    ".jsonl": lines,
    ".jsonl.gz": lambda rows: gzip.compress(lines(rows)),
    ".json": lambda rows: json.dumps(rows).encode(),
    ".csv": table,
    ".tsv.gz": lambda rows: gzip.compress(table(rows)),
    ".parquet": parquet,
}


@pytest.fixture
def write(tmp_path):
    def write_files(name, contents):
        for file, data in contents.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_bytes(data)
        return str(tmp_path / name)

    return write_files


@pytest.fixture
def load(tmp_path):
    return lambda source, **options: load_pool(str(source), workspace=tmp_path / "workspace", **options)


@pytest.mark.parametrize("suffix", FORMATS)
def test_shards_are_the_pool_of_their_rows_in_one_file(suffix, write, load, tmp_path):
    cuts = [0, 1, 10, 11, 30, 31, 32, 33, 34, 35, 36, 37, 50]  # twelve files, so that part-10 follows part-9
    shards = {f"part-{k}{suffix}": FORMATS[suffix](ROWS[a:b]) for k, (a, b) in enumerate(pairwise(cuts))}
    one = load(write("one", {f"all{suffix}": FORMATS[suffix](ROWS)}) + f"/all{suffix}")
    for several in (load(write("data", shards)), load(tmp_path / "data" / f"part-*{suffix}")):
        assert (several.fingerprint, several.fields, several.rows["id"]) == (
            one.fingerprint,
            one.fields,
            one.rows["id"],
        )
        assert list(iter_originals(several)) == list(iter_originals(one)) == ROWS
        assert [file.rows for file in several.files] == [b - a for a, b in pairwise(cuts)]
        assert [file.name for file in several.files] == list(shards)
        first = 2 if "sv" in suffix else 1
        assert read_rows(several, [10])[0].place == f"part-2{suffix}, line {first}"
        assert read_rows(one, [10])[0].place == f"line {10 + first}"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, len(ROWS) - 1), max_size=12), random=st.randoms(use_true_random=False))
def test_any_cuts_give_the_same_pool(cuts, random, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    rows = random.sample(ROWS, len(ROWS))
    (folder / "one.jsonl").write_bytes(lines(rows))
    (folder / "data").mkdir()
    edges = [0, *sorted(cuts), len(rows)]
    for k, (a, b) in enumerate(pairwise(edges)):
        (folder / "data" / f"{k}.jsonl").write_bytes(lines(rows[a:b]))
    one, several = (load_pool(str(folder / name), workspace=folder / "w") for name in ("one.jsonl", "data"))
    assert (several.fingerprint, several.fields) == (one.fingerprint, one.fields)
    assert several.rows["prompt"] == one.rows["prompt"]


def test_skipped_rows_say_their_file(write, load):
    broken = {"1.jsonl": lines(ROWS[:2]), "2.jsonl": b'{"instruction": "Add"}\n' + lines(ROWS[2:4]) + b"{\n"}
    pool = load(write("data", broken))
    skipped = [(row["file"], row["line"], row["reason"].split(":")[0]) for row in pool.set_aside.to_pylist()]
    assert skipped == [("2.jsonl", 1, "empty response"), ("2.jsonl", 4, "not JSON")]
    assert [(file.rows, file.skipped) for file in pool.files] == [(2, 0), (2, 2)]
    assert [row.place for row in read_rows(pool, [1, 2])] == ["1.jsonl, line 2", "2.jsonl, line 2"]


def test_notices_say_their_file(write, load):
    garbled = [{"instruction": "cafÃ©", "output": "x"}]
    pool = load(write("data", {"1.jsonl": lines(ROWS[:2]), "2.jsonl": lines(garbled)}))
    assert "in 1 row, first in 2.jsonl, line 1." in pool.notices[0]
    quoted = b'instruction,output\nAdd 5" pipes,3\n'
    pool = load(write("tables", {f"{k}.csv": quoted for k in range(3)}))
    assert [n for n in pool.notices if "quote" in n] == [
        "tables/0.csv and 2 more: Unmatched quote in 1 row, first in line 2. It is read as text."
    ]


BAD = {
    "empty": (b"", r"data/2\.jsonl is empty\."),
    "blank": (b"\n\n", r"data/2\.jsonl is empty\."),
    "an array of numbers": (b"[1, 2]\n", r"data/2\.jsonl: none of its first 2 lines or elements is a JSON object\."),
    "binary": (b"\0\1\2", r"data/2\.jsonl is a binary file and not Parquet"),
    "another schema": (lines([{"messages": []}]), r"data/2\.jsonl: No row has a field 'instruction'\."),
    "no response": (lines([{"instruction": "Add"}]), r"data/2\.jsonl: No row has a field 'output'\."),
    "damaged gzip": (gzip.compress(lines(ROWS))[:60], r"data/2\.jsonl is damaged or incomplete"),
    "no readable Parquet": (b"PAR1" + b"x" * 40, r"data/2\.jsonl is damaged and cannot be read as Parquet"),
}


@pytest.mark.parametrize(("data", "problem"), BAD.values(), ids=BAD)
def test_a_file_that_does_not_belong_is_named_before_any_row_is_stored(data, problem, write, load, tmp_path):
    source = write("data", {"1.jsonl": lines(ROWS), "2.jsonl": data, "3.jsonl": lines(ROWS)})
    with pytest.raises(PoolError, match=problem) as error:
        load(source)
    assert "It is one of the 3 files of data: replace it, or name the others by a pattern." in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "workspace").rglob("pool.json"))


def test_a_file_that_is_not_readable_is_named(write, load, tmp_path):
    source = write("data", {"1.jsonl": lines(ROWS)})
    (tmp_path / "data" / "2.jsonl").symlink_to(tmp_path / "nowhere.jsonl")
    with pytest.raises(PoolError, match=r"data/2\.jsonl: cannot be read \(No such file or directory\)"):
        load(source)


def test_damage_in_the_middle_of_a_file_is_named(write, load):
    packed = gzip.compress(lines([{"instruction": "Add", "output": str(k) * 500} for k in range(9000)]))
    source = write("data", {"1.jsonl.gz": packed, "2.jsonl.gz": packed[:-40]})
    with pytest.raises(PoolError, match=r"data/2\.jsonl\.gz is damaged or incomplete"):
        load(source)


def test_fields_that_only_some_files_have_are_found_and_read(write, load):
    first, second = ({"instruction": "Add", "output": "1"}, {"instruction": "Add", "output": "2", "input": "now"})
    pool = load(write("data", {"1.jsonl": lines([first] * 3), "2.jsonl": lines([second] * 3)}))
    assert pool.rows["prompt"].to_pylist() == ["Add"] * 3 + ["Add\nnow"] * 3


def test_a_nested_mapping_is_checked_in_each_file(write, load):
    rows = [{"m": {"q": "a", "r": "b"}}, {"m": {"s": 1}}]
    fields = {"schema": "custom", "prompt": ("m.q",), "response": "m.r"}
    from core.schema import FieldMap

    source = write("data", {"1.jsonl": lines(rows), "2.jsonl": lines(rows[::-1])})
    assert len(load(source, fields=FieldMap(**fields))) == 2
    source = write("data", {"3.jsonl": lines(rows[1:])})
    with pytest.raises(PoolError, match=r"data/3\.jsonl: No row has a field 'm\.q'"):
        load(source, fields=FieldMap(**fields))


def test_tables_without_headers(write, load):
    pool = load(write("data", {f"{k}.csv": f"Add {k},{k}\nSub {k},0\n".encode() for k in range(3)}), header=False)
    assert pool.rows["prompt"].to_pylist() == [f"{w} {k}" for k in range(3) for w in ("Add", "Sub")]
    with pytest.raises(PoolError, match=r"more/1\.jsonl is not a CSV or TSV file\. Remove --no-header\."):
        load(write("more", {"1.jsonl": lines(ROWS)}), header=False)


def test_a_snapshot_of_the_hub_is_read_by_its_card(write, load):
    card = b"---\nconfigs:\n- config_name: en\n  data_files:\n  - split: train\n    path: en/*\n"
    card += b"- config_name: fr\n  data_files: fr/part-*\n---\n# A set\n"
    shards = {"en/part-10.parquet": parquet(ROWS[5:]), "en/part-9.parquet": parquet(ROWS[:5])}
    source = write("set", shards | {"fr/part-1.parquet": parquet(ROWS[:3]), "README.md": card})
    assert list(iter_originals(load(source, name="en"))) == ROWS
    assert [file.name for file in load(source, name="fr").files] == ["fr/part-1.parquet"]
    with pytest.raises(PoolError, match=r"set cannot be opened as a dataset: "):
        load(source)
    with pytest.raises(PoolError, match=r"not a hub dataset, so it has no revision or configuration"):
        load(f"{source}/en/*.parquet", name="en")


def test_a_snapshot_in_the_cache_of_the_hub_is_links_to_files_without_endings(write, load, tmp_path):
    write("blobs", {"a1": parquet(ROWS[:9]), "b2": parquet(ROWS[9:])})
    (tmp_path / "snapshots" / "main" / "data").mkdir(parents=True)
    for name, blob in (("train-00000-of-00002.parquet", "a1"), ("train-00001-of-00002.parquet", "b2")):
        (tmp_path / "snapshots" / "main" / "data" / name).symlink_to(tmp_path / "blobs" / blob)
    assert list(iter_originals(load(tmp_path / "snapshots" / "main"))) == ROWS


def test_files_with_splits_within_open_with_the_split(write, load):
    both = json.dumps({"train": ROWS[:3], "test": ROWS[3:4]}).encode()
    source = write("data", {"1.json": both, "2.json": both})
    assert (len(load(source)), len(load(source, split="test"))) == (6, 2)


def test_preference_pairs_may_be_in_several_files(write):
    pairs = [{"prompt": f"Q{k}", "chosen": f"a{k}", "rejected": "b"} for k in range(6)]
    targets = load_target_set(write("pairs", {"1.jsonl": lines(pairs[:4]), "2.jsonl": lines(pairs[4:]) + b"{"}))
    one = load_target_set(write("pair", {"1.jsonl": lines(pairs)}) + "/1.jsonl")
    assert targets.fingerprint == one.fingerprint
    assert targets.pairs["file"].to_pylist() == ["1.jsonl"] * 4 + ["2.jsonl"] * 2
    assert targets.pairs["line"].to_pylist() == [1, 2, 3, 4, 1, 2]
    assert targets.set_aside.to_pylist() == [
        {"line": 3, "reason": "not JSON: unexpected end of data", "text": "{", "file": "2.jsonl"}
    ]
    assert one.pairs.schema == targets.pairs.drop_columns("file").schema
