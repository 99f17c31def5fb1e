"""Fixtures: a small pool with a run of entropy shift, and the subject of a report of 24 of its rows."""

import pytest

from core.measurement.run_data import load_measured
from core.output.report.subject import Subject
from core.pool.pools import load_pool
from core.selection.recipe import make_selection, parse_recipe
from core.workspace.folder import Workspace
from tests.pages.conftest import entropy_shift_run, write_rows


@pytest.fixture
def place(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def pool(place, tmp_path):
    return load_pool(str(write_rows(tmp_path / "rows.jsonl")), workspace=place.root)


@pytest.fixture
def run(place, pool):
    return entropy_shift_run(place, pool, dtype="float32")


@pytest.fixture
def recipe(pool):
    """Return a function that makes a recipe on the pool."""

    def make(method="entropy_shift", **settings):
        part = {"source": pool.source, "fingerprint": pool.fingerprint}
        return parse_recipe({"pool": part, "method": {"name": method}, **settings}, "test")

    return make


@pytest.fixture
def subject(place, pool, run, recipe):
    """Return a function that makes the subject of a report."""

    def make(method="entropy_shift", **settings):
        chosen, measured = recipe(method, **settings), load_measured(run)
        return Subject(chosen, pool, run, place, measured, make_selection(chosen, pool, measured))

    return make
