"""Measuring in stages: each is stored once, resumed to the same bits, and shared between methods."""

import json
import multiprocessing
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.algorithms.answer_geometry import compute_geometry
from core.algorithms.greedy_coverage import coverage_order
from core.cli.reports import run_facts
from core.columns import SHARED_SIGNALS
from core.errors import MethodError, ModelError, WorkspaceError
from core.measurement import stages as passes
from core.measurement.lookup import find_run, fits
from core.measurement.measure import describe_constant_columns, measure, measure_all
from core.measurement.run_data import load_measured
from core.measurement.runs import Run, list_runs
from core.measurement.task_confidence import code_labels
from core.methods import build_method
from core.models import batching, forward_pass
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.checksums import SUFFIX, forget_verified
from core.workspace.folder import Workspace
from core.workspace.parts import PLAN, Parts, plan_by_work

WORDS = "the cat sat on a mat and saw 12 red birds fly over 7 green hills in May".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def pool_file(tmp_path_factory) -> Path:
    """Write 240 rows of 1 to 40 words, all with a response."""
    rng = random.Random(0)

    def words(most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, most)))

    rows = [{"instruction": f"{words(30)} {i}", "output": words(40)} for i in range(240)]
    file = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def reading(tiny_model_dir) -> Reading:
    return Reading(model=str(tiny_model_dir), max_length=128)


SHIFT = build_method("entropy_shift", {"learning_rate": 1e-3, "epochs": 1, "alpha": 0.2, "batch_size": 8})
COVER = build_method("activation_coverage", {"clusters": 4})
ASK = build_method("task_confidence", {"prompts_per_task": 5, "new_tokens": 4, "derived_tasks": 3})
SPREAD = build_method("answer_divergence", {"answers": 3, "max_new_tokens": 4, "bins_measured": 6})


class Recorder(SilentReporter):
    def __init__(self):
        self.stages, self.waits = [], 0

    def stage(self, name, *, rows, work, done_rows=0, done_work=0):
        self.stages.append((name, rows, done_rows))

    def waiting(self, why):
        self.waits += 1


def run_on(pool_file, workspace, reading, method=SHIFT, report=None, seed=0):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    return measure(pool, method, reading, workspace, seed=seed, report=report or SilentReporter())


def assert_same_columns(a, b):
    for name, values in load_measured(a).columns.items():
        np.testing.assert_array_equal(values, load_measured(b).columns[name], err_msg=name)


def test_entropy_shift_measures_both_states_of_the_model(pool_file, workspace, reading):
    run = run_on(pool_file, workspace, reading)
    columns = load_measured(run).columns
    assert set(columns) == {*SHARED_SIGNALS["tokens"], "nll", "entropy", "nll_cal", "entropy_cal"}
    assert all(np.isfinite(columns[name]).all() for name in ("nll", "entropy", "nll_cal", "entropy_cal"))
    assert (columns["nll_cal"] < columns["nll"]).mean() > 0.9  # it was trained on a fifth of these rows
    assert run.summary["rounds"][0]["rows"] == 48
    assert len(run.summary["rounds"][0]["loss"]) == run.summary["rounds"][0]["steps"] == 6


def test_a_second_call_measures_nothing(pool_file, workspace, reading):
    first = run_on(pool_file, workspace, reading)
    report = Recorder()
    assert run_on(pool_file, workspace, reading, report=report).id == first.id
    assert report.stages == []


def test_methods_share_a_run(pool_file, workspace, reading):
    run = run_on(pool_file, workspace, reading)
    pool = load_pool(str(pool_file), workspace=workspace.root)
    for name in ("random", "longest", "lowest_nll", "highest_nll"):
        assert find_run(workspace, pool, build_method(name, {}), reading, 5).id == run.id


def test_a_new_calibration_reuses_tokens_and_base(pool_file, workspace, reading):
    first = run_on(pool_file, workspace, reading)
    report = Recorder()
    again = run_on(pool_file, workspace, reading, method=replace(SHIFT, alpha=0.3), report=report)
    assert again.id != first.id
    reused = [(name, done) for name, _, done in report.stages if done]
    assert reused == [("Tokenising", 240), ("Measuring with the base model: NLL, entropy, embeddings", 240)]


def test_another_seed_calibrates_on_other_rows(pool_file, workspace, reading):
    first, second = (run_on(pool_file, workspace, reading, seed=s) for s in (0, 1))
    a, b = (load_measured(r).columns for r in (first, second))
    np.testing.assert_array_equal(a["nll"], b["nll"])
    assert (a["nll_cal"] != b["nll_cal"]).any()


def test_further_rounds_start_from_the_base_model(pool_file, workspace, reading):
    run = run_on(pool_file, workspace, reading, method=replace(SHIFT, rounds=2, beta=0.1))
    assert [r["rows"] for r in run.summary["rounds"]] == [48, 24]


def test_changed_weights_are_another_measurement(pool_file, workspace, reading, tmp_path):
    import shutil

    copy = shutil.copytree(reading.model, tmp_path / "model")
    reading = replace(reading, model=str(copy))
    first = run_on(pool_file, workspace, reading, method=build_method("longest", {}))
    (copy / "tokenizer_config.json").write_text((copy / "tokenizer_config.json").read_text() + "\n")
    assert run_on(pool_file, workspace, reading, method=build_method("longest", {})).id != first.id
    with pytest.raises(ModelError, match="revision"):
        run_on(
            pool_file,
            workspace,
            replace(reading, revision=first.model["revision"]),
            method=build_method("lowest_nll", {}),
        )


def test_parts_hold_every_row_once_longest_first():
    lengths = np.array([5, 90, 20, 20, 100, 1])
    assert [p.tolist() for p in plan_by_work(lengths, 110)] == [[4], [1, 2], [3, 0, 5]]
    assert [p.tolist() for p in plan_by_work(lengths, 10)] == [[4], [1], [2], [3], [0, 5]]
    assert plan_by_work(np.array([], np.int64), 10) == []


def worker(pool_file: str, root: str, reading: Reading, pause: float = 0.0) -> None:
    """Measure in a process that may be killed at any moment, in many small parts.

    Wait `pause` seconds after each part, so that a test which watches the folder can kill the worker between any two.
    """
    passes.PART_SECONDS = 1e-5
    write = Parts.write

    def write_slowly(parts: Parts, part: int, table: pa.Table, made_by: Any = None) -> None:
        write(parts, part, table, made_by)
        time.sleep(pause)

    Parts.write = write_slowly
    measure_slow_methods(pool_file, Workspace(root), reading)


def measure_slow_methods(pool_file, workspace, reading) -> list[Run]:
    """Measure all methods that take long, in one pass."""
    pool = load_pool(str(pool_file), workspace=workspace.root)
    return measure_all(pool, [SHIFT, COVER, ASK, SPREAD], reading, workspace, report=SilentReporter())


def finished_files(root: Path) -> dict[Path, tuple[int, int]]:
    """Return time and inode of every finished part and model state, but parts of activations, which are removed."""
    files = [*root.glob("measurements/*/part-*[tw]"), *root.glob("models/*/state/*")]
    return {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in files if not holds_activations(p.parent)}


def holds_activations(folder: Path) -> bool:
    spec = folder / "spec.json"
    return spec.exists() and json.loads(spec.read_text())["kind"] == "activations"


def test_a_resumed_pass_plans_its_batches_for_the_memory_that_was_free_at_first(
    pool_file, tmp_path, reading, monkeypatch
):
    free, planned, write = [8e9, 80e9, 80e9], [], Parts.write
    plan, cost = batching.planned_memory, forward_pass.batch_cost

    def stop(parts, part, table, made_by=None):
        write(parts, part, table)
        if "probe" in (parts.folder / "spec.json").read_text():
            raise KeyboardInterrupt

    monkeypatch.setattr(batching, "free_memory", lambda _device: free.pop(0))
    monkeypatch.setattr(batching, "planned_memory", lambda folder, _device: plan(folder, "cuda"))
    monkeypatch.setattr(
        forward_pass, "batch_cost", lambda *about, memory=None: planned.append(memory) or cost(*about, memory=memory)
    )
    monkeypatch.setattr(passes.PoolStages, "part_tokens", 1024)
    baseline = build_method("lowest_nll", {})
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Parts, "write", stop)
        run_on(pool_file, Workspace(tmp_path), reading, baseline)
    run_on(pool_file, Workspace(tmp_path), reading, baseline)
    assert set(planned) == {8e9}
    assert len(free) == 2  # asked once


@pytest.mark.slow
@pytest.mark.soak
def test_killed_eight_times_it_ends_with_the_same_bits_and_repeats_no_part(pool_file, tmp_path, reading, monkeypatch):
    monkeypatch.setattr(passes, "PART_SECONDS", 1e-5)
    whole = measure_slow_methods(pool_file, Workspace(tmp_path / "whole"), reading)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["core.measurement.measure", "core.pool.pools"])
    root = tmp_path / "killed"
    rng = random.Random(1)
    done: dict[Path, tuple[int, int]] = {}
    grown = 0
    for _ in range(8):  # `make soak` kills a thousand times
        process = context.Process(target=worker, args=(str(pool_file), str(root), reading, 0.05))
        process.start()
        enough = len(done) + rng.randint(1, 8)
        while process.is_alive() and len(finished_files(root)) < enough:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))  # at any point of the next part
        process.kill()
        process.join()
        now = finished_files(root)
        assert {path: now.get(path) for path in done} == done  # nothing finished was lost or made again
        grown += len(now) > len(done)
        done = now
    process = context.Process(target=worker, args=(str(pool_file), str(root), reading))
    process.start()
    process.join()
    assert process.exitcode == 0
    now = finished_files(root)
    assert {path: now[path] for path in done} == done
    assert grown >= 4  # most attempts were killed in the middle of the work
    for one, other in zip(whole, measure_slow_methods(pool_file, Workspace(root), reading), strict=True):
        assert_same_columns(one, other)


@pytest.mark.slow
def test_a_second_worker_waits_and_uses_the_result_of_the_first(pool_file, tmp_path, reading):
    context = multiprocessing.get_context("forkserver")
    root = tmp_path / "shared"
    both = [context.Process(target=worker, args=(str(pool_file), str(root), reading)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [p.exitcode for p in both] == [0, 0]
    assert len(list_runs(Workspace(root), load_pool(str(pool_file), workspace=root).fingerprint)) == 4
    kinds = Counter(json.loads(spec.read_text())["kind"] for spec in root.glob("measurements/*/spec.json"))
    once = ["tokens", "activations", "coverage", "clusters", "tasks", "confidence", "answers", "geometry", "bins"]
    assert kinds == dict.fromkeys(once, 1) | {"probe": 2}  # base and calibrated


# One pass for several methods


def test_several_methods_are_measured_in_one_pass(pool_file, workspace, reading):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    report = Recorder()
    runs = measure_all(pool, [SHIFT, COVER, ASK], reading, workspace, report=report)
    passes = [name for name, _, _ in report.stages if name.startswith("Measuring with the base model")]
    assert passes == ["Measuring with the base model: NLL, entropy, embeddings, activations"]
    assert [run.method["name"] for run in runs] == ["entropy_shift", "activation_coverage", "task_confidence"]
    assert [fits(run, method, pool, 0) for run, method in zip(runs, [SHIFT, COVER, ASK], strict=True)] == [True] * 3


def test_collecting_activations_changes_no_score_of_the_pass(pool_file, workspace, reading, tmp_path):
    alone = load_measured(run_on(pool_file, Workspace(tmp_path / "alone"), reading, build_method("lowest_nll", {})))
    together = load_measured(run_on(pool_file, workspace, reading, COVER))
    for name in ("nll", "entropy"):
        np.testing.assert_allclose(together.columns[name], alone.columns[name], rtol=1e-6)


def test_after_a_pass_without_activations_another_collects_only_them(pool_file, workspace, reading):
    run_on(pool_file, workspace, reading, build_method("lowest_nll", {}))
    base = {path: path.stat().st_mtime_ns for path in workspace.root.glob("measurements/*/part-*")}
    report = Recorder()
    run_on(pool_file, workspace, reading, COVER, report=report)
    assert ("Measuring with the base model: activations", 240, 0) in report.stages
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in base.items())


def test_another_growth_or_number_of_clusters_runs_no_model(pool_file, workspace, reading):
    first = load_measured(run_on(pool_file, workspace, reading, COVER))
    report = Recorder()
    other = run_on(pool_file, workspace, reading, replace(COVER, growth="once", clusters=6), report=report)
    assert [done for name, _, done in report.stages if name.startswith("Measuring with the base model")] == [240]
    second = load_measured(other)
    assert (second.columns["coverage_gain"] != first.columns["coverage_gain"]).any()
    assert len(set(second.columns["activation_cluster"])) == 6


def test_the_stored_gains_are_those_of_the_greedy_order(pool_file, workspace, reading):
    measured = load_measured(run_on(pool_file, workspace, reading, COVER))
    greedy = coverage_order(measured.need("activations"))
    order = COVER.order(measured, np.ones(240, bool), seed=0)
    np.testing.assert_array_equal(order.rows, greedy.rows)
    np.testing.assert_array_equal(measured.columns["coverage_gain"][order.rows], greedy.gains)


def test_a_damaged_plan_of_gathered_activations_is_made_again(pool_file, workspace, reading):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    run = run_on(pool_file, workspace, reading, COVER)
    folder = workspace.folder("measurements", run.kept["states"])
    (folder / f"{PLAN}{SUFFIX}").write_bytes(b"damaged")
    forget_verified()
    run_on(pool_file, workspace, reading, COVER)
    assert find_run(workspace, pool, COVER, reading, 0) is not None


def test_removed_activations_are_a_clear_error(pool_file, workspace, reading):
    run = run_on(pool_file, workspace, reading, COVER)
    (workspace.folder("measurements", run.kept["states"]) / "states.json").unlink()
    with pytest.raises(WorkspaceError, match="Measure again"):
        load_measured(run)


def test_without_labels_tasks_are_derived_and_their_names_show_it(pool_file, workspace, reading):
    run = run_on(pool_file, workspace, reading, ASK)
    measured = load_measured(run)
    assert run.tasks.derived
    assert len(run.tasks.names) == 3
    assert all(name.startswith(f"derived {k + 1}") for k, name in enumerate(run.tasks.names))
    assert measured.task_names()[0] == run.tasks.names[measured.columns["task_code"][0]]
    asked = np.isfinite(measured.columns["confidence"])
    assert np.bincount(measured.columns["task_code"][asked]).tolist() == [5, 5, 5]


def write_labelled_rows(tmp_path: Path) -> Path:
    """Write 240 rows: 160 of task "a", 60 of task "b", 20 without a label."""
    tasks = ["a"] * 160 + ["b"] * 60 + [None] * 20
    rows = [{"instruction": f"say {i}", "output": f"{i} it is", "task": task} for i, task in enumerate(tasks)]
    file = tmp_path / "labelled.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_labels_are_the_tasks_and_rows_without_one_are_a_task_too(tmp_path, workspace, reading):
    run = run_on(write_labelled_rows(tmp_path), workspace, reading, ASK)
    assert run.tasks.names == ("a", "b", None)
    assert run.tasks.source == "labels: task"
    assert load_measured(run).task_names() is None
    assert run.summary["asked"] == 15
    assert 15 <= run.summary["continued"] <= 60


def test_other_labels_are_another_measurement(tmp_path, workspace, reading):
    file = write_labelled_rows(tmp_path)
    run_on(file, workspace, reading, ASK)
    pool = load_pool(str(file), workspace=workspace.root)
    unlabelled = load_pool(str(file), workspace=workspace.root, fields=replace(pool.fields, task=None))
    assert unlabelled.fingerprint == pool.fingerprint
    assert find_run(workspace, pool, ASK, reading, 0) is not None
    assert find_run(workspace, unlabelled, ASK, reading, 0) is None
    assert find_run(workspace, pool, replace(ASK, tasks="derived"), reading, 0) is None


def test_prompts_alone_have_tasks_and_a_confidence(tmp_path, workspace, reading):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"tell me about number {i}"}) + "\n" for i in range(40)))
    run = run_on(file, workspace, reading, ASK)
    measured = load_measured(run)
    assert (measured.columns["response_tokens"] == 0).all()
    order = ASK.order(measured, np.ones(40, bool), seed=0)
    assert sorted(order.rows.tolist()) == list(range(40))


def test_rows_without_a_response_have_activations_over_all_tokens(tmp_path, workspace, reading):
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"tell me about number {i}"}) + "\n" for i in range(40)))
    measured = load_measured(run_on(file, workspace, reading, replace(COVER, tokens="all")))
    assert np.isfinite(measured.columns["coverage_gain"]).all()
    assert (measured.columns["activation_cluster"] >= 0).all()
    with_responses = load_measured(run_on(file, workspace, reading, COVER))
    assert np.isnan(with_responses.columns["coverage_gain"]).all()
    assert (with_responses.columns["activation_cluster"] == -1).all()


# Answers


def test_answers_are_sampled_and_the_scores_are_the_geometry_of_the_stored_matrices(pool_file, workspace, reading):
    run = run_on(pool_file, workspace, reading, SPREAD)
    measured = load_measured(run)
    assert (measured.columns["answers_counted"] <= 3).all()
    grams = Parts.open(run.stage_folder("grams"), {}, []).column("gram", 240).reshape(240, 3, 3)
    geometry = compute_geometry(grams)
    np.testing.assert_array_equal(measured.columns["dispersion"], geometry.dispersion.astype(np.float32))
    np.testing.assert_array_equal(measured.columns["anisotropy"], geometry.anisotropy.astype(np.float32))
    assert len(measured.need("bin_merges")) == measured.columns["semantic_bin"].max() == 5
    assert run.summary["answers"]["asked"] == 720
    assert sorted(SPREAD.order(measured, np.ones(240, bool), seed=0).rows.tolist()) == list(
        np.flatnonzero(np.isfinite(measured.columns["dispersion"]))
    )


def test_another_number_of_bins_samples_no_answer_again(pool_file, workspace, reading):
    run_on(pool_file, workspace, reading, SPREAD)
    report = Recorder()
    run_on(pool_file, workspace, reading, replace(SPREAD, bins_measured=4), report=report)
    reused = dict((name, done) for name, _, done in report.stages)
    assert reused["Sampling answers"] == reused["Embedding the answers"] == 240


def test_another_seed_samples_other_answers(pool_file, workspace, reading):
    one, other = (run_on(pool_file, workspace, reading, SPREAD, seed=s) for s in (0, 1))
    assert load_measured(one).columns["dispersion"].tolist() != load_measured(other).columns["dispersion"].tolist()


def write_answers(tmp_path, ids) -> str:
    file = tmp_path / "answers.jsonl"
    rows = [{"id": name, "generated_answers": [f"{k} it is", "a cat sat", "a cat sat"]} for k, name in enumerate(ids)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_answers_from_a_file_are_joined_by_id(pool_file, workspace, reading, tmp_path):
    pool = load_pool(str(pool_file), workspace=workspace.root)
    file = write_answers(tmp_path, pool.rows["id"].to_pylist()[:200][::-1])
    run = run_on(pool_file, workspace, reading, replace(SPREAD, source="file", answers_file=file))
    measured = load_measured(run)
    assert np.isnan(measured.columns["dispersion"]).tolist() == [False] * 200 + [True] * 40
    assert (measured.columns["answers_counted"] == [3] * 200 + [0] * 40).all()
    np.testing.assert_allclose(measured.columns["anisotropy"][:200], 0, atol=1e-6)  # two equal ones and another: a line
    assert run.summary["answers"]["missing"] == 120


def test_a_changed_file_of_answers_is_another_measurement(pool_file, workspace, reading, tmp_path):
    ids = load_pool(str(pool_file), workspace=workspace.root).rows["id"].to_pylist()
    method = replace(SPREAD, source="file", answers_file=write_answers(tmp_path, ids))
    first = run_on(pool_file, workspace, reading, method)
    assert run_on(pool_file, workspace, reading, method).id == first.id
    write_answers(tmp_path, ids[:100])
    second = load_measured(run_on(pool_file, workspace, reading, method))
    assert (second.columns["answers_counted"] == 0).sum() == 140
    assert (load_measured(first).columns["answers_counted"] == 3).all()


def test_the_releases_token_weights_are_another_measurement_of_the_same_answers(
    pool_file, workspace, reading, tmp_path
):
    ids = load_pool(str(pool_file), workspace=workspace.root).rows["id"].to_pylist()
    file = tmp_path / "answers.jsonl"
    answers = ["a # b", "* a cat", "a “cat” sat"]
    file.write_text("".join(json.dumps({"id": name, "generated_answers": answers}) + "\n" for name in ids))
    method = replace(SPREAD, source="file", answers_file=str(file))
    ours = run_on(pool_file, workspace, reading, method)
    theirs = run_on(pool_file, workspace, reading, replace(method, weights="release"))
    assert ours.kept["answers"] == theirs.kept["answers"] and ours.kept["grams"] != theirs.kept["grams"]
    one, other = (load_measured(run).columns["dispersion"] for run in (ours, theirs))
    assert not np.isclose(one, other, atol=1e-5).any()


def test_blank_and_missing_answers_of_a_file_are_told(pool_file, workspace, reading, tmp_path):
    ids = load_pool(str(pool_file), workspace=workspace.root).rows["id"].to_pylist()
    given = [["a", " ", "b"], ["a", "b"], ["", "\n", "a"], [], *[["a", "b", "c"]] * 230]
    rows = [{"id": name, "generated_answers": answers} for name, answers in zip(ids, given, strict=False)]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = run_on(pool_file, workspace, reading, replace(SPREAD, source="file", answers_file=str(file)))
    facts = run_facts(run)
    assert facts["answers"]["blank_rows"] == 2
    assert facts["answers"]["short_rows"] == 1 + 1 + 6
    sentence = (
        "Of 240 rows, 2 have a blank answer and 8 have fewer than 3 answers. Their scores use the answers they have"
    )
    assert any(warning.startswith(sentence) for warning in facts["warnings"])


@pytest.mark.parametrize(("source", "words"), [("file", "answers_file"), ("server", "base_url.*served_model")])
def test_a_source_without_file_or_address_is_refused(pool_file, workspace, reading, source, words):
    with pytest.raises(MethodError, match=words):
        run_on(pool_file, workspace, reading, replace(SPREAD, source=source))


def test_tasks_are_numbered_by_size(tmp_path):
    file = tmp_path / "few.jsonl"
    tasks = ["x", "y", "y", None]
    file.write_text("".join(json.dumps({"instruction": f"{t}", "output": "o", "task": t}) + "\n" for t in tasks))
    names, codes = code_labels(load_pool(str(file), workspace=tmp_path))
    assert [names[code] for code in codes] == tasks
    assert names[0] == "y"


@pytest.mark.parametrize(("alike", "said"), [(100, True), (95, True), (94, False)])
def test_a_nearly_constant_column_is_reported_with_its_value(alike, said):
    values = np.full(110, np.nan, np.float32)  # ten rows are not measured
    values[:100] = np.where(np.arange(100) < alike, 0.25, np.arange(100))
    sentences = describe_constant_columns({"divergence": values, "tokens": np.zeros(110, np.int64)})
    assert len(sentences) == said
    if said:
        assert f"{alike} of 100 measured rows have the same value, 0.25" in sentences[0]


def test_a_column_without_values_is_not_called_constant():
    assert describe_constant_columns({"nll": np.full(3, np.nan)}) == []


def test_answers_that_are_all_alike_are_reported(pool_file, workspace, reading, tmp_path):
    ids = load_pool(str(pool_file), workspace=workspace.root).rows["id"].to_pylist()
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps({"id": i, "generated_answers": ["the same"] * 3}) + "\n" for i in ids))
    run = run_on(pool_file, workspace, reading, replace(SPREAD, source="file", answers_file=str(file)))
    warnings = run.summary["warnings"]
    assert sum("hardly ranks them" in warning for warning in warnings) == 2  # dispersion and anisotropy
