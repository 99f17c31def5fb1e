"""A tiny model and a batch of rows, for tests of all that runs a model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from core.models.loading import Model, load_model
from core.models.reference import resolve_model


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return load_model(resolve_model(str(tiny_model_dir)), dtype="float32", device="cpu")


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def rows(lengths, spans, seed=0):
    """Return random rows of these lengths, each with its list of (start, stop)."""
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(4, 300, n).astype(np.uint32) for n in lengths]
    return {"tokens": tokens, "spans": [np.array(s, np.int32).ravel() for s in spans]}


@pytest.fixture(scope="module")
def batch():
    """Return a long and a short row, one response token, no response, several responses, no prompt, only a response."""
    lengths = [60, 7, 30, 12, 50, 20, 3, 33, 2]
    spans = [
        [(20, 60)],
        [(3, 7)],
        [(29, 30)],
        [],
        [(5, 9), (20, 31), (49, 50)],
        [(0, 20)],
        [(1, 3)],
        [(8, 33)],
        [(1, 2)],
    ]
    return rows(lengths, spans)


def fail_above(network, rows_at_most, error):
    """Make the network's body raise `error` for batches of more rows than this; return the hook."""

    def hook(_module, _args, kwargs):
        if len(kwargs["input_ids"]) > rows_at_most:
            raise error

    return network.base_model.register_forward_pre_hook(hook, with_kwargs=True)
