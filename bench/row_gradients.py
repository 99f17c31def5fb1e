"""Scores of per-row gradients, compared with a plain batch backward and with the released implementations.

    python -m bench.row_gradients              64 real Alpaca rows, embedded model; 8 on a 0.5 B one's shape
    python -m bench.row_gradients --rows 16 --large 0
    python -m bench.row_gradients --json

The variants alternate in one process, and the fastest round of each counts, which excludes most other load on the
machine. A LoRA adapter of rank 8 is on the attention's projections:

    scores    RowGradients.scores: the Adam step of each row's gradient, and its cosines with 4 directions
    plain     the same batches forward and backward, one gradient for all rows, logits of every position
    head      the same, with logits of response positions only
    loop      as in the releases: one row at a time by autograd, logits of every position, then the Adam step
    draw      then random signs for a Rademacher projection to 8,192 dimensions, in blocks of parameters; sampled again
              for every 16 rows, as in the releases, because those of a larger model do not fit into memory
    project   then the projection of these 16 rows

The last three run once, on 16 rows, or on all rows of the large model if there are fewer; `release` is their sum.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from bench.probe_pass import ALPACA, Batch, alpaca_rows, random_model
from core.models.batching import batch_cost, plan_batches
from core.models.forward_pass import pad_rows
from core.models.loading import Model, compute_logits, load_model
from core.models.lora import adapter_matrices, add_adapter
from core.models.reference import resolve_model
from core.models.training.adam_update import AdamMoments
from core.models.training.row_gradients import CPU_TOKENS, RowGradients

RANK = 8
DIRECTIONS = 4
PROJECTED_DIMENSIONS = 8192  # dimensions
PROJECTED_ROWS = 16  # rows projected at once, as in the releases
BLOCK_PARAMETERS = 4096  # parameters whose signs are in memory at once
WANTED = {
    "plain / scores": "at least 0.9",
    "head / scores": "at least 0.9",
    "release / scores": "at least 5",
    "loop / scores": "",
}


class Clock:
    """Wall and processor seconds by name."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time spent inside the context to `name`."""
        began, worked = time.perf_counter(), time.process_time()
        yield
        self.wall[name] = self.wall.get(name, 0.0) + time.perf_counter() - began
        self.processor[name] = self.processor.get(name, 0.0) + time.process_time() - worked


def main() -> int:
    """Time all variants on both models and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--large", type=int, default=8, help="rows for the shape of a 0.5 B model; 0: without it")
    parser.add_argument("--rounds", type=int, default=8, help="of the embedded model; the large one gets a quarter")
    parser.add_argument("--threads", type=int, help="of torch; as it chooses by default")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the tables")
    options = parser.parse_args()
    if not ALPACA.exists():
        print(f"Skipped: the real rows ({ALPACA.name}) are not beside the project.")
        return 0
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = alpaca_rows(options.rows)
    embedded = load_model(resolve_model("embedded", None), dtype="float32")
    report = {"embedded": time_all(with_adapter(embedded), rows, options.rounds)}
    if options.large:
        few = take_rows(rows, np.arange(min(options.large, options.rows)))
        report["0.5 B, random"] = time_all(with_adapter(random_model()), few, max(1, options.rounds // 4))
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def with_adapter(model: Model) -> Model:
    """Add an adapter whose matrices are all random, B included; return the model."""
    torch.manual_seed(0)
    add_adapter(model.network, rank=RANK, alpha=4 * RANK, layers="attention")
    with torch.no_grad():
        for matrix in adapter_matrices(model.network).values():
            matrix.weight.copy_(0.02 * torch.randn_like(matrix.weight))
    return model


def time_all(model: Model, rows: Batch, rounds: int) -> dict[str, Any]:
    """Return seconds per row of each variant, their ratios, and the largest differences of cosines."""
    gradients = RowGradients(model)
    first, *directions = random_vectors(gradients, 1 + DIRECTIONS)
    moments = AdamMoments(first, {name: m.square() for name, m in first.items()}, steps=10)
    lengths = np.array([len(t) for t in rows["tokens"]])
    batches = [
        take_rows(rows, b)
        for b in plan_batches(lengths, batch_cost(model.network, model.device, "training", CPU_TOKENS))
    ]
    contestants: dict[str, Callable[[], Any]] = {
        "scores": lambda: gradients.scores(rows, directions, moments),
        "plain": lambda: [backward_batch(model, batch, every=True) for batch in batches],
        "head": lambda: [backward_batch(model, batch, every=False) for batch in batches],
    }
    backward_batch(model, batches[-1], every=False)  # warm-up
    clocks = time_rounds(contestants, rounds)
    n = len(lengths)
    seconds = {name: min(clock.wall[name] for clock in clocks) / n for name in contestants}
    used = {name: min(clock.processor[name] for clock in clocks) / n for name in contestants}
    released = time_release(model, take_rows(rows, np.arange(min(n, PROJECTED_ROWS))), directions, moments)
    cosines = gradients.scores(rows, directions, moments).cosines[: len(released["cosines"])]
    for clock, kind in ((seconds, "seconds"), (used, "processor_seconds")):
        clock |= released[kind] | {"release": sum(released[kind].values())}
    return {
        "rows": n,
        "tokens": int(lengths.sum()),
        "parameters": sum(o * i for o, i in gradients.shapes.values()),
        "rounds": rounds,
        "device": model.device,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "processor_seconds": used,
        "ratios": time_ratios(seconds),
        "processor_ratios": time_ratios(used),
        "cosines_apart": float(np.abs(cosines - released["cosines"]).max()),
        "projected_apart": float(np.abs(cosines - released["projected"]).max()),
    }


def random_vectors(gradients: RowGradients, n: int) -> list[dict[str, Tensor]]:
    """Return n random unit vectors over the adapter's parameters, seeded."""
    generator = torch.Generator().manual_seed(1)
    vectors = [{k: torch.randn(shape, generator=generator) for k, shape in gradients.shapes.items()} for _ in range(n)]
    lengths = [torch.cat([v.flatten() for v in vector.values()]).norm() for vector in vectors]
    device = gradients.model.device
    return [
        {k: (v / size).to(device) for k, v in vector.items()} for vector, size in zip(vectors, lengths, strict=True)
    ]


def time_ratios(seconds: dict[str, float]) -> dict[str, float]:
    """Return the ratios to `scores`; above 1, `scores` is faster."""
    return {name: seconds[name.split(" / ")[0]] / seconds["scores"] for name in WANTED}


def time_rounds(contestants: dict[str, Callable[[], Any]], rounds: int) -> list[Clock]:
    """Time each variant in each round, alternating between them."""
    clocks = [Clock() for _ in range(rounds)]
    for clock in clocks:
        for name, work in contestants.items():
            with clock(name):
                work()
    return clocks


def backward_batch(model: Model, batch: Batch, *, every: bool) -> None:
    """Run one batch forward and backward, with the same loss; gradients stay in the adapter's parameters."""
    with adapter_gradients(model) as parameters:
        ids, _, response = pad_rows(batch["tokens"], batch["spans"])
        padded = torch.from_numpy(ids).to(model.device)
        at = tuple(torch.from_numpy(x).to(model.device) for x in np.nonzero(response[:, 1:]))
        if every:
            logits = model.network(input_ids=padded, use_cache=False).logits[at]
        else:
            hidden = model.network.base_model(input_ids=padded, use_cache=False).last_hidden_state
            logits = compute_logits(model.network, hidden[at])
        nll = cross_entropy(logits.float(), padded[:, 1:][at], reduction="none")
        (nll / torch.bincount(at[0])[at[0]]).sum().backward()
        parameters[0].grad.flatten()[0].item()  # on a GPU: wait for the result


@contextmanager
def adapter_gradients(model: Model) -> Iterator[list[Any]]:
    """Give gradients to the adapter's parameters alone inside the context; yield these parameters."""
    parameters = [matrix.weight for matrix in adapter_matrices(model.network).values()]
    model.network.requires_grad_(False)
    for parameter in parameters:
        parameter.requires_grad_(True)
    yield parameters
    for parameter in parameters:
        parameter.grad = None
        parameter.requires_grad_(False)


def time_release(
    model: Model, batch: Batch, directions: list[dict[str, Tensor]], moments: AdamMoments
) -> dict[str, Any]:
    """Return seconds per row of the releases' steps, and the cosines before and after projection."""
    clock = Clock()
    with clock("loop"):
        steps = torch.stack(list(adam_gradients(model, batch, moments)))
    n = len(steps)
    towards = torch.stack([torch.cat([d.flatten() for d in direction.values()]) for direction in directions])
    small, small_towards = project(steps, towards, clock)
    return {
        "seconds": {name: seconds / n for name, seconds in clock.wall.items()},
        "processor_seconds": {name: seconds / n for name, seconds in clock.processor.items()},
        "cosines": cosines_of(steps, towards),
        "projected": cosines_of(small, small_towards),
    }


def adam_gradients(model: Model, batch: Batch, moments: AdamMoments) -> Iterator[Tensor]:
    """Yield the (P,) Adam step of each row's gradient, by autograd, one row at a time."""
    shapes = {name: matrix.weight.shape for name, matrix in adapter_matrices(model.network).items()}
    rule = moments.build_update(shapes, model.device)
    with adapter_gradients(model) as parameters:
        for tokens, (start, stop) in zip(batch["tokens"], batch["spans"], strict=True):
            ids = torch.from_numpy(tokens.astype(np.int64)).to(model.device)[None]
            logits = model.network(input_ids=ids, use_cache=False).logits[0, start - 1 : stop - 1].float()
            gradients = torch.autograd.grad(cross_entropy(logits, ids[0, start:stop]), parameters)
            yield torch.cat([rule(name, g.float()).flatten() for name, g in zip(shapes, gradients, strict=True)])


def project(vectors: Tensor, towards: Tensor, clock: Clock) -> tuple[Tensor, Tensor]:
    """Project (n, P) and (S, P) to (n, PROJECTED) and (S, PROJECTED) by the same random signs.

    Signs are sampled as by traker's BasicProjector. The clock counts sampling and projecting `vectors` only.
    """
    generator = torch.Generator(vectors.device).manual_seed(0)
    small, small_towards = (v.new_zeros(len(v), PROJECTED_DIMENSIONS) for v in (vectors, towards))
    for start in range(0, vectors.shape[1], BLOCK_PARAMETERS):
        block = vectors[:, start : start + BLOCK_PARAMETERS]
        with clock("draw"):
            signs = (
                vectors.new_empty(block.shape[1], PROJECTED_DIMENSIONS)
                .bernoulli_(0.5, generator=generator)
                .mul_(2)
                .sub_(1)
            )
        with clock("project"):
            small += block @ signs
        small_towards += towards[:, start : start + BLOCK_PARAMETERS] @ signs
    return small, small_towards


def cosines_of(vectors: Tensor, directions: Tensor) -> np.ndarray[Any, Any]:
    """Return the (n, S) cosines of (n, P) with (S, P)."""
    return cosine_similarity(vectors[:, None], directions[None], dim=2).cpu().numpy()


def take_rows(batch: Batch, rows: Any) -> Batch:
    """Return these rows of a batch."""
    return {name: [values[i] for i in rows] for name, values in batch.items()}


def format_table(report: dict[str, Any]) -> str:
    """Return the report as text."""
    lines = []
    for name, result in report.items():
        lines += [
            f"{name}: {result['rows']} rows, {result['tokens']:,} tokens, {result['parameters']:,} adapter parameters; "
            f"{result['rounds']} rounds; {result['device']}, {result['threads']} threads",
            "",
            "milliseconds per row    by the clock   processor",
            *(
                f"{label:<22} {1e3 * seconds:13.1f} {1e3 * result['processor_seconds'][label]:11.1f}"
                for label, seconds in result["seconds"].items()
            ),
            "",
            "                        by the clock   processor   wanted",
            *(
                f"{label:<22} {ratio:13.2f} {result['processor_ratios'][label]:11.2f}   {WANTED[label]}"
                for label, ratio in result["ratios"].items()
            ),
            "",
            f"largest difference of a cosine from the loop's: {result['cosines_apart']:.1e}; "
            f"of a projected one: {result['projected_apart']:.1e}",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
