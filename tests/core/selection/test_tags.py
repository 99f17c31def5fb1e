"""Tags: their names, the columns they make, and what a recipe with tags selects, writes and reproduces."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from core.cli.arguments import select_arguments
from core.errors import RecipeError
from core.output.curate import curate
from core.output.manifest import read_manifest
from core.output.replay import replay_rows
from core.proof.arms import describe_recipe
from core.schema import Measured
from core.selection.filter_syntax import format_filter, parse_filter
from core.selection.filters import Filter, tag_filter
from core.selection.recipe import Recipe, dump_recipe, load_recipe, make_selection, parse_recipe
from core.selection.tags import check_tag_name, tag_columns, tag_lists, tags_of_filters
from core.workspace.folder import Workspace
from tests.core.pool.pools import make_pool
from tests.pages.conftest import entropy_shift_run

LENGTHS = np.array([5, 50, 20, 40, 10, 30])
TAGS = {"keep": ["r1", "r4"], "unclear, or not": ["r4", "r0", "r5"]}


@pytest.fixture
def pool():
    return make_pool(
        [{"id": f"r{i}", "instruction": f"Question {i}?", "output": "word " * n} for i, n in enumerate(LENGTHS)]
    )


@pytest.fixture
def measured(pool):
    zeros = dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(6, np.int64))
    counts = {"prompt_tokens": np.full(6, 3), "response_tokens": LENGTHS, "truncated": np.zeros(6, bool), **zeros}
    return Measured(pool.fingerprint, counts)


def recipe(**changes) -> Recipe:
    return parse_recipe({"pool": {"source": "p.jsonl"}, "method": {"name": "longest"}, "budget": "6"} | changes, "test")


def select_rows(pool, measured, *lines, tags=TAGS):
    filters = [parse_filter(line) for line in lines]
    parts = [{"column": f.column, "values": f.values, "low": f.low, "exclude": f.exclude} for f in filters]
    return make_selection(recipe(filters=parts, tags=tags), pool, measured).rows.tolist()


# Names


def test_a_name_is_one_line_of_text_without_space_around_it():
    assert check_tag_name("  needs work ") == "needs work"
    assert check_tag_name("❤️‍🔥") == "❤️‍🔥"
    for name in ("", "   ", "x" * 65, "a\nb", "a\u2028b", "a\x00"):
        with pytest.raises(RecipeError, match="tag"):
            check_tag_name(name)
    assert len(check_tag_name("x" * 64)) == 64


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"keep": [], " keep": []}, "tags: The tag 'keep' is given twice"),
        ({"": ["r1"]}, "tags: A tag needs a name of 1 to 64 characters"),
        ({"a\tb": ["r1"]}, "contains a control character"),
        ({"keep": "r1"}, "tags.keep must be a valid list"),
        ({"keep": [1]}, "tags.keep.0 must be a valid string"),
        (["keep"], "tags must be a valid dictionary"),
    ],
)
def test_tags_that_no_recipe_can_hold_are_refused_in_one_sentence(tags, words):
    with pytest.raises(RecipeError, match=words) as caught:
        recipe(tags=tags)
    assert "\n" not in str(caught.value) and not str(caught.value).endswith("..")


# Columns and filters


def test_a_tag_is_a_column_of_yes_and_no(pool):
    columns = tag_columns(pool, TAGS)
    assert {name: mask.tolist() for name, mask in columns.items()} == {
        "tag.keep": [False, True, False, False, True, False],
        "tag.unclear, or not": [True, False, False, False, True, True],
    }
    lists = [[], ["keep"], [], [], ["keep", "unclear, or not"], []]
    lists[0] = lists[5] = ["unclear, or not"]
    assert tag_lists(pool, dict(reversed(TAGS.items()))).tolist() == lists


def test_rows_are_filtered_by_their_tags(pool, measured):
    assert select_rows(pool, measured, "tag.keep=1") == [1, 4]
    assert select_rows(pool, measured, "tag.keep=0") == [3, 5, 2, 0]
    assert select_rows(pool, measured, "tag.keep!=true") == [3, 5, 2, 0]
    assert select_rows(pool, measured, "tag.keep>=1", '{"column": "tag.unclear, or not", "values": ["1"]}') == [4]
    assert select_rows(pool, measured, "tag.keep=1", tags={"keep": []}) == []


def test_a_filter_by_a_tag_that_is_not_given_lists_those_that_are(pool, measured):
    with pytest.raises(
        RecipeError, match=r"there is no column 'tag.kept'\. There are .*tag\.keep, tag\.unclear, or not"
    ):
        select_rows(pool, measured, "tag.kept=1")


def test_ids_that_the_pool_does_not_have_are_counted(pool, measured):
    with pytest.raises(RecipeError, match=r"'keep' has 2 ids that hand\.jsonl does not have, first 'x'"):
        select_rows(pool, measured, "tag.keep=1", tags={"keep": ["r1", "x", "r1", "y", "x"]})


@pytest.mark.parametrize("name", ["keep", "needs work", 'a "quoted" one', "x>=1", "ü.b", "=", "not ", "a|b", "❤️‍🔥"])
@pytest.mark.parametrize("exclude", [False, True])
def test_a_filter_by_a_tag_of_any_name_is_a_line(name, exclude):
    wanted = tag_filter(name, exclude=exclude)
    assert parse_filter(format_filter(wanted)) == wanted
    assert str(wanted) == ("not " if exclude else "") + f"tagged '{name}'"


def test_a_plain_name_has_the_plain_form():
    assert format_filter(tag_filter("keep")) == "tag.keep=1"


# Recipes


def test_a_recipe_without_tags_is_as_it_was_before_there_were_tags():
    data = recipe().as_data()
    assert "tags" not in data and "tags" not in data["export"]


def test_a_written_recipe_with_tags_reads_back_the_same(tmp_path):
    result = recipe(tags=TAGS, export={"tags": True})
    dump_recipe(result, tmp_path / "r.yaml")
    assert load_recipe(tmp_path / "r.yaml").as_data() == result.as_data()
    assert yaml.safe_load((tmp_path / "r.yaml").read_text())["tags"] == TAGS
    assert select_arguments(result) is None


def test_only_tags_that_a_filter_names_decide_a_selection():
    filters = [Filter("tag.keep", values=("1",)), Filter("nll", low=1)]
    assert tags_of_filters(TAGS, filters) == {"keep": ["r1", "r4"]}
    plain, tagged = describe_recipe(recipe()), describe_recipe(recipe(tags=TAGS))
    assert plain == tagged
    parts = [{"column": "tag.keep", "values": ["1"]}]
    assert describe_recipe(recipe(tags={"keep": ["r4", "r1"]}, filters=parts))["tags"] == {"keep": ["r1", "r4"]}


# Files


@pytest.fixture
def run(pool, tmp_path):
    return entropy_shift_run(Workspace(tmp_path / "workspace"), pool)


FIRST = [{"column": "tag.keep", "values": ["1"], "exclude": True}]


def export(pool, run, out, **part):
    made = recipe(tags=TAGS, filters=FIRST, budget="2", export={"tags": True, **part})
    written = curate(made, pool, run, out)
    return written, [json.loads(line) for line in out.read_text().splitlines()] if out.suffix == ".jsonl" else None


def test_the_tags_of_each_row_are_written_and_described(pool, run, tmp_path):
    written, rows = export(pool, run, tmp_path / "a.jsonl", rejected=True)
    assert [(row["id"], row["winnow"]) for row in rows] == [("r3", {"tags": []}), ("r5", {"tags": ["unclear, or not"]})]
    rest = [json.loads(line) for line in written.rejected.read_text().splitlines()]
    assert [row["winnow"]["tags"] for row in rest] == [["unclear, or not"], ["keep"], [], ["keep", "unclear, or not"]]
    manifest = read_manifest(written.manifest)
    assert manifest.recipe["tags"] == TAGS and manifest.recipe["export"]["tags"] is True
    assert not manifest.output.with_scores
    card = written.card.read_text()
    assert "A field `winnow` holds each row's tags." in card
    assert "- **Tags** (rows of the pool): `keep` (2), `unclear, or not` (3)" in card
    assert "- **Filters**: `not tagged 'keep'`" in card


def test_scores_and_tags_share_a_field_in_every_schema(pool, run, tmp_path):
    for schema in ("original", "alpaca", "messages", "sharegpt", "annotation"):
        written, rows = export(pool, run, tmp_path / f"{schema}.jsonl", schema=schema, with_scores=True)
        assert [row["winnow"]["tags"] for row in rows] == [[], ["unclear, or not"]]
        assert [row["winnow"]["longest.rank"] for row in rows] == [0, 1]
        assert "holds each row's scores and tags." in written.card.read_text()


def test_parquet_has_a_column_of_lists(pool, run, tmp_path):
    export(pool, run, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert str(table.schema.field("winnow.tags").type) == "list<element: string>"
    assert table["winnow.tags"].to_pylist() == [[], ["unclear, or not"]]


def test_a_manifest_with_tags_is_replayed_byte_for_byte(pool, run, tmp_path):
    written, _ = export(pool, run, tmp_path / "a.jsonl", rejected=True)
    for rows_only in (True, False):
        again = replay_rows(
            read_manifest(written.manifest),
            load_recipe(written.recipe),
            pool,
            None if rows_only else run,
            tmp_path / f"{rows_only}.jsonl",
        )
        assert again.path.read_bytes() == written.chosen.read_bytes()
        assert again.rejected_path is not None


def test_an_export_without_a_request_has_no_tags(pool, run, tmp_path):
    curate(recipe(tags=TAGS, filters=FIRST, budget="2"), pool, run, tmp_path / "a.jsonl")
    assert [set(json.loads(line)) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [
        {"id", "instruction", "output"}
    ] * 2
