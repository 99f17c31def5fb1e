"""A measurement has one kind of device, unless a mix is allowed; who computed a part is kept with it."""

import json
import platform

import pytest

from core.errors import ModelError
from core.measurement import stages as passes
from core.measurement.kinds import add_kind, describe_mix, read_kinds
from core.measurement.measure import measure_all
from core.methods import build_method
from core.models import loading
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.parts import Parts

CPU = {"device": "cpu", "torch": "2.13.0"}
CARD = {"device": "NVIDIA H100", "torch": "2.13.0"}


class Stops(SilentReporter):
    """Stops the work, as a kill would, after the first part of the pass."""

    def advance(self, rows, work):
        if self.name.startswith("Measuring"):
            raise KeyboardInterrupt

    def stage(self, name, **counts):
        self.name = name


def test_another_kind_is_refused_by_name_unless_a_mix_is_allowed(tmp_path):
    add_kind(tmp_path, CPU, allow_mix=False)
    add_kind(tmp_path, CPU, allow_mix=False)
    with pytest.raises(ModelError, match=r"computed on cpu with torch 2\.13\.0, and this is NVIDIA H100 with torch"):
        add_kind(tmp_path, CARD, allow_mix=False)
    assert read_kinds(tmp_path) == [CPU]
    add_kind(tmp_path, CARD, allow_mix=True)
    assert read_kinds(tmp_path) == [CPU, CARD]
    add_kind(tmp_path, CPU, allow_mix=False)  # it is one of those that were allowed


def test_a_mix_is_said_and_one_kind_is_not():
    assert describe_mix([CPU]) == describe_mix([]) == []
    assert describe_mix([CPU, CARD])[0].startswith("Scores were computed on several kinds of devices (cpu with torch")


def test_a_measurement_continues_on_another_version_of_torch_only_if_allowed(
    tmp_path, tiny_model_dir, workspace, monkeypatch
):
    rows = [{"instruction": f"add {k} and {k}", "output": f"{2 * k} is the sum of both"} for k in range(60)]
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(passes.PoolStages, "part_tokens", 1200)
    pool, nll = load_pool(str(file), workspace=workspace.root), build_method("lowest_nll", {})
    reading = Reading(model=str(tiny_model_dir), max_length=256, device="cpu")
    with pytest.raises(KeyboardInterrupt):
        measure_all(pool, [nll], reading, workspace, report=Stops())

    here = loading.describe_device("cpu")
    monkeypatch.setattr(loading, "describe_device", lambda device: here | {"torch": "9.9"})
    with pytest.raises(ModelError, match=r"and this is cpu with torch 9\.9: the last digits of scores may differ"):
        measure_all(pool, [nll], reading, workspace, report=SilentReporter())
    [run] = measure_all(pool, [nll], reading, workspace, report=SilentReporter(), allow_mix=True)
    assert [kind["torch"] for kind in run.summary["kinds"]] == [here["torch"], "9.9"]
    assert "several kinds of devices" in run.summary["warnings"][0]

    parts = Parts.stored(run.stage_folder("base"))
    made = [parts.made_by(part) for part in range(len(parts.plan))]
    assert made[0] == here | {"dtype": "float32", "host": platform.node()}
    assert len(made) > 2 and {about["torch"] for about in made[1:]} == {"9.9"}
