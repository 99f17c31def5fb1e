"""The task of all workers of one command, as data: what is measured on which pool, or which near-duplicates."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from core.measurement.lookup import find_run
from core.measurement.recipe_inputs import measure_methods, open_recipe_pool
from core.measurement.runs import Run
from core.methods import build_method, describe_method
from core.methods.combined import expand_combinations
from core.pool.near_duplicates import find_near_duplicates
from core.progress import Reporter
from core.schema import Method, Pool
from core.selection.recipe import Recipe, parse_recipe
from core.workspace.folder import Workspace, content_key
from core.workspace.shards import Shard


@dataclass(frozen=True)
class Task:
    """Work on one pool. Workers with the same task, in one workspace, share it."""

    workspace: str  # its folder
    recipe: dict[str, Any]  # of a pool that is stored there, by its fingerprint
    also: tuple[dict[str, Any], ...] = ()  # other methods to measure
    servers: tuple[str, ...] | None = None  # that may be sent prompts; None: any
    allow_mix: bool = False  # devices of several kinds may compute parts of one stage
    duplicates: float | None = None  # find near-duplicates of this similarity instead of measuring

    @property
    def key(self) -> str:
        """The name of the folder of its workers' records."""
        return content_key(asdict(self))

    def as_data(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def run(self, report: Reporter, shard: Shard) -> None:
        """Do the work of one shard; return when the work of all of them is stored."""
        workspace, recipe = Workspace(self.workspace), parse_recipe(self.recipe, "task")
        pool = open_recipe_pool(recipe, workspace, report)
        if self.duplicates is not None:
            find_near_duplicates(pool, workspace, self.duplicates, report, shard)
            return
        also = [build_method(**described) for described in self.also]
        options: dict[str, Any] = {"servers": self.servers, "allow_mix": self.allow_mix}
        measure_methods(recipe, pool, workspace, report, also, shard=shard, **options)


def read_task(data: dict[str, Any]) -> Task:
    """Return the task that `Task.as_data` described."""
    servers = data["servers"]
    return Task(**data | {"also": tuple(data["also"]), "servers": servers if servers is None else tuple(servers)})


def measuring(
    recipe: Recipe,
    pool: Pool,
    workspace: Workspace,
    also: Sequence[Method] = (),
    *,
    servers: Collection[str] | None = None,
    allow_mix: bool = False,
) -> Task:
    """Return the task of `measure_methods`."""
    return Task(
        str(workspace.root),
        _stored(recipe, pool).as_data(),
        tuple(describe_method(method) for method in also if method.name != recipe.method.name),
        None if servers is None else tuple(sorted(servers)),
        allow_mix,
    )


def finding_duplicates(pool: Pool, workspace: Workspace, similarity: float) -> Task:
    """Return the task of `find_near_duplicates`."""
    recipe = parse_recipe({"pool": {"source": pool.fingerprint}, "method": {"name": "random"}}, "task")
    return Task(str(workspace.root), recipe.as_data(), duplicates=similarity)


def _stored(recipe: Recipe, pool: Pool) -> Recipe:
    """Return what decides a measurement, on the pool as it is stored."""
    part = type(recipe.pool)(source=pool.fingerprint)
    return type(recipe)(pool=part, method=recipe.method, reading=recipe.reading, seed=recipe.seed)


def is_measured(recipe: Recipe, pool: Pool, workspace: Workspace, also: Sequence[Method] = ()) -> bool:
    """Return whether all runs of a recipe and the `also` methods are stored."""
    reading = recipe.reading.reading()
    methods = expand_combinations([recipe.method.build(), *also])
    runs: list[Run | None] = [find_run(workspace, pool, method, reading, recipe.seed) for method in methods]
    return all(runs)
