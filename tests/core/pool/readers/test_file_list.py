"""The data files that a folder or a pattern names."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PoolError
from core.pool.readers import file_list
from core.pool.readers.file_list import is_pattern, list_files, select_files


@pytest.fixture
def make(tmp_path):
    """Return a function that makes empty files in a folder and lists its data files."""

    def make_files(*names):
        for name in names:
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).touch()
        return list_files(str(tmp_path / "data"))

    return make_files


def choose(files, split=None, configured=None):
    return select_files(files, split, configured)


def test_files_are_in_natural_order_of_folders_and_numbers(make):
    wanted = ["a/part-2.jsonl", "a/part-10.jsonl", "b2/x.jsonl", "b10/x.jsonl", "part-1.jsonl", "part-2.jsonl"]
    wanted += ["part-10.jsonl", "part-010.jsonl.gz"]
    listed = make(*random.Random(0).sample(wanted, len(wanted))).names
    assert [name for name in listed if name != "part-010.jsonl.gz"] == wanted[:-1]
    assert listed.index("part-010.jsonl.gz") > listed.index("part-2.jsonl")


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_in_names_sort_as_numbers(numbers):
    names = [f"train-{number}-of-9.parquet" for number in numbers]
    assert sorted(names, key=file_list._natural_key) == [f"train-{n}-of-9.parquet" for n in sorted(numbers)]


def test_what_is_written_next_to_data_is_not_data(make):
    others = ["README.md", "LICENSE", "dataset_info.json", "dataset_infos.json", ".hidden.jsonl", ".cache/x.jsonl"]
    others += ["part-1.key.jsonl", "part-1.manifest.json", "_SUCCESS", "notes.txt"]
    assert make("part-1.jsonl", *others).names == ("part-1.jsonl",)


@pytest.mark.parametrize("names", [["state.json", "a.jsonl"], ["x/y.arrow"], ["notes.txt"], ["dataset_info.json"]])
def test_a_folder_without_data_files_or_saved_by_datasets_is_left_to_datasets(make, names):
    assert make(*names) is None


@pytest.mark.parametrize("names", [["a.jsonl", "b.csv"], ["a.json", "b.jsonl"], ["a.parquet", "b.arrow"]])
def test_suffixes_are_not_mixed(make, names):
    kinds = " and ".join(sorted(f".{name.split('.')[1]}" for name in names))
    with pytest.raises(PoolError, match=rf"^data mixes {kinds} files\. Name those of one kind, such as '.*/data/\*\."):
        choose(make(*names))


def test_packed_files_and_two_names_of_json_lines_are_one_kind(make):
    names = ("a.jsonl", "b.jsonl.gz", "c.ndjson")
    assert choose(make(*names)).files.names == names


class TestSplits:
    NAMES = ("test-00000-of-00001.parquet", "train-00000-of-00002.parquet", "train-00001-of-00002.parquet")

    def test_train_is_chosen_and_the_others_are_named(self, make):
        choice = choose(make(*self.NAMES))
        assert (choice.files.names, choice.notices) == (
            self.NAMES[1:],
            ["The split is 'train'. The dataset has test, train."],
        )

    def test_another_is_chosen_by_name(self, make):
        assert choose(make(*self.NAMES), "test").files.names == self.NAMES[:1]
        with pytest.raises(PoolError, match=r"data has no split 'dev'\. Choose one of test, train\."):
            choose(make(*self.NAMES), "dev")

    def test_a_folder_may_be_the_split(self, make):
        assert choose(make("train/0.jsonl", "eval/0.jsonl"), "test").files.names == ("eval/0.jsonl",)

    def test_a_word_within_a_word_is_no_split(self, make):
        assert len(choose(make("trainer.jsonl", "contest.jsonl", "latest.jsonl")).files.names) == 3

    def test_files_that_name_none_beside_those_that_do_are_refused_with_a_pattern(self, make, tmp_path):
        with pytest.raises(PoolError, match=r"my_test\.jsonl looks like the split 'test', and part-1\.jsonl like none"):
            choose(make("part-1.jsonl", "my_test.jsonl"))

    def test_what_no_name_tells_each_file_may_hold_within(self, make):
        assert choose(make("a.json"), "test").split == "test"
        assert choose(make("a.json", *["test.json"]), "test").split is None

    def test_a_card_may_name_the_files(self, make):
        choice = choose(
            make("en/10.jsonl", "en/9.jsonl", "fr/1.jsonl"), configured={"train": ["en/10.jsonl", "en/9.jsonl"]}
        )
        assert choice.files.names == ("en/9.jsonl", "en/10.jsonl")


class TestPatterns:
    def test_a_pattern_names_files_below_the_folder_where_it_begins(self, make, tmp_path):
        make("a/1.jsonl", "a/2.csv", "b/3.jsonl", "b/README.md", ".h/4.jsonl")
        files = list_files(str(tmp_path / "data/*/*.jsonl"))
        assert (files.name, files.names, files.root) == (
            "data/*/*.jsonl",
            ("a/1.jsonl", "b/3.jsonl"),
            tmp_path / "data",
        )
        assert files.shown(0) == "data/a/1.jsonl"
        assert list_files(str(tmp_path / "data/**/*.csv")).names == ("a/2.csv",)

    def test_one_that_names_no_data_is_refused(self, make, tmp_path):
        make("README.md")
        with pytest.raises(PoolError, match=r"\*\.jsonl matches no file\. Data files end in \.jsonl, "):
            list_files(str(tmp_path / "data/*.jsonl"))
        with pytest.raises(PoolError, match=r"/\* matches 1 files or folders, but no data file\."):
            list_files(str(tmp_path / "data/*"))

    def test_a_file_with_wildcards_in_its_name_is_a_file(self, make, tmp_path):
        make("part[1].jsonl")
        assert not is_pattern(str(tmp_path / "data" / "part[1].jsonl"))
        assert is_pattern(str(tmp_path / "data" / "part[12].jsonl"))


def test_a_home_folder_is_refused(make, monkeypatch):
    monkeypatch.setattr(file_list, "MAX_FILES", 3)
    with pytest.raises(PoolError, match=r"contains over 3 files\. Give the folder of one dataset\."):
        make(*(f"{k}.jsonl" for k in range(4)))
