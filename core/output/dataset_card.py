"""Dataset card of an export, and the LLaMA-Factory entry for its file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from huggingface_hub import DatasetCardData

from core.columns import cut_in_words, describe_duplicates
from core.measurement.kinds import describe_mix
from core.methods import build_method
from core.methods.params import all_params
from core.output.manifest import Manifest
from core.output.row_files import SCORES_FIELD, is_parquet, rows_stem
from core.pool.nested_fields import nested_among
from core.pool.pools import hub_commit
from core.pool.text_overlap import NGRAM_WORDS
from core.schema import Method, Pool
from core.selection.filters import Filter

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SPEAKER_TAGS = {"user_tag": "user", "assistant_tag": "assistant", "observation_tag": "tool", "system_tag": "system"}
MESSAGES_TAGS = {"role_tag": "role", "content_tag": "content"} | _SPEAKER_TAGS
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_ADDRESS = re.compile(rf"hf://datasets/({_HUB_ID.pattern})(/.*)?")
MAX_FILES = 20  # of a pool, listed
_FILE_ENDINGS = (".jsonl", ".json", ".csv", ".parquet", ".gz")


def build_card(
    pool: Pool, manifest: Manifest, *, license: str | None = None, others: Mapping[str, str] | None = None
) -> str:
    """Return the README.md for a hub or a folder: front matter for machines, then the same in words.

    `license`: the license of the pool; None: the card refers to the license of the source. `others`: names of files
    that the manifest has no place for, and what they are.
    """
    front = _front_matter(manifest, license).to_yaml()
    lines = _words(pool, manifest, license, others or {})
    return f"---\n{front}\n---\n\n" + "\n".join(lines) + "\n"


def size_category(rows: int) -> str:
    """Return the hub's category for a number of rows."""
    return next((word for limit, word in SIZES if rows < limit), "n>1M")


def _front_matter(manifest: Manifest, license: str | None) -> DatasetCardData:
    source, file = manifest.pool.source, manifest.output.file
    second = manifest.output.held_out
    files = [{"split": "train", "path": file}] + ([{"split": "test", "path": second.file}] if second else [])
    return DatasetCardData(
        license=license or None,
        size_categories=[size_category(_rows(manifest))],
        source_datasets=[_hub_id(source) or "extended|other"],
        task_categories=["text-generation"],
        tags=["winnow", "data-selection", "instruction-tuning", _method(manifest).name],
        configs=[{"config_name": "default", "data_files": files}],
    )


def _rows(manifest: Manifest) -> int:
    """Return the number of selected rows, in both files."""
    return len(manifest.rows) + len(manifest.held_out)


def _hub_id(source: str) -> str:
    """Return owner/name of a pool's source; "" for a path, which would disclose a private folder."""
    if address := _HUB_ADDRESS.fullmatch(source):
        return address[1]
    return source if _HUB_ID.fullmatch(source) and not source.lower().endswith(_FILE_ENDINGS) else ""


def _words(pool: Pool, manifest: Manifest, license: str | None, others: Mapping[str, str]) -> list[str]:
    output, recipe = manifest.output, manifest.recipe
    method = _method(manifest)
    stem, rows = rows_stem(output.file), _rows(manifest)
    return [
        f"# {rows:,} rows selected from {_code(pool.name)}\n",
        f"Winnow {manifest.tool.version} selected {rows:,} of {len(pool):,} rows ({rows / len(pool):.1%}). "
        f"{_layout(manifest)}\n",
        f"- **Method**: {method.label}. {method.summary}",
        f"- **Parameters**: {_format_values(all_params(method))}",
        f"- **Model**: {_model(manifest)}",
        *_calibration(manifest.facts),
        *_cut(manifest.cut),
        *(f"- **Constant score**: {sentence}" for sentence in manifest.constant),
        *(f"- **Mixed devices**: {sentence}" for sentence in describe_mix(manifest.measured_on)),
        f"- **Budget**: {_budget(recipe)}",
        *(f"- **Result**: {sentence}" for sentence in method.facts_in_words(manifest.facts)),
        *_proof(manifest),
        *_benchmarks(manifest),
        *_given(manifest),
        f"- **Seed**: {recipe['seed']}",
        *_manual_choices(recipe),
        *_tags(recipe),
        *_held_out(manifest),
        *(f"- **Also in** {_code(name)}: {words}" for name, words in others.items()),
        f"- **Pool**: {_source(pool)}",
        f"- **License**: {license or 'that of the pool (unknown to Winnow)'}\n",
        *_files(pool),
        "## Reproduce this selection\n",
        f"{_code(stem + '.manifest.json')} lists every row and all settings. With the pool and the model,\n",
        f"    python -m core replay {stem}.manifest.json\n",
        "writes the same bytes, or states why it cannot.",
    ]


def _proof(manifest: Manifest) -> list[str]:
    """Return a line on what training on these rows did, compared with random rows; empty without a proof."""
    proof = manifest.proof
    if proof is None:
        return []
    model = f"{_code(proof.model.name)}, revision {_code(proof.model.revision)}"
    return [f"- **Proof**: {_code(proof.sentence)} Trained model: {model}. Plan: {_code(proof.id)}"]


def _benchmarks(manifest: Manifest) -> list[str]:
    """Return a line on each benchmark that the pool was compared with."""
    return [
        f"- **Overlap with {_code(one.name)}** ({', '.join(_code(file['name']) for file in one.files)}; {one.rows:,} "
        f"rows): {one.selected:,} of the selected rows, and {one.overlapping:,} of the pool, have {NGRAM_WORDS} "
        f"adjacent words of it or are near-duplicates (similarity ≥ {one.similarity:g})"
        for one in manifest.benchmarks
    ]


def _source(pool: Pool) -> str:
    bad = pool.set_aside.num_rows
    skipped = f"; {bad:,} rows of its source were skipped, because they could not be read" if bad else ""
    files = f"; read from {len(pool.files):,} files" if len(pool.files) > 1 else ""
    commit = hub_commit(pool)
    hub = f"; {_code(_hub_id(pool.source))} on the hub, commit {_code(commit)}" if commit else ""
    return f"fingerprint {_code(pool.fingerprint)}{hub}{files}{skipped}"


def _files(pool: Pool) -> list[str]:
    """Return the files of a pool of several, with rows and checksums: the first MAX_FILES."""
    if len(pool.files) < 2:
        return []
    lines = [
        f"- {_code(f.name)}: {f.rows:,} row{'s' * (f.rows != 1)}, XXH3-128 {_code(f.xxh128)}"
        for f in pool.files[:MAX_FILES]
    ]
    more = len(pool.files) - MAX_FILES
    lines += [f"- and {more:,} more, in the manifest"] if more > 0 else []
    return ["## Files of the pool\n", *lines, ""]


def _layout(manifest: Manifest) -> str:
    output = manifest.output
    schema = "their original schema" if output.written_as == "original" else f"the {output.written_as} schema"
    added = ["scores"] * output.with_scores + ["tags"] * manifest.recipe.get("export", {}).get("tags", False)
    scores = f" {_scores_place(output.file)} each row's {' and '.join(added)}." if added else ""
    filled = (
        f" {output.filled:,} of them have null in a column for a field that only other rows have."
        if output.filled
        else ""
    )
    queue = ""
    if output.written_as == "annotation":
        queue = " This is an annotation queue: every `response` is blank until an annotator fills it in."
        queue += " The pool's own responses are not in the file." * has_responses(manifest.pool.fields)
    return f"They are in {schema}, in the order of the pool.{queue}{scores}{filled}"


def _scores_place(file: str) -> str:
    columns = is_parquet(Path(file))
    return f"Columns `{SCORES_FIELD}.*` hold" if columns else f"A field `{SCORES_FIELD}` holds"


def _model(manifest: Manifest) -> str:
    model, reading = manifest.model, manifest.recipe.get("reading", {})
    if model is None:
        return "none (the method needs no model)"
    how = _format_values({k: reading[k] for k in ("template", "answers", "max_length", "prompt_share") if k in reading})
    weights = f", {model.weights}" if model.weights else ""
    return f"{_code(model.name)}, revision {_code(model.revision)}{weights} ({how})"


def _calibration(facts: Mapping[str, Any]) -> list[str]:
    """Return lines on the model that calibration started from and on groups calibrated by themselves, if any."""
    start, groups = facts.get("start_model"), facts.get("groups", ())
    lines = (
        [f"- **Start model**: {start['kind']}, {start['evidence']}; the paper uses {start['paper']}"] if start else []
    )
    if groups:
        lines.append("- **Groups**, each calibrated and ranked by itself:")
    return lines + [
        f"  - {_code(each['group'])}: {each['selected']:,} of {each['rows']:,} rows selected; warm-up training on "
        f"{each['warm_up']:,} rows"
        for each in groups
    ]


def _cut(cut: Mapping[str, int]) -> list[str]:
    """Return a line on selected rows that the model did not read whole; empty if it read all of them."""
    return (
        [f"- **Shortened rows**: {cut['rows']:,} of these rows exceed the maximum sequence length; {cut_in_words(cut)}"]
        if cut.get("rows")
        else []
    )


def _budget(recipe: Mapping[str, Any]) -> str:
    threshold = recipe.get("threshold")
    return str(recipe["budget"]) + (f", score cutoff {threshold:g}" if threshold is not None else "")


def _given(manifest: Manifest) -> list[str]:
    """Return a line on rows that were used before; empty without any."""
    n = len(manifest.given)
    if not n:
        return []
    rows = "1 row of the pool" if n == 1 else f"{n:,} rows of the pool"
    return [
        f"- **Used already**: {rows}, in no file of this export; they count in the budget, in quotas and for coverage, "
        "and no selected row repeats one of them"
    ]


def _manual_choices(recipe: Mapping[str, Any]) -> list[str]:
    """Return lines on what the user set besides the method: filters and pins; empty if nothing."""
    filters = [_code(str(Filter(**data))) for data in recipe.get("filters", ())]
    lines = [f"- **Filters**: {'; '.join(filters)}"] if filters else []
    pins: Sequence[Mapping[str, str]] = recipe.get("pins", ())
    for side, words in (("in", "Always included"), ("out", "Always excluded")):
        pinned = [pin for pin in pins if pin["side"] == side]
        if pinned:
            lines.append(f"- **{words}**: {len(pinned):,} {'row' if len(pinned) == 1 else 'rows'}")
            lines += [f"  - {_code(p['id'])}" + (f": {_code(p['reason'])}" if p.get("reason") else "") for p in pinned]
    return lines


def _tags(recipe: Mapping[str, Any]) -> list[str]:
    """Return a line on tags of the pool's rows that the recipe holds; empty without any."""
    counts = [f"{_code(name)} ({len(ids):,})" for name, ids in sorted(recipe.get("tags", {}).items())]
    return [f"- **Tags** (rows of the pool): {', '.join(counts)}"] if counts else []


def _held_out(manifest: Manifest) -> list[str]:
    """Return a line on the rows held out of training, and what they do not share with the rest."""
    second = manifest.output.held_out
    if second is None:
        return []
    kind = describe_duplicates(str(manifest.recipe["export"]["apart"]))
    return [
        f"- **Validation split**: {second.rows:,} of the {_rows(manifest):,} rows, in {_code(second.file)}; "
        f"sampled by seed from every task in proportion. No row has its {kind} in the other file."
    ]


def _method(manifest: Manifest) -> Method:
    return build_method(**manifest.recipe["method"])


def _format_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value != "") or "none"


def _code(text: str) -> str:
    """Format foreign text as inline code on one line, so that none of it is parsed as markdown."""
    return f"`{' '.join(text.replace('`', ' ').split())}`"


def dataset_info_snippet(manifest: Manifest) -> str | None:
    """Return the entry for LLaMA-Factory's data/dataset_info.json, under the file's name without its ending.

    None if it could not read the file: a schema it does not define, nested fields, or rows
    without a response.
    """
    output, fields = manifest.output, manifest.pool.fields
    if output.written_as == "annotation" or not has_responses(fields):
        return None
    converted = output.written_as != "original"
    about = converted_entry(output.written_as, output.fields) if converted else _original_entry(fields)
    if about is None or (not converted and nested_among(about["columns"].values())):
        return None
    files = [output.file] + ([output.held_out.file] if output.held_out else [])
    entry = {rows_stem(file): {"file_name": file} | about for file in files}
    return orjson.dumps(entry, option=orjson.OPT_INDENT_2).decode()


def has_responses(fields: Mapping[str, Any]) -> bool:
    """Return whether rows have responses; `fields` is a core.schema.FieldMap as data."""
    return fields["schema"] != "prompts_only" and bool(fields.get("turns") or fields.get("response"))


def converted_entry(schema: str, fields: Sequence[str]) -> dict[str, Any]:
    """Return the entry of a file in a schema but its own, with these fields; without the name of the file."""
    if schema == "messages":
        columns = {"messages": "messages"}
        return {"formatting": "sharegpt", "columns": columns, "tags": MESSAGES_TAGS}
    optional = {name: name for name in ("system", "history", "tools") if name in fields}
    if schema in ("sharegpt", "llamafactory"):
        return {"formatting": "sharegpt", "columns": {"messages": "conversations"} | optional}
    return {"columns": {"prompt": "instruction", "query": "input", "response": "output"} | optional}


def _original_entry(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the entry of a file in the original schema; `fields` is a core.schema.FieldMap as data."""
    optional = {name: fields[name] for name in ("system", "history", "tools") if fields.get(name)}
    if fields.get("turns"):
        tags = {"messages": {"tags": MESSAGES_TAGS}, "sharegpt": {}}.get(fields["schema"])
        if tags is None:
            return None
        columns = {"messages": fields["turns"]} | optional
        return {"formatting": "sharegpt", "columns": columns} | tags
    prompt, response = fields.get("prompt", ()), fields.get("response")
    if response is None or not 1 <= len(prompt) <= 2:
        return None
    columns = dict(zip(("prompt", "query"), prompt, strict=False)) | {"response": response}
    return {"columns": columns | optional}
