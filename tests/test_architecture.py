"""Who may import whom: app.py -> pages -> pages/ui -> core, and nothing back. The README draws this."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "app.py", *(p for d in ("core", "pages") for p in sorted((ROOT / d).rglob("*.py")))]
}
TORCH = {"torch", "transformers", "peft", "sentence_transformers", "accelerate"}
USES_TORCH = {
    "core/models/loading.py",
    "core/models/forward_pass.py",
    "core/models/activations.py",
    "core/models/generation/greedy.py",
    "core/models/sentence_encoder.py",
    "core/models/generation/top_p.py",
    "core/models/generation/sampler.py",
    "core/models/hidden_states.py",
    "core/models/shared_prefix.py",
    "core/models/batching.py",
    "core/models/training/finetune.py",
    "core/models/training/checkpoints.py",
    "core/models/lora.py",
    "core/models/training/adam_update.py",
    "core/models/training/backward_pass.py",
    "core/models/training/row_gradients.py",
    "core/models/training/target_directions.py",
    "core/measurement/cost.py",
    "core/measurement/token_view.py",
    "core/demo/training/train.py",
    "core/demo/training/heldout.py",
}
ARRAYS_ONLY = (
    "core/methods/",
    "core/selection/selection.py",
    "core/selection/filters.py",
    "core/analysis/composition.py",
    "core/analysis/score_checks.py",
    "core/algorithms/active_neurons.py",
    "core/algorithms/greedy_coverage.py",
    "core/algorithms/apportionment.py",
    "core/methods/task_confidence.py",
    "core/algorithms/kmeans.py",
    "core/algorithms/activation_clusters.py",
    "core/algorithms/task_clusters.py",
    "core/algorithms/answer_geometry.py",
    "core/algorithms/semantic_bins.py",
    "core/algorithms/influences.py",
    "core/analysis/nearest_rows.py",
    "core/analysis/comparison.py",
)
ARRAYS = {
    "numpy",
    "scipy",
    "core.schema",
    "core.errors",
    "core.methods",
    "core.selection.selection",
    "core.selection.filters",
}
ARRAYS |= {
    "core.algorithms.active_neurons",
    "core.algorithms.greedy_coverage",
    "core.algorithms.apportionment",
    "core.methods.task_confidence",
    "core.algorithms.kmeans",
    "core.algorithms.semantic_bins",
    "core.algorithms.influences",
    "core.selection.text_search",
    "sklearn",
    "threadpoolctl",
}


@cache
def imports(file: str, *, top_level: bool = False) -> frozenset[str]:
    """Dotted names a file imports; with `top_level`, only those that importing it brings."""
    tree = ast.parse(FILES[file].read_text())
    nodes = tree.body if top_level else list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def file_of(name: str) -> str | None:
    """The project file that a dotted name lives in: core.workspace.parts.Parts -> core/workspace/files.py."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        stem = "/".join(parts[:end])
        for candidate in (f"{stem}.py", f"{stem}/__init__.py"):
            if candidate in FILES:
                return candidate
    return None


def outside(file: str) -> set[str]:
    return {name for name in imports(file) if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("core/")])
def test_the_engine_knows_nothing_of_the_screen(file):
    assert not {n for n in outside(file) if n.split(".")[0] in {"streamlit", "plotly", "pages", "app"}}


@pytest.mark.parametrize("file", FILES)
def test_only_a_few_modules_use_torch(file):
    assert bool({n.split(".")[0] for n in outside(file)} & TORCH) == (file in USES_TORCH)


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith(ARRAYS_ONLY)])
def test_methods_and_orders_see_arrays_only(file):
    extra = {n for n in outside(file) if not any(n == a or n.startswith(a + ".") for a in ARRAYS)}
    assert not extra


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("pages/ui/")])
def test_what_pages_share_does_not_know_the_pages(file):
    assert not {n for n in outside(file) if n.startswith("pages.") and not n.startswith("pages.ui")}


def reach(file: str) -> set[str]:
    """Project files that importing `file` brings in."""
    found, todo = set(), [file]
    while todo:
        here = todo.pop()
        if here not in found:
            found.add(here)
            todo += [f for n in imports(here, top_level=True) if (f := file_of(n))]
    return found


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("pages/") or f == "app.py"])
def test_the_web_process_never_brings_torch(file):
    assert not reach(file) & USES_TORCH


@pytest.mark.parametrize("file", FILES)
def test_imports_make_no_circle(file):
    needed = {f for n in imports(file, top_level=True) if (f := file_of(n)) and f != file}
    assert not [f for f in needed if file in reach(f)]
