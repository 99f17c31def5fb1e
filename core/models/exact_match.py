"""Exact match: whether greedy decoding of a prompt gives exactly the response, token by token and with its end.

Greedy decoding gives y if and only if y_t is the likeliest token after x, y_<t for every t. So one pass over prompt and
response decides, and nothing is generated.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.models.forward_pass import LOGIT_BYTES, Batch, logit_rows
from core.models.loading import Model, compute_logits

MATCH = "match"


class ExactMatch:
    """An observer of `core.models.forward_pass.ForwardPass` that adds the column match; False without a response."""

    every_token = False

    def __init__(self, model: Model) -> None:
        self._model = model
        self.columns: dict[str, pa.DataType] = {MATCH: pa.bool_()}

    @contextmanager
    def watch(self, network: Any, response: Tensor, prompt: Tensor) -> Iterator[None]:
        """Record nothing: the last hidden states are enough."""
        yield None

    def read(self, seen: None, batch: Batch) -> Mapping[str, NDArray[Any]]:
        """Return match (B,)."""
        rows, places = batch.response[:, 1:].nonzero(as_tuple=True)  # token place + 1 is predicted at place
        size = logit_rows(LOGIT_BYTES, self._model.device, self._model.vocabulary)
        chunks = torch.split(batch.hidden[rows, places], size)
        likeliest = [compute_logits(self._model.network, hidden).argmax(dim=1) for hidden in chunks]
        wrong = torch.cat(likeliest) != batch.tokens[rows, places + 1]
        counts = [torch.bincount(some, minlength=len(batch.lengths)) for some in (rows, rows[wrong])]
        predicted, missed = (count.cpu().numpy() for count in counts)
        return {MATCH: np.asarray((predicted > 0) & (missed == 0), np.bool_)}
