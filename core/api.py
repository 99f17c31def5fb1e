"""The functions of the public API: pool -> run -> selection -> files. `import core as winnow` has them all.

They give the same rows and write the same bytes as the command line. Results are frozen, and each refers to its origin:
a pool to its workspace, a run to its pool, a selection to its run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from dataclasses import replace as replace_fields
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from core.analysis.comparison import compute_overlap, rank_correlation_matrix
from core.errors import PoolError, RecipeError
from core.measurement import lookup, recipe_inputs
from core.measurement.run_data import load_measured
from core.measurement.runs import Run
from core.methods import build_method, expand_names
from core.methods.suggestions import with_suggestions
from core.output import curate
from core.output.given_rows import GivenRows, find_given_rows
from core.output.replay import replay_manifest
from core.output.writer import ExportResult
from core.pool.pools import read_rows
from core.progress import Reporter, SilentReporter, show_progress
from core.proof.arms import ArmRequest, parse_arms
from core.proof.design import HELD_OUT_ROWS, ProofOptions, design_proof, suggested_rates, suggested_work
from core.proof.plan import Training, Work
from core.proof.prove import prove as run_proof
from core.proof.stored import Proof
from core.schema import Columns, IntArray, Measured, Method, Pool
from core.selection.filter_syntax import parse_filter
from core.selection.recipe import PoolPart, Recipe, make_selection, parse_recipe, score_columns
from core.selection.selection import Selection
from core.workers.launch import measure_together
from core.workspace.folder import Workspace

if TYPE_CHECKING:
    from pandas import DataFrame

    from core.output.report.write import ReportResult

Report = Reporter | Literal["bar"] | None  # "bar": a progress bar in a terminal or notebook; None: silence
Folder = Workspace | Path | str


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LoadedPool(Pool):
    """A pool with its workspace, and the recipe part that opens it again."""

    workspace: Workspace
    part: PoolPart

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {len(self):,} rows, {self.set_aside.num_rows:,} skipped, {self.fields.schema}>"


@dataclass(frozen=True, eq=False, repr=False)
class MethodRun:
    """A finished run over one pool, read by one method. Methods that need the same measurements share a run."""

    pool: LoadedPool
    recipe: Recipe  # of pool, method, reading and seed
    run: Run

    @property
    def method(self) -> Method:
        """Return the method with its parameters, suggestions for the embedded model included."""
        return self.recipe.method.build()

    @property
    def warnings(self) -> list[str]:
        """Return reasons to check these measurements before they are used, as sentences."""
        return list(self.run.summary.get("warnings", ()))

    @property
    def scores(self) -> "DataFrame":
        """Return every measured column and every score of the method; one row per row of the pool, indexed by id."""
        return _frame(self.pool, score_columns(self.method, load_measured(self.run)))

    def __repr__(self) -> str:
        return f"<Run {self.method.label} on {self.pool.name}: {len(self.pool):,} rows, {self.recipe.reading.model}>"


@dataclass(frozen=True, eq=False, repr=False)
class RowSelection:
    """Rows selected from a run, best first."""

    run: MethodRun
    recipe: Recipe  # with budget, filters, threshold and pins
    measured: Measured
    selection: Selection
    given: GivenRows | None = None  # rows used already, and what the pool does not have of them
    given_files: tuple[Path, ...] = ()  # that they were read from

    @cached_property
    def ids(self) -> list[str]:
        """Return the ids of the selected rows, best first."""
        return _ids(self.run.pool, self.selection.rows)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Return the selected rows as they are in the source, best first."""
        return [orjson.loads(row.original) for row in read_rows(self.run.pool, self.selection.rows.tolist())]

    @cached_property
    def scores(self) -> "DataFrame":
        """Return every score column, rank and reason of exclusion of every row of the pool, indexed by id."""
        return _frame(self.run.pool, curate.score_table(self.run.method, self.measured, self.selection.order))

    @cached_property
    def excluded(self) -> dict[str, list[str]]:
        """Return the ids of the rows that are in no order, by reason."""
        return {reason: _ids(self.run.pool, rows) for reason, rows in self.selection.order.excluded.items()}

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Return what only the method knows of the selected rows: coverage reached, seats of groups, start model."""
        return self.run.method.facts(self.measured, self.selection.order, self.selection.rows)

    @property
    def tokens(self) -> int:
        """Return the response tokens of the selected rows, as the model reads them."""
        return self.selection.tokens

    def __len__(self) -> int:
        return len(self.selection.rows)

    def __repr__(self) -> str:
        pool = self.run.pool
        by = f"{self.run.method.label}, budget {self.recipe.budget}"
        return f"<Selection of {len(self):,} of {len(pool):,} rows of {pool.name}: {by}, {self.tokens:,} tokens>"


ArmSource = str | Path | MethodRun | RowSelection
GivenSource = str | Path | RowSelection


@dataclass(frozen=True, eq=False)
class Comparison:
    """Selections of one pool, compared in pairs.

    overlap           one row per pair: rows in both, Jaccard overlap, Jaccard expected by chance and its 95% range
    rank_correlation  Spearman correlations of the orders: 1 = the same order, −1 = reversed
    """

    overlap: "DataFrame"
    rank_correlation: "DataFrame"


@dataclass(frozen=True, eq=False, repr=False)
class ProofResult:
    """A finished proof: what each arm trains, compared with random rows."""

    proof: Proof

    @property
    def headline(self) -> str:
        """Return the result in a sentence."""
        return self.proof.headline

    @cached_property
    def verdicts(self) -> "DataFrame":
        """Return one row per comparison with random: difference, 95% interval, p and verdict; task "": the average."""
        from pandas import DataFrame

        return DataFrame([asdict(verdict) for verdict in self.proof.verdicts])

    @cached_property
    def runs(self) -> "DataFrame":
        """Return one row per training run: what it was trained on, and its figures by target."""
        from pandas import DataFrame

        return DataFrame(list(self.proof.runs))

    @property
    def plan(self) -> dict[str, Any]:
        """Return what was fixed before the first step."""
        return self.proof.plan.as_data()

    def __repr__(self) -> str:
        return f"<Proof {self.proof.id}: {self.headline}>"


def load_pool(
    source: str | Path,
    *,
    workspace: Folder = "workspace",
    fields: Mapping[str, Any] | None = None,
    task: str | None = None,
    name: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    header: bool = True,
    report: Report = "bar",
) -> LoadedPool:
    """Open a file, a folder, a pattern, a hub id or "demo". The first call imports it; later ones open the stored pool.

    The data files of a folder, or those that a pattern such as "data/*.parquet" matches, are one pool in natural order.

    fields                 the whole mapping in place of the detected one (core.schema.FieldMap)
    task                   the field of the task label; "" = none
    name, split, revision  configuration, split and commit of a hub data set; a folder may have the first two
    header                 False = the first row of a CSV or TSV is data, and its columns are called 1, 2, 3

    Raise PoolError if the source cannot be read.

    >>> import core as winnow
    >>> winnow.load_pool("demo")
    <Pool demo.jsonl: 2,400 rows, 0 skipped, alpaca>
    """
    place = _workspace(workspace)
    mapping = dict(fields) if fields is not None else None
    part = PoolPart(source=str(source), name=name, split=split, revision=revision, fields=mapping, header=header)
    with _reporting(report) as reporter:
        pool = recipe_inputs.open_source(part.model_dump(), place, reporter, task=task)
    return _attach(pool, place, part)


def measure(
    pool: LoadedPool,
    method: str = "entropy_shift",
    *,
    model: str | Path = "embedded",
    reading: Mapping[str, Any] | None = None,
    seed: int = 0,
    also: str | Iterable[str] | Mapping[str, Mapping[str, Any]] = (),
    workers: int | str = "local",
    allow_mix: bool = False,
    report: Report = "bar",
    **parameters: Any,
) -> MethodRun:
    """Return the run of a method: the stored one, else a new measurement. Safe to interrupt: the same call resumes.

    method      a name in METHODS, with its `parameters`
    model       "embedded", a folder or a hub id
    reading     how the model reads a row: template, answers, max_length, prompt_share, dtype, device,
                revision
    also        other methods to measure for in the same pass, or a mapping of their parameters; "all" = every one.
                `find_run` returns their runs
    workers     "local": one for each GPU, or this process; or a number of processes; or "ray", "ray:HOST:PORT": one for
                each GPU, or CPU, of a Ray cluster
    allow_mix   whether devices of several kinds may compute parts of one stage, which changes last digits
    report      "bar" draws a progress bar, None nothing

    Parameters that are not given have the values suggested for the embedded model, or the method's defaults.

    >>> import core as winnow
    >>> pool = winnow.load_pool("demo")
    >>> winnow.measure(pool, "longest", also=["random"])
    <Run Longest response on demo.jsonl: 2,400 rows, embedded>
    >>> winnow.measure(pool, "combined", members=["longest", "random"])
    <Run Combination on demo.jsonl: 2,400 rows, embedded>
    """
    recipe = _extend(_method_recipe(pool, method, model, reading, seed, parameters), {"workers": workers}, "measure")
    with _reporting(report) as reporter:
        others = _other_methods(also, str(model))
        run = measure_together(recipe, pool, pool.workspace, reporter, others, allow_mix=allow_mix)[0]
    return MethodRun(pool, recipe, run)


def find_run(
    pool: LoadedPool,
    method: str = "entropy_shift",
    *,
    model: str | Path = "embedded",
    reading: Mapping[str, Any] | None = None,
    seed: int = 0,
    **parameters: Any,
) -> MethodRun | None:
    """Return the newest stored run with all that the method needs; None if `measure` would have to measure.

    >>> import core as winnow
    >>> pool = winnow.load_pool("demo")
    >>> run = winnow.measure(pool, "longest")
    >>> winnow.find_run(pool, "longest")
    <Run Longest response on demo.jsonl: 2,400 rows, embedded>
    >>> winnow.find_run(pool, "entropy_shift", seed=7) is None
    True
    """
    recipe = _method_recipe(pool, method, model, reading, seed, parameters)
    run = lookup.find_run(pool.workspace, pool, recipe.method.build(), recipe.reading.reading(), recipe.seed)
    return None if run is None else MethodRun(pool, recipe, run)


def select(
    run: MethodRun,
    budget: str | int = "10%",
    *,
    filters: str | Iterable[str] = (),
    threshold: float | None = None,
    pins: Mapping[str, Literal["in", "out"]] | None = None,
    tags: Mapping[str, Iterable[str]] | None = None,
    given: GivenSource | Iterable[GivenSource] = (),
    report: Report = "bar",
) -> RowSelection:
    """Select the best rows that the budget allows. Run no model.

    budget     500 rows, "10%" of the pool, or "200ktok" response tokens
    filters    conditions for a row to be eligible, as on the command line: "nll<=2", "task!=qa", "prompt~^Write",
               "duplicates once"
    threshold  no row with a worse score than this, whatever the budget
    pins       row id -> "in" or "out": rows forced into or out of the selection
    tags       name -> row ids: labels to filter by ("tag.NAME=1") and to export
    given      rows used already, which the selection tops up: the manifest of an export, a file of rows or ids, an
               earlier selection, or several of these. The budget counts them, and none is selected again

    Raise RecipeError for a budget, filter, pin, tag or file that cannot be read, or names what does not exist.

    >>> import core as winnow
    >>> run = winnow.measure(winnow.load_pool("demo"), "longest")
    >>> selection = winnow.select(run, budget=3, filters=["task=story", "duplicates once"])
    >>> selection
    <Selection of 3 of 2,400 rows of demo.jsonl: Longest response, budget 3, 1,295 tokens>
    >>> [row["task"] for row in selection.rows]
    ['story', 'story', 'story']
    >>> selection.scores.loc[selection.ids, "response_tokens"].tolist()
    [446, 428, 421]
    >>> {reason: len(ids) for reason, ids in selection.excluded.items()}
    {'filtered out': 2243}
    >>> more = winnow.select(run, budget=5, filters=["task=story", "duplicates once"], given=selection)
    >>> len(more), {reason: len(ids) for reason, ids in more.excluded.items()}
    (2, {'used already': 3, 'filtered out': 2243})
    """
    conditions = [asdict(parse_filter(line)) for line in ([filters] if isinstance(filters, str) else filters)]
    files, used = _find_given(run.pool, [given] if isinstance(given, str | Path | RowSelection) else list(given))
    settings = {
        "budget": str(budget),
        "filters": conditions,
        "threshold": threshold,
        "pins": [{"id": row, "side": side} for row, side in (pins or {}).items()],
        "tags": {name: list(ids) for name, ids in (tags or {}).items()},
        "given": used.ids if used else [],
    }
    recipe = _extend(run.recipe, settings, "select")
    with _reporting(report) as reporter:
        recipe_inputs.find_recipe_duplicates(recipe, run.pool, run.pool.workspace, reporter)
    measured = load_measured(run.run)
    return RowSelection(run, recipe, measured, make_selection(recipe, run.pool, measured), used, files)


def export(
    selection: RowSelection,
    out: str | Path = "chosen.jsonl",
    *,
    schema: Literal["original", "alpaca", "messages", "sharegpt", "annotation"] = "original",
    with_scores: bool = False,
    tags: bool = False,
    rejected: bool = False,
    held_out: float | str = 0.0,
    scores: str | Path | None = None,
    overwrite: bool = False,
    report: Report = "bar",
) -> curate.CurateResult:
    """Write the selected rows, in the pool's order, with manifest, recipe and dataset card.

    out          JSON lines; Parquet with the features of `datasets` if the name ends in .parquet
    with_scores  add one object field with the row's scores; in Parquet, one column for each score
    tags         add a list of the row's tags to the same object; in Parquet, one column
    rejected     also write all other rows
    held_out     share of the selected rows, such as 0.05 or "5%", that goes to a second file, out of training
    scores       also write ids and every score column of the pool there: .parquet or .jsonl
    overwrite    replace files that no earlier export wrote, too

    Raise OutputError if a file would be the pool, another input, a device, a folder or a link.

    >>> import core as winnow
    >>> run = winnow.measure(winnow.load_pool("demo"), "longest")
    >>> written = winnow.export(winnow.select(run, budget="5%"), "chosen.jsonl", held_out="10%")
    >>> written.rows, written.held_out_rows, written.manifest.name
    (108, 12, 'chosen.manifest.json')
    """
    pool, run = selection.run.pool, selection.run.run
    part = {"schema": schema, "with_scores": with_scores, "tags": tags, "rejected": rejected, "held_out": held_out}
    recipe = recipe_inputs.resolve_duplicates(
        _extend(selection.recipe, {"export": part}, "export"), pool, pool.workspace
    )
    with _reporting(report) as reporter:
        recipe_inputs.find_recipe_duplicates(recipe, pool, pool.workspace, reporter)
    to = None if scores is None else Path(scores)
    return curate.curate(recipe, pool, run, Path(out), scores=to, given=selection.given_files, overwrite=overwrite)


def report(
    selection: RowSelection,
    out: str | Path = "report.html",
    *,
    against: Iterable[MethodRun] | None = None,
    overwrite: bool = False,
) -> "ReportResult":
    """Write a selection as one HTML file for people: figures, overlap, make-up, examples, map, proof and origin.

    It opens without a server or network and holds no script.

    against    runs to compare with; None: those of every method that is measured with suggested parameters
    overwrite  replace a file that is no report, too

    Raise OutputError if the file would be an input, a device, a folder or a link.

    >>> import core as winnow
    >>> run = winnow.measure(winnow.load_pool("demo"), "longest")
    >>> written = winnow.report(winnow.select(run, budget="5%"), "longest.html")
    >>> written.rows, written.proved
    (120, False)
    """
    from core.output.report.write import write_report  # imports sklearn

    recipe, run = selection.recipe, selection.run
    own = ("method", "reading", "seed")
    given = None if against is None else [{name: getattr(each.recipe, name) for name in own} for each in against]
    others = None if given is None else [recipe.model_copy(update=each) for each in given]
    return write_report(recipe, run.pool, run.run, Path(out), compared=others, overwrite=overwrite)


def compare(candidates: Sequence[MethodRun | RowSelection], budget: str | int = "10%") -> Comparison:
    """Compare runs at a budget, or selections as they are. Raise PoolError if they are not of one pool.

    >>> import core as winnow
    >>> pool = winnow.load_pool("demo")
    >>> runs = [winnow.measure(pool, name) for name in ("longest", "random")]
    >>> winnow.compare(runs, budget="10%").overlap.round(3).T
                    0
    first     longest
    second     random
    shared         29
    jaccard     0.064
    expected    0.053
    low         0.033
    high        0.073
    """
    from pandas import DataFrame

    selections = [select(each, budget) if isinstance(each, MethodRun) else each for each in candidates]
    pools = {each.run.pool.fingerprint: each.run.pool for each in selections}
    if len(pools) > 1:
        names = " and ".join(pool.name for pool in pools.values())
        raise PoolError(f"These selections are of different pools: {names}. Compare selections of one pool.")
    labels = _labels([each.run.recipe.method.name for each in selections])
    ranks = [each.selection.order.rank(len(each.run.pool)) for each in selections]
    pairs = []
    for i, j in combinations(range(len(selections)), 2):
        overlap = compute_overlap(ranks[i], ranks[j], *(np.array([len(selections[k])]) for k in (i, j)))
        pairs.append({"first": labels[i], "second": labels[j]} | {k: v[0] for k, v in asdict(overlap).items()})
    return Comparison(DataFrame(pairs), DataFrame(rank_correlation_matrix(ranks), index=labels, columns=labels))


def prove(
    pool: LoadedPool,
    arms: Iterable[str] | Mapping[str, ArmSource] = (),
    budget: str | int = "10%",
    *,
    targets: Iterable[str | Path] = (),
    model: str | Path = "embedded",
    train_model: str | Path | None = None,
    reading: Mapping[str, Any] | None = None,
    seed: int = 0,
    seeds: int = 5,
    rates: Sequence[float] | None = None,
    steps: int | None = None,
    tokens_per_step: int | None = None,
    epochs: int = Work.epochs,
    held_out: str | int = HELD_OUT_ROWS,
    smallest_effect: float = 0.01,
    lora_rank: int = 0,
    allow_target_prompts: bool = False,
    report: Report = "bar",
) -> ProofResult:
    """Train on selections and on random rows, and compare the models. Safe to interrupt: the same call resumes.

    arms             words as for `prove --arms` (methods, files, "all"), or a mapping of names to words, runs and
                     selections; random and longest are always in
    targets          FILE or NAME=FILE: rows, or pairs of preferences, to evaluate on besides held-out rows
    train_model      the model to train; default: `model`, which measured
    seeds, rates     trainings of each arm, from `seed` on, at each learning rate; a verdict needs 5 and 2
    steps, epochs    of a training; 0 epochs: only equal steps are compared
    held_out         rows, or a share of the pool, to evaluate on; they are in no arm
    smallest_effect  smallest difference of interest, as a share of the NLL of random

    Raise RecipeError for an arm that is not measured, and PoolError for a target that cannot be read.

    >>> import core as winnow
    >>> pool = winnow.load_pool("demo")
    >>> small = {"seeds": 2, "rates": [1e-3], "steps": 2, "tokens_per_step": 64, "epochs": 0}  # too small to say much
    >>> proof = winnow.prove(pool, budget=50, held_out=20, **small)
    >>> proof.verdicts[["arm", "target", "figure", "seeds"]].to_numpy().tolist()
    [['longest', 'held out', 'nll', 2]]
    """
    base = _extend(_method_recipe(pool, "random", model, reading, seed, {}), {"budget": str(budget)}, "prove")
    trained = base.reading.reading()
    if train_model is not None:
        trained = replace_fields(trained, model=str(train_model), revision=None)
    options = ProofOptions(
        arms=tuple(_arm_requests(arms, base)),
        reading=trained,
        rates=suggested_rates(trained.model) if rates is None else tuple(rates),
        budget=str(budget),
        targets=tuple(map(str, targets)),
        seed=seed,
        seeds=seeds,
        held_out=str(held_out),
        work=suggested_work(trained.model, steps=steps, tokens_per_step=tokens_per_step, epochs=epochs),
        training=Training(lora_rank=lora_rank),
        smallest_effect=smallest_effect,
        prompts_allowed=allow_target_prompts,
    )
    with _reporting(report) as reporter:
        design = design_proof(options, pool, pool.workspace, reporter, _require_run)
        return ProofResult(run_proof(design, reporter))


def replay(
    manifest: str | Path,
    *,
    out: str | Path | None = None,
    pool: str | Path | None = None,
    rows_only: bool = False,
    overwrite: bool = False,
    allow_servers: Iterable[str] = (),
    workspace: Folder = "workspace",
    report: Report = "bar",
) -> ExportResult:
    """Check a manifest against pool and model, and write the same bytes again. Raise ReplayError if that fails.

    out            default: the file that the manifest names, in the manifest's folder
    pool           path or hub id of the pool; default: the manifest's
    rows_only      trust the manifest's list of rows, and measure nothing
    overwrite      replace files that are not this manifest's, too
    allow_servers  host or host:port of servers that the manifest names and that may be sent prompts; those on this
                   computer may

    >>> import core as winnow
    >>> run = winnow.measure(winnow.load_pool("demo"), "longest")
    >>> written = winnow.export(winnow.select(run, budget=100), "chosen.jsonl")
    >>> winnow.replay("chosen.manifest.json", out="again.jsonl").sha256 == written.sha256
    True
    """
    with _reporting(report) as reporter:
        return replay_manifest(
            Path(manifest),
            _workspace(workspace),
            reporter,
            out=None if out is None else Path(out),
            pool_source=None if pool is None else str(pool),
            rows_only=rows_only,
            overwrite=overwrite,
            allow_servers=list(allow_servers),
        )


def _find_given(pool: Pool, sources: Sequence[GivenSource]) -> tuple[tuple[Path, ...], GivenRows | None]:
    """Return the files of rows used already, and these rows; None without any source."""
    if not sources:
        return (), None
    files = tuple(Path(one) for one in sources if not isinstance(one, RowSelection))
    selections = [one for one in sources if isinstance(one, RowSelection)]
    return files, find_given_rows(pool, files, [name for one in selections for name in (*one.ids, *one.recipe.given)])


def _arm_requests(arms: Iterable[str] | Mapping[str, ArmSource], base: Recipe) -> list[ArmRequest]:
    named: Mapping[str, ArmSource] = arms if isinstance(arms, Mapping) else {}
    given = {name: what for name, what in named.items() if isinstance(what, MethodRun | RowSelection)}
    words = [f"{name}={what}" for name, what in named.items() if name not in given] if named else list(map(str, arms))
    requests = parse_arms(words, {}, base, "arms")
    for name, what in given.items():
        kind: Literal["method", "recipe"] = "method" if isinstance(what, MethodRun) else "recipe"
        recipe = _extend(what.recipe, {"budget": base.budget}, "prove") if kind == "method" else what.recipe
        requests.append(ArmRequest(name, kind, recipe))
    return requests


def _require_run(recipe: Recipe, pool: Pool, workspace: Workspace) -> Run:
    method = recipe.method.build()
    run = lookup.find_run(workspace, pool, method, recipe.reading.reading(), recipe.seed)
    if run is None:
        raise RecipeError(
            f"{method.label} is not measured on this pool with these settings. First call measure(pool, "
            f'"{method.name}") with them.'
        )
    return run


@contextmanager
def _reporting(report: Report) -> Iterator[Reporter]:
    """Yield the reporter; close the bar at the end, whatever happens."""
    if report == "bar":
        bar = show_progress()
        try:
            yield bar
        finally:
            bar.close()
    else:
        yield SilentReporter() if report is None else report


def _workspace(folder: Folder) -> Workspace:
    return folder if isinstance(folder, Workspace) else Workspace(folder)


def _attach(pool: Pool, workspace: Workspace, part: PoolPart) -> LoadedPool:
    content = {field.name: getattr(pool, field.name) for field in fields(pool)}
    return LoadedPool(**content, workspace=workspace, part=part)


def _method_recipe(
    pool: LoadedPool,
    method: str,
    model: str | Path,
    reading: Mapping[str, Any] | None,
    seed: int,
    parameters: Mapping[str, Any],
) -> Recipe:
    params = {key: _parameter(value) for key, value in parameters.items()}
    data = {
        "pool": pool.part.model_dump(),
        "method": {"name": method, "params": with_suggestions(method, params, str(model))},
        "reading": {"model": str(model), **(reading or {})},
        "seed": seed,
    }
    return recipe_inputs.with_good_end(parse_recipe(data, "measure"), pool, pool.workspace)


def _parameter(value: Any) -> Any:
    """Return a parameter as recipes have it: paths as text, lists and mappings as JSON."""
    if isinstance(value, Path):
        return str(value)
    return orjson.dumps(value).decode() if isinstance(value, list | tuple | Mapping) else value


def _other_methods(also: str | Iterable[str] | Mapping[str, Mapping[str, Any]], model: str) -> list[Method]:
    names = [also] if isinstance(also, str) else list(also)
    params = also if isinstance(also, Mapping) else {}
    given = {name: {key: _parameter(value) for key, value in own.items()} for name, own in params.items()}
    return [build_method(name, with_suggestions(name, given.get(name, {}), model)) for name in expand_names(names)]


def _extend(recipe: Recipe, given: Mapping[str, Any], where: str) -> Recipe:
    return parse_recipe(recipe.model_dump(by_alias=True) | dict(given), where)


def _labels(names: Sequence[str]) -> list[str]:
    """Return the names; of those that repeat, the second gets " (2)", and so on."""
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True)]


def _ids(pool: Pool, rows: IntArray) -> list[str]:
    ids: list[str] = pool.rows["id"].take(rows).to_pylist()
    return ids


def _frame(pool: Pool, columns: Columns) -> "DataFrame":
    from pandas import DataFrame, Index

    frame = DataFrame(dict(columns), index=Index(pool.rows["id"].to_pylist(), name="id"))
    return frame.astype({name: "Int64" for name in columns if name.endswith(".rank")})
