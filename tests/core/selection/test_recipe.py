"""A recipe decides completely which rows are selected."""

import numpy as np
import pytest
import yaml

from core.errors import MethodError, RecipeError
from core.schema import Measured
from core.selection.recipe import Recipe, dump_recipe, load_recipe, make_selection, parse_recipe
from tests.core.pool.pools import make_pool

LENGTHS = np.array([5, 50, 20, 40, 10, 30])


@pytest.fixture
def pool():
    rows = [
        {"instruction": f"Question {i}?", "output": "word " * int(n), "task": "ab"[i % 2]}
        for i, n in enumerate(LENGTHS)
    ]
    return make_pool(rows)


@pytest.fixture
def measured(pool):
    counts = {
        "prompt_tokens": np.full(6, 3),
        "response_tokens": LENGTHS,
        **dict.fromkeys(("prompt_cut", "response_cut"), np.zeros(6, np.int64)),
        "truncated": np.zeros(6, bool),
    }
    return Measured(pool.fingerprint, counts)


def recipe(**changes) -> Recipe:
    return parse_recipe({"pool": {"source": "p.jsonl"}, "method": {"name": "longest"}} | changes, "test")


def select_rows(pool, measured, **changes):
    return make_selection(recipe(**changes), pool, measured).rows.tolist()


def test_the_selection_is_the_orders_prefix(pool, measured):
    assert select_rows(pool, measured, budget="3") == [1, 3, 5]
    assert select_rows(pool, measured, budget="50%") == [1, 3, 5]
    assert select_rows(pool, measured, budget="95tok") == [1, 3]


def test_filters_decide_before_the_order_is_made(pool, measured):
    assert select_rows(pool, measured, budget="2", filters=[{"column": "task", "values": ["a"]}]) == [2, 4]
    short = [{"column": "response_tokens", "high": 30}]
    assert select_rows(pool, measured, budget="6", filters=short) == [5, 2, 4, 0]


def test_pins_lead_the_order_or_leave_it_and_count(pool, measured):
    ids = pool.rows["id"].to_pylist()
    pins = [{"id": ids[0], "side": "in", "reason": "a gem"}, {"id": ids[1], "side": "out"}]
    assert select_rows(pool, measured, budget="3", pins=pins) == [0, 3, 5]


def test_a_threshold_cuts_the_order_where_scores_get_worse(pool, measured):
    assert select_rows(pool, measured, budget="6", threshold=30) == [1, 3, 5]
    assert select_rows(pool, measured, budget="2", threshold=30) == [1, 3]


def test_a_threshold_without_a_score_is_refused(pool, measured):
    with pytest.raises(RecipeError, match="Random has no score"):
        select_rows(pool, measured, method={"name": "random"}, threshold=1.0)


def test_a_pin_on_a_row_of_another_pool_is_named(pool, measured):
    with pytest.raises(RecipeError, match="no row with id 'gone'"):
        select_rows(pool, measured, pins=[{"id": "gone", "side": "in"}])


def test_a_filter_on_an_unknown_column_lists_the_possible_ones(pool, measured):
    with pytest.raises(RecipeError, match=r"no column 'colour'.*response_tokens"):
        select_rows(pool, measured, filters=[{"column": "colour", "low": 1}])


def test_a_written_recipe_reads_back_the_same(tmp_path):
    result = recipe(
        budget="200ktok",
        seed=7,
        threshold=0.5,
        method={"name": "entropy_shift", "params": {"gamma": 0.2}},
        filters=[{"column": "task", "values": ["a", None], "exclude": True}],
        pins=[{"id": "x", "side": "out", "reason": "wrong: 2 + 2 = 5"}],
        export={"schema": "messages", "with_scores": True},
    )
    dump_recipe(result, tmp_path / "r.yaml")
    assert load_recipe(tmp_path / "r.yaml").as_data() == result.as_data()
    assert yaml.safe_load((tmp_path / "r.yaml").read_text())["method"]["params"]["alpha"] == 0.1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a\n- b", "is not a recipe"),
        ("pool: {source: x", "is not a YAML file"),
        ("pool: {source: x}\nmethod: {name: random}\nbudgt: 5", "budgt is unknown"),
        ("pool: {source: x}", "method is missing"),
        ("pool: {source: x}\nmethod: {name: random}\nbudget: a lot", "a lot"),
        ("pool: {source: x}\nmethod: {name: random}\nexport: {schema: csv}", "export.schema must be"),
        ("pool: {source: x}\nmethod: {name: random}\nreading: {max_length: 1}", "reading.max_length"),
    ],
)
def test_an_invalid_file_gives_one_sentence(tmp_path, text, words):
    file = tmp_path / "r.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe(file)
    assert "\n" not in str(caught.value)


def test_a_method_that_does_not_exist_is_refused_on_reading():
    with pytest.raises(MethodError, match="There is no method 'magic'"):
        recipe(method={"name": "magic"})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ([], "pool.fields must be a valid dictionary"),
        (5, "pool.fields must be a valid dictionary"),
        ("x", "pool.fields must be a valid dictionary"),
        (True, "pool.fields must be a valid dictionary"),
        ({"schema": ["x"]}, "pool.fields, schema must be a valid string"),
        ({"schema": "custom", "prompt": [["a"]]}, "pool.fields, prompt.0 must be a valid string"),
        ({"schema": "custom", "prompt": "a"}, "pool.fields, prompt must be a valid tuple"),
        ({"schema": "custom", "id": ["x"]}, "pool.fields, id must be a valid string"),
        ({"prompt": ["a"]}, "pool.fields, schema is missing"),
        ({"schema": "custom", "prompts": ["a"]}, "pool.fields: a mapping has no 'prompts'"),
    ],
)
def test_a_mapping_that_is_none_is_refused_with_its_member(fields, sentence):
    with pytest.raises(RecipeError) as error:
        recipe(pool={"source": "p.jsonl", "fields": fields}).pool.field_map()
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["seed: 1\nseed: 2\n", "pool: {source: a, source: b}\n"])
def test_a_key_given_twice_is_refused_with_its_line(tmp_path, text):
    (tmp_path / "r.yaml").write_text("# twice\n" + text)
    with pytest.raises(RecipeError, match=r"r\.yaml is not a YAML file: '\w+' appears twice in .*line 2"):
        load_recipe(tmp_path / "r.yaml")
