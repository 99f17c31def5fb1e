"""The loss of a micro-batch and its gradient; on a GPU, as a CUDA graph where starting kernels takes longest.

A small model's kernels run for less time than Python takes to start them. A CUDA graph starts them all at once. It
holds a fixed shape: rows are padded to a multiple of `LENGTH_STEP` tokens, and the LM head runs over all positions, of
which only those before response tokens have a target. So the loss differs by rounding alone.
"""

import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from core.models.batching import Ragged
from core.models.forward_pass import pad_rows
from core.models.training.response_loss import response_loss, run_body, summed_loss
from core.workspace.files import LOG

LENGTH_STEP = 128  # tokens
WORTH = 3  # times that a shape comes before it is captured, which takes as long as some steps
MOST_GRAPHS = 16
IGNORED = -100  # a target that cross-entropy leaves out
MASKS = "masking_utils.py"  # of transformers: asks the GPU for one number, but not while a graph is captured


@dataclass(frozen=True, eq=False)
class _Graph:
    """A captured micro-batch: fill its inputs, replay it, read its loss."""

    graph: torch.cuda.CUDAGraph
    ids: Tensor  # (B, T)
    targets: Tensor  # (B, T - 1)
    total: Tensor  # what the loss is divided by
    loss: Tensor


class MicroBatches:
    """Adds gradients of micro-batches to the parameters of a network in training.

    longest  tokens of the longest row there is
    launch   tokens that take as long as starting a pass (core.models.batching.BatchCost): graphs serve below
    """

    def __init__(
        self, network: Any, parameters: list[nn.Parameter], *, device: str, dtype: str, launch: int, longest: int
    ) -> None:
        self._network, self._parameters = network, parameters
        self._device, self._dtype = device, dtype
        self._launch, self._longest = launch, longest
        self._seen: Counter[tuple[int, int]] = Counter()
        self._graphs: dict[tuple[int, int], _Graph] = {}
        self._pool: Any = None
        self.captures = torch.device(device).type == "cuda"  # until a capture fails

    @property
    def keeps_gradients(self) -> bool:
        """Whether graphs add to gradients in place, so that they are to be set to 0 and not removed."""
        return bool(self._graphs)

    def backward(self, tokens: Ragged, spans: Ragged, total: int) -> Tensor:
        """Add the gradient of (loss of these rows) / `total`, and return that number, on the device."""
        graph = self._find_graph(len(tokens), max(map(len, tokens)))
        if graph is None:
            loss = response_loss(self._network, tokens, spans, device=self._device, dtype=self._dtype) / total
            torch.autograd.backward(loss)
            return loss.detach()
        ids, _, response = pad_rows(tokens, spans)
        targets = np.where(response[:, 1:], ids[:, 1:], IGNORED)
        graph.ids.zero_()[:, : ids.shape[1]].copy_(torch.from_numpy(ids))
        graph.targets.fill_(IGNORED)[:, : targets.shape[1]].copy_(torch.from_numpy(targets))
        graph.total.fill_(total)
        graph.graph.replay()
        return graph.loss.clone()

    def stop_capturing(self) -> bool:
        """Release all graphs, and run without any from now on; return whether that has freed memory."""
        held = bool(self._graphs)
        self._graphs.clear()
        self.captures, self._pool = False, None
        if held:
            torch.cuda.empty_cache()
        return held

    def _find_graph(self, rows: int, length: int) -> _Graph | None:
        """Return the graph of a shape; None if the shape has come too seldom, or if graphs do not serve."""
        shape = rows, min(-(-length // LENGTH_STEP) * LENGTH_STEP, self._longest)
        if not self.captures or rows * shape[1] > self._launch:
            return None
        self._seen[shape] += 1
        if shape not in self._graphs and self._seen[shape] >= WORTH and len(self._graphs) < MOST_GRAPHS:
            self._capture(shape)
        return self._graphs.get(shape)

    def _capture(self, shape: tuple[int, int]) -> None:
        """Capture a shape; if this model cannot be captured, or memory runs out, stop capturing."""
        rows, length = shape
        ids = torch.zeros(shape, dtype=torch.int64, device=self._device)
        targets = torch.zeros((rows, length - 1), dtype=torch.int64, device=self._device)
        total = torch.ones((), device=self._device)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.random.fork_rng(devices=[self._device]), torch.cuda.device(self._device):
                if waits := self._warm_up(ids, targets, total):
                    raise RuntimeError(f"the model waits for the GPU ({waits[0]})")
                for parameter in self._parameters:  # where the graph adds its gradients
                    parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                self._pool = self._pool or torch.cuda.graph_pool_handle()
                with torch.cuda.graph(graph, pool=self._pool):
                    loss = self._loss(ids, targets, total)
                    torch.autograd.backward(loss)
        except RuntimeError as error:
            LOG.info("Training without CUDA graphs: %s", str(error).split("\n")[0])
            self.stop_capturing()
            return
        self._graphs[shape] = _Graph(graph, ids, targets, total, loss.detach())

    def _warm_up(self, ids: Tensor, targets: Tensor, total: Tensor) -> list[str]:
        """Run the micro-batch once, leaving gradients as they are; return where it waits for the GPU."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        mode = torch.cuda.get_sync_debug_mode()
        with torch.cuda.stream(stream), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                torch.autograd.grad(self._loss(ids, targets, total), self._parameters, allow_unused=True)
            finally:
                torch.cuda.set_sync_debug_mode(mode)
        torch.cuda.current_stream().wait_stream(stream)
        return [
            f"{w.filename}:{w.lineno}"
            for w in caught
            if "called a synchronizing" in str(w.message) and MASKS not in w.filename
        ]

    def _loss(self, ids: Tensor, targets: Tensor, total: Tensor) -> Tensor:
        enabled = self._dtype == "bfloat16"
        with torch.autocast("cuda", torch.bfloat16, enabled=enabled, cache_enabled=False):
            hidden = run_body(self._network, ids)
            return summed_loss(self._network, hidden[:, :-1].flatten(0, 1), targets.flatten()) / total
