"""mkdocs.yml: every page of docs/ is in the site, and no link leaves it."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from core.__main__ import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = typer.main.get_command(app)
EXAMPLES = sorted(
    {
        (page.relative_to(ROOT).as_posix(), line.strip())
        for page in [*PAGES, ROOT / "README.md", ROOT / "AGENTS.md"]
        for line in page.read_text().splitlines()
        if re.match(r" {4,}(\S+=\S+ )*python -m core (?!COMMAND)", line)
    }
)


def test_every_page_is_in_the_navigation():
    assert ROOT / SITE["docs_dir"] == DOCS
    assert sorted(SITE["nav"]) == [page.relative_to(DOCS).as_posix() for page in PAGES]


def test_every_page_is_reached_from_the_first():
    assert set(LINK.findall((DOCS / "index.md").read_text())) == set(SITE["nav"]) - {"index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_stay_in_the_site(page):
    for link in LINK.findall(page.read_text()):
        if not link.startswith(("https://", "http://", "#")):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.is_relative_to(DOCS) and target.is_file(), link


@pytest.mark.parametrize(("page", "line"), EXAMPLES)
def test_examples_parse(page, line):
    words = shlex.split(line, comments=True)
    words = words[words.index("core") + 1 :]
    command = COMMAND.commands[words[0]]
    command.make_context(words[0], words[1:])
