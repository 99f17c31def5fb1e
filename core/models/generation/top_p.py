"""One token for each row, drawn from the nucleus, with noise that depends on nothing but the row's own stream.

    token = argmax_v (z_v / T + g_v) over the nucleus,   g = −log(−log u), u uniform in (0, 1)

which is a draw from softmax(z / T) restricted to the nucleus and renormalised (Gumbel-max). The nucleus are the
tokens before which less than `top_p` of the mass is likelier: the smallest set that holds `top_p`, and all that are
exactly as likely as its last.

The noise of a token hangs on its id, its step and its stream, never on what else is drawn. Rounding of the logits,
which differs a little from batch to batch, so changes a token about as seldom as it changes the distribution; a draw
by cumulated shares would move all tokens behind a change.

No sort: the winner of the whole race is looked at, and where it is no part of the nucleus (about one draw in ten at
0.9) all that are no likelier leave the race, which is run again. What wins then is what wins in the nucleus.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.models.generation.answers import SamplingSettings

# SplitMix64 (Steele, Lea, Flood 2014): the i-th number of stream s is mix(s + i·GAMMA), so any is had at once.
GAMMA = 0x9E3779B97F4A7C15
MIX_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))  # shift, then factor
BITS = 64


class TopPProcessor:
    """Draws the next token of B rows, step after step, in a call of `generate` that takes the likeliest."""

    def __init__(self, streams: NDArray[np.uint64], settings: SamplingSettings, *, step: int = 0) -> None:
        self.probabilities: list[
            Tensor
        ] = []  # (B,) each: how likely what was drawn is at this temperature, nucleus or not
        self._streams = streams  # (B,)
        self._settings = settings
        self._step = step

    def __call__(self, input_ids: Tensor | None, scores: Tensor) -> Tensor:
        """What `generate` asks of a logits processor: logits (B, V) to (B, V), 0 for the token drawn, −∞ elsewhere."""
        noise = gumbel_noise(step_seeds(self._streams, self._step), scores.shape[1], scores.device)
        token, chance = sample_top_p(scores.float(), noise, self._settings.temperature, self._settings.top_p)
        self._step += 1
        self.probabilities.append(chance)
        return torch.full_like(scores, -torch.inf).scatter_(1, token[:, None], 0.0)


def sample_top_p(logits: Tensor, noise: Tensor, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """Logits and noise (B, V) to one token (B,) of each row's nucleus, and its share (B,) of the whole mass."""
    z = (logits - logits.amax(dim=1, keepdim=True)) / temperature
    p = z.softmax(dim=1)
    race = z + noise
    token = race.argmax(dim=1)
    rows = torch.arange(len(p) if top_p < 1 else 0, device=p.device)  # whose winner is still to be looked at
    while len(rows):
        level = p[rows, token[rows]][:, None]
        outside = p[rows].where(p[rows] > level, 0.0).sum(dim=1) >= top_p
        rows, level = rows[outside], level[outside]
        race[rows] = race[rows].masked_fill(p[rows] <= level, -torch.inf)
        token[rows] = race[rows].argmax(dim=1)
    return token, p.gather(1, token[:, None])[:, 0]


def gumbel_noise(seeds: NDArray[np.uint64], size: int, device: torch.device | str) -> Tensor:
    """(B, size) float32 Gumbel noise, the same for the same seeds (B,) on any device, up to its logarithm."""
    places = torch.arange(1, size + 1, device=device) * _signed(GAMMA)
    bits = _mixed(torch.from_numpy(seeds.view(np.int64)).to(device)[:, None] + places)
    u = ((bits >> 32) & 0xFFFFFFFF).float().add_(0.5).mul_(2.0**-32)  # fine near 0, where winners come from
    wait = -torch.log1p(-u.clamp_(max=1 - 2.0**-24))  # exponential: the least wait wins
    return -wait.log()


def step_seeds(streams: NDArray[np.uint64], step: int) -> NDArray[np.uint64]:
    """The seeds (B,) of one step of each stream."""
    x = streams + np.uint64((step + 1) * GAMMA % 2**BITS)
    for shift, factor in MIX_ROUNDS:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x


def _mixed(x: Tensor) -> Tensor:
    """The same mix in int64, whose shifts keep the sign and so are cleared of it."""
    for shift, factor in MIX_ROUNDS:
        x = x ^ ((x >> shift) & ((1 << (BITS - shift)) - 1))
        x = x * _signed(factor)
    return x


def _signed(number: int) -> int:
    """The same 64 bits, read as a signed number."""
    return number - 2**BITS if number >= 2 ** (BITS - 1) else number
