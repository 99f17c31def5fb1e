"""Top-p (nucleus) sampling of one token per row, with noise that depends only on the row's own random stream.

    token = argmax_v (z_v / T + g_v) over the nucleus,   g = −log(−log u), u uniform in (0, 1)

This samples from softmax(z / T) restricted to the nucleus and renormalised (Gumbel-max). The nucleus holds the tokens
for which the likelier tokens have less than `top_p` of the mass: the smallest set that holds `top_p`, plus ties of its
last token.

The noise of a token depends on its id, its step and its stream, never on other samples. Rounding of the logits, which
differs slightly between batches, so changes a token about as rarely as it changes the distribution; with inverse-CDF
sampling, one change would shift all later tokens.

No sort is needed: if the winner over all tokens is outside the nucleus (about one draw in ten at 0.9), it and all
tokens that are no likelier are removed, and the race is run again. Its winner is the winner within the nucleus. A sort
takes five times as long on a processor. Rows are sampled in blocks that stay in its cache.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.models.forward_pass import logit_rows
from core.models.generation.answers import SamplingSettings

# Logits of the rows that are sampled at once, as float32. Sampling takes 5 times as much besides.
BLOCK_BYTES = {"cpu": 512 << 10, "cuda": 512 << 20}
# SplitMix64 (Steele, Lea, Flood 2014): the i-th number of stream s is mix(s + i·GAMMA), for direct access.
GAMMA = 0x9E3779B97F4A7C15
MIX_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))  # shift, then factor
BITS = 64


class TopPProcessor:
    """A logits processor that samples the next token of B rows, for `generate` in greedy mode."""

    def __init__(self, streams: NDArray[np.uint64], settings: SamplingSettings) -> None:
        self.steps: list[Tensor] = []  # (B,) each: probability of the sampled token, over all tokens
        self._streams = streams  # (B,)
        self._settings = settings

    def __call__(self, input_ids: Tensor | None, scores: Tensor) -> Tensor:
        """Overwrite logits (B, V), and return them: 0 for the sampled token, −∞ elsewhere."""
        seeds, size = step_seeds(self._streams, len(self.steps)), scores.shape[1]
        block = logit_rows(BLOCK_BYTES, str(scores.device), size)
        parts = []
        for start in range(0, len(scores), block):
            rows = slice(start, start + block)
            noise = gumbel_noise(seeds[rows], size, scores.device)
            parts.append(sample_top_p(scores[rows].float(), noise, self._settings.temperature, self._settings.top_p))
        token, probability = (torch.cat(part) for part in zip(*parts, strict=True))
        self.steps.append(probability)
        return scores.fill_(-torch.inf).scatter_(1, token[:, None], 0.0)


def sample_top_p(logits: Tensor, noise: Tensor, temperature: float, top_p: float) -> tuple[Tensor, Tensor]:
    """Sample one token (B,) of each row's nucleus from logits and noise (B, V); also return its probability (B,).

    The probability is that of the whole distribution, before restriction to the nucleus.
    """
    z = (logits - logits.amax(dim=1, keepdim=True)).div_(temperature)
    p = z.softmax(dim=1)
    race = z.add_(noise)
    token = race.argmax(dim=1)
    rows = torch.arange(len(p) if top_p < 1 else 0, device=p.device)  # rows whose winner is yet to be checked
    while len(rows):
        level = p[rows, token[rows]][:, None]
        outside = p[rows].where(p[rows] > level, 0.0).sum(dim=1) >= top_p
        rows, level = rows[outside], level[outside]
        race[rows] = race[rows].masked_fill(p[rows] <= level, -torch.inf)
        token[rows] = race[rows].argmax(dim=1)
    return token, p.gather(1, token[:, None])[:, 0]


def gumbel_noise(seeds: NDArray[np.uint64], size: int, device: torch.device | str) -> Tensor:
    """Return Gumbel noise (B, size) float32, the same for the same seeds (B,) on any device, up to its logarithm."""
    places = torch.arange(1, size + 1, device=device) * _signed(GAMMA)
    bits = _mix_in_place(torch.from_numpy(seeds.view(np.int64)).to(device)[:, None] + places)
    u = bits.bitwise_right_shift_(32).bitwise_and_(0xFFFFFFFF).float()  # finest near 0, where winners come from
    u.add_(0.5).mul_(2.0**-32).clamp_(max=1 - 2.0**-24)
    return u.neg_().log1p_().neg_().log_().neg_()  # −log of an exponential, −log1p(−u): the smallest wins


def step_seeds(streams: NDArray[np.uint64], step: int) -> NDArray[np.uint64]:
    """Return the seeds (B,) of one step of each stream."""
    x = streams + np.uint64((step + 1) * GAMMA % 2**BITS)
    for shift, factor in MIX_ROUNDS:
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x


def _mix_in_place(x: Tensor) -> Tensor:
    """Apply the same mix in int64, whose right shifts extend the sign, which is masked off."""
    shifted = torch.empty_like(x)
    for shift, factor in MIX_ROUNDS:
        torch.bitwise_right_shift(x, shift, out=shifted)
        x.bitwise_xor_(shifted.bitwise_and_((1 << (BITS - shift)) - 1)).mul_(_signed(factor))
    return x


def _signed(number: int) -> int:
    """Return the same 64 bits as a signed number."""
    return number - 2**BITS if number >= 2 ** (BITS - 1) else number
