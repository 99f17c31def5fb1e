"""Who may import whom. Imports go downwards, between rooms by one table; a folder of core/ or pages/ui/ is a room."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = {
    path.relative_to(ROOT).as_posix(): path
    for path in [ROOT / "app.py", *(p for d in ("core", "pages") for p in sorted((ROOT / d).rglob("*.py")))]
}

# A room may import the rooms named here and whatever these may import; leaves may be imported by all.
CORE_LEAVES = {"schema", "columns", "progress", "errors"}
CORE = {
    "algorithms": (),
    "workspace": (),
    "methods": ("algorithms",),
    "demo": ("workspace",),
    "selection": ("methods", "workspace"),
    "pool": ("demo",),
    "models": ("demo", "algorithms"),
    "measurement": ("models", "pool", "selection"),
    "workers": ("measurement",),
    "analysis": ("measurement",),
    "proof": ("measurement",),
    "output": ("analysis", "proof"),
    "api": ("analysis", "output", "workers"),
    "cli": ("analysis", "output", "workers"),
}
UI_LEAVES = {"words", "theme", "glossary"}
UI = {
    "data": (),
    "charts": ("data",),
    "shell": ("data",),
    "row": ("charts", "shell"),
    "controls": ("row",),
    "map": ("row",),
    "pool": ("controls",),
    "select": ("pool",),
    "export": ("row",),
    "targets": ("pool",),
    "measure": ("targets",),
    "compare": ("select",),
    "explore": ("map", "select", "targets"),
    "proof": ("pool",),
    "workbench": ("controls", "map"),
}
MAX_DEPTH = 9  # rooms on the longest way down through core, leaves as one of them
MAX_LOOSE = 8  # modules of core that are in no room
TORCH = {"torch", "transformers", "peft", "sentence_transformers", "accelerate", "safetensors"}
RUNS_MODELS = ("core/models/", "core/demo/training/", "core/output/scripts/")  # the only code that may import these
ARRAYS = {"numpy", "scipy", "sklearn", "threadpoolctl"}
ARRAYS_ONLY = ("core/algorithms/", "core/methods/")


@cache
def imports(file: str, *, top_level: bool = False) -> frozenset[str]:
    """Return the dotted names that a file imports; with `top_level`, only those that importing it executes."""
    tree = ast.parse(FILES[file].read_text())
    nodes = list(tree.body if top_level else ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def file_of(name: str) -> str | None:
    """Return the project file that defines a dotted name: core.workspace.parts.Parts -> core/workspace/parts.py."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        stem = "/".join(parts[:end])
        for candidate in (f"{stem}.py", f"{stem}/__init__.py"):
            if candidate in FILES:
                return candidate
    return None


def room_of(file: str, base: str) -> str | None:
    """Return the room of a file below `base`: its folder there, or the name of a loose module; None elsewhere."""
    if not file.startswith(base):
        return None
    return file.removeprefix(base).partition("/")[0].removesuffix(".py")


def room_imports(base: str) -> dict[str, set[str]]:
    """Return for each room below `base` the other rooms that it imports."""
    edges: dict[str, set[str]] = {}
    for file in FILES:
        room = room_of(file, base)
        if room is not None and not room.startswith("__"):
            targets = {room_of(target, base) for name in imports(file) if (target := file_of(name))}
            edges.setdefault(room, set()).update(t for t in targets - {room, None} if not t.startswith("__"))
    return edges


def below(room: str, table: dict[str, tuple[str, ...]]) -> set[str]:
    """Return the rooms that a room may import."""
    return {name for direct in table[room] for name in (direct, *below(direct, table))}


ROOMS = [("core/", CORE, CORE_LEAVES), ("pages/ui/", UI, UI_LEAVES)]


@pytest.mark.parametrize(("base", "table", "leaves"), ROOMS, ids=["core", "pages/ui"])
def test_rooms_import_only_what_lies_below(base, table, leaves):
    edges = room_imports(base)
    assert set(edges) == set(table) | leaves
    assert {room: edges[room] - below(room, table) - leaves for room in table} == {room: set() for room in table}
    assert not any(edges[leaf] - leaves for leaf in leaves)


@pytest.mark.parametrize(("base", "table", "leaves"), ROOMS, ids=["core", "pages/ui"])
def test_the_table_allows_nothing_that_is_not_used(base, table, leaves):
    edges = room_imports(base)
    reached = {room: {r for target in edges[room] - leaves for r in (target, *below(target, table))} for room in table}
    assert {room: set(table[room]) - reached[room] for room in table} == {room: set() for room in table}


def test_core_is_at_most_nine_rooms_deep():
    edges = room_imports("core/")
    depth: dict[str, int] = {}
    for room in TopologicalSorter(edges).static_order():  # raises CycleError for a circle
        depth[room] = 1 + max((depth[target] for target in edges[room]), default=0)
    assert max(depth.values()) <= MAX_DEPTH


def test_few_modules_of_core_are_in_no_room():
    loose = [file for file in FILES if file.startswith("core/") and file.count("/") == 1]
    assert len(loose) <= MAX_LOOSE


@pytest.mark.parametrize("file", FILES)
def test_imports_make_no_circle(file):
    needed = {f for n in imports(file, top_level=True) if (f := file_of(n)) and f != file}
    assert not [f for f in needed if file in reachable(f)]


def reachable(file: str) -> set[str]:
    """Return the project files that importing `file` executes."""
    seen, todo = set(), [file]
    while todo:
        current = todo.pop()
        if current not in seen:
            seen.add(current)
            todo += [f for n in imports(current, top_level=True) if (f := file_of(n))]
    return seen


def third_party(file: str) -> set[str]:
    return {name for name in imports(file) if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("core/")])
def test_core_does_not_import_pages_or_streamlit(file):
    assert not {n for n in third_party(file) if n.split(".")[0] in {"streamlit", "plotly", "pages", "app"}}


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("pages/ui/")])
def test_the_parts_of_pages_do_not_import_pages(file):
    assert not {n for n in third_party(file) if n.startswith("pages.") and not n.startswith("pages.ui")}


@pytest.mark.parametrize("file", FILES)
def test_only_models_and_training_import_torch(file):
    uses = {n.split(".")[0] for n in third_party(file)} & TORCH
    assert not uses or file.startswith(RUNS_MODELS)


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith(ARRAYS_ONLY)])
def test_algorithms_and_methods_import_arrays_only(file):
    outside = {n for n in third_party(file) if n.split(".")[0] not in ARRAYS | {"core"}}
    assert not outside


@pytest.mark.parametrize(
    "module", ["core", "core.cli.app", "core.measurement.measure", "core.workers.cluster", "pages.ui.explore"]
)
def test_importing_it_brings_no_torch_and_no_ray(module):
    code = f"import sys, {module}; sys.exit(bool({{'torch', 'ray'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("file", [f for f in FILES if f.startswith("pages/") or f == "app.py"])
def test_the_web_process_never_imports_torch(file):
    heavy = {f for f in reachable(file) if {n.split(".")[0] for n in imports(f, top_level=True)} & TORCH}
    assert not heavy


@pytest.mark.parametrize("package", [f for f in FILES if f.endswith("/__init__.py") and f != "core/__init__.py"])
def test_a_package_names_its_modules(package):
    folder = FILES[package].parent
    words = set(re.findall(r"\w+", ast.get_docstring(ast.parse(FILES[package].read_text())) or ""))
    modules = {p.stem for p in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
    assert modules - {"__init__"} <= words


def test_tests_mirror_the_tree():
    stray = [
        test
        for base in ("core", "pages/ui")
        for test in sorted((ROOT / "tests" / base).rglob("test_*.py"))
        if not (ROOT / test.relative_to(ROOT / "tests").parent).is_dir()
    ]
    assert not stray
