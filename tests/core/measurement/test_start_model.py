"""The kind of the start model, judged by the chat template of its tokenizer."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.measurement.measure import measure
from core.measurement.runs import Run
from core.measurement.start_model import describe_start_model, judge_start_model, warn_mixed_pool
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace
from tests.core.conftest import CHATML, make_tokenizer

SHIFT = {"epochs": 1, "alpha": 0.5}


@pytest.fixture
def open_tasks(tmp_path):
    def load(*tasks):
        rows = [{"instruction": f"say {i}", "output": f"it is {i}", "task": task} for i, task in enumerate(tasks * 16)]
        file = tmp_path / "pool.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return load_pool(str(file), workspace=tmp_path)

    return load


@pytest.fixture
def tuned_model_dir(tiny_model_dir, tmp_path):
    """Return the tiny model with a chat template."""
    folder = tmp_path / "tuned"
    folder.mkdir()
    for file in tiny_model_dir.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = make_tokenizer()
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    return folder


def measured(pool, model: Path, tmp_path, **params) -> Run:
    method = build_method("entropy_shift", SHIFT | params)
    return measure(pool, method, Reading(model=str(model)), Workspace(tmp_path), report=SilentReporter())


def mixed_warnings(run):
    return [sentence for sentence in run.summary["warnings"] if "mixes" in sentence]


def test_a_tuned_model_on_several_tasks_warns_that_the_sign_may_differ(open_tasks, tuned_model_dir, tmp_path):
    run = measured(open_tasks("a", "b"), tuned_model_dir, tmp_path)
    assert describe_start_model(run)["kind"] == "tuned"
    (sentence,) = mixed_warnings(run)
    assert "mixes 2 tasks" in sentence and "opposite sign" in sentence and "per=task" in sentence
    assert mixed_warnings(measured(open_tasks("a", "b"), tuned_model_dir, tmp_path, per="task")) == []
    assert mixed_warnings(measured(open_tasks("a"), tuned_model_dir, tmp_path)) == []


def test_a_base_model_is_none_without_a_template(open_tasks, tiny_model_dir, tmp_path):
    run = measured(open_tasks("a", "b"), tiny_model_dir, tmp_path)
    about = describe_start_model(run)
    assert (about["kind"], about["evidence"]) == ("base", "its tokenizer has no chat template")
    assert mixed_warnings(run) == []


def test_only_labelled_tasks_count(open_tasks, chat_tokenizer):
    assert judge_start_model(chat_tokenizer, open_tasks("a", None)) == {"kind": "tuned", "tasks": 1}
    assert warn_mixed_pool({"kind": "tuned", "tasks": 1}) == []


def test_a_run_stored_before_the_kind_was_judged_does_not_know_it(open_tasks, tiny_model_dir, tmp_path):
    run = measured(open_tasks("a"), tiny_model_dir, tmp_path)
    old = replace(run, summary={k: v for k, v in run.summary.items() if k != "start_model"})
    assert describe_start_model(old) == {}
