"""Combined orders: worked by hand, the laws of prefixes, and from a recipe to a file and back."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from core.__main__ import app
from core.errors import MethodError
from core.measurement.lookup import find_run
from core.measurement.run_data import load_measured
from core.measurement.runs import list_runs
from core.methods import METHODS, build_method, standalone_methods
from core.methods.combined import Combined, expand_combinations, format_members, merge_columns
from core.methods.suggestions import with_suggestions
from core.pool.pools import load_pool
from core.schema import Measured, Reading

PAIR = '["longest", "lowest_nll"]'
ALL = np.ones(5, bool)


def measured(tokens=(50, 40, 30, 20, 10), nll=(3, 1, 5, 2, 4)) -> Measured:
    """Return a pool whose order by length is 0 1 2 3 4, and by low NLL 1 3 0 4 2."""
    return Measured("five", {"response_tokens": np.array(tokens), "nll": np.array(nll, np.float32)})


def order(rule: str, table: Measured | None = None, eligible=ALL, members: str = PAIR, **params):
    return Combined(members, rule, **params).order(table or measured(), eligible, seed=0)


# The rules


def test_rank_average_sorts_by_the_mean_rank():
    # ranks 0+2, 1+0, 2+4, 3+1, 4+3: means 1, 0.5, 3, 2, 3.5
    result = order("rank average")
    assert result.rows.tolist() == [1, 0, 3, 2, 4]
    np.testing.assert_allclose(result.values, 1 - np.array([1, 0.5, 3, 2, 3.5]) / 5)


def test_weights_shift_the_order_towards_one_method():
    # 3 : 1 -> 0.5, 0.75, 2.5, 2.5, 3.75; rows 2 and 3 are equal, and the first method prefers row 2
    assert order("rank average", weights="3, 1").rows.tolist() == [0, 1, 2, 3, 4]
    assert order("rank average", weights="0, 1").rows.tolist() == [1, 3, 0, 4, 2]


def test_union_takes_each_method_s_best_in_turn():
    # best ranks 0, 0, 2, 1, 3: rows 0 and 1 are both first for some method, and the first method prefers row 0
    assert order("union").rows.tolist() == [0, 1, 3, 2, 4]


def test_intersection_prefers_rows_that_all_rank_high():
    # worst ranks 2, 1, 4, 3, 4
    assert order("intersection").rows.tolist() == [1, 0, 3, 2, 4]


def test_filtered_keeps_the_first_order_over_the_top_of_the_others():
    result = order("filtered", keep=0.6)  # the first three by NLL are 1, 3, 0
    assert result.rows.tolist() == [0, 1, 3]
    assert {why: rows.tolist() for why, rows in result.excluded.items()} == {"not in the top 60% of Lowest NLL": [2, 4]}
    assert order("filtered", keep=0.0).rows.tolist() == []
    assert order("filtered", keep=1.0).rows.tolist() == [0, 1, 2, 3, 4]


def test_prefixes_hold_the_union_and_the_intersection_of_the_members_prefixes():
    rng = np.random.default_rng(3)
    table = Measured("many", {"response_tokens": rng.permutation(200) + 1, "nll": rng.permutation(200).astype(float)})
    every = np.ones(200, bool)
    a, b = (build_method(name, {}).order(table, every, seed=0).rows for name in ("longest", "lowest_nll"))
    either, both = (order(rule, table, every).rows for rule in ("union", "intersection"))
    for k in (1, 7, 60, 200):
        one, other = set(a[:k].tolist()), set(b[:k].tolist())
        assert set(either[: len(one | other)].tolist()) == one | other
        assert set(both[: len(one & other)].tolist()) == one & other


def test_a_row_excluded_by_one_member_is_excluded_for_its_reason_except_by_union():
    table = measured(nll=(3, np.nan, 5, 2, 4))
    for rule in ("rank average", "intersection", "filtered"):
        result = order(rule, table, keep=1.0)
        assert result.excluded["not measured"].tolist() == [1]
        assert 1 not in result.rows
    result = order("union", table)
    assert sorted(result.rows.tolist()) == [0, 1, 2, 3, 4]
    assert result.excluded == {}


def test_under_a_filter_every_member_orders_the_eligible_rows():
    eligible = np.array([False, True, True, True, True])
    result = order("rank average", eligible=eligible)  # lengths 1 2 3 4, NLL 1 3 4 2: means 0, 2, 1.5, 2.5
    assert result.rows.tolist() == [1, 3, 2, 4]
    assert result.excluded["filtered out"].tolist() == [0]


def test_each_member_reads_its_own_measurements():
    """Two entropy shifts with different warm-ups: the same column names, other values."""
    ends = {"response_tokens": np.full(3, 9), "nll": np.zeros(3), "nll_cal": np.zeros(3), "entropy": np.zeros(3)}
    one = Measured("x", ends | {"entropy_cal": np.array([1.0, 2.0, 3.0])})
    two = Measured("x", ends | {"entropy_cal": np.array([3.0, 1.0, 2.0])})
    shift = {"name": "entropy_shift", "params": {"gamma": 0}}
    method = Combined(json.dumps([shift, shift]), "rank average")
    both = Measured("x", one.columns, {"members": (one, two)})
    assert method.order(both, np.ones(3, bool), seed=0).rows.tolist() == [2, 0, 1]  # ranks 2 1 0 and 0 2 1
    scores = method.scores(both)
    assert scores["delta_entropy"].tolist() == [-1, -2, -3]
    assert scores["2.delta_entropy"].tolist() == [-3, -1, -2]
    assert "2.delta_nll" not in scores  # the same in both


def test_columns_are_renamed_only_if_they_differ():
    same, other = np.array([1.0, np.nan]), np.array([2.0, 1.0])
    assert list(merge_columns([{"a": same, "b": same}, {"a": same.copy(), "b": other}])) == ["a", "b", "2.b"]


# Members


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ("longest", "not JSON"),
        ("[]", "at least two methods"),
        ('["longest"]', "at least two methods"),
        ('["longest", 3]', "a method's name"),
        ('["longest", {"name": "random", "gamma": 1}]', "a method's name"),
        ('["longest", {"name": "random", "params": []}]', "must be a JSON object"),
        ('["longest", "combined"]', "cannot be a combination"),
        ('["longest", "oldest"]', "no method 'oldest'"),
        ('["longest", {"name": "entropy_shift", "params": {"gamma": 7}}]', "gamma must be"),
    ],
)
def test_invalid_members_are_refused_with_the_reason(members, sentence):
    with pytest.raises(MethodError, match=sentence):
        Combined(members)


@pytest.mark.parametrize("weights", ["1", "1, 2, 3", "1, x", "1, -1", "0, 0", "1, nan"])
def test_weights_are_one_number_for_each(weights):
    with pytest.raises(MethodError, match="weights must be 2 numbers"):
        Combined(PAIR, weights=weights)


def test_equal_combinations_have_the_same_text():
    text = format_members([build_method("longest", {}), build_method("entropy_shift", {"gamma": 0})])
    assert Combined(text).members == text
    assert Combined('["longest", {"params": {"gamma": 0.0}, "name": "entropy_shift"}]').members == text
    assert Combined(PAIR, weights="1,.5").weights == "1, 0.5"


def test_it_needs_what_its_members_need_and_they_are_measured_once():
    method = Combined('["longest", "entropy_shift", "lowest_nll"]')
    assert method.needs == ("tokens", "base", "calibrated")
    assert [m.name for m in expand_combinations([build_method("longest", {}), method])] == [
        "longest",
        "entropy_shift",
        "lowest_nll",
    ]


def test_all_methods_means_those_that_need_no_setup():
    assert set(METHODS) - set(standalone_methods()) == {"combined", "imported"}


# From a recipe to a file, and back


@pytest.fixture
def pool_file(tmp_path) -> Path:
    rows = [{"instruction": f"Say {i}", "output": "so " * (1 + i * 7 % 20), "quality": i % 9} for i in range(60)]
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def cli(*words: object) -> dict:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_recipe_with_a_combination_runs_and_replays_to_the_same_bytes(pool_file, tiny_model_dir, tmp_path):
    members = ["lowest_nll", {"name": "imported", "params": {"field": "quality"}}, "random"]
    recipe = tmp_path / "recipe.json"
    recipe.write_text(
        json.dumps(
            {
                "pool": {"source": str(pool_file)},
                "method": {"name": "combined", "params": {"members": json.dumps(members), "rule": "rank average"}},
                "reading": {"model": str(tiny_model_dir), "max_length": 128},
                "seed": 3,
                "budget": "20%",
                "export": {"with_scores": True},
            }
        )
    )
    out, place = tmp_path / "chosen.jsonl", ("--workspace", tmp_path / "workspace")
    assert cli("run", recipe, "--out", out, *place)["rows"] == 12
    first = json.loads(out.read_text().splitlines()[0])["winnow"]
    assert {"combined", "combined.rank", "nll", "imported", "response_tokens"} <= set(first)
    again = tmp_path / "again.jsonl"
    assert cli("replay", tmp_path / "chosen.manifest.json", "--out", again, *place)["identical"]
    assert again.read_bytes() == out.read_bytes()
    elsewhere = ("--workspace", tmp_path / "elsewhere")  # measured anew, from the manifest alone
    cli("replay", tmp_path / "chosen.manifest.json", "--out", again, *elsewhere)
    assert again.read_bytes() == out.read_bytes()


def test_the_measurements_of_its_members_suffice(pool_file, tiny_model_dir, tmp_path, workspace):
    model = ("--model", tiny_model_dir, "--max-length", 128, "--workspace", workspace.root)
    cli("measure", pool_file, "--method", "lowest_nll", *model)
    pool, reading = load_pool(str(pool_file), workspace=workspace.root), Reading(str(tiny_model_dir), max_length=128)
    method = Combined('["longest", "lowest_nll"]')
    run = find_run(workspace, pool, method, reading, 0)
    assert [member.id for member in run.members] == [list_runs(workspace, pool.fingerprint)[0].id] * 2
    options = ("--method", "combined", "--set", f"members={method.members}")
    assert cli("measure", pool_file, *options, *model)["run"] == run.id
    assert len(list_runs(workspace, pool.fingerprint)) == 1
    both = load_measured(run)
    assert len(both.artifacts["members"]) == 2
    assert len(method.order(both, np.ones(60, bool), seed=0).rows) == 60
    lacking = Combined('["longest", "entropy_shift"]')
    assert find_run(workspace, pool, lacking, reading, 0) is None


def test_members_too_get_the_suggestions_for_the_embedded_model():
    result = build_method("combined", with_suggestions("combined", {}, "embedded"))
    assert result.parts[0].learning_rate == with_suggestions("entropy_shift", {}, "embedded")["learning_rate"]
    text = '["longest", {"name": "entropy_shift", "params": {"learning_rate": 0.001}}]'
    assert (
        build_method("combined", with_suggestions("combined", {"members": text}, "embedded")).parts[1].learning_rate
        == 1e-3
    )
    assert with_suggestions("combined", {"members": text}, "another") == {"members": text}


def test_members_begin_with_the_used_rows():
    """Tasks of 3, 1 and 1 rows, one in turn: after rows 0 and 1 of the first, the other tasks are first."""
    table = Measured("five", {**measured().columns, "task_code": np.array([0, 0, 0, 1, 2]), "confidence": np.ones(5)})
    even = '[{"name": "task_confidence", "params": {"allocation": "even"}}, "longest"]'
    combined = Combined(even, "rank average", weights="1, 0")
    rows = combined.order(table, ALL, seed=0, used=np.array([0, 1])).rows
    assert [row for row in rows.tolist() if row > 1] == [3, 4, 2]
