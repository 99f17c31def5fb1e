"""No damage of a stored file is used silently, none ends in a traceback, and what can be made again is made again."""

import random

import pytest

from core.errors import DamagedFile
from core.workspace.checksums import SUFFIX
from core.workspace.files import is_whole, read_json, reading
from tests.core.damage import CHOOSING, HOWS, build, flip, invoke, kind_of, plan_damages, run, stored_files, survive

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    root = tmp_path_factory.mktemp("damage") / "workspace"
    return root, build(root)


def test_a_hundred_flipped_bits_in_all_kinds_of_files_are_found(measured):
    root, _ = measured
    damages = list(plan_damages(root, seed=0, count=100, hows=("flip",)))
    assert {kind_of(damage.path) for damage in damages} == {kind_of(path) for path in stored_files(root)}
    for damage in damages:
        before = (root / damage.path).read_bytes()
        file = damage.apply(root)
        file = file.with_name(file.name.removesuffix(SUFFIX))
        assert not is_whole(file), damage
        with pytest.raises(DamagedFile), reading(file):
            read_json(file) if file.suffix == ".json" else None
        (root / damage.path).write_bytes(before)


@pytest.mark.parametrize("how", HOWS)
def test_commands_find_damage_say_so_and_make_it_again(measured, how):
    outcome = survive(*measured, plan_damages(measured[0], seed=1, count=4, hows=(how,)))
    assert outcome.faults == []
    assert outcome.counts["made again"] == 4


def test_replay_finds_a_flipped_bit_of_an_exported_file_and_of_its_manifest(measured, tmp_path):
    root, _ = measured
    out, manifest = tmp_path / "chosen.jsonl", tmp_path / "chosen.manifest.json"
    code, rows = run(root, CHOOSING[0], out)
    assert code == 0
    place = random.Random(0)
    for file in [out] * 5 + [manifest] * 15:
        before = file.read_bytes()
        file.write_bytes(flip(before, place))
        code, said = invoke(["replay", str(manifest), "--out", str(tmp_path / "again.jsonl"), "--workspace", str(root)])
        assert code in (0, 2), said
        if code == 0:
            assert (tmp_path / "again.jsonl").read_text() == rows
        file.write_bytes(before)
