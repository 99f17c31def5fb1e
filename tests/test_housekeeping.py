"""Files that other tools read: citation, workflow, container."""

import re
import subprocess
from pathlib import Path

import yaml

import core

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_citation_names_this_version_and_license():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (core.__version__, "Apache-2.0")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_the_workflow_does_what_ci_does():
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_the_container_holds_what_the_app_reads_and_nothing_private():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*" and {"app.py", "core", "pages", ".streamlit/config.toml", "requirements.txt"} <= let_in
    assert all((ROOT / name).exists() for name in let_in)
    assert let_in.isdisjoint({".git", "workspace", ".streamlit", ".streamlit/secrets.toml"})


def test_the_container_installs_the_torch_that_is_tested():
    pattern = re.search(r"grep -o '(.+?)' requirements", DOCKERFILE)[1]
    assert re.fullmatch(r"torch==[\d.]+", re.search(pattern, (ROOT / "requirements.txt").read_text(), re.MULTILINE)[0])


def test_the_app_in_the_container_has_a_token_even_where_it_is_given_an_empty_one():
    command = yaml.safe_load(re.search(r"^CMD (.+)$", DOCKERFILE, re.MULTILINE)[1])
    assert command[:2] == ["sh", "-c"] and "--server.address 0.0.0.0" in command[2]
    script = re.sub(r"exec .*", 'echo "${WINNOW_TOKEN-new}"', command[2])
    for given, expected in (("", "new"), ("x" * 20, "x" * 20)):
        done = subprocess.run(["sh", "-c", script], env={"WINNOW_TOKEN": given}, capture_output=True, text=True)
        assert done.stdout.strip() == expected
