"""Every imported package is listed: the app's in requirements.txt, those of extras and tests in their own files."""

import ast
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"core", "pages", "bench", "tests"}
OPTIONAL = {
    "apricot",  # bench/coverage.py compares with it where it is installed
    "lm_eval",  # tests/core/output/test_hand_over.py checks its configuration where it is installed
}
ELSEWHERE = ROOT / "core/output/scripts"  # handed over to other trainers, and run where these are installed
NOT_IMPORTED = "not imported: "


def normalise(name: str) -> str:
    """Return the normal form of a distribution's name, as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def read_requirements(file: str) -> dict[str, tuple[str, str]]:
    """Return version and reason of each distribution in a requirements file."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    matches = [re.fullmatch(r"([\w.-]+)==(\S+) +# (.+)", line) for line in lines]
    assert all(matches), f"{file}: NAME==VERSION  # REASON, not {lines[matches.index(None)]!r}"
    names = [normalise(match[1]) for match in matches]
    assert len(set(names)) == len(names), f"{file} lists one of {sorted(names)} twice"
    return {name: (match[2], match[3]) for name, match in zip(names, matches, strict=True)}


def imported_by(*patterns: str) -> set[str]:
    """Return the distributions that files of these patterns import, at any level."""
    files = [file for pattern in patterns for file in ROOT.glob(pattern) if file.parent != ELSEWHERE]
    names = {name.split(".")[0] for file in files for name in module_names(ast.walk(ast.parse(file.read_text())))}
    owners = packages_distributions()
    return {normalise(o) for n in names - OURS - OPTIONAL - sys.stdlib_module_names for o in owners.get(n, [n])}


def module_names(nodes: Iterable[ast.AST]) -> set[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return names


FILES = ("requirements.txt", "requirements-ray.txt", "tests/requirements.txt")
EXTRAS = read_requirements("requirements-ray.txt").keys()  # imported only where they are asked for
APP = imported_by("app.py", "core/**/*.py", "pages/**/*.py")
TESTS = imported_by("bench/**/*.py", "tests/**/*.py")


def test_what_the_app_imports_is_listed():
    assert not APP - EXTRAS - read_requirements("requirements.txt").keys()


def test_what_benchmarks_and_tests_import_is_listed():
    assert not TESTS - {name for file in FILES for name in read_requirements(file)}


@pytest.mark.parametrize(("file", "used"), [*zip(FILES, (APP, APP, TESTS), strict=True)])
def test_what_is_listed_is_imported_or_has_its_reason_not_to_be(file, used):
    reasons = {name: reason for name, (_, reason) in read_requirements(file).items()}
    assert {name for name, reason in reasons.items() if not reason.startswith(NOT_IMPORTED)} == used & reasons.keys()


def test_nothing_is_listed_twice():
    names = [name for file in FILES for name in read_requirements(file)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("file", FILES)
def test_the_versions_listed_are_those_that_are_tested(file):
    wrong = {
        name: version(name) for name, (pin, _) in read_requirements(file).items() if version(name).split("+")[0] != pin
    }
    assert wrong == {}
