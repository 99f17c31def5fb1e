"""Pairs as tokens: both answers after the same prompt, also where they do not fit."""

import json

import numpy as np
import pytest

from core.errors import MethodError
from core.measurement.stages import PoolStages
from core.measurement.target_pairs import read_pairs, target_warnings
from core.methods.preference_influence import PreferenceInfluence
from core.models.reference import resolve_model
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace


def stages_of(reading, folder):
    """Return stages without a pool: reading pairs needs the tokenizer alone."""
    return PoolStages(None, reading, resolve_model(reading.model), Workspace(folder), SilentReporter())


def prompt_of(side, j):
    return side["tokens"][j][: side["spans"][j][-2]]


@pytest.mark.parametrize("name", ["pref_hh_fewshot_100", "pref_ultrafeedback_1000"])
def test_both_answers_of_every_pair_are_read_after_the_same_prompt(shared_data, name, embedded_reading, tmp_path):
    reading = Reading(model=embedded_reading.model, template=embedded_reading.template, max_length=512)
    stages = stages_of(reading, tmp_path)
    pairs = read_pairs(stages, PreferenceInfluence(), str(shared_data / f"{name}.jsonl.gz"), 0)
    for j in range(len(pairs.subtasks)):
        np.testing.assert_array_equal(prompt_of(pairs.chosen, j), prompt_of(pairs.rejected, j))
        assert all(len(side["tokens"][j]) <= 512 for side in (pairs.chosen, pairs.rejected))
    assert pairs.prompt_cut > 0 and len(pairs.subtasks) > 80


def test_pairs_that_were_cut_are_counted_by_side(tmp_path, embedded_reading):
    long = "one two three four " * 100
    rows = [
        {"prompt": "Say hi.", "chosen": "hi", "rejected": "no"},
        {"prompt": long, "chosen": "hi", "rejected": "no"},
        {"prompt": long, "chosen": "hi", "rejected": long},
        {"prompt": "Say hi.", "chosen": long, "rejected": "no"},
    ]

    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = read_pairs(stages_of(embedded_reading, tmp_path), PreferenceInfluence(), str(file), 0)
    assert (pairs.prompt_cut, pairs.answer_cut) == (2, 2)
    facts = {"name": "wanted", "chosen_longer": 0.5, "shared_rows": 0, "prompt_cut": 2, "answer_cut": 2}
    (warning,) = target_warnings([facts])
    assert "2 prompts were shortened, equally for both answers; 2 pairs lost the end of an answer." in warning
    assert target_warnings([facts | {"prompt_cut": 0, "answer_cut": 0}]) == []


def test_answers_that_are_the_same_as_far_as_they_are_read_are_no_pair(tmp_path, embedded_reading):

    same = "one two three four " * 100
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"prompt": "Say hi.", "chosen": same + "a", "rejected": same + "b"}) + "\n")
    with pytest.raises(MethodError, match="no pair has two different answers within 160 tokens"):
        read_pairs(stages_of(embedded_reading, tmp_path), PreferenceInfluence(), str(file), 0)
