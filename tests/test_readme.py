"""The README, and the pages that it links to, agree with the code."""

import json
import re
import shlex
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from core.__main__ import app
from core.demo.pool import clean_rows
from core.methods import METHODS, build_method

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
LAYOUT = README.split("\n## Layout\n")[1].split("\n## ")[0]
METHODS_PAGE = (ROOT / "docs" / "methods.md").read_text()
FRONT = ("README", "CONTRIBUTING", "CHANGELOG", "AGENTS")
PAGES = [*(ROOT / f"{name}.md" for name in FRONT), *sorted((ROOT / "docs").glob("*.md"))]
PACKAGES = [path.parent for folder in ("core", "pages") for path in sorted((ROOT / folder).rglob("__init__.py"))]
COMMANDS = typer.main.get_command(app).commands
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 180


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_every_package_is_in_the_layout(package):
    assert re.search(rf"(?<![\w/]){package.name}/", LAYOUT)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_is_explained(method):
    assert method.label in README
    assert method.label in METHODS_PAGE
    assert {f.name for f in fields(method) if f"`{f.name}`" not in METHODS_PAGE} == set()


def test_every_command_is_shown_and_no_other():
    shown = set(re.findall(r"python -m core ([a-z-]+)", README))
    assert shown - COMMANDS.keys() == set()
    assert COMMANDS.keys() - shown == {"demo", "estimate"}
    assert "make demo" in README


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_a_page_shows_exists(page):
    existing = {option for command in COMMANDS.values() for param in command.params for option in param.opts} | {
        "--help"
    }
    lines = [line for line in page.read_text().splitlines() if "python -m core" in line]
    shown = {option for line in lines for option in re.findall(r"(?<=[ `])--[a-z-]+", line)}
    assert shown - existing == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_parameter_that_a_page_sets_exists(page):
    for line in page.read_text().splitlines():
        if not line.startswith("    python -m core"):
            continue
        words = shlex.split(line, comments=True)
        given = [after for word, after in pairwise(words) if word == "--set"]
        if words[3] == "prove":  # settings of an arm, by its name
            given = [setting.partition(".")[2] for setting in given]
        method = next((after for word, after in pairwise(words) if word == "--method"), "entropy_shift")
        build_method(method, dict(setting.split("=", 1) for setting in given))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_picture_leads_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.slow
def test_the_python_block_runs(tmp_path, monkeypatch):
    """On 60 clean rows of the demo in place of the whole pool."""
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    rows = clean_rows(0)[::38][:60]
    (tmp_path / "small.jsonl").write_text(
        "".join(json.dumps({"id": f"row-{i}"} | row) + "\n" for i, row in enumerate(rows))
    )
    assert '"demo"' in block
    monkeypatch.chdir(tmp_path)
    exec(compile(block.replace('"demo"', '"small.jsonl"'), "README.md", "exec"), {})
    assert len((tmp_path / "chosen.jsonl").read_text().splitlines()) == 6
