"""A design is complete before its first step, and nothing that is evaluated is trained on."""

import json
import shutil

import numpy as np
import orjson
import pytest

from core.cli.commands import require_run
from core.errors import PoolError, RecipeError
from core.output.curate import curate
from core.pool.pools import load_answer_key, load_pool, recent_pools
from core.pool.preference.target_sets import digest_prompts
from core.proof.evaluation import join_small_tasks
from core.proof.plan import HELD_OUT, read_plan
from core.selection.recipe import dump_recipe
from tests.core.proof.conftest import make_recipe

METHODS = ("entropy_shift", "activation_coverage", "task_confidence", "answer_divergence", "lowest_nll")


@pytest.fixture(scope="module")
def arms(demo, tmp_path_factory):
    """Every kind of arm: methods, reversed ones, a recipe with pins, a manifest, a file of rows, a file of ids."""
    folder = tmp_path_factory.mktemp("arms")
    drawn = demo.design().evaluated[0].rows
    pinned = [{"id": demo.pool.rows["id"][int(row)].as_py(), "side": "in", "reason": "mine"} for row in drawn[:3]]
    dump_recipe(
        make_recipe("longest", filters=[{"column": "nll", "high": 2.5}], pins=pinned), folder / "mine.recipe.yaml"
    )
    recipe = make_recipe("entropy_shift", params={"learning_rate": 5e-4})
    curate(recipe, demo.pool, require_run(recipe, demo.pool, demo.workspace), folder / "chosen.jsonl")
    ids = [{"id": name.as_py()} for name in demo.pool.rows["id"][:400]]
    (folder / "ids.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ids))
    files = [f"mine={folder}/mine.recipe.yaml", f"made={folder}/chosen.manifest.json", f"{folder}/chosen.jsonl"]
    return [*METHODS, "bottom=reversed:entropy_shift", "second=random", "all", *files, str(folder / "ids.jsonl")]


@pytest.fixture(scope="module")
def every(demo, arms):
    return demo.design(*arms)


def groups(demo):
    """Return (N,) the first row of each row's group of exact or near-duplicates, from the pool and the stored array."""
    near = np.load(next(demo.workspace.root.glob("measurements/*/0.8.npy")))
    first = np.where(near < 0, np.arange(len(near)), near)
    exact = demo.pool.rows["duplicate_of"].to_pylist()
    return np.array([first[row if origin is None else origin] for row, origin in enumerate(exact)])


def test_held_out_rows_and_their_duplicates_are_in_no_arm(demo, every):
    held_out = every.evaluated[0].rows
    forbidden = np.flatnonzero(np.isin(groups(demo), groups(demo)[held_out]))
    assert len(held_out) == 200
    assert len(forbidden) == 200 + every.plan.targets[0].near_duplicates > 200
    assert {arm.name for arm in every.plan.arms} == set(every.rows)
    for rows in every.rows.values():
        assert all(len(one) and not np.intersect1d(one, forbidden).size for one in rows)


def test_no_known_bad_row_is_held_out_and_every_held_out_row_is_of_another_group(demo, every):
    faulty = load_answer_key(demo.pool)
    held_out = every.evaluated[0].rows
    assert not {demo.pool.rows["id"][int(row)].as_py() for row in held_out} & set(faulty)
    assert len(np.unique(groups(demo)[held_out])) == len(held_out)


def test_rows_removed_from_recipes_and_files_are_counted(every):
    arms = {arm.name: arm for arm in every.plan.arms}
    assert arms["mine"].left_out["held out"] >= 3  # the pinned rows
    assert "reason" not in arms["mine"].recipe["pins"][0]
    assert arms["ids"].rows[0] == 400 - sum(arms["ids"].left_out.values())
    assert arms["entropy_shift"].left_out is None


def test_a_recipe_without_pins_and_filters_gives_the_rows_of_its_method(every):
    for name in ("made",):
        assert every.rows[name][0].tolist() == every.rows["entropy_shift"][0].tolist()


def test_every_arm_has_the_budget_of_what_is_left(every):
    left = len(every.stages.pool) - 200 - every.plan.targets[0].near_duplicates
    sizes = {arm.name: set(arm.rows) for arm in every.plan.arms}
    for name in ("random", "longest", "second", "mine", *METHODS):
        assert sizes[name] == {left // 10}


def test_random_is_drawn_anew_for_each_seed_and_other_arms_are_the_same(every):
    assert len(every.rows["random"]) == len(every.rows["second"]) == 5
    drawn = [tuple(rows) for name in ("random", "second") for rows in every.rows[name]]
    assert len(set(drawn)) == 10
    assert len(every.rows["entropy_shift"]) == 1
    assert every.arm_rows("random", 3).tolist() == every.rows["random"][3].tolist()
    assert every.arm_rows("longest", 3).tolist() == every.rows["longest"][0].tolist()


def test_a_reversed_arm_is_the_end_of_the_same_order(every):
    top, bottom = every.rows["entropy_shift"][0], every.rows["bottom"][0]
    assert not np.intersect1d(top, bottom).size


def test_the_same_options_give_the_same_plan_and_another_seed_another(demo):
    one, two = demo.design("longest", "lowest_nll"), demo.design("longest", "lowest_nll")
    assert one.plan.id == two.plan.id == read_plan(orjson.loads(orjson.dumps(one.plan.as_data()))).id
    others = [{"seed": 1}, {"seeds": 4}, {"rates": (1e-4,)}, {"held_out": "210"}, {"budget": "5%"}]
    ids = {demo.design("longest", "lowest_nll", **other).plan.id for other in others}
    assert len(ids | {one.plan.id}) == 6


def test_where_a_target_lies_is_not_part_of_the_plans_id(demo, tmp_path):
    ids = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        file = tmp_path / folder / "mine.jsonl"
        rows = [{"instruction": f"Question {k}", "output": f"Answer number {k}"} for k in range(4)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        ids.append(demo.design(targets=(str(file),)).plan.id)
    assert ids[0] == ids[1]


@pytest.fixture
def target(demo, tmp_path):
    """A target with the prompts of rows 10..59, in other words of spacing and case, and other responses."""
    rows = demo.pool.rows.slice(10, 50).to_pylist()
    written = [{"prompt": f"  {row['prompt'].upper()}\n", "response": f"No {k}."} for k, row in enumerate(rows)]
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in written))
    return str(file)


def test_no_row_with_a_prompt_of_a_target_is_in_an_arm_unless_allowed(demo, target):
    words = ("entropy_shift", "all")
    prompts = list(digest_prompts(demo.pool))
    wanted = set(prompts[10:60])
    strict, loose = demo.design(*words, targets=(target,)), demo.design(*words, targets=(target,), prompts_allowed=True)
    assert strict.plan.targets[1].prompts_in_pool == loose.plan.targets[1].prompts_in_pool > 0
    for rows in strict.rows.values():
        assert not any(prompts[row] in wanted for one in rows for row in one)
    assert any(prompts[row] in wanted for row in loose.rows["all"][0])
    assert not np.intersect1d(loose.rows["all"][0], loose.evaluated[0].rows).size
    assert (strict.plan.prompts_allowed, loose.plan.prompts_allowed) == (False, True)


def test_the_pool_and_not_its_target_is_opened_last(demo, target):
    root = demo.workspace.root
    opened = load_pool(demo.pool.source, workspace=root)
    demo.design(targets=(target,))
    assert recent_pools(root)[0]["fingerprint"] == opened.fingerprint == demo.pool.fingerprint


def test_targets_are_pairs_or_rows_with_short_responses(demo, target):
    held_out, pairs, rows = demo.design(targets=("demo", f"short={target}")).evaluated
    assert (held_out.target.name, pairs.target.kind, rows.target.name) == (HELD_OUT, "pairs", "short")
    assert len(pairs.rejected_tokens) == len(pairs.tokens) == pairs.target.rows == 24
    assert rows.target.exact_match == rows.target.rows == 50
    assert rows.short.all()
    for one in (held_out, pairs, rows):
        assert [int(np.sum(s[1::2] - s[::2])) for s in one.spans] == one.response_tokens.tolist()
        assert sum(one.target.tasks.values()) == len(one.tokens) == len(one.rows)


def test_small_tasks_are_joined_until_they_have_20_rows():
    names = ["a"] * 30 + ["b"] * 25 + ["c"] * 5 + ["d"] * 3
    assert join_small_tasks(names)[0] == {"a": 30, "other": 33}  # c and d have 8 rows, so b joins them
    tasks, task = join_small_tasks(["a"] * 30 + ["b"] * 12 + ["c"] * 12)
    assert tasks == {"a": 30, "other": 24}
    assert task.tolist() == [0] * 30 + [1] * 24
    assert join_small_tasks(["a"] * 3 + ["b"] * 2)[0] == {"all rows": 5}
    assert join_small_tasks(["a"] * 40)[0] == {"all rows": 40}
    assert join_small_tasks(["other"] * 40 + ["a"] * 30 + ["b"])[0] == {"a": 30, "other": 41}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("entropi",), "'entropi' is neither a method nor a file. Write one of entropy_shift, "),
        (("x=",), "'x=' names no arm"),
        (("x=" + 300 * "a",), "is neither a method nor a file"),
        (("=longest",), "'=longest' names no arm"),
        (("random=longest",), "an arm cannot be called 'random'"),
        (("a/b=longest",), "an arm cannot be called 'a/b'"),
        (("lowest_nll", "lowest_nll"), "two arms are called 'lowest_nll'. Name one of them: other=lowest_nll."),
        (("reversed:nothing",), "'nothing' is no method, and only the order of a method can be reversed"),
    ],
)
def test_a_word_that_is_no_arm_is_one_sentence(demo, words, sentence):
    with pytest.raises(RecipeError, match=sentence):
        demo.design(*words)


def test_a_method_that_is_not_measured_is_one_sentence_with_the_command(demo):
    settings = {"entropy_shift": {"learning_rate": "0.01"}}
    with pytest.raises(
        RecipeError, match=r"not measured on this pool .* First run: python -m core measure demo .*0.01"
    ):
        demo.design("entropy_shift", settings=settings)


def test_settings_belong_to_an_arm_that_is_a_method(demo):
    found = demo.design("near=entropy_shift", settings={"near": {"gamma": "0.3"}}).plan.arms[-1]
    assert found.recipe["method"]["params"]["gamma"] == 0.3
    with pytest.raises(RecipeError, match="--set far: no arm of --arms is a method called 'far'"):
        demo.design("near=entropy_shift", settings={"far": {"gamma": "0.3"}})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": 1}, "--seeds 1 is not valid: it must be 2 to 100"),
        ({"rates": ()}, "--rates is not valid"),
        ({"rates": (0.0,)}, "--rates 0 is not valid: it must be above 0"),
        ({"rates": (float("nan"),)}, "--rates nan is not valid"),
        ({"rates": (1e-4, 1e-4)}, "--rates is not valid: it must be different"),
        ({"smallest_effect": 1.0}, "--smallest-effect 1 is not valid"),
        ({"budget": "much"}, "The budget 'much' is not valid"),
        ({"held_out": "1"}, "--held-out 1: .* Hold out at least 2 rows"),
        ({"held_out": "90%"}, "--held-out 90%: .* at most half"),
        ({"held_out": "10ktok"}, "--held-out 10ktok: write a number of rows"),
    ],
)
def test_nonsense_is_one_sentence(demo, options, sentence):
    with pytest.raises(RecipeError, match=sentence):
        demo.design(**options)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "mine.jsonl is empty"),
        ('{"instruction": "a", "output": ""}\n', "no row with a response; at least 2"),
        ('{"instruction": "a", "output": "b"}\n', "1 row with a response; at least 2"),
        ('{"x": 1}\n', "mine"),
    ],
)
def test_a_target_without_rows_is_one_sentence(demo, tmp_path, content, sentence):
    (tmp_path / "mine.jsonl").write_text(content)
    with pytest.raises(PoolError, match=f"The target 'mine' cannot be used. .*{sentence}"):
        demo.design(targets=(str(tmp_path / "mine.jsonl"),))


def test_two_targets_need_two_names_and_the_name_of_held_out_rows_is_taken(demo, target):
    with pytest.raises(RecipeError, match="two targets are called 'mine'"):
        demo.design(targets=(target, target))
    with pytest.raises(RecipeError, match="with another name than 'held out'"):
        demo.design(targets=(f"held out={target}",))


def test_a_selection_of_another_pool_or_budget_is_refused(demo, tmp_path):
    dump_recipe(make_recipe("longest", budget="5%"), tmp_path / "five.yaml")
    with pytest.raises(RecipeError, match="'five' has the budget 5%, and the proof 10%"):
        demo.design(str(tmp_path / "five.yaml"))
    other = make_recipe("longest", pool={"source": "demo", "fingerprint": "0" * 32})
    dump_recipe(other, tmp_path / "far.yaml")
    with pytest.raises(RecipeError, match="'far' is a selection of another pool"):
        demo.design(str(tmp_path / "far.yaml"))


def test_an_arm_that_tops_up_rows_trains_on_these_too(demo, tmp_path):
    ids = demo.pool.rows["id"].to_pylist()
    dump_recipe(make_recipe("longest", given=ids[:60]), tmp_path / "more.recipe.yaml")
    design = demo.design(str(tmp_path / "more.recipe.yaml"))
    (rows,) = design.rows["more"]
    trainable = np.setdiff1d(
        np.arange(60), np.flatnonzero(np.isin(groups(demo), groups(demo)[design.evaluated[0].rows]))
    )
    assert len(trainable) > 40 and np.isin(trainable, rows).all()
    assert len(rows) == len(design.rows["longest"][0])  # one budget for all arms
    assert next(arm for arm in design.plan.arms if arm.name == "more").recipe["given"] == sorted(ids[:60])


def test_unknown_rows_of_a_file_are_counted_and_the_first_is_named(demo, tmp_path):
    known = orjson.loads(demo.pool.rows["original"][0].as_py())
    rows = [known, known | {"output": "another"}, {"id": "nobody"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RecipeError, match=r"2 rows of the file are not in demo.jsonl, first in line 2"):
        demo.design(str(tmp_path / "rows.jsonl"))
    (tmp_path / "rows.jsonl").write_text("[1]\n")
    with pytest.raises(RecipeError, match=r"rows\.jsonl"):
        demo.design(str(tmp_path / "rows.jsonl"))


def test_a_budget_in_tokens_counts_those_of_the_trained_model(demo):
    built = demo.design("entropy_shift", budget="5ktok")
    longest = int(built.stages.counts["response_tokens"].max())
    for arm in built.plan.arms:
        assert all(5000 - longest < tokens <= 5000 for tokens in arm.response_tokens)


def test_a_pool_that_shares_all_prompts_with_a_target_has_nothing_to_train_on(demo, tmp_path):
    source = tmp_path / "same.jsonl"
    shutil.copy(demo.workspace.root / "demo" / "demo.jsonl", source)
    with pytest.raises(RecipeError, match=r"no row left to train on .*--allow-target-prompts"):
        demo.design(targets=(str(source),))


def test_a_baseline_costs_what_the_pass_took_and_not_the_method_whose_run_it_reads(demo, every):
    run = require_run(make_recipe("lowest_nll"), demo.pool, demo.workspace)
    seconds = run.summary["seconds"]
    shared = sum(seconds.get(kind, 0.0) for kind in ("tokens", "loading", "probe"))
    assert run.method["name"] != "lowest_nll"
    assert every.choosing_seconds["lowest_nll"] == pytest.approx(shared)
    assert shared < sum(seconds.values())
