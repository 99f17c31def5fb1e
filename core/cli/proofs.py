"""Work of `prove`: from options to a proof, and to its facts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.cli.arguments import Facts
from core.cli.commands import require_run
from core.errors import RecipeError
from core.output.curves import Tracker, proof_curves, send_curves
from core.progress import Reporter
from core.proof.arms import parse_arms
from core.proof.design import Design, ProofOptions, design_proof, suggested_rates, suggested_work
from core.proof.prove import estimate_proof, prove
from core.proof.stored import Proof, begin_proof
from core.schema import Pool
from core.selection.recipe import ReadingPart, parse_recipe
from core.workspace.folder import Workspace

COLLECT = "collect"
PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")


def read_options(
    shared: Mapping[str, Any],
    arms: Sequence[str],
    *,
    train_model: str | None,
    train_revision: str | None,
    rates: str | None,
    work: Mapping[str, int | None],
    smallest_effect: str,
    **rest: Any,
) -> ProofOptions:
    """Return what the options of a command ask for; RecipeError for one that cannot be read.

    `shared`: pool part, reading, seed and settings. `work`: fields of Work; None: what is suggested for the model.
    `rest`: fields of ProofOptions.
    """
    data = {"pool": shared["pool"], "method": {"name": "random"}, "reading": shared["reading"], "seed": shared["seed"]}
    base = parse_recipe(data | {"budget": rest["budget"]}, "command line")
    words = [word for given in arms for word in given.split(",") if word.strip()]
    reading: dict[str, Any] = base.reading.model_dump()
    if train_model is not None and train_model != reading["model"]:
        reading |= {"model": train_model, "revision": train_revision}
    elif train_revision is not None:
        reading["revision"] = train_revision
    return ProofOptions(
        arms=tuple(parse_arms(words, _read_settings(shared["settings"]), base)),
        reading=ReadingPart(**reading).reading(),
        rates=suggested_rates(reading["model"]) if rates is None else _read_rates(rates),
        work=suggested_work(reading["model"], **work),
        smallest_effect=_read_share(smallest_effect),
        seed=shared["seed"],
        **rest,
    )


def _read_settings(settings: Sequence[str]) -> dict[str, dict[str, str]]:
    """Parse `NAME.key=value` into parameters by the name of an arm."""
    params: dict[str, dict[str, str]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        name, dot, parameter = key.strip().rpartition(".")
        if not equals or not dot:
            raise RecipeError(f"--set {setting}: write it as NAME.key=value, such as --set entropy_shift.gamma=0.1.")
        params.setdefault(name, {})[parameter] = value.strip()
    return params


def _read_rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise RecipeError(f"--rates {text}: write learning rates as numbers, such as 1e-5,3e-5.") from None


def _read_share(text: str) -> float:
    percent = PERCENT.fullmatch(text.strip())
    try:
        return float(percent[1]) / 100 if percent else float(text)
    except ValueError:
        raise RecipeError(f"--smallest-effect {text}: write a share, such as 1% or 0.01.") from None


def prove_pool(
    options: ProofOptions,
    pool: Pool,
    workspace: Workspace,
    report: Reporter,
    *,
    estimate: bool = False,
    write: Path | None = None,
    log_to: Tracker | None = None,
) -> Facts:
    """Run a proof, or only estimate it, or write the folder that another trainer runs it from; return its facts."""
    design = design_proof(options, pool, workspace, report, require_run)
    if write is not None:
        return _write(design, workspace, write)
    if estimate:
        return {"id": design.plan.id, "plan": design.plan.as_data(), "runs": [], "verdicts": []} | estimate_proof(
            design
        )
    return _log(prove(design, report), log_to, workspace)


def _log(proof: Proof, tracker: Tracker | None, workspace: Workspace) -> Facts:
    """Return the facts of a proof, and what was sent to a tracker, if one was asked for."""
    return proof.as_data() | (
        {} if tracker is None else {"curves": asdict(send_curves(proof_curves(proof), tracker, workspace))}
    )


def _write(design: Design, workspace: Workspace, folder: Path) -> Facts:
    from core.output.hand_over import write_folder

    proof = begin_proof(workspace, design.plan, design.rows, design.evaluated)
    runs = write_folder(design, proof, folder)
    return proof.as_data() | {"folder": str(folder), "trainings": len(runs)}


def collect_proof(
    words: Sequence[str], workspace: Workspace, report: Reporter, *, log_to: Tracker | None = None
) -> Facts:
    """Read the results in the folder of `collect FOLDER`; return the facts of the proof and what is missing."""
    if words[0] != COLLECT or len(words) != 2:
        raise RecipeError("Write `prove POOL`, or `prove collect FOLDER` with the folder that `prove --write` made.")
    from core.proof.collect import collect_results

    collected = collect_results(Path(words[1]), workspace, report)
    return _log(collected.proof, log_to, workspace) | {"collected": collected.found, "missing": list(collected.missing)}
