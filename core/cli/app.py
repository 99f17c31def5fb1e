"""Command line: `python -m core COMMAND`. The app starts these same commands as its workers.

Exit codes: 0 done, 2 user error (one sentence on stderr), 130 cancelled.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial, wraps
from inspect import Signature
from inspect import signature as inspect_signature
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from typer import Argument, Exit, Option, Typer, confirm, echo

# torch reads this on import; next to other work, spinning threads slow everything down
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from core.cli import arguments, commands, display, proofs, reports, storage
from core.cli.arguments import Facts
from core.cli.terminal import format_facts, one_line
from core.columns import DUPLICATES
from core.errors import Cancelled, RecipeError, WinnowError, WorkspaceError, memory_errors
from core.measurement import recipe_inputs
from core.methods import METHODS
from core.methods.preference_influence import PreferenceInfluence
from core.methods.suggestions import with_suggestions
from core.output.curate import check_outputs
from core.output.curves import Tracker, require_tracker
from core.output.replay import replay_manifest
from core.pool import outside_scores
from core.pool.benchmarks import SIMILARITY, find_overlap
from core.progress import Reporter, TerminalReporter, show_progress
from core.proof.design import HELD_OUT_ROWS
from core.proof.plan import RANDOM, Training, Work
from core.schema import Method, Pool
from core.selection.filter_syntax import parse_filter
from core.selection.recipe import MAX_SEED, Recipe, load_recipe, parse_recipe
from core.workers.launch import measure_together, share_work
from core.workers.places import CPU, LOCAL
from core.workers.task import finding_duplicates, measuring
from core.workspace.files import disk_errors
from core.workspace.folder import Workspace
from core.workspace.jobs import JobReporter

app = Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Measure instruction pools with language models, and select the rows worth fine-tuning on.",
)

POOL_HELP = (
    "A file, a folder or quoted pattern of files ('data/*.parquet'), a hub dataset (owner/name or "
    "hf://datasets/owner/name), or 'demo'"
)
PoolArg = Annotated[list[str], Argument(metavar="POOL", help=f"{POOL_HELP}.")]
ExportWords = Annotated[list[str], Argument(metavar="POOL [FOLDER]", help=f"{POOL_HELP}; with --for, the folder.")]
ProofWords = Annotated[list[str], Argument(metavar="POOL", help=f"{POOL_HELP}; or `collect` and a folder.")]
MethodOpt = Annotated[str, Option("--method", help=f"One of {', '.join(METHODS)}.")]
ModelOpt = Annotated[str, Option("--model", help="'embedded', 'smollm2', a folder, a GGUF file or a hub id.")]
SetOpt = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="A parameter of the method (docs/methods.md lists them); repeatable."),
]
ArmSetOpt = Annotated[
    list[str] | None,
    Option("--set", metavar="ARM.KEY=VALUE", help="A parameter of an arm that is a method; repeatable."),
]
WorkspaceOpt = Annotated[Path, Option("--workspace", envvar="WINNOW_WORKSPACE", help="Folder of stored measurements.")]
SeedOpt = Annotated[int, Option("--seed", min=0, max=MAX_SEED, help="Seed of every random choice.")]
JsonOpt = Annotated[bool, Option("--json", help="Print JSON on stdout.")]
JobOpt = Annotated[Path | None, Option("--job", hidden=True)]
TaskOpt = Annotated[str | None, Option("--task", help="Field with the task label; a.b is field b of a.")]
FieldsOpt = Annotated[
    str | None, Option("--fields", metavar="JSON", help="A complete field mapping, as `inspect --json` prints it.")
]
TemplateOpt = Annotated[str, Option("--template", help="Prompt template: auto, chat or alpaca.")]
AnswersOpt = Annotated[str, Option("--answers", help="Assistant turns that are the response: last or all.")]
LengthOpt = Annotated[int, Option("--max-length", help="Maximum sequence length, in tokens.")]
ShareOpt = Annotated[
    float,
    Option("--prompt-share", help="Minimum share of the maximum length for the prompt of a longer row: 0 to 0.9."),
]
DtypeOpt = Annotated[str, Option("--dtype", help="Numeric precision: auto, float32 or bfloat16.")]
DeviceOpt = Annotated[str, Option("--device", help="Device: auto, cpu, cuda, cuda:1, ...")]
NameOpt = Annotated[str | None, Option("--name", help="Configuration of a hub dataset or of a folder's card.")]
SplitOpt = Annotated[str | None, Option("--split", help="Split of a hub dataset or of a folder.")]
NoHeaderOpt = Annotated[
    bool, Option("--no-header", help="The first row of a CSV or TSV file is data; the columns are named 1, 2, 3.")
]
PoolRevisionOpt = Annotated[str | None, Option("--pool-revision", help="Branch, tag or commit of a hub dataset.")]
RevisionOpt = Annotated[str | None, Option("--revision", help="Commit of a hub model.")]
OutOpt = Annotated[
    Path,
    Option("--out", help="File to write: .jsonl or .parquet; its manifest and dataset card are written next to it."),
]
AlsoOpt = Annotated[
    list[str] | None,
    Option("--also", help="Another method to measure in the same run; repeatable; `all` for every method."),
]
WorkersOpt = Annotated[
    str,
    Option(
        "--workers",
        metavar="local|N|ray|ray:HOST:PORT",
        help="Who does the work: local is one worker for each GPU, or this process; N are processes on this machine; "
        "ray is one for each GPU, or CPU, of a Ray cluster (docs/scale.md).",
    ),
]
ShardOpt = Annotated[
    str | None,
    Option(
        "--shard",
        metavar="INDEX/COUNT",
        help="Be one of several processes on one workspace, counted from 0; they may start and end at any time.",
    ),
]
MixOpt = Annotated[
    bool,
    Option(
        "--allow-mix",
        help="Continue on another kind of device, or another version of PyTorch, than the parts that are stored.",
    ),
]
FilterOpt = Annotated[
    list[str] | None,
    Option(
        "--filter",
        metavar="FILTER",
        help="Condition for eligible rows; repeatable: 'nll<=2', 'response_tokens in 10..200', 'task=qa|code', "
        "'task!=qa', 'prompt contains text', 'prompt~pattern', 'duplicates once'.",
    ),
]
TagOpt = Annotated[
    list[str] | None,
    Option(
        "--tag",
        metavar="NAME=FILE",
        help='A tag on the rows that a file lists (whole, or as {"id": ...}); repeatable. Filter by it with '
        "'tag.NAME=1' or 'tag.NAME=0'.",
    ),
]
GivenOpt = Annotated[
    list[Path] | None,
    Option(
        "--given",
        metavar="FILE|MANIFEST",
        help="Rows used already, which the selection tops up: the .manifest.json of an export, or a file of rows or "
        "ids; repeatable. The budget counts them.",
    ),
]
BudgetOpt = Annotated[
    str, Option("--budget", help="Rows (500), a share of the pool (10%) or response tokens (200ktok).")
]
CutoffOpt = Annotated[float | None, Option("--threshold", help="Score cutoff: no row with a worse score is selected.")]
ServersOpt = Annotated[
    list[str] | None,
    Option(
        "--allow-server",
        metavar="HOST[:PORT]",
        help="A server in the file that may receive prompts; repeatable. Servers on this computer always may.",
    ),
]
OverwriteOpt = Annotated[
    bool, Option("--overwrite", help="Also replace files that no earlier export wrote; never the pool or other inputs.")
]
ScoreOpt = Annotated[
    Path | None, Option("--scores", help="Also write ids and every score column, as .parquet or .jsonl.")
]


LogOpt = Annotated[
    Tracker | None,
    Option("--log-to", help="Also send the loss curves of trainings to trackio or wandb, if installed; wandb offline."),
]


@dataclass
class _Session:
    """A running command: where it works, how it reports, and what its shared options ask for."""

    workspace: Workspace
    report: Reporter
    as_json: bool
    shared: Facts

    def build_recipe(self, also: Sequence[str] = (), **rest: Any) -> tuple[Recipe, Pool]:
        """Build the recipe that the options describe and open its pool; settings of `also` are ignored."""
        data = dict(self.shared)
        name, task, settings = data["method"], data.pop("task"), data.pop("settings")
        params = with_suggestions(name, arguments.read_settings(settings, also).get("", {}), data["reading"]["model"])
        recipe = parse_recipe(data | {"method": {"name": name, "params": params}} | rest, "command line")
        pool = recipe_inputs.open_source(data["pool"], self.workspace, self.report, task=task)
        return recipe_inputs.with_good_end(recipe, pool, self.workspace), pool

    def build_others(self, also: list[str] | None) -> list[Method]:
        """Build the methods of `--also`."""
        return arguments.build_other_methods(also or (), self.shared["settings"], self.shared["reading"]["model"])


def _run(
    command: str,
    work: Callable[[Workspace, Reporter], Facts],
    given: Facts,
    workspace: WorkspaceOpt = arguments.DEFAULT_WORKSPACE,
    as_json: JsonOpt = False,
    job: JobOpt = None,
) -> None:
    """Do the work of a command and output its facts: to the job's file, and to stdout for people or programs.

    Errors become one sentence instead of a traceback. `given` are all options and arguments.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _cancel)
    report: JobReporter | TerminalReporter = show_progress()
    try:
        arguments.check_text(given)
        if job:
            report = _report_to_job(job)
        with memory_errors():
            facts = work(Workspace(workspace), report)
        _end(report, "done", "", facts)
        options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
        with _output_errors():  # rich writes to stdout while it formats
            text = orjson.dumps(facts, option=options).decode() if as_json else None
            echo(text or format_facts(display.in_words(command, facts)))
    except WinnowError as error:
        cancelled = isinstance(error, Cancelled)
        with suppress(WorkspaceError):  # the disk of the job is full: the sentence below is in its log
            _end(report, "cancelled" if cancelled else "failed", str(error))
        echo(one_line(str(error)), err=True)
        raise Exit(130 if cancelled else 2) from error


@contextmanager
def _output_errors() -> Iterator[None]:
    """Turn an OSError of stdout into a WorkspaceError, unless its reader has gone."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  what is left there would fail again at the end
        raise WorkspaceError(f"The result cannot be written to standard output: {error.strerror}.") from error


def _report_to_job(folder: Path) -> JobReporter:
    with disk_errors(folder):
        if not (folder / "job.json").is_file():
            raise WorkspaceError(f"{folder} holds no job. The option --job is for the app only.")
    return JobReporter(folder)


def _end(report: JobReporter | TerminalReporter, state: str, message: str, facts: Facts | None = None) -> None:
    if isinstance(report, JobReporter):
        report.finish(state, message, facts)
    else:
        report.close()


def _cancel(_number: int, _frame: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # ignore further signals, so that the clean-up is not interrupted
    raise Cancelled("Cancelled. The same command continues from the last finished part.")


def _command(collect: Callable[..., Facts] = lambda: {}, *, own_last: bool = False) -> Callable[..., Any]:
    """Return a decorator that makes a command of `function(session, **own)`, which returns facts.

    The command has the function's own options, those of `collect` (the result is `session.shared`) and those of `_run`.
    """
    shared, general = inspect_signature(collect).parameters, dict(inspect_signature(_run).parameters)
    del general["command"], general["work"], general["given"]

    def decorate(function: Callable[..., Facts]) -> Callable[..., None]:
        own = {k: p for k, p in inspect_signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY}

        @wraps(function)
        def run(**options: Any) -> None:
            def work(workspace: Workspace, report: Reporter) -> Facts:
                collected = collect(**{k: options[k] for k in shared})
                session = _Session(workspace, report, options["as_json"], collected)
                return function(session, **{k: options[k] for k in own})

            _run(function.__name__, work, options, **{k: options[k] for k in general})

        common = (*shared.values(), *general.values())
        listed = (*common, *own.values()) if own_last else (*own.values(), *common)
        run.__signature__ = Signature([p.replace(kind=p.KEYWORD_ONLY) for p in listed])  # type: ignore[attr-defined]
        return app.command()(run)

    return decorate


def _with_options_of(shared: Callable[..., Any], *, but: Sequence[str] = ()) -> Callable[..., Any]:
    """Return a decorator that puts the options of `shared`, but some, in place of a function's `**options`."""

    def decorate(function: Callable[..., Facts]) -> Callable[..., Facts]:
        own = {k: p for k, p in inspect_signature(function).parameters.items() if p.kind is not p.VAR_KEYWORD}
        rest = [p for k, p in inspect_signature(shared).parameters.items() if k not in (*own, *but)]
        parameters = [*own.values(), *(p.replace(kind=p.KEYWORD_ONLY) for p in rest)]
        function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return function

    return decorate


def _collect_recipe_options(
    pool: PoolArg,
    method: MethodOpt = "entropy_shift",
    model: ModelOpt = "embedded",
    set_: SetOpt = None,
    seed: SeedOpt = 0,
    template: TemplateOpt = "auto",
    answers: AnswersOpt = "last",
    max_length: LengthOpt = 2048,
    prompt_share: ShareOpt = 0.5,
    dtype: DtypeOpt = "auto",
    device: DeviceOpt = "auto",
    revision: RevisionOpt = None,
    fields: FieldsOpt = None,
    task: TaskOpt = None,
    name: NameOpt = None,
    split: SplitOpt = None,
    pool_revision: PoolRevisionOpt = None,
    no_header: NoHeaderOpt = False,
) -> Facts:
    """Collect the options that every command on a recipe shares, as `_Session.build_recipe` takes them."""
    part = _collect_pool_options(pool, fields, name, split, pool_revision, no_header)
    reading: Facts = {"model": model, "revision": revision, "template": template, "answers": answers}
    reading |= {"max_length": max_length, "prompt_share": prompt_share, "dtype": dtype, "device": device}
    return {"pool": part, "task": task, "method": method, "settings": set_ or [], "seed": seed, "reading": reading}


def _collect_pool_options(
    pool: PoolArg,
    fields: FieldsOpt = None,
    name: NameOpt = None,
    split: SplitOpt = None,
    pool_revision: PoolRevisionOpt = None,
    no_header: NoHeaderOpt = False,
) -> Facts:
    """Collect the options that name a pool, as a recipe's pool part; `fields` is a JSON text."""
    try:
        mapping = orjson.loads(fields) if fields else None
    except orjson.JSONDecodeError as error:
        raise RecipeError(f"--fields: not JSON ({error}). `inspect --json` prints a mapping to start from.") from error
    part = {"source": arguments.read_pool(pool), "name": name, "split": split, "revision": pool_revision}
    return part | {"header": not no_header, "fields": mapping}


@_with_options_of(_collect_recipe_options, but=("pool", "method"))
def _collect_proof_options(words: ProofWords, set_: ArmSetOpt = None, **options: Any) -> Facts:
    """Collect the options of a proof: those of a recipe but its method. The words are a pool, or `collect FOLDER`."""
    return _collect_recipe_options(words[:1], method=RANDOM, set_=set_, **options) | {"words": words}


@_with_options_of(_collect_recipe_options, but=("pool",))
def _collect_export_options(words: ExportWords, **options: Any) -> Facts:
    """Collect the options of an export: those of a recipe. The words are a pool, and with --for the folder."""
    return _collect_recipe_options(words[:1], **options) | {"words": words}


@_with_options_of(_collect_pool_options, but=("pool",))
def _collect_scores_options(
    words: Annotated[list[str], Argument(metavar="POOL FILE", help=f"{POOL_HELP}; and rows with an id and numbers.")],
    **options: Any,
) -> Facts:
    """Collect the options that name a pool, and the file of scores."""
    if len(words) != 2:
        raise RecipeError("Give a pool and a file of scores: import-scores POOL FILE.")
    return _collect_pool_options(words[:1], **options) | {"file": words[1]}


_pool_command = _command(_collect_pool_options)
_recipe_command = _command(_collect_recipe_options, own_last=True)


@_pool_command
def inspect(session: _Session, *, task: TaskOpt = None) -> Facts:
    """Describe a pool: format, rows, skipped rows, tasks, lengths."""
    return reports.pool_facts(recipe_inputs.open_source(session.shared, session.workspace, session.report, task=task))


@_recipe_command
def duplicates(
    session: _Session,
    *,
    by: Annotated[
        Literal["words", "embedding"],
        Option("--by", help="words: near-duplicates; embedding: semantic duplicates, by a model that has measured."),
    ] = "words",
    of: Annotated[
        Literal["response", "prompt"], Option("--of", help="Embeddings that are compared: response or prompt.")
    ] = "response",
    threshold: Annotated[
        float | None,
        Option(
            "--threshold",
            help="Minimum similarity: by words the share of word pairs in common, 0.3 to 1 (default: 0.8); by "
            "embedding the cosine, 0.5 to 1 (default: 0.95).",
        ),
    ] = None,
    workers: WorkersOpt = LOCAL,
    shard: ShardOpt = None,
) -> Facts:
    """Find near-duplicates or semantic duplicates, for filters. Runs no model; the result is stored."""
    recipe, pool = session.build_recipe()
    kind = DUPLICATES[of if by == "embedding" else by]
    least = kind.usual if threshold is None else threshold
    if kind.embedding:
        if shard is not None or workers != LOCAL:
            raise RecipeError("--by embedding has one worker. Leave out --workers and --shard.")
        return commands.duplicates_facts(kind, least, recipe, pool, session.workspace, session.report)
    task, report = finding_duplicates(pool, session.workspace, least), session.report
    if shard is None:
        share_work(task, workers, CPU, report, lambda: False)
        return commands.duplicates_facts(kind, least, recipe, pool, session.workspace, report)
    with commands.as_shard(shard, workers, task, report) as (own, shown):
        return commands.duplicates_facts(kind, least, recipe, pool, session.workspace, shown, own)


@_pool_command
def decontaminate(
    session: _Session,
    *,
    against: Annotated[
        list[str], Option("--against", metavar="FILE", help="File of a benchmark, in any format of a pool; repeatable.")
    ],
    name_: Annotated[
        str, Option("--as", metavar="NAME", help="Name of the benchmark, for the column overlap@NAME.")
    ] = "",
    similarity: Annotated[
        float, Option("--similarity", help="Minimum similarity of near-duplicates: share of word pairs in common.")
    ] = SIMILARITY,
) -> Facts:
    """Find rows that a benchmark contains, for filters. Runs no model; the result is stored."""
    opened = recipe_inputs.open_source(session.shared, session.workspace, session.report)
    options: dict[str, Any] = {"name": name_, "similarity": similarity}
    return commands.overlap_facts(find_overlap(opened, against, session.workspace, session.report, **options), opened)


@_command(_collect_scores_options)
def import_scores(
    session: _Session,
    *,
    as_: Annotated[str, Option("--as", metavar="NAME", help="Name of the column score@NAME; else the field's.")] = "",
    field: Annotated[
        list[str] | None, Option("--field", help="A score to read, such as IFD; repeatable. Without it, all.")
    ] = None,
    end: Annotated[
        list[str] | None,
        Option("--end", help="Which end of the scores is good, high or low, or of one, as IFD=low; repeatable."),
    ] = None,
) -> Facts:
    """Join the scores of another tool to a pool, by id. Runs no model; the result is stored."""
    part = dict(session.shared)
    file = part.pop("file")
    ends = arguments.read_ends(end or ())
    opened = recipe_inputs.open_source(part, session.workspace, session.report)
    options: dict[str, Any] = {"name": as_, "fields": field or (), "end": ends.pop("", "high"), "ends": ends}
    return commands.score_facts(opened, outside_scores.import_scores(opened, file, session.workspace, **options))


@_pool_command
def export_scores(
    session: _Session, *, out: Annotated[Path, Option("--out", help="File to write, .jsonl.")] = Path("scores.jsonl")
) -> Facts:
    """Write all scores of every row for other tools, in OpenDataArena's form."""
    opened = recipe_inputs.open_source(session.shared, session.workspace, session.report)
    return commands.write_scores(opened, session.workspace, out)


@_recipe_command
def measure(
    session: _Session,
    *,
    also: AlsoOpt = None,
    workers: WorkersOpt = LOCAL,
    shard: ShardOpt = None,
    allow_mix: MixOpt = False,
    log_to: LogOpt = None,
) -> Facts:
    """Measure every row with a model: the slow part. To resume it, run the same command again."""
    if log_to:
        require_tracker(log_to)
    recipe, pool = session.build_recipe(also=also or (), workers=workers)
    others = [other for other in session.build_others(also) if other.name != recipe.method.name]
    workspace, report = session.workspace, session.report
    if shard is None:
        runs = measure_together(recipe, pool, workspace, report, others, allow_mix=allow_mix)
        return reports.runs_facts(runs, others) | commands.log_warm_ups(runs, log_to, workspace)
    task = measuring(recipe, pool, workspace, others, allow_mix=allow_mix)
    with commands.as_shard(shard, workers, task, report) as (own, shown):
        runs = recipe_inputs.measure_methods(recipe, pool, workspace, shown, others, shard=own, allow_mix=allow_mix)
    return reports.runs_facts(runs, others) | commands.log_warm_ups(runs, log_to, workspace)


@_recipe_command
def estimate(session: _Session, *, also: AlsoOpt = None) -> Facts:
    """Estimate the time, memory and disk of `measure`, from a trial on some rows."""
    recipe, pool = session.build_recipe(also=also or ())
    return commands.estimate_cost(recipe, pool, session.workspace, session.report, session.build_others(also))


@_recipe_command
def tokens(
    session: _Session,
    *,
    row: Annotated[list[str] | None, Option("--row", metavar="ID", help="Id of a row; repeatable.")] = None,
    number: Annotated[
        list[int] | None, Option("--number", metavar="N", help="Number of a row, counted from 0; repeatable.")
    ] = None,
) -> Facts:
    """Show NLL and entropy of single rows; with --json, of each of their tokens."""
    recipe, pool = session.build_recipe()
    rows = commands.find_rows(pool, row or (), number or ())
    return commands.view_tokens(recipe, pool, session.workspace, session.report, rows, strips=session.as_json)


@_recipe_command
def project(
    session: _Session,
    *,
    of: Annotated[
        str, Option("--of", help="What the map compares: prompt, response, answers or activations.")
    ] = "prompt",
    layout: Annotated[str, Option("--layout", help="pca, or umap (1 min at 50,000 rows).")] = "umap",
) -> Facts:
    """Compute a map of the rows, in which similar rows are near each other. The result is stored."""
    recipe, pool = session.build_recipe()
    return commands.project_pool(recipe, pool, session.workspace, session.report, of, layout)


def _write_selection(
    session: _Session,
    *,
    budget: BudgetOpt = "10%",
    filters: FilterOpt = None,
    threshold: CutoffOpt = None,
    given: GivenOpt = None,
    out: OutOpt = Path("chosen.jsonl"),
    schema: Annotated[
        str,
        Option(
            "--schema", help="Schema of the file: original, alpaca, messages, sharegpt, llamafactory or annotation."
        ),
    ] = "original",
    with_scores: Annotated[
        bool, Option("--with-scores", help="Add a field `winnow` with the scores of each row.")
    ] = False,
    tag: TagOpt = None,
    tags: Annotated[bool, Option("--tags", help="Add to the field `winnow` a list of the tags of each row.")] = False,
    rejected: Annotated[bool, Option("--rejected", help="Also write the unselected rows.")] = False,
    held_out: Annotated[
        str,
        Option(
            "--held-out",
            metavar="SHARE",
            help="Share of the selected rows for a validation split, in a second file: 5%.",
        ),
    ] = "0%",
    scores: ScoreOpt = None,
    overwrite: OverwriteOpt = False,
    bundle: bool = False,
    trainer: str = "",
) -> Facts:
    """Select and write, as the options say; as a bundle, in both formats and with the proof; or a trainer's folder."""
    export = {"schema": schema, "with_scores": with_scores, "tags": tags, "rejected": rejected, "held_out": held_out}
    conditions = [asdict(parse_filter(line)) for line in filters or ()]
    recipe, pool = session.build_recipe(budget=budget, filters=conditions, threshold=threshold, export=export)
    recipe, unmatched = commands.add_given(commands.add_tags(recipe, pool, tag or ()), pool, given or ())
    run = commands.require_run(recipe, pool, session.workspace)
    recipe = recipe_inputs.resolve_duplicates(recipe, pool, session.workspace)
    recipe_inputs.find_recipe_duplicates(recipe, pool, session.workspace, session.report)
    options: Facts = {"scores": scores, "given": given or (), "overwrite": overwrite, "bundle": bundle}
    if trainer:
        return commands.export_for(recipe, pool, run, trainer, out, **options) | unmatched
    return commands.curate_run(recipe, pool, run, out, **options) | unmatched


@_recipe_command
@_with_options_of(_write_selection, but=("bundle", "trainer"))
def select(session: _Session, **options: Any) -> Facts:
    """Select rows by a stored measurement, and write them with a manifest."""
    return _write_selection(session, **options)


@_command(_collect_export_options)
@_with_options_of(_write_selection, but=("bundle",))
def export(
    session: _Session,
    *,
    trainer: Annotated[
        str,
        Option(
            "--for",
            metavar="TRAINER",
            help="llamafactory, trl, axolotl or unsloth: write a folder with the rows in its format and a "
            "configuration that trains on them.",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        Option(
            "--out",
            help="File to write, .jsonl or .parquet; with --for the folder, if it does not follow the pool (default: "
            "the trainer's name).",
        ),
    ] = None,
    push: Annotated[
        str | None,
        Option(
            "--push", metavar="OWNER/NAME", help="Dataset repository on the hub to send all files of the export to."
        ),
    ] = None,
    public: Annotated[
        bool, Option("--public", help="With --push: all may read it. A new repository is private otherwise.")
    ] = False,
    yes: Annotated[bool, Option("--yes", help="With --push: send. Without it, what would be sent is shown.")] = False,
    **options: Any,
) -> Facts:
    """Select rows as `select` does, and write them for another tool, or for the hub."""
    words = session.shared.pop("words")
    if trainer and out is None and len(words) == 2:
        out = Path(words.pop())
    arguments.read_pool(words)
    options |= {"trainer": trainer, "out": out or Path(trainer or "chosen.jsonl")}
    if push is None:
        if public or yes:
            raise RecipeError("--public and --yes belong to --push OWNER/NAME. Add it, or leave them out.")
        return _write_selection(session, **options)
    if trainer:
        raise RecipeError("--for writes a folder, and --push sends an export. Give one of them.")
    return commands.push_export(
        push, partial(_write_selection, session, **options, bundle=True), public=public, yes=yes
    )


@_recipe_command
def report(
    session: _Session,
    *,
    budget: BudgetOpt = "10%",
    filters: FilterOpt = None,
    threshold: CutoffOpt = None,
    given: GivenOpt = None,
    tag: TagOpt = None,
    out: Annotated[Path, Option("--out", help="File to write, .html. One report may replace another.")] = Path(
        "report.html"
    ),
    overwrite: Annotated[bool, Option("--overwrite", help="Also replace a file that is no report.")] = False,
) -> Facts:
    """Write a selection as one HTML file for people: figures, examples, proof, origin. It opens without a server.

    POOL may be the .manifest.json of an export, which then decides all settings.
    """
    source, options = session.shared["pool"]["source"], {"out": out, "overwrite": overwrite}
    if commands.is_manifest(source):
        own = (budget, filters, threshold, given, tag)
        if session.shared != _collect_recipe_options([source]) or own != ("10%", None, None, None, None):
            raise RecipeError(f"{source} decides what is selected. Leave out all options but --out and --overwrite.")
        return commands.report_manifest(Path(source), session.workspace, session.report, **options)
    conditions = [asdict(parse_filter(line)) for line in filters or ()]
    recipe, pool = session.build_recipe(budget=budget, filters=conditions, threshold=threshold)
    recipe, unmatched = commands.add_given(commands.add_tags(recipe, pool, tag or ()), pool, given or ())
    return commands.report_selection(recipe, pool, session.workspace, session.report, **options) | unmatched


@_command()
def run(
    session: _Session,
    *,
    recipe: Annotated[Path, Argument(metavar="RECIPE.yaml")],
    out: OutOpt = Path("chosen.jsonl"),
    scores: ScoreOpt = None,
    overwrite: OverwriteOpt = False,
    allow_server: ServersOpt = None,
) -> Facts:
    """Measure, select and write, as a recipe file describes."""
    plan = load_recipe(recipe)
    pool = recipe_inputs.open_recipe_pool(plan, session.workspace, session.report)
    options: Facts = {"scores": scores, "source": recipe, "overwrite": overwrite}
    check_outputs(plan, pool, session.workspace.root, out, **options)  # before the slow part
    servers = allow_server or ()
    also = recipe_inputs.filter_methods(plan)
    measured = measure_together(plan, pool, session.workspace, session.report, also, servers=servers)[0]
    recipe_inputs.find_recipe_duplicates(plan, pool, session.workspace, session.report)
    return commands.curate_run(plan, pool, measured, out, **options)


@_command(_collect_proof_options, own_last=True)
def prove(
    session: _Session,
    *,
    arms: Annotated[
        list[str] | None,
        Option(
            "--arms",
            metavar="ARM,...",
            help="What is compared with random: methods, reversed:METHOD, all, recipes (.yaml), manifests, or files of "
            "rows; NAME=ARM gives a name; repeatable. Random and longest are always in.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        Option("--target", metavar="[NAME=]FILE", help="Rows or preference pairs to evaluate on; repeatable."),
    ] = None,
    budget: Annotated[
        str,
        Option("--budget", help="Rows (500), a share of what may be trained on (10%) or response tokens (200ktok)."),
    ] = "10%",
    train_model: Annotated[
        str | None, Option("--train-model", help="The model to train. Default: that of --model.")
    ] = None,
    train_revision: Annotated[str | None, Option("--train-revision", help="Commit of a hub model to train.")] = None,
    seeds: Annotated[int, Option("--seeds", help="Trainings of each arm; 5 or more for a verdict.")] = 5,
    rates: Annotated[
        str | None,
        Option("--rates", help="Learning rates, such as 1e-5,3e-5: a verdict needs the same sign at two or more."),
    ] = None,
    steps: Annotated[
        int | None,
        Option("--steps", help="Optimizer steps of each training at equal steps. Default: 150; embedded model: 60."),
    ] = None,
    tokens_per_step: Annotated[
        int | None,
        Option("--tokens-per-step", help="Response tokens of an optimizer step. Default: 2,048; embedded model: 512."),
    ] = None,
    epochs: Annotated[
        int, Option("--epochs", help="Passes over the rows of each training at equal epochs; 0 leaves these out.")
    ] = Work.epochs,
    held_out: Annotated[
        str, Option("--held-out", help="Rows (300) or share of the pool (10%) to evaluate on; in no arm.")
    ] = HELD_OUT_ROWS,
    smallest_effect: Annotated[
        str, Option("--smallest-effect", help="Smallest difference of interest, as a share of random's NLL.")
    ] = "1%",
    lora_rank: Annotated[int, Option("--lora-rank", help="Rank of a LoRA adapter; 0 trains all weights.")] = 0,
    allow_target_prompts: Annotated[
        bool, Option("--allow-target-prompts", help="Rows with a prompt of a target may be in an arm.")
    ] = False,
    estimate: Annotated[bool, Option("--estimate", help="Only plan, and estimate the cost.")] = False,
    write: Annotated[
        Path | None,
        Option("--write", metavar="FOLDER", help="Only write the folder with which other trainers run this proof."),
    ] = None,
    log_to: LogOpt = None,
) -> Facts:
    """Train on selections and on random rows, and show which gives the better model. To resume, run it again.

    `prove collect FOLDER` reads the results in a folder that --write made.
    """
    words = session.shared["words"]
    if log_to:
        require_tracker(log_to)
        if estimate or write:
            raise RecipeError(
                "--log-to sends the curves of trainings; --estimate and --write train nothing. Leave one out."
            )
    if words[0] == proofs.COLLECT or len(words) > 1:
        return proofs.collect_proof(words, session.workspace, session.report, log_to=log_to)
    given = {"budget": budget, "seeds": seeds, "held_out": held_out}
    given |= {"targets": tuple(target or ()), "training": Training(lora_rank=lora_rank)}
    options = proofs.read_options(
        session.shared,
        arms or (),
        train_model=train_model,
        train_revision=train_revision,
        rates=rates,
        work={"steps": steps, "tokens_per_step": tokens_per_step, "epochs": epochs},
        smallest_effect=smallest_effect,
        prompts_allowed=allow_target_prompts,
        **given,
    )
    part, task = session.shared["pool"], session.shared["task"]
    pool = recipe_inputs.open_source(part, session.workspace, session.report, task=task)
    only: dict[str, Any] = {"estimate": estimate, "write": write, "log_to": log_to}
    return proofs.prove_pool(options, pool, session.workspace, session.report, **only)


@_command()
def workspace(
    session: _Session,
    *,
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="[delete KIND KEY...]",
            help="Items to delete, by kind and key; the beginning of a key is enough, `all` means all.",
        ),
    ] = None,
    yes: Annotated[bool, Option("--yes", help="Delete without asking.")] = False,
) -> Facts:
    """List the contents of the workspace, or delete some. What a job uses is never deleted."""
    if not words:
        return storage.list_workspace(session.workspace, every=session.as_json)

    def agree(meaning: str) -> bool:
        if not yes and not sys.stdin.isatty():
            raise WorkspaceError(f"{meaning} Nothing was deleted: add --yes to delete without being asked.")
        return yes or confirm(f"{meaning} Delete?", err=True)

    return storage.delete_from_workspace(session.workspace, words, agree)


@_command(partial(_collect_recipe_options, method=PreferenceInfluence.name), own_last=True)
def check_influence(
    session: _Session,
    *,
    halves: Annotated[int, Option("--halves", help="Random halves of the rows that are trained on, 5 to 1,000.")] = 20,
    steps: Annotated[
        int, Option("--steps", help="Optimizer steps on each half; 0: as many as go through it once.")
    ] = 0,
) -> Facts:
    """Check measured influence: train on random halves of the rows, and correlate (leave k out)."""
    recipe, pool = session.build_recipe()
    return commands.check_influence(recipe, pool, session.workspace, session.report, halves=halves, steps=steps)


@_command()
def replay(
    session: _Session,
    *,
    manifest: Annotated[Path, Argument(metavar="CHOSEN.manifest.json")],
    out: Annotated[
        Path | None, Option("--out", help="File to write. Default: the name in the manifest, next to it.")
    ] = None,
    pool: Annotated[str | None, Option("--pool", help="Path or hub id of the pool, if it has moved.")] = None,
    rows_only: Annotated[
        bool, Option("--rows-only", help="Write the rows that the manifest lists, without measuring them again.")
    ] = False,
    overwrite: OverwriteOpt = False,
    allow_server: ServersOpt = None,
) -> Facts:
    """Check a manifest against the pool and the model, and write the same bytes again."""
    options: Facts = {"out": out, "pool_source": pool, "rows_only": rows_only, "overwrite": overwrite}
    options |= {"allow_servers": allow_server or ()}
    file = replay_manifest(manifest, session.workspace, session.report, **options)
    return {"chosen": str(file.path), "rows": file.rows, "sha256": file.sha256, "identical": True}


@_command()
def demo(
    session: _Session,
    *,
    out: Annotated[Path, Option("--out", help="Folder for the exported files.")] = Path("demo"),
    budget: BudgetOpt = "10%",
    overwrite: OverwriteOpt = False,
) -> Facts:
    """Run every method on the demo pool, and count the known bad rows that each selects."""
    return commands.run_demo(session.workspace, session.report, out, budget, overwrite=overwrite)
