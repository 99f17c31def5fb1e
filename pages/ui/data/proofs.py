"""Stored proofs of a pool, read again only when one has changed."""

import json
from collections.abc import Sequence

from core.proof import stored
from core.proof.headline import main_verdict
from core.proof.stored import Proof
from core.proof.verdicts import Verdict
from core.schema import Pool
from core.selection.recipe import Recipe
from pages.ui.data import cached


def list_proofs(pool: Pool) -> list[Proof]:
    """Return the proofs of a pool, newest first."""
    return _list_proofs(pool, _stamp())


@cached.keep(cached.MAX_POOLS)
def _list_proofs(pool: Pool, stamp: Sequence[tuple[str, int]]) -> list[Proof]:
    return stored.list_proofs(cached.workspace(), pool.fingerprint)


def find_proof(pool: Pool, recipe: Recipe) -> tuple[Proof, Verdict] | None:
    """Return the newest proof that judges the selection of a recipe, and its verdict; None if there is none."""
    return _find_proof(pool, _stamp(), json.dumps(recipe.as_data(), sort_keys=True), recipe)


@cached.keep()
def _find_proof(
    pool: Pool, stamp: Sequence[tuple[str, int]], key: str, _recipe: Recipe
) -> tuple[Proof, Verdict] | None:
    found = stored.find_proof(cached.workspace(), pool, _recipe)
    if found is None:
        return None
    proof, arm = found
    verdict = main_verdict(proof.verdicts, arm)
    return (proof, verdict) if verdict else None


def _stamp() -> tuple[tuple[str, int], ...]:
    """Return the files of all proofs and when they were written."""
    files = cached.workspace().root.glob("proofs/*/*.json")
    return tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files))
