"""Maps as a stored stage: measured embeddings are listed, projected once and loaded again."""

import json
import random
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from core.__main__ import app
from core.algorithms.answer_geometry import CENTRE
from core.analysis import maps, projection
from core.analysis.maps import EmbeddingSource, list_sources, load_map, make_map, map_folder, need_source
from core.errors import RecipeError, WorkspaceError
from core.measurement.measure import measure
from core.measurement.run_data import base_parts, load_measured
from core.measurement.runs import save_run
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.checksums import SUFFIX
from core.workspace.folder import Workspace
from core.workspace.parts import Parts

WORDS = "the cat sat on a mat and saw 12 red birds fly over 7 green hills in May".split()  # noqa: SIM905
ROWS = 80


@pytest.fixture(scope="module")
def measured(tmp_path_factory, tiny_model_dir):
    """Return a measured pool of 80 rows: its workspace, pool, run and reading."""
    place = tmp_path_factory.mktemp("mapped")
    draw = random.Random(0)
    rows = [
        {
            "instruction": " ".join(draw.choices(WORDS, k=draw.randint(2, 12))) + f" {i}",
            "output": " ".join(draw.choices(WORDS, k=draw.randint(2, 12))),
        }
        for i in range(ROWS)
    ]
    (place / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    workspace, reading = Workspace(place / "workspace"), Reading(model=str(tiny_model_dir), max_length=128)
    pool = load_pool(str(place / "pool.jsonl"), workspace=workspace.root)
    run = measure(
        pool, build_method("activation_coverage", {"clusters": 3}), reading, workspace, report=SilentReporter()
    )
    return workspace, pool, run, reading


def project(measured, *words):
    workspace, _, _, reading = measured
    source = workspace.root.parent / "pool.jsonl"
    options = ["--model", reading.model, "--max-length", 128, "--workspace", workspace.root]
    return CliRunner().invoke(app, ["project", *map(str, [source, *options, *words])])


def test_all_measured_embeddings_are_listed(measured):
    workspace, pool, _, reading = measured
    sources = list_sources(workspace, pool, reading)
    assert list(sources) == ["prompt", "response", "activations"]
    assert {source.rows for source in sources.values()} == {len(pool)}
    assert sources["prompt"].size() > 0


def test_no_embeddings_are_listed_for_another_model(measured):
    workspace, pool, _, _ = measured
    assert list_sources(workspace, pool, Reading(model="other")) == {}


def test_the_pca_map_is_that_of_the_stored_embeddings(measured):
    workspace, pool, run, reading = measured
    source = need_source(workspace, pool, reading, "prompt")
    make_map(workspace, source, "pca", 0)
    stored = base_parts(workspace, run).column("prompt_embedding", len(pool))
    whole = projection.fit_axes(stored, seed=0)
    assert load_map(workspace, source, "pca", 0) == pytest.approx(whole.project(stored)[:, :2], abs=1e-5)
    about = maps.load_map_facts(workspace, source, 0)
    assert about["share"] == pytest.approx(whole.share[:2].tolist(), abs=1e-5) and about["placed"] == len(pool)


@pytest.fixture
def source_with_gaps(tmp_path):
    """Return a stored measurement of 60 rows in two parts, rows 3 and 40 without an embedding."""
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float16)
    vectors[[3, 40]] = np.nan
    workspace, order = Workspace(tmp_path), np.random.default_rng(1).permutation(60)
    parts = Parts.open(workspace.folder("measurements", "held"), {}, [order[:25], order[25:]])
    for part, rows in enumerate(parts.plan):
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors[rows].ravel()), 8)
        parts.write(part, pa.table({"prompt_embedding": column}))
    return workspace, EmbeddingSource("prompt", parts.folder, "by hand", 60), vectors


@pytest.mark.parametrize("layout", maps.LAYOUTS)
def test_rows_without_an_embedding_are_not_on_the_map(source_with_gaps, layout):
    workspace, source, _ = source_with_gaps
    make_map(workspace, source, layout, 0)
    xy = load_map(workspace, source, layout, 0)
    assert np.flatnonzero(np.isnan(xy).any(axis=1)).tolist() == [3, 40]
    assert maps.load_map_facts(workspace, source, 0)["placed"] == 58
    with pytest.raises(ValueError, match="read-only"):
        xy[0] = 0


def test_where_no_row_has_an_embedding_there_is_no_map(source_with_gaps):
    workspace = source_with_gaps[0]
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.full(25 * 8, np.nan, np.float16)), 8)
    only = Parts.open(workspace.folder("measurements", "none"), {}, [np.arange(25)])
    only.write(0, pa.table({"prompt_embedding": column}))
    with pytest.raises(WorkspaceError, match="no row has a prompt embedding"):
        make_map(workspace, EmbeddingSource("prompt", only.folder, "by hand", 25), "pca", 0)


def test_rows_with_the_same_active_neurons_coincide(measured):
    workspace, pool, run, reading = measured
    source = need_source(workspace, pool, reading, "activations")
    make_map(workspace, source, "pca", 0)
    xy, states = load_map(workspace, source, "pca", 0), load_measured(run).need("activations")
    placed = np.flatnonzero(np.diff(states.indptr))
    assert np.isfinite(xy).all(axis=1).nonzero()[0].tolist() == placed.tolist()
    alike = [(a, b) for a in placed for b in placed if a < b and np.array_equal(states.row(a), states.row(b))]
    assert all(xy[a] == pytest.approx(xy[b], abs=1e-4) for a, b in alike)


def test_a_map_is_made_once(measured):
    workspace, pool, _, reading = measured
    source = need_source(workspace, pool, reading, "prompt")
    folder = make_map(workspace, source, "umap", 0)
    stamps = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    files = {name for name in stamps if not name.endswith(SUFFIX)}  # without those of their checksums
    assert files == {"spec.json", "about.json", "pca.npy", "umap.npy"}
    make_map(workspace, source, "umap", 0)
    make_map(workspace, source, "pca", 0)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == stamps


def test_a_lost_map_is_made_again_bit_for_bit(measured):
    workspace, pool, _, reading = measured
    source = need_source(workspace, pool, reading, "prompt")
    folder = make_map(workspace, source, "umap", 0)
    before = (folder / "umap.npy").read_bytes()
    (folder / "umap.npy").unlink()
    assert load_map(workspace, source, "umap", 0) is None
    make_map(workspace, source, "umap", 0)
    assert (folder / "umap.npy").read_bytes() == before


def test_another_seed_is_another_map(measured):
    workspace, pool, _, reading = measured
    source = need_source(workspace, pool, reading, "prompt")
    assert map_folder(workspace, source, 0) != map_folder(workspace, source, 1)
    assert map_folder(workspace, source, 0) != map_folder(
        workspace, need_source(workspace, pool, reading, "response"), 0
    )


def test_reading_part_by_part_gives_the_whole_column(measured, monkeypatch):
    workspace, pool, run, reading = measured
    parts = base_parts(workspace, run)
    blocks = maps._Blocks(need_source(workspace, pool, reading, "prompt"))
    whole = np.empty((len(pool), parts.column("prompt_embedding", len(pool)).shape[1]), np.float16)
    for rows, vectors in blocks:
        whole[rows] = vectors
    assert np.array_equal(whole, parts.column("prompt_embedding", len(pool)))
    assert np.array_equal(blocks.sample(0), whole)  # the pool is small: all of its rows, in its order
    monkeypatch.setattr(projection, "MAX_AXES_ROWS", 10)
    some = blocks.sample(0)
    assert len(some) == 10 and (some[:, None] == whole[None]).all(axis=2).any(axis=1).all()


def test_the_command_makes_the_map_and_then_reuses_it(measured):
    first = project(measured, "--of", "prompt", "--json")
    assert first.exit_code == 0, first.output
    facts = json.loads(first.stdout)
    assert facts["rows"] == len(measured[1]) and facts["without"] == 0
    assert np.load(facts["umap"]).shape == (len(measured[1]), 2)
    assert json.loads(project(measured, "--of", "prompt", "--json").stdout) == facts


def test_a_map_of_answers_needs_measured_answers(measured):
    result = project(measured, "--of", "answers")
    assert result.exit_code == 2 and "--method answer_divergence" in result.stderr


def test_a_row_of_the_answer_map_is_the_mean_of_its_answer_vectors(measured, tmp_path):
    _, pool, _, reading = measured
    workspace = Workspace(tmp_path)
    method = build_method("answer_divergence", {"answers": 3, "max_new_tokens": 4, "bins_measured": 4})
    run = measure(pool, method, reading, workspace, report=SilentReporter())
    source = need_source(workspace, pool, reading, "answers")
    assert (source.folder.name, source.model) == (run.kept["grams"], run.model["name"])
    stored = Parts.open(source.folder, {}, []).column(CENTRE, len(pool))
    assert np.linalg.norm(stored, axis=1) ** 2 == pytest.approx(1 - load_measured(run).need("dispersion"), abs=2e-3)
    make_map(workspace, source, "pca", 0)
    whole = projection.fit_axes(stored, seed=0)
    assert load_map(workspace, source, "pca", 0) == pytest.approx(whole.project(stored)[:, :2], abs=1e-5)

    encoded = run.method | {"params": run.method["params"] | {"embeddings": "an-encoder"}}
    other = replace(run, id="encoded", folder=workspace.folder("runs", "encoded"), method=encoded)
    save_run(workspace, other, dict(load_measured(run).columns))
    shutil.rmtree(run.folder)
    assert need_source(workspace, pool, reading, "answers").model == "an-encoder"


def test_answers_measured_before_their_centre_was_stored_have_no_map(measured, tmp_path):
    workspace, pool, run, reading = measured
    old = Parts.open(workspace.folder("measurements", "grams-of-old"), {}, [np.arange(len(pool))])
    old.write(0, pa.table({"gram": np.zeros(len(pool), np.float32)}))
    folder = workspace.folder("runs", "with-old-answers")
    aged = replace(run, id="with-old-answers", folder=folder, kept={**run.kept, "grams": "grams-of-old"})
    save_run(workspace, aged, dict(load_measured(run).columns))
    assert "answers" not in list_sources(workspace, pool, reading)
    shutil.rmtree(folder)


@pytest.mark.parametrize("words", [("--of", "nothing"), ("--layout", "flat")])
def test_the_command_lists_the_valid_choices(measured, words):
    result = project(measured, *words)
    assert result.exit_code == 2 and "choose one of" in result.stderr


def test_a_pool_that_no_model_has_read_has_no_map(measured, tmp_path):
    _, pool, _, reading = measured
    with pytest.raises(RecipeError, match="First run measure"):
        need_source(Workspace(tmp_path), pool, reading, "prompt")
    with pytest.raises(RecipeError, match="--method activation_coverage"):
        need_source(Workspace(tmp_path), pool, reading, "activations")
