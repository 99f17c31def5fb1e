"""Preference influence ranks planted rows first: a short form of bench/planted_influence.py with one base model."""

import numpy as np
import pytest

from bench.planted_influence import LEAST_SHARE, Language, make_base, measure_shares

SEEDS = (0, 1, 2)


@pytest.mark.slow
def test_clean_rows_of_the_targets_topics_come_first_and_more_than_with_less_or_random(tmp_path):
    language = Language(0)
    base = make_base(language, tmp_path / "base")
    shares = [measure_shares(language, base, seed, tmp_path / str(seed)) for seed in SEEDS]
    assert min(share["ROSE"] for share in shares) >= LEAST_SHARE
    mean = {name: np.mean([share[name] for share in shares]) for name in shares[0]}
    assert mean["ROSE"] > max(mean["LESS"], mean["random"])
