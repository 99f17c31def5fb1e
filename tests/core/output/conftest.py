"""The measured demo pool of the tests of proofs, and a proof of it that is handed over."""

import dataclasses
import json

import numpy as np
import pytest

from core.output.hand_over import write_folder
from core.proof.plan import Work
from core.proof.stored import begin_proof
from tests.core.proof.conftest import demo

__all__ = ["demo", "design", "folder"]


@pytest.fixture(scope="session")
def design(demo, tmp_path_factory):
    pairs = tmp_path_factory.mktemp("targets") / "my pairs.jsonl"
    sides = [(f"Name a {thing}.", f"A red {thing}.", "No, I will not.") for thing in ("door", "hat", "boat", "kite")]
    lines = [{"prompt": prompt, "chosen": chosen, "rejected": rejected} for prompt, chosen, rejected in sides]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = {"budget": "12", "seeds": 2, "held_out": "12", "work": Work(2, 128, 2), "targets": (str(pairs),)}
    return demo.design("all", **options)


@pytest.fixture(scope="session")
def folder(design, tmp_path_factory):
    folder = tmp_path_factory.mktemp("handed") / "proof"
    small = dataclasses.replace(design, rows=design.rows | {"all": (np.arange(20),)})  # the whole pool takes long
    write_folder(small, begin_proof(design.stages.workspace, design.plan, design.rows, design.evaluated), folder)
    return folder
