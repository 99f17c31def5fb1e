"""Comparison of two trained models by what they lose on the same rows, over several seeds: estimate, interval, verdict.

    difference = Σ_s Σ_r (L_arm[s, r] - L_other[s, r]) / (S · Σ_r t_r)        nats per response token; < 0: the arm wins

L is the summed NLL of the response of held-out row r under the model that seed s trained, t_r its response tokens.
Seeds and rows are both samples, so both are resampled: a two-level bootstrap gives the standard error. Five seeds are
few: their deviations are scaled by sqrt(S / (S - 1)), and the interval uses Student's t with the degrees of freedom of
Welch and Satterthwaite, where a percentile interval would be too short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

RESAMPLES = 2000
LEVEL = 0.95
ENOUGH_SEEDS, ENOUGH_RATES = 5, 2  # with fewer seeds or learning rates, a verdict is only an indication
BETTER, WORSE, NONE = "better than random", "worse than random", "no difference shown"


@dataclass(frozen=True)
class Comparison:
    """A difference in nats per response token, with its interval and p-value; negative: the arm has the lower loss."""

    difference: float
    low: float
    high: float
    p: float  # two-sided, of no difference
    seeds: int

    @property
    def sign(self) -> int:
        """-1 if the arm is better, 1 if it is worse, 0 if there is no difference at all."""
        return int(np.sign(self.difference))


def compare(
    arm: NDArray[np.float64], other: NDArray[np.float64], tokens: NDArray[np.float64], *, seed: int = 0
) -> Comparison:
    """Compare summed NLLs (S, R) of two arms, paired by seed and row; `tokens` are the (R,) response tokens.

    Raises ValueError for fewer than two seeds or rows, or for shapes that do not match.
    """
    if arm.shape != other.shape or arm.shape[1:] != tokens.shape or min(arm.shape) < 2:
        raise ValueError(f"Cannot compare {arm.shape} with {other.shape} over {tokens.shape}: need at least 2 of each.")
    paired = np.asarray(arm - other, np.float64)
    weights = np.asarray(tokens, np.float64) / tokens.mean()
    estimate = float(paired.mean() / tokens.mean())
    spread = _spread_seeds(paired)
    seeds, rows = len(paired), len(weights)
    by_seed, by_row = _resample(seeds, seed), _resample(rows, seed + 1)
    of_rows = by_row @ np.vstack([spread, weights]).T  # (B, S + 1): of resampled rows
    by_token = of_rows[:, :-1] / of_rows[:, -1:]
    both = np.einsum("bs,bs->b", by_seed, by_token)
    only_rows = by_token.mean(axis=1)
    seed_variance = float(np.var(spread.mean(axis=1)) / seeds)
    row_variance = float(np.var(only_rows))
    error = float(np.std(both)) / tokens.mean()
    freedom = _satterthwaite((seed_variance, seeds - 1), (row_variance, rows - 1))
    reach = float(special.stdtrit(freedom, (1 + LEVEL) / 2)) * error
    p = 2 * float(special.stdtr(freedom, -abs(estimate) / error)) if error else float(estimate == 0)
    return Comparison(estimate, estimate - reach, estimate + reach, p, seeds)


@cache
def _resample(n: int, seed: int) -> NDArray[np.float64]:
    """Return (B, n) weights of bootstrap samples, each summing to 1; the same for all comparisons."""
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return np.asarray(counts / n)


def _spread_seeds(paired: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale each seed's deviation from the mean, so that resampled seeds have an unbiased variance."""
    seeds = len(paired)
    mean = paired.mean(axis=0)
    return np.asarray(mean + (paired - mean) * np.sqrt(seeds / (seeds - 1)))


def _satterthwaite(*parts: tuple[float, int]) -> float:
    """Return the degrees of freedom of a sum of independent variances, each with its own."""
    total = sum(variance for variance, _ in parts)
    divided = sum(variance**2 / freedom for variance, freedom in parts)
    return total**2 / divided if divided else float(min(freedom for _, freedom in parts))


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's step-down method, in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = np.empty(len(order)), 0.0
    for step, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - step) * p_values[place]))
        adjusted[place] = highest
    return [float(value) for value in adjusted]


def judge(p: float, rates: Sequence[Comparison], smallest: float) -> str:
    """Return the verdict on one arm against random, in words.

    `p` is adjusted for all arms, of the first of `rates`: one comparison for each learning rate. `smallest` is the
    smallest effect of interest, in nats per response token. A difference counts if it is significant, its interval
    reaches the smallest effect, and its sign is the same at every rate.
    """
    first = rates[0]
    counts = p <= 1 - LEVEL and max(abs(first.low), abs(first.high)) >= smallest
    steady = all(each.sign == first.sign for each in rates)
    verdict = (BETTER if first.sign < 0 else WORSE) if counts and steady and first.sign else NONE
    enough = min(each.seeds for each in rates) >= ENOUGH_SEEDS and len(rates) >= ENOUGH_RATES
    return verdict if enough else f"indication: {verdict}"
