"""What the code imports is in requirements.txt, what the tests import beyond it in tests/requirements.txt."""

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
OPTIONAL = {"apricot"}  # bench/coverage.py compares with it where somebody has installed it
NOT_IMPORTED = "not imported: "


def same(name: str) -> str:
    """One spelling of a distribution's name, as PyPI compares them."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def listed(file: str) -> dict[str, tuple[str, str]]:
    """Version and reason of each distribution in a requirements file."""
    lines = [line for line in (ROOT / file).read_text().splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([\w.-]+)==(\S+) +# (.+)", line) for line in lines]
    assert all(found), f"{file}: NAME==VERSION  # REASON, not {lines[found.index(None)]!r}"
    names = [same(match[1]) for match in found]
    assert len(set(names)) == len(names), f"{file} lists one of {sorted(names)} twice"
    return {name: (match[2], match[3]) for name, match in zip(names, found, strict=True)}


def imported(*patterns: str) -> set[str]:
    """Distributions that these files import, anywhere in them."""
    files = [file for pattern in patterns for file in ROOT.glob(pattern)]
    names = {name.split(".")[0] for file in files for name in modules(ast.walk(ast.parse(file.read_text())))}
    owners = packages_distributions()
    return {same(o) for n in names - OURS - OPTIONAL - sys.stdlib_module_names for o in owners.get(n, [n])}


def modules(nodes: Iterable[ast.AST]) -> set[str]:
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return names


APP = imported("app.py", "core/**/*.py", "pages/**/*.py")
TESTS = imported("bench/**/*.py", "tests/**/*.py")


def test_what_the_app_imports_is_listed():
    assert not APP - listed("requirements.txt").keys()


def test_what_benchmarks_and_tests_import_is_listed():
    assert not TESTS - listed("requirements.txt").keys() - listed("tests/requirements.txt").keys()


@pytest.mark.parametrize(("file", "used"), [("requirements.txt", APP), ("tests/requirements.txt", TESTS)])
def test_what_is_listed_is_imported_or_has_its_reason_not_to_be(file, used):
    reasons = {name: reason for name, (_, reason) in listed(file).items()}
    assert {name for name, reason in reasons.items() if not reason.startswith(NOT_IMPORTED)} == used & reasons.keys()


def test_nothing_is_listed_twice():
    assert not listed("requirements.txt").keys() & listed("tests/requirements.txt").keys()


@pytest.mark.parametrize("file", ["requirements.txt", "tests/requirements.txt"])
def test_the_versions_listed_are_those_that_are_tested(file):
    wrong = {name: version(name) for name, (pin, _) in listed(file).items() if version(name).split("+")[0] != pin}
    assert wrong == {}
