"""What `pip install -e .` installs: the packages, their data, their dependencies and the command `winnow`."""

import re
import tomllib
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path

import pytest
from setuptools.config.pyprojecttoml import read_configuration

import core
from core.cli.app import app
from core.demo import MODEL_PATH

ROOT = Path(__file__).parent.parent
TOML = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = TOML["project"]


@pytest.fixture(scope="module")
def resolved():
    """Return the configuration as setuptools resolves it, dynamic fields and packages included."""
    return read_configuration(ROOT / "pyproject.toml")


def without_reasons(lines: list[str]) -> list[str]:
    """Return the requirements without comments, which pip removes."""
    return [requirement for line in lines if (requirement := line.partition("#")[0].strip())]


def test_version_and_dependencies_are_those_of_the_code_and_of_requirements_txt(resolved):
    listed = without_reasons((ROOT / "requirements.txt").read_text().splitlines())
    assert resolved["project"]["version"] == core.__version__
    assert without_reasons(resolved["project"]["dependencies"]) == listed and "torch==2.13.0" in listed


def test_every_package_is_installed(resolved):
    folders = {path.parent for top in ("core", "pages") for path in (ROOT / top).rglob("*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(resolved["tool"]["setuptools"]["packages"]) == packages


def test_every_file_that_is_not_code_is_installed_with_its_package():
    data = TOML["tool"]["setuptools"]["package-data"]
    patterns = [f"{package.replace('.', '/')}/{pattern}" for package, own in data.items() for pattern in own]
    files = [path for top in ("core", "pages") for path in (ROOT / top).rglob("*") if path.is_file()]
    others = [p.relative_to(ROOT).as_posix() for p in files if p.suffix not in {".py", ".pyc"}]
    assert (MODEL_PATH / "model.safetensors").relative_to(ROOT).as_posix() in others
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_the_command_is_the_command_line():
    module, _, name = PROJECT["scripts"]["winnow"].partition(":")
    assert getattr(import_module(module), name) is app


def test_the_build_is_pinned_and_the_licence_is_there():
    pinned = re.findall(r"^setuptools==[\d.]+", (ROOT / "tests" / "requirements.txt").read_text(), re.MULTILINE)
    assert TOML["build-system"]["requires"] == pinned
    assert all((ROOT / file).is_file() for file in [*PROJECT["license-files"], PROJECT["readme"]])
    target = "py" + PROJECT["requires-python"].removeprefix(">=").replace(".", "")
    assert TOML["tool"]["ruff"]["target-version"] == target
