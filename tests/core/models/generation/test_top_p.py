"""Top-p sampling: its distribution, the tokens it excludes, and noise that depends only on id, step and stream."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest

from core.models.generation import top_p
from core.models.generation.answers import SamplingSettings
from core.models.generation.top_p import TopPProcessor, gumbel_noise, sample_top_p, step_seeds

SHARES = [0.42, 0.25, 0.15, 0.1, 0.08]  # of five tokens, sorted
PLACES = [2, 0, 4, 1, 3]


def streams(seed, ids):
    """The stream of the first answer of each of these rows."""
    return SamplingSettings(seed=seed).random_streams(ids)[:, 0]


def logits_of(shares, rows=1):
    return torch.tensor(shares).log().expand(rows, -1).clone()


def count_samples(shares, rows, temperature=1.0, top_p=1.0, seed=0):
    noise = gumbel_noise(streams(seed, [str(i) for i in range(rows)]), len(shares), "cpu")
    token, chance = sample_top_p(logits_of(shares, rows), noise, temperature, top_p)
    return np.bincount(token, minlength=len(shares)), chance


@pytest.mark.parametrize(
    ("top_p", "nucleus"),
    [(0.01, [0]), (0.41, [0]), (0.43, [0, 1]), (0.66, [0, 1]), (0.68, [0, 1, 2]), (0.91, [0, 1, 2, 3]), (1, range(5))],
)
def test_the_nucleus_is_the_smallest_set_with_mass_top_p_and_is_sampled_in_proportion(top_p, nucleus):
    shares = np.zeros(5)
    shares[PLACES] = SHARES
    counts, _ = count_samples(shares.tolist(), 20_000, top_p=top_p)
    inside = [PLACES[k] for k in nucleus]
    assert np.flatnonzero(counts).tolist() == sorted(inside)
    expected = shares[inside] / shares[inside].sum()
    assert len(inside) == 1 or chisquare(counts[inside], expected * 20_000).pvalue > 0.001


def test_ties_with_the_last_token_of_the_nucleus_are_in_it():
    counts, _ = count_samples([0.4, 0.2, 0.2, 0.2], 3000, top_p=0.5)  # 0.4, and any other makes 0.6
    assert (counts > 0).all()
    counts, _ = count_samples([0.4, 0.4, 0.2], 3000, top_p=0.3)
    assert (counts[:2] > 1300).all() and counts[2] == 0


def test_the_temperature_is_applied_before_the_nucleus():
    counts, chance = count_samples([0.64, 0.32, 0.04], 20_000, temperature=2.0, top_p=0.6)  # 0.8 : 0.566 : 0.2 of 1.566
    expected = np.array([0.8, 0.32**0.5])
    assert counts[2] == 0
    assert chisquare(counts[:2], expected / expected.sum() * 20_000).pvalue > 0.001
    whole = expected.sum() + 0.2
    assert {round(c, 4) for c in chance.tolist()} == {round(x / whole, 4) for x in expected}


def test_near_temperature_zero_it_is_the_likeliest_token():
    logits = torch.randn(50, 300, generator=torch.Generator().manual_seed(0))
    noise = gumbel_noise(streams(0, [str(i) for i in range(50)]), 300, "cpu")
    token, chance = sample_top_p(logits, noise, 1e-6, 0.9)
    assert torch.equal(token, logits.argmax(dim=1)) and torch.allclose(chance, torch.ones(50))


def test_a_large_vocabulary_is_sampled_in_proportion_too():
    rng = np.random.default_rng(0)
    shares = np.sort(rng.dirichlet(np.full(2000, 0.3)))[::-1]
    counts, _ = count_samples(shares.tolist(), 4000, top_p=0.9)
    size = int(np.searchsorted(np.cumsum(shares), 0.9)) + 1
    assert counts[size:].sum() == 0
    first = shares[:60] / shares[:size].sum()  # the tokens frequent enough for a test, and all others
    observed, expected = np.append(counts[:60], counts[60:].sum()), np.append(first, 1 - first.sum()) * 4000
    assert chisquare(observed, expected).pvalue > 0.001


def test_the_noise_is_gumbel_and_independent_across_tokens_steps_and_streams():
    one = streams(0, ["a"])
    by_step = torch.cat([gumbel_noise(step_seeds(one, step), 100, "cpu") for step in range(300)]).numpy()
    by_row = gumbel_noise(streams(0, [str(i) for i in range(300)]), 100, "cpu").numpy()
    for noise in (by_step, by_row):
        assert kstest(noise.ravel(), "gumbel_r").pvalue > 0.001
        for pairs in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1]), (noise[1:, 1:], noise[:-1, :-1])):
            assert abs(np.corrcoef(pairs[0].ravel(), pairs[1].ravel())[0, 1]) < 0.025  # four standard errors


def test_the_noise_of_a_step_is_splitmix_and_independent_of_earlier_samples():
    assert (
        step_seeds(np.array([0], np.uint64), 0)[0] == 0xE220A8397B1DCDAF
    )  # the first two numbers of SplitMix64 from 0
    assert step_seeds(np.array([0], np.uint64), 1)[0] == 0x6E789E6AA1B965F4
    keys, logits = streams(0, ["a", "b", "c"]), torch.zeros(3, 50)
    draw = TopPProcessor(keys, SamplingSettings())
    steps = torch.stack([draw(None, logits.clone()).argmax(dim=1) for _ in range(6)])
    other = TopPProcessor(keys[[2, 0]], SamplingSettings())
    for _ in range(4):
        other(None, torch.arange(100.0).reshape(2, 50))  # other samples than those of `draw`
    later = torch.stack([other(None, logits[:2].clone()).argmax(dim=1) for _ in range(2)])
    assert torch.equal(later, steps[4:, [2, 0]])


def test_excluded_tokens_are_never_sampled_and_nan_logits_give_nan():
    logits = torch.tensor([[0.0, -torch.inf, 0.0], [torch.nan, 0.0, 0.0]])
    for step in range(50):
        noise = gumbel_noise(step_seeds(np.arange(2, dtype=np.uint64), step), 3, "cpu")
        token, chance = sample_top_p(logits, noise, 1.4, 0.9)
        assert token[0] != 1 and chance[0] == 0.5 and chance[1].isnan()


def test_blocks_of_rows_change_nothing(monkeypatch):
    keys, logits = (
        streams(0, [str(i) for i in range(7)]),
        torch.randn(7, 50, generator=torch.Generator().manual_seed(0)),
    )
    whole = TopPProcessor(keys, SamplingSettings())
    expected = whole(None, logits.clone())
    monkeypatch.setattr(top_p, "BLOCK_BYTES", {"cpu": 3 * 4 * 50})
    parts = TopPProcessor(keys, SamplingSettings())
    assert torch.equal(parts(None, logits.clone()), expected)
    assert torch.equal(parts.steps[0], whole.steps[0])
