"""The README names every module, method and command, so it cannot fall behind."""

import re
from pathlib import Path

import pytest

from core.__main__ import app
from core.methods import METHODS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MODULES = [
    path.relative_to(ROOT).as_posix()
    for folder in ("core", "pages")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "__init__.py"
]


@pytest.mark.parametrize("module", MODULES)
def test_every_module_is_in_the_layout(module):
    assert f"`{module}`" in README


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_is_explained(method):
    assert method.label in README


def test_every_command_but_the_apps_own_is_shown():
    commands = {c.name or c.callback.__name__ for c in app.registered_commands} - {"estimate"}
    assert {c for c in commands if f"core {c}" not in README} == {"demo"}
    assert "make demo" in README


def test_every_picture_is_there():
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert shown
    assert [p for p in shown if not (ROOT / p).exists()] == []
