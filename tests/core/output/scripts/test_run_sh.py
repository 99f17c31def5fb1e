"""The shell script that is handed over trains what has no result, with any of three trainers."""

import os
import shutil
import subprocess

import pytest

RUN = "random/0-0.001-steps"


@pytest.fixture
def stubs(folder, tmp_path):
    """A copy of the folder, in which trainers are stubs that write down how they were called."""
    shutil.copytree(folder, tmp_path / "proof")
    (tmp_path / "bin").mkdir()
    for name in ("python", "llamafactory-cli", "axolotl"):
        stub = tmp_path / "bin" / name
        stub.write_text(f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\nmkdir -p "models/{RUN}"\n')
        stub.chmod(0o755)
    return tmp_path


def run_sh(stubs, *words, **env):
    paths = os.environ | {"PATH": f"{stubs}/bin:{os.environ['PATH']}"} | env
    done = subprocess.run(["sh", "proof/run.sh", *words], cwd=stubs, env=paths, capture_output=True, check=False)
    calls = stubs / "calls"
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_the_shell_script_trains_every_run_that_has_no_result(stubs):
    result = stubs / f"proof/results/{RUN}.jsonl"
    result.parent.mkdir(parents=True)
    result.write_text("{}\n")
    done, calls = run_sh(stubs)
    names = (stubs / "proof/runs.txt").read_text().split()
    assert done.returncode == 0
    assert calls == [f"python train_trl.py {name}" for name in names if name != RUN]


@pytest.mark.parametrize(("trainer", "command"), [("llamafactory", "llamafactory-cli"), ("axolotl", "axolotl")])
def test_another_trainer_trains_and_the_script_evaluates(stubs, trainer, command):
    done, calls = run_sh(stubs, "untrained/0-0-steps", RUN, TRAINER=trainer)
    assert done.returncode == 0
    assert calls == [
        "python train_trl.py untrained/0-0-steps",
        f"{command} train {trainer}/{RUN}.yaml",
        f"python train_trl.py {RUN} --weights models/{RUN} --trainer {trainer}",
    ]
    assert (stubs / "proof" / trainer / f"{RUN}.yaml").exists()
    assert not (stubs / f"proof/models/{RUN}").exists()
    run_sh(stubs, RUN, TRAINER=trainer, KEEP="1")
    assert (stubs / f"proof/models/{RUN}").exists()


def test_an_unknown_trainer_is_refused(stubs):
    done, calls = run_sh(stubs, RUN, TRAINER="mine")
    assert (done.returncode, calls) == (2, [])
    assert done.stderr.decode() == "TRAINER is trl, llamafactory or axolotl, not mine.\n"
