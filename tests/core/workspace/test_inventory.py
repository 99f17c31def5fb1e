"""The inventory of a workspace: every item with its size, last use, pool and dependents; quick for many files."""

import json
import os
import time
from collections import Counter

import pytest

from core.errors import WorkspaceError
from core.workspace.deletion import explain_deletion
from core.workspace.files import write_json
from core.workspace.inventory import KINDS, format_size, take_inventory

POOL = "a" * 32
TOKENS, BASE, MAP, STATE, RUN, OLD, PROOF, TRAINED = (f"{n:016x}" for n in range(1, 9))


def write(path, content="", size=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        write_json(path, content)
        return path
    path.write_text(content)
    if size:
        os.truncate(path, size)
    return path


@pytest.fixture
def filled(workspace):
    """Fill a workspace with one item of each kind, and a run of before 0.2."""
    root = workspace.root
    about = {"name": "rows.jsonl", "rows": 1200, "fingerprint": POOL, "source": "/data/rows.jsonl"}
    write(root / "pools" / "1111" / "pool.json", about)
    write(root / "pools" / "1111" / "rows.arrow", size=5000)
    write(root / "measurements" / TOKENS / "spec.json", {"kind": "tokens", "pool": POOL})
    write(root / "measurements" / BASE / "spec.json", {"kind": "probe", "tokens": TOKENS})
    write(root / "measurements" / BASE / "part-00000.parquet", size=9000)
    write(root / "measurements" / MAP / "spec.json", {"kind": "map", "of": "prompt", "held": BASE})
    write(root / "models" / STATE / "state" / "model.safetensors", size=700)
    run = {"pool_id": POOL, "method": {"name": "entropy_shift"}, "model": {"name": "embedded"}}
    kept = {"tokens": TOKENS, "base": BASE}
    write(root / "runs" / RUN / "run.json", run | {"id": RUN, "kept": kept, "summary": {"rounds": [{"state": STATE}]}})
    write(root / "runs" / OLD / "run.json", run | {"id": OLD, "kept": {}})
    write(root / "measurements" / TRAINED / "spec.json", {"kind": "proof", "tokens": TOKENS})
    plan = {"pool": {"fingerprint": POOL}, "arms": [{"name": "random"}, {"name": "longest"}]}
    proof = {"id": PROOF, "plan": plan, "state": "finished", "runs": [{"stage": TRAINED}]}
    write(root / "proofs" / PROOF / "proof.json", proof)
    write(root / "selections" / POOL / "current.json", {})
    write(root / "selections" / POOL / "saved" / "x.json", {})
    write(root / "visitors" / "v1" / "selections" / POOL / "saved" / "y.json", {})
    write(root / "visitors" / "v1" / "uploads" / "2222" / "mine.jsonl", size=30)
    write(root / "exports" / "3333" / "chosen.jsonl", size=40)
    write(
        root / "jobs" / "4444" / "job.json", {"title": "Measure", "about": {"pool": POOL}, "command": [], "created": ""}
    )
    write(root / "measurements" / BASE / ".part-00001.parquet.abcd1234", size=60)
    write(root / "pools" / ".5555.efgh5678" / "rows.arrow", size=80)
    return workspace


def by_key(workspace):
    return {item.key: item for item in take_inventory(workspace).items}


def test_every_kind_is_listed_once_with_its_pool(filled):
    inventory = take_inventory(filled)
    counts = Counter(item.kind for item in inventory.items)
    assert counts == {kind: 1 for kind in KINDS} | {"runs": 2, "stages": 3, "selections": 2, "leftovers": 2}
    assert list(dict.fromkeys(item.kind for item in inventory.items)) == list(KINDS)
    pool_of = {item.key: item.pool for item in inventory.items}
    assert {pool_of[key] for key in ("1111", TOKENS, BASE, MAP, STATE, RUN, PROOF, TRAINED, POOL, "4444")} == {POOL}
    assert pool_of["visitors/v1/uploads/2222"] == ""


def test_names_say_what_an_item_is(filled):
    names = {item.key: item.name for item in take_inventory(filled).items}
    assert names["1111"] == "rows.jsonl, 1,200 rows"
    assert names[BASE] == "forward pass, rows.jsonl"
    assert names[MAP] == "map of prompt, rows.jsonl"
    assert names[RUN] == "entropy shift by embedded, rows.jsonl"
    assert names["visitors/v1/uploads/2222"] == "mine.jsonl"
    assert names["pools/.5555.efgh5678"] == "unfinished 5555"


def test_sizes_add_up_and_leftovers_count_once(filled):
    inventory = take_inventory(filled)
    sizes = {item.key: item.bytes for item in inventory.items}
    leftover = f"measurements/{BASE}/.part-00001.parquet.abcd1234"
    assert sizes[leftover] == 60 and sizes["pools/.5555.efgh5678"] == 80
    spec = (filled.root / "measurements" / BASE / "spec.json").stat().st_size
    assert sizes[BASE] == 9000 + spec
    every = sum(path.stat().st_size for path in filled.root.rglob("*") if path.is_file())
    assert inventory.bytes == every
    stages = inventory.of_kind("stages")
    assert [item.bytes for item in stages] == sorted((item.bytes for item in stages), reverse=True)


def test_the_last_use_is_that_of_the_data_not_of_the_listing(filled):
    data, about = (filled.root / "pools" / "1111" / name for name in ("rows.arrow", "pool.json"))
    os.utime(data, (2_000_000_000, 1_000_000_000))
    os.utime(about, (3_000_000_000, 1_500_000_000))
    assert by_key(filled)["1111"].used == 2_000_000_000  # read then; that pool.json was read does not count
    os.utime(about, (0, 2_500_000_000))
    assert by_key(filled)["1111"].used == 2_500_000_000  # opened then


def test_runs_depend_on_their_stages_and_their_pool(filled):
    inventory = take_inventory(filled)
    items = {item.key: item for item in inventory.items}
    assert {run.key for run in inventory.dependents([items[BASE]])} == {RUN, OLD}  # the old one does not name its own
    assert {run.key for run in inventory.dependents([items[STATE]])} == {RUN, OLD}
    assert {run.key for run in inventory.dependents([items["1111"]])} == {RUN, OLD, PROOF}
    assert inventory.dependents([items["1111"], items[RUN], items[OLD], items[PROOF]]) == []


def test_a_proof_depends_on_its_training_runs(filled):
    inventory = take_inventory(filled)
    items = {item.key: item for item in inventory.items}
    assert {item.key for item in inventory.dependents([items[TRAINED]])} == {OLD, PROOF}
    assert items[PROOF].name == "proof of 2 arms, finished, rows.jsonl"
    assert items[TRAINED].name == "training run, rows.jsonl"


def test_a_map_and_a_job_have_no_dependents(filled):
    inventory = take_inventory(filled)
    items = {item.key: item for item in inventory.items}
    assert inventory.dependents([items[MAP], items["4444"]]) == []


def test_a_pool_that_is_imported_twice_leaves_its_runs_when_one_goes(filled):
    document = json.loads((filled.root / "pools" / "1111" / "pool.json").read_text())
    write(filled.root / "pools" / "9999" / "pool.json", document)
    inventory = take_inventory(filled)
    first, second = inventory.of_kind("pools")
    assert inventory.dependents([first]) == []
    assert len(inventory.dependents([first, second])) == 3


def test_what_a_deletion_means_is_said(filled):
    inventory = take_inventory(filled)
    sentences = explain_deletion(inventory, inventory.find("pools", ["1111"]))
    assert sentences[0].startswith("This deletes 1 pool and frees 5.")
    assert sentences[1] == KINDS["pools"]
    assert sentences[2].startswith("2 stored runs depend on this: ") and RUN in sentences[2]
    assert sentences[3].startswith("1 stored proof depends on this: ") and PROOF in sentences[3]
    both = explain_deletion(inventory, [*inventory.find("selections", ["all"]), *inventory.find("jobs", ["44"])])
    assert both[0].startswith("This deletes 2 selections, 1 job and frees ")
    assert both[1:] == [KINDS["selections"], KINDS["jobs"]]


def test_items_are_found_by_the_beginning_of_a_key(filled):
    inventory = take_inventory(filled)
    assert [item.key for item in inventory.find("pools", ["11"])] == ["1111"]
    assert len(inventory.find("runs", ["all", RUN])) == 2
    assert inventory.find("models", ["all"]) == inventory.of_kind("models")
    for keys, words in (
        (["nope"], "There is no 'nope' among the stages"),
        ([""], "There is no ''"),
        (["000"], "3 stages begin with '000'. Write more of the key"),
    ):
        with pytest.raises(WorkspaceError, match=words):
            inventory.find("stages", keys)
    with pytest.raises(WorkspaceError, match=r"no kind 'pool'\. The kinds are pools, runs, proofs, stages"):
        inventory.find("pool", ["x"])


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"rows": "many", "name": 5}', "\x00" * 50, '{"method": 3, "kept": 1}']
)
def test_a_damaged_file_costs_its_name_only(filled, content):
    for folder, file in (
        ("pools", "pool.json"),
        ("runs", "run.json"),
        ("measurements", "spec.json"),
        ("jobs", "job.json"),
    ):
        write(filled.root / folder / "0000000000000bad" / file, content)
    inventory = take_inventory(filled)
    assert len([item for item in inventory.items if item.key == "0000000000000bad"]) == 4
    assert inventory.find("pools", ["1111"])


def test_stages_that_name_each_other_end(filled):
    for key, other in (("a" * 16, "b" * 16), ("b" * 16, "a" * 16)):
        write(filled.root / "measurements" / key / "spec.json", {"kind": "odd", "of": other})
    assert by_key(filled)["a" * 16].pool == ""


def test_links_are_not_followed(filled, tmp_path):
    write(tmp_path / "elsewhere" / "big", size=1 << 20)
    (filled.root / "pools" / "link").symlink_to(tmp_path / "elsewhere")
    inventory = take_inventory(filled)
    assert "link" not in {item.key for item in inventory.items}
    assert inventory.bytes < 1 << 20


def test_an_empty_workspace_holds_nothing(workspace):
    assert take_inventory(workspace).items == ()


def test_a_gigabyte_in_thousands_of_files_is_listed_in_a_second(workspace):
    for stage in range(400):
        folder = workspace.root / "measurements" / f"{stage:016x}"
        write(folder / "spec.json", json.dumps({"kind": "probe", "pool": POOL, "tokens": f"{stage - 1:016x}"}))
        for part in range(15):
            write(folder / f"part-{part:05d}.parquet", size=160_000)
    for run in range(600):
        document = {"pool_id": POOL, "kept": {"tokens": f"{run % 400:016x}"}, "summary": {"loss": [0.5] * 500}}
        write(workspace.root / "runs" / f"{run + 5000:016x}" / "run.json", json.dumps(document))
    began = time.process_time()
    inventory = take_inventory(workspace)
    assert time.process_time() - began < 1.0  # of the processor: the test machine may be busy
    assert inventory.bytes > 0.9e9 and len(inventory.items) == 1000


@pytest.mark.parametrize(
    ("n", "words"), [(0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (1_234_567, "1.23 MB"), (5e12, "5 TB")]
)
def test_sizes_are_formatted(n, words):
    assert format_size(n) == words


def test_token_scores_of_single_rows_are_named_without_a_specification(workspace):
    write(workspace.root / "measurements" / TOKENS / "00000003.json", {"nll": [1.0]})
    assert [item.name for item in take_inventory(workspace).items] == ["token scores of single rows"]
