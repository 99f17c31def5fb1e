"""The manifest: built, written, read back, and verified against a pool."""

import json

import numpy as np
import pytest

from core.errors import RecipeError, ReplayError
from core.output import dataset_card
from core.output.manifest import build_manifest, read_manifest, verify_rows, write_manifest
from core.output.writer import write_selection
from core.pool.pools import load_pool
from core.schema import Pool
from tests.core.pool.pools import make_pool

RECIPE = {"method": {"name": "random", "params": {}}, "seed": 3, "budget": "2"}


def make_answer_pool(*changed: tuple[int, str], n: int = 5, name: str = "hand.jsonl") -> Pool:
    answers = {k: f"answer {k}" for k in range(n)} | dict(changed)
    return make_pool([{"id": f"row-{k}", "instruction": f"q{k}", "output": answers[k]} for k in range(n)], name=name)


def make_manifest(pool: Pool, tmp_path, rows=(3, 1)):
    selected = np.array(rows)
    written = write_selection(pool, selected, tmp_path / "chosen.jsonl", rejected=True)
    return build_manifest(
        pool, selected, written, recipe=RECIPE, model={"name": "embedded", "revision": "abc"}, encoder="e1"
    )


def test_it_names_the_rows_in_the_files_order(tmp_path):
    pool = make_answer_pool()
    manifest = make_manifest(pool, tmp_path)
    assert [row.id for row in manifest.rows] == ["row-1", "row-3"]
    assert [row.hash for row in manifest.rows] == [pool.rows["hash"][k].as_py() for k in (1, 3)]
    ids = [json.loads(line)["id"] for line in (tmp_path / "chosen.jsonl").read_text().splitlines()]
    assert ids == ["row-1", "row-3"]


def test_it_names_the_files_that_were_written_without_their_folder(tmp_path):
    output = make_manifest(make_answer_pool(), tmp_path).output
    assert (output.file, output.rejected, output.rows) == ("chosen.jsonl", "chosen.rejected.jsonl", 2)


class TestFiles:
    @pytest.fixture
    def shards(self, tmp_path):
        """Return a function that opens rows, two a file, as one pool."""

        def open_shards(*outputs):
            folder = tmp_path / "data"
            for k in range(0, len(outputs), 2):
                rows = [{"instruction": f"q{k + n}", "output": text} for n, text in enumerate(outputs[k : k + 2])]
                folder.mkdir(exist_ok=True)
                (folder / f"part-{k // 2}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            return load_pool(str(folder), workspace=tmp_path / "workspace")

        return open_shards

    def test_it_lists_the_files_of_the_pool(self, shards, tmp_path):
        pool = shards("a", "b", "c", "d")
        files = make_manifest(pool, tmp_path).pool.files
        assert [(file.name, file.rows, file.skipped) for file in files] == [
            ("part-0.jsonl", 2, 0),
            ("part-1.jsonl", 2, 0),
        ]
        assert [file.xxh128 for file in files] == [file.xxh128 for file in pool.files]
        assert str(tmp_path) not in str(files)

    def test_the_card_lists_the_first_of_them(self, shards, tmp_path, monkeypatch):
        pool = shards("a", "b", "c", "d", "e")
        for listed, last in ((20, "- `part-2.jsonl`: 1 row, "), (2, "- and 1 more, in the manifest")):
            monkeypatch.setattr(dataset_card, "MAX_FILES", listed)
            card = dataset_card.build_card(pool, make_manifest(pool, tmp_path))
            assert f"## Files of the pool\n\n- `part-0.jsonl`: 2 rows, XXH3-128 `{pool.files[0].xxh128}`\n" in card
            assert last in card
        assert "Files of the pool" not in dataset_card.build_card(
            make_answer_pool(), make_manifest(make_answer_pool(), tmp_path)
        )

    def test_files_that_have_changed_are_named(self, shards, tmp_path):
        manifest = make_manifest(shards("a", "b", "c", "d"), tmp_path)
        changed = shards("a", "b", "c", "other", "new")
        with pytest.raises(ReplayError, match=r"Of its files, part-1.jsonl has changed, part-2.jsonl is new\. Row '"):
            verify_rows(changed, manifest)

    def test_a_row_that_has_changed_is_named_with_its_file(self, shards, tmp_path):
        pool = shards("a", "b", "c", "d")
        manifest = make_manifest(pool, tmp_path)
        rows = [row.model_copy(update={"hash": "0" * 32}) for row in manifest.rows]
        with pytest.raises(ReplayError, match=r"\(part-0.jsonl, line 2\) has changed since it was selected"):
            verify_rows(pool, manifest.model_copy(update={"rows": rows}))


def test_it_reads_back_unchanged(tmp_path):
    manifest = make_manifest(make_answer_pool(), tmp_path)
    path = tmp_path / "chosen.manifest.json"
    write_manifest(manifest, path)
    assert read_manifest(path) == manifest
    assert json.loads(path.read_text())["output"]["schema"] == "original"


def test_the_same_selection_gives_the_same_manifest(tmp_path):
    paths = [tmp_path / "one.json", tmp_path / "two.json"]
    for path, rows in zip(paths, [(3, 1), (1, 3)], strict=True):
        write_manifest(make_manifest(make_answer_pool(), tmp_path, rows), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_unchanged_pool_gives_the_rows(tmp_path):
    manifest = make_manifest(make_answer_pool(), tmp_path)
    renamed = make_answer_pool(name="moved.jsonl")
    every, apart = verify_rows(renamed, manifest)
    assert (every.tolist(), apart.tolist()) == ([1, 3], [])


def test_another_pool_is_refused_with_both_names_and_the_missing_row(tmp_path):
    manifest = make_manifest(make_answer_pool(), tmp_path)
    shorter = make_answer_pool(n=3, name="other.jsonl")
    with pytest.raises(ReplayError) as refused:
        verify_rows(shorter, manifest)
    message = str(refused.value)
    assert f"'hand.jsonl' had fingerprint {make_answer_pool().fingerprint} (5 rows)" in message
    assert f"'other.jsonl' has {shorter.fingerprint} (3 rows)" in message
    assert "Row 'row-3' is not in it (1 of 2 are missing)." in message


def test_a_selected_row_with_other_content_is_named_with_its_line(tmp_path):
    manifest = make_manifest(make_answer_pool(), tmp_path)
    with pytest.raises(ReplayError, match=r"Row 'row-3' \(line 4\) has changed since it was selected"):
        verify_rows(make_answer_pool((3, "changed")), manifest)


def test_a_change_in_an_unselected_row_is_refused_too(tmp_path):
    manifest = make_manifest(make_answer_pool(), tmp_path)
    with pytest.raises(ReplayError, match="It holds all 2 selected rows unchanged; other rows differ"):
        verify_rows(make_answer_pool((0, "changed")), manifest)


def test_rows_are_checked_one_by_one_even_if_the_fingerprint_matches(tmp_path):
    pool = make_answer_pool()
    manifest = make_manifest(pool, tmp_path)
    forged = [manifest.rows[0].model_copy(update={"hash": "0" * 32}), manifest.rows[1]]
    with pytest.raises(ReplayError, match=r"'hand.jsonl' does not hold the manifest's rows. Row 'row-1' \(line 2\)"):
        verify_rows(pool, manifest.model_copy(update={"rows": forged}))
    lost = [manifest.rows[0].model_copy(update={"id": "row-9"}), manifest.rows[1]]
    with pytest.raises(ReplayError, match="Row 'row-9' is not in it"):
        verify_rows(pool, manifest.model_copy(update={"rows": lost}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("{", "is not JSON"), ("[]", "is not a manifest"), ('{"format": 2}', "is not a manifest of this version")],
)
def test_a_file_that_is_not_a_manifest_is_refused(tmp_path, text, reason):
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(RecipeError, match=reason):
        read_manifest(path)


def test_a_manifest_with_an_unknown_or_missing_field_is_refused_with_its_place(tmp_path):
    path = tmp_path / "chosen.manifest.json"
    write_manifest(make_manifest(make_answer_pool(), tmp_path), path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps(data | {"note": 1}))
    with pytest.raises(RecipeError, match=r"note is unknown"):
        read_manifest(path)
    del data["output"]["sha256"]
    path.write_text(json.dumps(data))
    with pytest.raises(RecipeError, match=r"output.sha256 is missing"):
        read_manifest(path)
