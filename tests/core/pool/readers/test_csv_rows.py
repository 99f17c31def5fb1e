"""CSV and TSV: no row is lost without a sentence, whatever quote strays into the file."""

import random

import pytest

from core.errors import PoolError
from core.pool.pools import load_pool, read_rows, source_options
from core.pool.readers.bytestream import ByteStream
from core.pool.readers.csv_rows import read_csv
from core.pool.readers.records import UnreadableRow
from core.schema import FieldMap


@pytest.fixture
def load(tmp_path):
    def open_bytes(data, name="p.csv", **options):
        (tmp_path / name).write_bytes(data)
        return load_pool(str(tmp_path / name), workspace=tmp_path / "workspace", **options)

    return open_bytes


def read_all(path):
    """Return usable records, those set aside, and sentences about the whole file."""
    with ByteStream(path) as stream:
        source = read_csv(stream)
        records = [raw for block in source.blocks for _, raw in block.records]
    usable = [raw for raw in records if not isinstance(raw, UnreadableRow)]
    return usable, [raw for raw in records if isinstance(raw, UnreadableRow)], source.notices


def cell(style, row, column):
    """Return a cell of a table in one of several styles of quoting."""
    text = f"text {row} {column}"
    quoted = {
        "plain": False,
        "all quoted": True,
        "some quoted": (row + column) % 3 == 0,
        "quoted with separators": True,
        "quoted lines": True,
        "quoted and begins with a separator": row % 2 == 0,
    }[style]
    inside = {
        "quoted with separators": f"{text}, and more",
        "quoted lines": f'{text}\nsaid ""yes""',
        "quoted and begins with a separator": f", {text}",
    }.get(style, text)
    return f'"{inside}"' if quoted else text


STYLES = ["plain", "all quoted", "some quoted", "quoted with separators", "quoted lines"]
STYLES += ["quoted and begins with a separator"]


def table(style, rows):
    lines = ["prompt,note,answer", *(",".join(cell(style, row, column) for column in range(3)) for row in range(rows))]
    return "\n".join(lines) + "\n"


def assert_no_row_is_lost_silently(path, text, position, rows):
    path.write_text(text[:position] + '"' + text[position:])
    try:
        usable, aside, notices = read_all(path)
    except PoolError as error:
        assert "p.csv, line " in str(error)
    else:
        assert len(usable) >= rows or aside or notices, position


@pytest.mark.parametrize("style", STYLES)
def test_a_stray_quote_anywhere_loses_no_row_silently(tmp_path, style):
    text = table(style, 12)
    for position in range(len("prompt,note,answer\n"), len(text)):
        assert_no_row_is_lost_silently(tmp_path / "p.csv", text, position, 12)


@pytest.mark.parametrize("style", STYLES)
def test_nor_does_it_among_a_thousand_rows(tmp_path, style):
    text = table(style, 1000)
    for position in random.Random(0).sample(range(20, len(text)), 40):
        assert_no_row_is_lost_silently(tmp_path / "p.csv", text, position, 1000)


@pytest.mark.parametrize("style", STYLES)
def test_a_table_without_a_stray_quote_is_read_whole_and_without_a_word(tmp_path, style):
    (tmp_path / "p.csv").write_text(table(style, 100))
    usable, aside, notices = read_all(tmp_path / "p.csv")
    assert (len(usable), aside, notices) == (100, [], [])


def test_a_quote_in_the_last_column_that_is_never_closed_is_refused_with_its_line(load):
    rows = [f"q {k},a {k}" for k in range(1000)]
    rows[9] = 'q 9,"a 9'
    with pytest.raises(PoolError, match=r"p\.csv, line 11: a quote is opened in this row and never closed. Close it"):
        load(("prompt,completion\n" + "\n".join(rows) + "\n").encode())


def test_text_after_a_closing_quote_is_named_with_its_line(load):
    pool = load(b'prompt,completion\na,b\n"c" d,e\nf,g\n')
    assert pool.rows["line"].to_pylist() == [2, 4]
    assert pool.set_aside.to_pylist() == [{"line": 3, "reason": "text follows a closing quote", "text": '"c" d,e'}]


def test_rows_between_a_stray_quote_and_the_next_are_named_by_their_lines(load):
    pool = load(b'prompt,completion\na,b\nc,"d\ne,f\ng,"h"\ni,j\n')
    assert pool.rows["line"].to_pylist() == [2, 6]
    reason = "text follows a closing quote (lines 3 to 5 are read as one row)"
    assert pool.set_aside["reason"].to_pylist() == [reason]


def test_two_quotes_that_make_one_cell_of_many_rows_are_reported(load):
    rows = [f"q {k},a {k}" for k in range(100)]
    rows[9], rows[60] = 'q 9,"a 9', 'q 60,a 60"'
    pool = load(("prompt,completion\n" + "\n".join(rows) + "\n").encode())
    assert len(pool) == 49
    assert "Lines 11 to 62 are read as one row but look like several." in pool.notices[0]


def test_a_lone_quote_inside_a_cell_is_kept_and_reported(load):
    pool = load(b'prompt,completion\na 5" pipe,b\nc,d\n')
    assert pool.rows["prompt"].to_pylist() == ['a 5" pipe', "c"]
    assert pool.notices == ("Unmatched quote in 1 row, first in line 2. It is read as text.",)


def test_blank_lines_before_the_header_are_counted(load):
    pool = load(b"\n" * 1_100_000 + b"prompt,completion\na,b\n")
    assert pool.rows["line"].to_pylist() == [1_100_002]


class TestWithoutHeader:
    def test_columns_are_called_by_their_number_and_the_mapping_is_said(self, load):
        pool = load(b"1 + 2?,3,x\n2 + 2?,4,y\n", header=False)
        assert pool.fields == FieldMap("custom", ("1",), "2")
        assert pool.rows["line"].to_pylist() == [1, 2]
        assert read_rows(pool, [0])[0].original == '{"1":"1 + 2?","2":"3","3":"x"}'
        assert "Without a header, column 1 is read as the prompt, column 2 as the response." in pool.notices[0]
        assert source_options(pool) == {"header": False}

    def test_one_column_is_a_pool_of_prompts(self, load):
        assert load(b"Add\nSub\n", header=False).fields == FieldMap("prompts_only", ("1",))

    def test_separators_of_a_tsv_are_tabs_though_its_text_has_commas(self, load):
        pool = load(b"1, 2, 3 and?\t4\n5, 6?\t7\n", "p.tsv", header=False)
        assert pool.rows["response"].to_pylist() == ["4", "7"]

    def test_a_row_of_another_width_is_set_aside(self, load):
        pool = load(b"a,b\nc\nd,e\n", header=False)
        assert pool.set_aside["reason"].to_pylist() == ["fewer cells than the first row"]

    def test_another_mapping_is_taken_without_a_word(self, load):
        pool = load(b"a,b\nc,d\n", header=False, fields=FieldMap("custom", ("2",), "1"))
        assert (pool.rows["prompt"].to_pylist(), pool.notices) == (["b", "d"], ())

    def test_the_two_readings_of_a_file_are_two_pools(self, load):
        data = b"prompt,completion\na,b\n"
        assert (len(load(data)), len(load(data, header=False))) == (1, 2)

    @pytest.mark.parametrize(
        "data",
        [
            b"What is the capital of France?,Paris\nAnd of Italy?,Rome\n",
            b"1,hot,cold\n2,wet,dry\n",
            b"Write a long poem about the sea and the sky,ok\nb,c\n",
        ],
    )
    def test_a_first_row_of_data_names_the_option_and_not_itself(self, load, data):
        with pytest.raises(PoolError, match="its first row looks like data, so it may have no header") as error:
            load(data)
        assert "--no-header" in str(error.value)
        assert data.decode().split("\n")[0] not in str(error.value)

    def test_a_first_row_of_words_is_listed_with_both_ways_out(self, load):
        with pytest.raises(PoolError, match=r"found hot, cold.*--fields.*--no-header"):
            load(b"hot,cold\nwet,dry\n")

    @pytest.mark.parametrize("name", ["p.jsonl", "p.json"])
    def test_other_files_have_no_header_to_miss(self, load, name):
        with pytest.raises(PoolError, match=r"is not a CSV or TSV file. Remove --no-header"):
            load(b'{"prompt": "a", "completion": "b"}', name, header=False)
