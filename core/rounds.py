"""Answers to several prompts at once, token by token: a prompt is run once for all of its answers, and answers that
have ended leave the batch after every round. Where a model's cache cannot be treated so (`shares_prompts`), prompts
are run for each answer and all goes on to the last end, in one call of `generate`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.answers import Sampling, streams
from core.confidence import bare, padded_left
from core.nucleus import Draw
from core.prefix import UNABLE

ROUND = 32  # tokens after which answers that have ended leave the batch


@torch.inference_mode()
def sampled(
    network: Any,
    prompts: Sequence[NDArray[np.int64]],
    keys: NDArray[np.uint64],
    settings: Sampling,
    ends: Sequence[int],
    device: str,
    *,
    shares: bool,
    rounds: int = ROUND,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """K answers to each of B prompts, by streams (B, K): tokens (B·K, t), −1 behind the end of an answer, and how
    likely each was at this temperature (NaN behind the end). `network` is bare (core.confidence.bare)."""
    longest, flat = settings.max_new_tokens, keys.ravel()
    said = np.full((len(flat), longest), -1, np.int64)
    chances = np.full(said.shape, np.nan, np.float32)
    ids, mask = (torch.from_numpy(x).to(device) for x in padded_left(prompts))
    going, step, cache = np.arange(len(flat)), 0, None  # answers that have not ended, and how many tokens they have
    if not shares:
        ids, mask = _repeated(ids, mask, keys.shape[1])
    while len(going) and step < longest:
        draw = Draw(flat[going], settings, step=step)
        if shares and step == 0:
            new, cache = _first(network, ids, mask, keys.shape[1], draw)
            ids, mask = _repeated(ids, mask, keys.shape[1])
        else:
            size = min(rounds, longest - step) if shares else longest
            new, cache = _on(network, ids, mask, cache, size, draw)
        tokens = new.cpu().numpy()
        columns = slice(step, step + tokens.shape[1])
        ending = np.isin(tokens, ends)
        behind = ending.cumsum(axis=1) - ending > 0
        said[going, columns] = np.where(behind, -1, tokens)
        chances[going, columns] = torch.stack(draw.chances[: tokens.shape[1]], dim=1).cpu().numpy()
        step = columns.stop
        left = np.flatnonzero(~ending.any(axis=1))
        going, at = going[left], torch.from_numpy(left).to(device)
        ids, mask = torch.cat([ids, new], dim=1)[at], torch.cat([mask, torch.ones_like(new)], dim=1)[at]
        if shares:
            cache.batch_select_indices(at)
    return said, chances


def _repeated(ids: Tensor, mask: Tensor, times: int) -> tuple[Tensor, Tensor]:
    """Each row so many times, one after the other."""
    return ids.repeat_interleave(times, dim=0), mask.repeat_interleave(times, dim=0)


def _first(network: Any, ids: Tensor, mask: Tensor, times: int, draw: Draw) -> tuple[Tensor, Any]:
    """The first tokens (B·K, 1) of K answers to each of B prompts, which run once; and the cache, K times."""
    out = network.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=1, output_logits=True, return_dict_in_generate=True
    )
    out.past_key_values.batch_repeat_interleave(times)
    token = draw(None, out.logits[0].repeat_interleave(times, dim=0)).argmax(dim=1)
    return token[:, None], out.past_key_values


def _on(network: Any, ids: Tensor, mask: Tensor, cache: Any, size: int, draw: Draw) -> tuple[Tensor, Any]:
    """Up to `size` tokens more (A, t) of A answers, and the cache then."""
    out = network.generate(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=cache,
        logits_processor=[draw],
        max_new_tokens=size,
        return_dict_in_generate=True,
    )
    return out.sequences[:, ids.shape[1] :], out.get("past_key_values")


def shares_prompts(network: Any, device: str) -> bool:
    """Whether answers come out the same when their prompt runs once and they are sampled in rounds, as when all of it
    is run for each answer at one go; tried on prompts of 5 and 19 tokens."""
    vocabulary = network.get_input_embeddings().weight.shape[0]
    prompts = [np.arange(30, 35) % vocabulary, np.arange(3, 22) % vocabulary]
    settings, keys = Sampling(answers=2, max_new_tokens=6), streams(0, ["short", "longer"], 2)
    endless = bare(network, ())
    try:
        plain, chances = sampled(endless, prompts, keys, settings, (), device, shares=False)
        shared, likewise = sampled(endless, prompts, keys, settings, (), device, shares=True, rounds=2)
    except UNABLE:
        return False
    exact = network.dtype == torch.float32
    agree = (plain == shared).cumprod(axis=1).astype(np.bool_)  # behind another token all is another answer
    tolerance = 1e-4 if exact else 0.1
    near = np.allclose(chances[agree], likewise[agree], rtol=tolerance, atol=tolerance)
    return bool(near and agree.mean() >= (1.0 if exact else 0.5))
