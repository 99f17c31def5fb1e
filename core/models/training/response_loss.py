"""The loss of rows: −log π(y_t | x, y_<t), summed over their response tokens, with its gradient."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from core.models.batching import Ragged
from core.models.forward_pass import LOGIT_BYTES, logit_rows, pad_rows
from core.models.loading import compute_logits
from core.models.lora import base_network


def response_loss(network: Any, tokens: Ragged, spans: Ragged, *, device: str, dtype: str) -> Tensor:
    """Return the loss (a number, in nats) of rows that fit into memory together; bfloat16 is by autocast."""
    ids, _, response = pad_rows(tokens, spans)
    padded = torch.from_numpy(ids).to(device)
    row, place = (torch.from_numpy(x).to(device) for x in np.nonzero(response[:, 1:]))
    with torch.autocast(padded.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        hidden = run_body(network, padded)
        return summed_loss(network, hidden[row, place], padded[row, place + 1])


def run_body(network: Any, ids: Tensor) -> Tensor:
    """Return the last hidden states (B, T, d) of ids (B, T)."""
    hidden: Tensor = base_network(network).base_model(input_ids=ids, use_cache=False).last_hidden_state
    return hidden


def summed_loss(network: Any, predicting: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of targets (R,) from the hidden states before them (R, d); a target of −100 is left out."""
    network = base_network(network)
    size = logit_rows(LOGIT_BYTES, predicting.device.type, network.get_output_embeddings().weight.shape[0])
    if len(predicting) <= size:
        return _chunk_loss(network, predicting, targets)
    # logits are recomputed in the backward pass, not kept
    recomputed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    chunks = zip(torch.split(predicting, size), torch.split(targets, size), strict=True)
    return torch.stack([recomputed(_chunk_loss, network, *chunk) for chunk in chunks]).sum()


def _chunk_loss(network: Any, predicting: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(compute_logits(network, predicting).float(), targets, reduction="sum")
