"""Curves for trackers: a module of the shape that trackio and wandb share, and real ones where they are installed."""

import json
import sqlite3
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.__main__ import app
from core.errors import WorkspaceError
from core.measurement.runs import Run
from core.output.curves import Curve, proof_curves, send_curves, warm_up_curves
from core.proof.plan import Plan, Training, Work
from core.proof.stored import Proof
from core.workspace.folder import Workspace

CURVES = [Curve("random, seed 0", "proof a", (3.0, 2.5), {"seed": 0}), Curve("longest", "proof a", (1.0,), {"seed": 1})]
STAND_IN = """
import json, os
class Error(Exception): pass
class Settings:
    def __init__(self, **options): self.options = options
class Run:
    def __init__(self, about): self.about, self.points = about, []
    def log(self, metrics, step=None): self.points.append([step, metrics["loss"]])
    def finish(self):
        with open(os.environ["TRACKED"], "a") as file:
            file.write(json.dumps(self.about | {"points": self.points}) + "\\n")
def init(project, name=None, group=None, config=None, id=None, mode=None, settings=None, **options):
    print("noise")
    if os.environ.get("REFUSES"): raise Error("No API key configured.\\nmore")
    about = {"project": project, "name": name, "group": group, "config": config, "id": id, "mode": mode}
    return Run(about | {"settings": settings.options if settings else None})
"""


@pytest.fixture(params=["trackio", "wandb"])
def tracker(request, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{request.param}.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setenv("TRACKED", str(tmp_path / "tracked.jsonl"))
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT", "REFUSES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    yield request.param
    sys.modules.pop(request.param, None)


def tracked(folder: Path) -> list[dict]:
    file = folder / "tracked.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_each_training_is_a_run_with_its_losses_and_is_sent_once(tracker, tmp_path, capsys):
    workspace = Workspace(tmp_path / "ws")
    assert (send_curves(CURVES[:1], tracker, workspace).sent, capsys.readouterr().out) == (1, "")
    again = send_curves(CURVES, tracker, workspace)
    assert (again.sent, again.sent_before, again.project) == (1, 1, "winnow")
    first, second = tracked(tmp_path)
    assert first["points"] == [[1, 3.0], [2, 2.5]] and second["points"] == [[1, 1.0]]
    assert (first["project"], first["group"], first["config"]) == ("winnow", "proof a", {"seed": 0})
    if tracker == "wandb":
        assert first["mode"] == "offline" and first["id"] and first["settings"]["x_disable_stats"]


def test_wandb_follows_its_own_settings(tracker, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    send_curves(CURVES[:1], tracker, Workspace(tmp_path / "ws"))
    (one,) = tracked(tmp_path)
    assert (one["mode"], one["project"]) == (("online", "mine") if tracker == "wandb" else (None, "winnow"))


def test_what_a_tracker_refuses_is_one_sentence_and_is_sent_later(tracker, tmp_path, monkeypatch):
    workspace = Workspace(tmp_path / "ws")
    monkeypatch.setenv("REFUSES", "1")
    with pytest.raises(WorkspaceError, match=r"did not take the curves: No API key configured. All results are stored"):
        send_curves(CURVES, tracker, workspace)
    monkeypatch.delenv("REFUSES")
    assert send_curves(CURVES, tracker, workspace).sent == 2


@pytest.mark.skipif(find_spec("trackio") is not None, reason="trackio is installed")
def test_a_tracker_that_is_missing_is_named_before_anything_is_trained(tmp_path):
    words = ["prove", "demo", "--log-to", "trackio", "--workspace", str(tmp_path / "ws")]
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, result.stderr.strip()) == (
        2,
        "--log-to trackio: it is not installed. Run: pip install trackio",
    )


def test_curves_of_a_proof_and_of_warm_ups(tmp_path):
    work = Work(steps=2, tokens_per_step=60, epochs=0)
    plan = Plan(
        {"name": "tiny", "source": "-"},
        None,
        {"name": "m", "revision": "r"},
        {},
        "50%",
        (0,),
        (1e-2,),
        work,
        Training(),
        (),
        (),
    )
    run = {"arm": "random", "seed": 0, "rate": 1e-2, "work": "steps", "rows": 6, "tokens": 90, "losses": [2.0, 1.5]}
    (curve,) = proof_curves(Proof(plan, tmp_path, runs=({**run, "arm": "untrained", "losses": []}, run)))
    assert (curve.name, curve.losses) == ("random, seed 0, learning rate 0.01, equal steps", [2.0, 1.5])
    assert curve.config["proof"] == plan.id and curve.config["arm"] == "random"
    method = {"name": "entropy_shift", "params": {"alpha": 0.1}}
    stored = Run("id", "pool", method, {}, {"name": "m", "revision": "r"}, "", 0, (), tmp_path)
    rounds = [{"rows": 2, "loss": [3.0], "steps": 1}]
    assert warm_up_curves(stored) == []
    assert [one.losses for one in warm_up_curves(replace(stored, summary={"rounds": rounds * 2}))] == [[3.0], [3.0]]
    grouped = warm_up_curves(replace(stored, summary={"groups": [{"name": "code", "rounds": rounds}]}))
    assert grouped[0].name == "entropy_shift warm-up 1, code"
    assert len(warm_up_curves(replace(stored, summary={"warm_up": {"loss": [1.0]}}))) == 1


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_real_trackio_stores_the_points(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    send_curves(CURVES, "trackio", Workspace(tmp_path / "ws"))
    with sqlite3.connect(tmp_path / "trackio" / "winnow.db") as stored:
        points = stored.execute("select run_name, step, metrics from metrics order by run_name desc, step").fetchall()
    assert [(name, step, json.loads(text)["loss"]) for name, step, text in points] == [
        ("random, seed 0", 1, 3.0),
        ("random, seed 0", 2, 2.5),
        ("longest", 1, 1.0),
    ]
