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
    network = base_network(network)
    ids, _, response = pad_rows(tokens, spans)
    padded = torch.from_numpy(ids).to(device)
    row, place = (torch.from_numpy(x).to(device) for x in np.nonzero(response[:, 1:]))
    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=dtype == "bfloat16"):
        hidden = network.base_model(input_ids=padded, use_cache=False).last_hidden_state
        predicting, targets = hidden[row, place], padded[row, place + 1]
        size = logit_rows(LOGIT_BYTES, device, network.get_output_embeddings().weight.shape[0])
        if len(predicting) <= size:
            return _chunk_loss(network, predicting, targets)
        recomputed = partial(checkpoint, use_reentrant=False)  # logits are recomputed in the backward pass, not kept
        chunks = zip(torch.split(predicting, size), torch.split(targets, size), strict=True)
        parts = [recomputed(_chunk_loss, network, *chunk) for chunk in chunks]
    return torch.stack(parts).sum()


def _chunk_loss(network: Any, predicting: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(compute_logits(network, predicting).float(), targets, reduction="sum")
