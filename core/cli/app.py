"""Command line: `python -m core COMMAND`. The app starts these same commands as its workers.

Exit codes: 0 done, 2 user error (one sentence on stderr), 130 cancelled.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import Signature
from inspect import signature as inspect_signature
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

# torch reads this on import; next to other work, spinning threads slow everything down
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from core.cli import arguments, commands, reports
from core.cli.terminal import format_facts
from core.errors import Cancelled, WinnowError
from core.measurement import recipe_inputs
from core.methods import METHODS
from core.output.replay import replay_manifest
from core.progress import BarReporter, Reporter
from core.schema import Method
from core.selection.recipe import load_recipe
from core.workspace.folder import Workspace
from core.workspace.jobs import JobReporter

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Winnow: see, tune and export the part of an instruction pool worth fine-tuning on.",
)

PoolArg = Annotated[str, typer.Argument(metavar="POOL", help="A file, a folder, a hub id, or 'demo'.")]
MethodOpt = Annotated[str, typer.Option("--method", help=f"One of {', '.join(METHODS)}.")]
ModelOpt = Annotated[str, typer.Option("--model", help="'embedded', a folder or a hub id.")]
SetOpt = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A method parameter; repeatable.")]
WorkspaceOpt = Annotated[Path, typer.Option("--workspace", help="Where measurements are kept.")]
SeedOpt = Annotated[int, typer.Option("--seed", min=0, help="Decides every random choice.")]
JsonOpt = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
JobOpt = Annotated[Path | None, typer.Option("--job", hidden=True)]
TaskOpt = Annotated[str | None, typer.Option("--task", help="The field that holds the task label.")]
FieldsOpt = Annotated[
    str | None, typer.Option("--fields", metavar="JSON", help="A whole mapping, as `inspect --json` shows it.")
]
TemplateOpt = Annotated[str, typer.Option("--template", help="auto, chat or alpaca.")]
AnswersOpt = Annotated[str, typer.Option("--answers", help="Which assistant turns count: last or all.")]
LengthOpt = Annotated[
    int, typer.Option("--max-length", help="Tokens a row may have; longer prompts lose their beginning.")
]
DtypeOpt = Annotated[str, typer.Option("--dtype", help="auto, float32 or bfloat16.")]
DeviceOpt = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, ...")]
NameOpt = Annotated[str | None, typer.Option("--name", help="Configuration of a hub data set.")]
SplitOpt = Annotated[str | None, typer.Option("--split", help="Split of a hub data set.")]
PoolRevisionOpt = Annotated[str | None, typer.Option("--pool-revision", help="Commit of a hub data set.")]
RevisionOpt = Annotated[str | None, typer.Option("--revision", help="Commit of a hub model.")]
OutOpt = Annotated[Path, typer.Option("--out", help="The JSONL to write; its manifest and card go beside it.")]
AlsoOpt = Annotated[
    list[str] | None,
    typer.Option("--also", help="Another method to measure for, in the same pass; repeatable; `all` for every one."),
]
FilterOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        metavar="FILTER",
        help="Who may be chosen at all; repeatable: 'nll<=2', 'response_tokens in 10..200', 'task=qa|code', "
        "'task!=qa', 'prompt contains text', 'prompt~pattern', 'duplicates once'.",
    ),
]
ScoresOpt = Annotated[
    Path | None, typer.Option("--scores", help="Also write ids and every score column: .parquet or .jsonl.")
]


@contextmanager
def _command(job: Path | None, *, as_json: bool = False) -> Iterator["_Session"]:
    """Run the body of a command: report progress, and turn errors into one sentence instead of a traceback."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _cancel)
    session = _Session(JobReporter(job) if job else BarReporter(), as_json)
    try:
        yield session
    except WinnowError as error:
        cancelled = isinstance(error, Cancelled)
        session.end("cancelled" if cancelled else "failed", str(error))
        typer.echo(str(error), err=True)
        raise typer.Exit(130 if cancelled else 2) from error


class _Session:
    def __init__(self, reporter: JobReporter | BarReporter, as_json: bool) -> None:
        self.report: Reporter = reporter
        self.as_json = as_json

    def end(self, state: str, message: str, facts: dict[str, Any] | None = None) -> None:
        if isinstance(self.report, JobReporter):
            self.report.finish(state, message, facts)
        if isinstance(self.report, BarReporter):
            self.report.close()

    def done(self, facts: dict[str, Any]) -> None:
        """Output the command's result: to the job's file, and to stdout for people or programs."""
        self.end("done", "", facts)
        options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
        typer.echo(orjson.dumps(facts, option=options).decode() if self.as_json else format_facts(facts))


def _cancel(_number: int, _frame: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # ignore further signals, so that the clean-up is not interrupted
    raise Cancelled("Cancelled. The same command goes on from the last finished part.")


@app.command()
def inspect(
    pool: PoolArg,
    task: TaskOpt = None,
    fields: FieldsOpt = None,
    name: NameOpt = None,
    split: SplitOpt = None,
    pool_revision: PoolRevisionOpt = None,
    workspace: WorkspaceOpt = arguments.DEFAULT_WORKSPACE,
    as_json: JsonOpt = False,
    job: JobOpt = None,
) -> None:
    """Say what is in a pool: format, rows, rows set aside, tasks, lengths."""
    with _command(job, as_json=as_json) as session:
        part = arguments.pool_part(pool, name, split, pool_revision, fields)
        opened = recipe_inputs.open_source(part, Workspace(workspace), session.report, task=task)
        session.done(reports.pool_facts(opened))


@app.command()
def duplicates(
    pool: PoolArg,
    threshold: Annotated[
        float, typer.Option("--threshold", help="How alike two rows are at least: shared pairs of words, 0.3 to 1.")
    ] = 0.8,
    fields: FieldsOpt = None,
    name: NameOpt = None,
    split: SplitOpt = None,
    pool_revision: PoolRevisionOpt = None,
    workspace: WorkspaceOpt = arguments.DEFAULT_WORKSPACE,
    as_json: JsonOpt = False,
    job: JobOpt = None,
) -> None:
    """Find rows that nearly repeat an earlier one. No model; once per pool, then a filter knows them."""
    with _command(job, as_json=as_json) as session:
        place = Workspace(workspace)
        part = arguments.pool_part(pool, name, split, pool_revision, fields)
        opened = recipe_inputs.open_source(part, place, session.report)
        session.done(commands.duplicates_facts(opened, place, threshold, session.report))


def _collect_recipe_options(
    pool: PoolArg,
    method: MethodOpt = "entropy_shift",
    model: ModelOpt = "embedded",
    set_: SetOpt = None,
    seed: SeedOpt = 0,
    template: TemplateOpt = "auto",
    answers: AnswersOpt = "last",
    max_length: LengthOpt = 2048,
    dtype: DtypeOpt = "auto",
    device: DeviceOpt = "auto",
    revision: RevisionOpt = None,
    fields: FieldsOpt = None,
    task: TaskOpt = None,
    name: NameOpt = None,
    split: SplitOpt = None,
    pool_revision: PoolRevisionOpt = None,
    workspace: WorkspaceOpt = arguments.DEFAULT_WORKSPACE,
    as_json: JsonOpt = False,
    job: JobOpt = None,
) -> dict[str, Any]:
    """Collect the options that every command on a recipe shares, as `build_recipe` takes them."""
    return {
        "pool": arguments.pool_part(pool, name, split, pool_revision, fields),
        "task": task,
        "method": method,
        "settings": set_ or [],
        "seed": seed,
        "reading": {
            "model": model,
            "revision": revision,
            "template": template,
            "answers": answers,
            "max_length": max_length,
            "dtype": dtype,
            "device": device,
        },
    }


def _with_recipe_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the shared options to `command(session, workspace, recipe_options, **own)`, before its own."""
    shared = inspect_signature(_collect_recipe_options).parameters
    own = {k: p for k, p in inspect_signature(command).parameters.items() if p.kind is p.KEYWORD_ONLY}

    @wraps(command)
    def run(**options: Any) -> None:
        with _command(options["job"], as_json=options["as_json"]) as session:
            recipe_options = _collect_recipe_options(**{k: v for k, v in options.items() if k in shared})
            place = Workspace(options["workspace"])
            command(session, place, recipe_options, **{k: v for k, v in options.items() if k in own})

    run.__signature__ = Signature(  # type: ignore[attr-defined]
        [p.replace(kind=p.KEYWORD_ONLY) for p in (*shared.values(), *own.values())]
    )
    return run


@app.command()
@_with_recipe_options
def measure(session: _Session, workspace: Workspace, recipe_options: dict[str, Any], *, also: AlsoOpt = None) -> None:
    """Measure every row: the slow part. Resumable; safe to kill."""
    recipe, pool = commands.build_recipe(workspace, session.report, **recipe_options, also=also or ())
    runs = recipe_inputs.measure_methods(recipe, pool, workspace, session.report, _build_others(recipe_options, also))
    session.done(reports.runs_facts(runs))


@app.command()
@_with_recipe_options
def estimate(session: _Session, workspace: Workspace, recipe_options: dict[str, Any], *, also: AlsoOpt = None) -> None:
    """Say what `measure` would cost here: tokens, time from a trial of 32 rows, memory, disk."""
    recipe, pool = commands.build_recipe(workspace, session.report, **recipe_options, also=also or ())
    session.done(commands.estimate_cost(recipe, pool, workspace, session.report, _build_others(recipe_options, also)))


@app.command()
@_with_recipe_options
def tokens(
    session: _Session,
    workspace: Workspace,
    recipe_options: dict[str, Any],
    *,
    row: Annotated[list[str] | None, typer.Option("--row", metavar="ID", help="Its id; repeatable.")] = None,
    number: Annotated[
        list[int] | None, typer.Option("--number", metavar="N", help="Or its number, counted from 0; repeatable.")
    ] = None,
) -> None:
    """Say of each token of a row how much it surprises the model (NLL), and how unsure that is there (entropy)."""
    recipe, pool = commands.build_recipe(workspace, session.report, **recipe_options)
    rows = commands.find_rows(pool, row or (), number or ())
    session.done(commands.view_tokens(recipe, pool, workspace, session.report, rows, strips=session.as_json))


@app.command()
@_with_recipe_options
def project(
    session: _Session,
    workspace: Workspace,
    recipe_options: dict[str, Any],
    *,
    of: Annotated[str, typer.Option("--of", help="prompt, response, answers or activations.")] = "prompt",
    layout: Annotated[str, typer.Option("--layout", help="pca, or umap: a minute at 50,000 rows.")] = "umap",
) -> None:
    """Lay the rows out as a map of what is measured: near rows are alike. Made once, then found."""
    recipe, pool = commands.build_recipe(workspace, session.report, **recipe_options)
    session.done(commands.project_pool(recipe, pool, workspace, session.report, of, layout))


def _build_others(recipe_options: dict[str, Any], also: list[str] | None) -> list[Method]:
    return arguments.build_other_methods(also or (), recipe_options["settings"], recipe_options["reading"]["model"])


@app.command()
@_with_recipe_options
def select(
    session: _Session,
    workspace: Workspace,
    recipe_options: dict[str, Any],
    *,
    budget: Annotated[str, typer.Option("--budget", help="500, 10% or 200ktok.")] = "10%",
    filters: FilterOpt = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="No row with a worse score, whatever the budget.")
    ] = None,
    out: OutOpt = Path("chosen.jsonl"),
    schema: Annotated[
        str, typer.Option("--schema", help="original, alpaca, messages, sharegpt or annotation.")
    ] = "original",
    with_scores: Annotated[bool, typer.Option("--with-scores", help="Add one object column.")] = False,
    rejected: Annotated[bool, typer.Option("--rejected", help="Also write the rows not chosen.")] = False,
    held_out: Annotated[
        str, typer.Option("--held-out", metavar="SHARE", help="Chosen rows kept from training, in a second file: 5%.")
    ] = "0%",
    scores: ScoresOpt = None,
) -> None:
    """Choose rows from what is measured, and write them with their manifest."""
    export = {"schema": schema, "with_scores": with_scores, "rejected": rejected, "held_out": held_out}
    selection: dict[str, Any] = {
        "budget": budget,
        "filters": arguments.read_filters(filters or ()),
        "threshold": threshold,
    }
    recipe, pool = commands.build_recipe(workspace, session.report, **recipe_options, **selection, export=export)
    run = commands.require_run(recipe, pool, workspace)
    recipe = recipe_inputs.resolve_duplicates(recipe, pool, workspace)
    recipe_inputs.find_recipe_duplicates(recipe, pool, workspace, session.report)
    session.done(commands.curate_run(recipe, pool, run, out, scores))


@app.command()
def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.yaml")],
    out: OutOpt = Path("chosen.jsonl"),
    scores: ScoresOpt = None,
    workspace: WorkspaceOpt = arguments.DEFAULT_WORKSPACE,
    as_json: JsonOpt = False,
    job: JobOpt = None,
) -> None:
    """Measure, choose and write, all from one file."""
    with _command(job, as_json=as_json) as session:
        place, plan = Workspace(workspace), load_recipe(recipe)
        pool = recipe_inputs.open_recipe_pool(plan, place, session.report)
        measured = recipe_inputs.measure_methods(plan, pool, place, session.report)[0]
        recipe_inputs.find_recipe_duplicates(plan, pool, place, session.report)
        session.done(commands.curate_run(plan, pool, measured, out, scores))


@app.command()
def replay(
    manifest: Annotated[Path, typer.Argument(metavar="CHOSEN.manifest.json")],
    out: Annotated[Path | None, typer.Option("--out", help="Default: where the manifest says, beside it.")] = None,
    pool: Annotated[str | None, typer.Option("--pool", help="Where the pool lies now.")] = None,
    rows_only: Annotated[
        bool, typer.Option("--rows-only", help="Trust the manifest's list of rows; do not measure again.")
    ] = False,
    workspace: WorkspaceOpt = arguments.DEFAULT_WORKSPACE,
    as_json: JsonOpt = False,
    job: JobOpt = None,
) -> None:
    """Check a manifest against pool and model, and write the same bytes again."""
    with _command(job, as_json=as_json) as session:
        place = Workspace(workspace)
        written = replay_manifest(manifest, place, session.report, out=out, pool_source=pool, rows_only=rows_only)
        session.done(commands.replay_facts(written))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the curated files.")] = Path("demo"),
    budget: Annotated[str, typer.Option("--budget", help="500, 10% or 200ktok.")] = "10%",
    workspace: WorkspaceOpt = arguments.DEFAULT_WORKSPACE,
    as_json: JsonOpt = False,
) -> None:
    """Embedded pool, embedded model, every method: what does each do with the planted faults?"""
    with _command(None, as_json=as_json) as session:
        session.done(commands.run_demo(Workspace(workspace), session.report, out, budget))
