"""Scores of other tools: the forms they come in, the join by id, and the columns they become."""

import json

import numpy as np
import pytest

from core.cli.arguments import measure_arguments
from core.errors import PoolError, RecipeError
from core.measurement.measure import measure
from core.measurement.recipe_inputs import with_good_end
from core.measurement.run_data import load_measured
from core.methods import build_method
from core.output.score_files import collect_scores, write_score_file
from core.pool import outside_scores
from core.pool.outside_scores import import_scores, iter_scores
from core.pool.pool_columns import load_columns
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.selection.recipe import make_selection, parse_recipe
from core.workspace.folder import Workspace

N = 6


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def pool(tmp_path, workspace):
    rows = [{"id": f"r{k}", "instruction": f"Question {k}?", "output": f"Answer {k}."} for k in range(N)]
    return load_pool(str(write(tmp_path / "pool.jsonl", rows)), workspace=workspace.root)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "scores"),
    [
        ({"id": "a", "scores": {"Deita": {"score": 4.2}, "IFD": 0.7}}, {"Deita": 4.2, "IFD": 0.7}),
        ({"id": "a", "processed_scores": {"PPL": 3}}, {"PPL": 3}),
        ({"id": 7, "quality_scores": 4.1, "ifd": None, "ppl": "2", "kept": True}, {"quality_scores": 4.1, "ppl": 2}),
        ({"id": "a", "judge": {"help": {"score": 1}, "harm": {"mean": 2}}}, {"judge.help": 1, "judge.harm.mean": 2}),
        ({"id": "a", "score": 5}, {"score": 5}),
    ],
)  # fmt: skip
def test_the_numbers_of_a_row_and_their_names(row, scores):
    assert dict(iter_scores(row)) == scores


def test_scores_are_joined_by_id_and_the_rest_is_counted(pool, workspace, tmp_path):
    rows = [{"id": f"r{k}", "q": k / 2} for k in (3, 1, 99)] + [{"id": "r1", "q": 7}]
    read = import_scores(pool, str(write(tmp_path / "q.jsonl", rows)), workspace)
    assert (read.columns, read.rows, read.matched) == (("score@q",), 4, 2)
    assert (read.unmatched, read.unmatched_ids, read.repeated) == (1, ("r99",), 1)
    stored = load_columns(workspace.root, pool.fingerprint)["score@q"]
    np.testing.assert_array_equal(stored, [np.nan, 7, np.nan, 1.5, np.nan, np.nan])


def test_a_table_is_read_like_lines(pool, workspace, tmp_path):
    (tmp_path / "s.csv").write_text("id,note,quality\nr0,x,0.5\nr2,y,2\n")
    assert import_scores(pool, str(tmp_path / "s.csv"), workspace).columns == ("score@quality",)
    stored = load_columns(workspace.root, pool.fingerprint)["score@quality"]
    np.testing.assert_array_equal(stored, [0.5, np.nan, 2, np.nan, np.nan, np.nan])


def test_ranking_and_filtering_by_joined_scores(pool, workspace, tmp_path):
    rows = [{"id": f"r{k}", "a": -k, "b": k} for k in range(N)]
    import_scores(pool, str(write(tmp_path / "q.jsonl", rows)), workspace)
    method = build_method("imported", {"field": "score@a", "end": "low"})
    run = measure(pool, method, Reading(), workspace, seed=0, report=SilentReporter())
    recipe = {"pool": {"source": "p"}, "method": {"name": "imported", "params": {"field": "score@a", "end": "low"}}}
    recipe |= {"budget": "2", "filters": [{"column": "score@b", "high": 4}]}
    selection = make_selection(parse_recipe(recipe, "test"), pool, load_measured(run))
    assert selection.rows.tolist() == [4, 3]


def test_exported_scores_are_read_back_as_they_were(pool, workspace, tmp_path):
    rows = [{"id": f"r{k}", "a": k / 3} for k in range(N - 1)]
    import_scores(pool, str(write(tmp_path / "q.jsonl", rows)), workspace)
    run = measure(
        pool, build_method("imported", {"field": "score@a"}), Reading(), workspace, seed=0, report=SilentReporter()
    )
    columns = collect_scores([run])
    assert write_score_file(pool, columns, tmp_path / "out.jsonl") == N
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[3]["scores"]["imported"] == {"score": 1.0} and "imported" not in lines[N - 1]["scores"]
    read = import_scores(pool, str(tmp_path / "out.jsonl"), workspace, fields=["imported"], name="again")
    assert read.columns == ("score@again",)
    stored = load_columns(workspace.root, pool.fingerprint)
    np.testing.assert_array_equal(stored["score@again"], stored["score@a"])


def test_bad_input_is_one_sentence(pool, workspace, tmp_path):
    def read(rows, **options):
        return import_scores(pool, str(write(tmp_path / "bad.jsonl", rows)), workspace, **options)

    with pytest.raises(PoolError, match="no row has an id"):
        read([{"q": 1}])
    with pytest.raises(PoolError, match="no id is one of the pool's, such as 'r0'"):
        read([{"id": "x", "q": 1}])
    with pytest.raises(PoolError, match="a number in 'z'"):
        read([{"id": "r0", "q": 1}], fields=["z"])
    with pytest.raises(RecipeError, match=r"2 scores \(a, b\)"):
        read([{"id": "r0", "a": 1, "b": 2}], name="n")
    with pytest.raises(RecipeError, match="1 to 64 letters"):
        read([{"id": "r0", "a": 1}], name="no/where")
    read([{"id": "r0", "a": 1}])
    with pytest.raises(RecipeError, match="other numbers under the name score@a"):
        read([{"id": "r0", "a": 2}])


def test_a_column_that_is_not_joined_yet_is_named_with_the_command(pool, workspace):
    recipe = {"pool": {"source": "p"}, "method": {"name": "random"}, "filters": [{"column": "score@ifd", "low": 1}]}
    run = measure(pool, build_method("random", {}), Reading(), workspace, seed=0, report=SilentReporter())
    with pytest.raises(RecipeError, match=r"import-scores .*pool.jsonl FILE --as ifd"):
        make_selection(parse_recipe(recipe, "test"), pool, load_measured(run))


def test_the_good_end_is_named_once(pool, workspace, tmp_path):
    rows = [{"id": f"r{k}", "loss": k, "judge": k} for k in range(N)]
    read = import_scores(pool, str(write(tmp_path / "q.jsonl", rows)), workspace, ends={"loss": "low"})
    assert read.low == ("score@loss",)

    def end(**params):
        recipe = parse_recipe({"pool": {"source": "p"}, "method": {"name": "imported", "params": params}}, "test")
        return with_good_end(recipe, pool, workspace).method.build().prefer

    assert (end(field="score@loss"), end(field="score@judge"), end(field="score@loss", end="high")) == (
        "low",
        "high",
        "high",
    )
    command = measure_arguments(
        parse_recipe(
            {"pool": {"source": "p"}, "method": {"name": "imported", "params": {"field": "score@loss"}}}, "test"
        ),
        "measure",
    )
    assert "end=high" in command  # else it would rank from the other end
    with pytest.raises(RecipeError, match="no score 'nll'"):
        import_scores(pool, str(tmp_path / "q.jsonl"), workspace, ends={"nll": "low"})
    with pytest.raises(RecipeError, match="would both be score@a-b"):
        import_scores(pool, str(write(tmp_path / "n.jsonl", [{"id": "r1", "a b": 1, "a-b": 2}])), workspace)


def test_a_preview_reads_the_first_rows(pool, workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(outside_scores, "PREVIEW_ROWS", 3)
    rows = [{"id": f"r{k + 4}", "q": k} for k in range(5)]
    preview = outside_scores.preview_scores(pool, str(write(tmp_path / "q.jsonl", rows)), workspace)
    assert (preview.rows, preview.more, preview.matched, preview.unmatched_ids) == (3, True, 2, ("r6",))
    assert (preview.numbers, preview.lowest, preview.highest) == ({"q": 3}, {"q": 0}, {"q": 2})
