"""The measured demo pool, and the design of a proof on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core.cli.commands import require_run
from core.demo.measured import unpack_measured
from core.measurement.recipe_inputs import open_source
from core.progress import SilentReporter
from core.proof.arms import parse_arms
from core.proof.design import Design, ProofOptions, design_proof
from core.schema import Pool, Reading
from core.selection.recipe import Recipe, parse_recipe
from core.workspace.folder import Workspace


def make_recipe(name: str = "random", *, params: dict[str, Any] | None = None, **rest: Any) -> Recipe:
    method = {"name": name, "params": params or {}}
    return parse_recipe({"pool": {"source": "demo"}, "method": method, "budget": "10%"} | rest, "test")


@dataclass
class Demo:
    workspace: Workspace
    pool: Pool

    def design(self, *words: str, settings: dict[str, dict[str, str]] | None = None, **options: Any) -> Design:
        base = make_recipe(budget=options.get("budget", "10%"), seed=options.get("seed", 0))
        arms = parse_arms(words, settings or {}, base)
        given = {"reading": Reading(), "rates": (3e-4, 1e-3), "held_out": "200"} | options
        return design_proof(
            ProofOptions(arms=tuple(arms), **given), self.pool, self.workspace, SilentReporter(), require_run
        )


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    workspace = Workspace(tmp_path_factory.mktemp("demo"))
    unpack_measured(workspace.root)
    return Demo(workspace, open_source({"source": "demo"}, workspace, SilentReporter()))


@pytest.fixture(scope="session")
def design(demo: Demo) -> Callable[..., Design]:
    return demo.design
