"""Pools of the hub, read by the hub's own client from a server of the shape of the hub's API on this computer.

The public hub is not reached here; what stands in for it answers what the client asks of datasets.
"""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from core.errors import PoolError
from core.pool.pools import hub_commit, iter_originals, load_pool, load_stored, open_stored, recent_pools
from core.pool.readers.hub import HubAddress, parse_address
from tests.hub_server import serve, use_hub

ROWS = [{"instruction": f"Question {k}", "output": f"Answer {k}"} for k in range(9)]
CARD = b"---\nconfigs:\n- config_name: en\n  data_files: en/*\n- config_name: fr\n  data_files: fr/*\n---\n"


def parquet(rows: list[dict]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


SHARDS = {
    "README.md": b"# Questions\n",
    "data/train-00000-of-00002.parquet": parquet(ROWS[:4]),
    "data/train-00001-of-00002.parquet": parquet(ROWS[4:]),
    "data/test-00000-of-00001.parquet": parquet(ROWS[:1]),
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with serve() as server:
        use_hub(monkeypatch, server, tmp_path / "cache")
        yield server


@pytest.fixture
def load(tmp_path):
    return lambda source, **options: load_pool(source, workspace=tmp_path / "ws", **options)


class TestAddresses:
    def test_an_address_has_a_revision_and_a_path(self):
        assert parse_address("o/n") == HubAddress("o/n")
        assert parse_address("hf://datasets/o/n@v1/data/*.parquet") == HubAddress("o/n", "v1", "data/*.parquet")
        assert parse_address("hf://datasets/o/n@~parquet", None).revision == "refs/convert/parquet"
        assert parse_address("hf://datasets/o/n@v1", "v1").revision == "v1"

    @pytest.mark.parametrize(
        "source", ["hf://o/n", "hf://spaces/o/n", "hf://datasets/n", "hf://", "hf://datasets/o/n//x"]
    )
    def test_other_addresses_are_refused(self, source):
        with pytest.raises(PoolError, match=r"hf://datasets/owner/name\[@revision\]\[/path\]"):
            parse_address(source)

    def test_no_path_leads_out_of_the_dataset(self):
        with pytest.raises(PoolError, match=r"has '\.\.' in its path"):
            parse_address("hf://datasets/o/n/data/../../../../etc/*.json")

    @pytest.mark.parametrize("revision", ["/etc/hostname", "../../../x", "a/../../x", "", "a b", "\n", "a\\b"])
    def test_no_revision_is_a_path_on_this_computer(self, revision):
        with pytest.raises(PoolError, match="is no revision"):
            parse_address("o/n", revision)
        assert parse_address("o/n", "refs/pr/3").revision == "refs/pr/3"

    def test_two_revisions_are_refused(self):
        with pytest.raises(PoolError, match="Give one of them"):
            parse_address("hf://datasets/o/n@v1", "v2")


class TestPools:
    def test_parquet_of_one_split_is_downloaded_once_and_read_where_it_is(self, hub, load, tmp_path):
        commit = hub.publish("o/n", SHARDS)
        pool = load("o/n")
        assert list(iter_originals(pool)) == ROWS
        assert (pool.name, pool.source, hub_commit(pool)) == ("o/n", "o/n", commit)
        assert pool.notices == ("The split is 'train'. The dataset has test, train.",)
        assert [file.name for file in pool.files] == list(SHARDS)[1:3]
        assert not hub.count("GET /datasets/o/n/resolve/" + commit + "/data/test")
        snapshot = tmp_path / "cache" / "datasets--o--n" / "snapshots" / commit
        assert len([file for file in snapshot.rglob("*.parquet")]) == 2
        assert not list((tmp_path / "ws").rglob("*.parquet"))  # no second copy
        assert open_stored(recent_pools(tmp_path / "ws")[0]["key"], workspace=tmp_path / "ws").notices == pool.notices

    def test_a_commit_opens_without_asking_and_another_is_another_pool(self, hub, load, tmp_path):
        first = hub.publish("o/n", SHARDS)
        pool = load("hf://datasets/o/n")
        second = hub.publish("o/n", SHARDS | {"data/train-00001-of-00002.parquet": parquet(ROWS[4:8])})
        hub.asked.clear()
        assert (
            load("o/n", revision=first).fingerprint
            == pool.fingerprint
            == load(f"hf://datasets/o/n@{first}").fingerprint
        )
        assert hub.asked == []
        moved = load("o/n")
        assert (hub_commit(moved), len(moved)) == (second, 8)
        assert moved.notices[0].startswith("Since o/n was last opened, data/train-00001-of-00002.parquet has changed.")
        assert load_stored("o/n", workspace=tmp_path / "ws") is None  # the hub would have to be asked

    def test_a_branch_a_split_a_file_and_a_pattern(self, hub, load):
        hub.publish("o/n", {"x.jsonl": b'{"instruction": "Q", "output": "A"}\n'})
        hub.publish("o/n", SHARDS, branch="v2")
        assert len(load("o/n", revision="v2", split="test")) == 1
        assert len(load("hf://datasets/o/n@v2/data", split="test")) == 1
        assert len(load("hf://datasets/o/n@v2/data/train-00000-of-00002.parquet")) == 4
        pattern = load("hf://datasets/o/n@v2/data/train-*.parquet")
        assert (len(pattern), pattern.source) == (9, "hf://datasets/o/n/data/train-*.parquet")
        assert len(load("o/n")) == 1

    def test_a_card_names_the_configurations(self, hub, load):
        hub.publish("o/n", {"README.md": CARD, "en/0.parquet": parquet(ROWS[:5]), "fr/0.parquet": parquet(ROWS[5:])})
        assert len(load("o/n", name="fr")) == 4
        with pytest.raises(PoolError, match=r"o/n cannot be opened as a dataset: Config name is missing.*'en', 'fr'"):
            load("o/n")

    def test_rows_that_cannot_be_read_are_those_of_the_conversion(self, hub, load):
        hub.publish("o/n", {"data.zip": b"PK\x03\x04", "README.md": b"# Packed\n"})
        with pytest.raises(PoolError, match=r"o/n, commit \w+, has no data file that can be read .* no Parquet conver"):
            load("o/n")
        files = {"main/train_sft/0000.parquet": parquet(ROWS[:5]), "main/train_sft/0001.parquet": parquet(ROWS[5:])}
        files |= {"main/partial-test/0000.parquet": parquet(ROWS[:2]), "other/train/0000.parquet": parquet(ROWS[:1])}
        commit = hub.publish("o/n", files, branch="refs/convert/parquet")
        pool = load("o/n", name="main", split="train_sft")
        assert (list(iter_originals(pool)), hub_commit(pool)) == (ROWS, commit)
        assert pool.notices == ("The rows are those of the hub's Parquet conversion.",)
        assert "has only the first of them" in load("o/n", name="main", split="test").notices[0]
        assert len(load("hf://datasets/o/n@~parquet/other/train")) == 1
        with pytest.raises(PoolError, match=r"o/n has no configuration 'default'. Choose one of main, other"):
            load("o/n")

    @pytest.mark.parametrize(
        ("source", "says"),
        [
            ("hf://datasets/o/n/nothing", "o/n, commit .* has no data file .* at nothing. Check the path"),
            ("hf://datasets/o/n/*.csv", r"hf://datasets/o/n/\*\.csv matches no file"),
            ("hf://datasets/o/n@v9", "o/n has no revision v9. Give a branch, a tag or a whole commit"),
        ],
    )
    def test_what_is_not_there_is_refused(self, hub, load, source, says):
        hub.publish("o/n", SHARDS)
        with pytest.raises(PoolError, match=says):
            load(source)

    def test_names_that_lead_out_are_refused(self, hub, load, tmp_path):
        hub.publish("o/n", {"../../evil.jsonl": b"{}\n"})
        with pytest.raises(PoolError, match="has a file outside its own folder"):
            load("o/n")
        assert not list(tmp_path.rglob("evil.jsonl"))


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "headers", "says"),
        [
            (401, {"X_Error_Code": "RepoNotFound"}, "The hub has no dataset o/n, or it is private. .*hf auth login"),
            (403, {"X_Error_Code": "GatedRepo"}, "o/n is gated. Accept its terms on the hub, and log in"),
            (403, {"X_Error_Message": "Access to this resource is disabled."}, "The hub has disabled o/n"),
            (403, {}, r"The hub refuses access to o/n. Log in"),
            (429, {"Retry_After": "40"}, "limits the rate of requests.* Try again in 40 s"),
            (400, {}, r"The hub refuses the request for o/n \(400\)"),
            (503, {}, r"The hub has an error of its own \(503\). Try again later"),
        ],
    )
    def test_each_refusal_is_one_sentence(self, hub, load, status, headers, says):
        hub.publish("o/n", SHARDS)
        hub.refusals["/api/datasets/o/n"] = (status, headers)
        with pytest.raises(PoolError, match=says) as error:
            load("o/n")
        assert "\n" not in str(error.value)

    def test_a_gated_dataset_lists_its_files_but_does_not_give_them(self, hub, load):
        hub.publish("o/n", SHARDS)
        hub.refusals["/datasets/o/n/resolve"] = (403, {"X_Error_Code": "GatedRepo"})
        with pytest.raises(PoolError, match=r"o/n is gated\."):
            load("o/n")

    def test_without_a_network_the_cache_serves(self, hub, load, monkeypatch, tmp_path):
        commit = hub.publish("o/n", SHARDS)
        load("o/n")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
        again = load_pool("o/n", workspace=tmp_path / "other")
        assert (hub_commit(again), list(iter_originals(again))) == (commit, ROWS)
        with pytest.raises(PoolError, match=r"cannot be reached, .* lacks o/n or a file of it.*hf download o/n"):
            load("o/n", split="test")  # which was not downloaded
        with pytest.raises(PoolError, match=r"cannot be reached, .* lacks p/q or a file of it"):
            load("p/q")

    def test_no_answer_is_no_network(self, load, monkeypatch, tmp_path):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        with pytest.raises(PoolError, match="The hub cannot be reached"):
            load("o/n")

    def test_a_token_is_sent_and_stored_nowhere(self, hub, load, monkeypatch, tmp_path):
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        hub.publish("o/n", SHARDS)
        load("o/n")
        assert hub.tokens == {"Bearer hf_secret"} | (hub.tokens & {""})
        assert not [f for f in tmp_path.rglob("*") if f.is_file() and b"hf_secret" in Path(f).read_bytes()]
