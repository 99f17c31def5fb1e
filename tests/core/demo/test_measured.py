"""The results that ship with the demo pool are those that measuring it gives."""

import shutil
from zipfile import ZipFile

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.analysis import maps
from core.columns import USUAL_NEAR_DUPLICATES
from core.demo.build import EMBEDDINGS, MAX_BYTES, describe_processor
from core.demo.measured import ARCHIVE, about_measured, unpack_measured
from core.measurement.lookup import find_run
from core.measurement.measure import measure_all
from core.measurement.run_data import base_parts
from core.methods import build_method, standalone_methods
from core.methods.suggestions import with_suggestions
from core.pool.near_duplicates import load_near_duplicates
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.files import damaged_files, read_json
from core.workspace.folder import Workspace
from core.workspace.parts import Parts

READING = Reading(model="embedded")


def demo_method(name):
    return build_method(name, with_suggestions(name, {}, "embedded"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("shipped"))
    unpack_measured(workspace.root)
    return workspace


@pytest.fixture(scope="module")
def demo(unpacked):
    return load_pool("demo", workspace=unpacked.root)


@pytest.fixture
def copy(unpacked, demo, tmp_path):
    """A workspace of its own with the shipped results and the pool."""
    shutil.copytree(unpacked.root, tmp_path / "copy")
    return Workspace(tmp_path / "copy")


def test_the_archive_is_small_and_holds_only_results():
    assert ARCHIVE.stat().st_size <= MAX_BYTES
    with ZipFile(ARCHIVE) as archive:
        names = archive.namelist()
        documents = [archive.read(name) for name in names if name.endswith(".json")]
    assert {name.split("/")[0] for name in names} == {"measurements", "runs", "about.json"}
    assert not any(b"/home" in text or b"/tmp" in text or b"/root" in text for text in documents)


@pytest.mark.parametrize("name", standalone_methods())
def test_every_method_is_measured(unpacked, demo, name):
    method = demo_method(name)
    if method.needs:
        run = find_run(unpacked, demo, method, READING, 0)
        assert run is not None
        assert run.id in about_measured()["runs"]


def test_maps_and_near_duplicates_are_made(unpacked, demo):
    sources = maps.list_sources(unpacked, demo, READING)
    assert tuple(sources) == EMBEDDINGS
    for source in sources.values():
        for layout in maps.LAYOUTS:
            assert len(maps.load_map(unpacked, source, layout, 0)) == len(demo)
    near = load_near_duplicates(unpacked.root, demo.fingerprint)
    assert len(near[USUAL_NEAR_DUPLICATES]) == len(demo)


def test_every_file_has_the_checksum_it_was_written_with(unpacked):
    folders = [folder for kind in ("measurements", "runs") for folder in (unpacked.root / kind).iterdir()]
    assert len(folders) > 20
    assert [file for folder in folders for file in damaged_files(folder)] == []


def test_deleted_results_stay_deleted_until_they_are_unpacked_again(copy):
    run = copy.root / "runs" / about_measured()["runs"][0]
    shutil.rmtree(run)
    unpack_measured(copy.root)
    assert not run.exists()
    unpack_measured(copy.root, again=True)
    assert (run / "run.json").exists()


def test_what_is_stored_already_is_left_as_it_is(tmp_path):
    with ZipFile(ARCHIVE) as archive:
        name = archive.namelist()[0]
    file = tmp_path / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    unpack_measured(tmp_path)
    assert file.read_bytes() == b"mine"


# A sample, measured again


def measure_part_again(workspace, demo, name, stage_of):
    """Remove the smallest part of one stage of a method and measure it again; return the part before and after."""
    method = demo_method(name)
    run = find_run(workspace, demo, method, READING, 0)
    stored = Parts.stored(stage_of(run))
    part = min(range(len(stored.plan)), key=lambda k: len(stored.plan[k]))
    before = pq.read_table(stored.path(part))
    stored.path(part).unlink()
    shutil.rmtree(workspace.root / "runs")
    measure_all(demo, [method], READING, workspace, seed=0, report=SilentReporter())
    return before, pq.read_table(stored.path(part))


def on_the_same_processor():
    return describe_processor()["processor"] == about_measured()["processor"]


def assert_same(before, after):
    """Compare two parts: bit for bit on the kind of processor that measured what ships, else to float accuracy."""
    if on_the_same_processor():
        assert before.equals(after)
    else:
        for old, new in zip(before.columns, after.columns, strict=True):
            np.testing.assert_allclose(numbers(old), numbers(new), rtol=1e-2, atol=1e-3)


def numbers(column):
    array = column.combine_chunks()
    while hasattr(array, "flatten") and array.type.num_fields:
        array = array.flatten()
    return array.to_numpy(zero_copy_only=False).astype(np.float64)


def test_the_base_pass_measures_the_same(copy, demo):
    before, after = measure_part_again(copy, demo, "lowest_nll", lambda run: base_parts(copy, run).folder)
    assert {"nll", "entropy"} <= set(after.column_names)
    assert_same(before, after)


@pytest.mark.slow
@pytest.mark.soak
def test_training_and_the_calibrated_pass_measure_the_same(copy, demo):
    def calibrated(run):
        state = run.summary["rounds"][-1]["state"]
        specs = copy.root.glob("measurements/*/spec.json")
        (folder,) = (file.parent for file in specs if read_json(file).get("state") == state)
        return folder

    assert_same(*measure_part_again(copy, demo, "entropy_shift", calibrated))


@pytest.mark.slow
def test_sampled_answers_are_the_same(copy, demo):
    before, after = measure_part_again(copy, demo, "answer_divergence", lambda run: run.stage_folder("answers"))
    if not on_the_same_processor():
        pytest.skip("the answers were sampled on another kind of processor, where a rounding decides otherwise")
    assert before.equals(after)
