"""The figure of a proof in lm-evaluation-harness: NLL per response token, pooled over all rows of the target."""

from typing import Any


def process_results(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, Any]:
    """Return the summed NLL (nats) and the number of tokens of one row's response."""
    ((log_likelihood, _),) = results
    return {"nll_per_token": (-log_likelihood, doc["tokens"])}


def pool_rows(items: list[tuple[float, int]]) -> float:
    """Return the NLL per response token over all rows."""
    nll, tokens = zip(*items, strict=True)
    return float(sum(nll) / sum(tokens))
