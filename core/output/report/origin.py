"""The origin of a selection: recipe, models, devices, versions and checksums, and the commands that make it again."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import yaml

from core import __version__
from core.measurement.kinds import describe_kind, describe_mix
from core.methods.params import all_params
from core.models.reference import describe_weights
from core.output.curate import collect_targets, resolve_recipe
from core.output.manifest import Manifest, current_commit
from core.output.report.subject import Subject
from core.selection.filters import Filter

MAX_RECIPE = 20_000  # characters of the recipe that are shown
RECIPE_FILE = "selection.recipe.yaml"


@dataclass(frozen=True)
class Checksum:
    """A SHA-256, and of what."""

    of: str
    value: str


def list_choices(subject: Subject) -> list[tuple[str, str]]:
    """Return what decides the selection: name and value."""
    recipe, method = subject.recipe, subject.method
    params = ", ".join(f"{name} {value}" for name, value in all_params(method).items() if value != "")
    pins = [f"{sum(pin.side == side for pin in recipe.pins):,} {side}" for side in ("in", "out")]
    limit = f"no score worse than {recipe.threshold:g}" if recipe.threshold is not None else ""
    choices = {
        "Method": f"{method.label}. {method.summary}",
        "Parameters": params or "none",
        "Budget": ", ".join(filter(None, (recipe.budget, limit))),
        "Filters": "; ".join(str(Filter(**part.model_dump())) for part in recipe.filters) or "none",
        "Pins": ", ".join(pins) if recipe.pins else "none",
        "Used already": f"{subject.selection.spent.rows:,} rows, which count in the budget" if recipe.given else "",
        "Seed": str(recipe.seed),
    }
    return [(name, value) for name, value in choices.items() if value]


def list_origins(subject: Subject) -> list[tuple[str, str]]:
    """Return what the rows were measured with and on: name and value."""
    run, pool, reading = subject.run, subject.pool, subject.recipe.reading
    weights = describe_weights(run.model["name"])
    model = f"{run.model['name']}, revision {run.model['revision']}{f', {weights}' if weights else ''}"
    how = f"template {reading.template}, answers {reading.answers}, at most {reading.max_length:,} tokens"
    kinds = run.summary.get("kinds", ())
    targets = [f"{each.name}: {each.pairs:,} pairs, fingerprint {each.fingerprint}" for each in collect_targets(run)]
    origins = {
        "Pool": f"{pool.name}, {len(pool):,} rows, {pool.set_aside.num_rows:,} skipped; fingerprint {pool.fingerprint}",
        "Model": f"{model} ({how})",
        "Measured on": "; ".join(map(describe_kind, kinds)) or "not recorded",
        "Target sets": "; ".join(targets),
        "Winnow": f"{__version__}, commit {current_commit() or 'unknown'}",
        "Notes": " ".join([*run.summary.get("warnings", ()), *describe_mix(kinds)]),
    }
    return [(name, value) for name, value in origins.items() if value]


def write_recipe(subject: Subject) -> tuple[str, int]:
    """Return the recipe as YAML, and how many of its characters are left out."""
    resolved = resolve_recipe(subject.recipe, subject.pool, subject.run)
    text = yaml.safe_dump(resolved.as_data(), sort_keys=False, allow_unicode=True, width=100)
    return text[:MAX_RECIPE], max(0, len(text) - MAX_RECIPE)


def list_checksums(subject: Subject, manifest: Manifest | None) -> list[Checksum]:
    """Return checksums of the files of the export, if there is one, and of the ids of the rows."""
    ids = subject.pool.rows["id"].take(pa.array(subject.selection.rows)).to_pylist()
    lines = hashlib.sha256("".join(f"{name}\n" for name in ids).encode()).hexdigest()
    checksums = [Checksum("ids of the selected rows, best first, one per line", lines)]
    if manifest is None:
        return checksums
    return [*(Checksum(name, value) for name, value in sorted(manifest.files.items())), *checksums]


def list_commands(commands: Sequence[Sequence[str]], manifest: Manifest | None, left_out: int) -> list[tuple[str, str]]:
    """Return commands that make the selection again, each after a sentence; `commands`: arguments that select it."""
    listed = [("Makes the same selection from options; needs finished measurements.", words) for words in commands]
    if not left_out:
        sentence = f"With the recipe above as {RECIPE_FILE}: measures what is missing, and writes the rows."
        listed.insert(0, (sentence, ["run", RECIPE_FILE, "--out", "chosen.jsonl"]))
    if manifest is not None:
        name = manifest.output.file.partition(".")[0] + ".manifest.json"
        listed.append(("Checks pool, model and result against the manifest.", ["replay", name]))
    return [(sentence, shlex.join(["python", "-m", "core", *words])) for sentence, words in listed]
