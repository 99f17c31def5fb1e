"""Token views equal the definition and the pass over the pool, and their pieces are the whole text."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import log_softmax
from transformers import PreTrainedTokenizerFast

from core.cli import commands
from core.errors import RecipeError, WorkspaceError
from core.measurement.measure import measure
from core.measurement.run_data import base_parts, load_measured, token_parts, trained_state
from core.measurement.token_files import BASE, CALIBRATED, TokenView, read_view, token_file, view_means
from core.measurement.token_view import view_rows
from core.methods import build_method
from core.models.loading import load_model
from core.models.reference import resolve_model
from core.models.row_tokens import read_row, split_text
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.selection.recipe import parse_recipe
from core.workspace.folder import Workspace
from tests.core.models.families import every_family, network_of

SHIFT = {"name": "entropy_shift", "params": {"learning_rate": 1e-2, "epochs": 1, "alpha": 0.5, "batch_size": 8}}
TEXTS = ["Zwölf Boxkämpfer", "日本語 and 한국어", "a 👩‍👩‍👧 b", "one\n\n  two\tthree", "x" * 40, "�", "</s> said"]


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    return load_model(resolve_model(str(tiny_model_dir)), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("place") / "workspace")


@pytest.fixture(scope="module")
def pool(place):
    """Return 24 rows with short and long responses."""
    rows = [
        {"id": f"r{i}", "instruction": f"Say {i}", "output": "so it is " * (1 + 7 * (i % 5)) + str(i)}
        for i in range(24)
    ]
    file = place.root.parent / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_pool(str(file), workspace=place.root)


@pytest.fixture(scope="module")
def run(pool, place, tiny_model_dir):
    return measure(pool, build_method(**SHIFT), Reading(model=str(tiny_model_dir)), place, report=SilentReporter())


def view(run, rows, place, *, calibrated=True):
    return view_rows(run, rows, place, calibrated=calibrated, device="cpu", report=SilentReporter())


@every_family
def test_every_token_has_likelihood_and_entropy_by_definition(config, model):
    network = network_of(config)
    tokens = np.random.default_rng(0).integers(4, 300, 40).astype(np.uint32)
    actual = read_row(replace(model, network=network), tokens, np.array([5, 9, 20, 40], np.int32))
    with torch.inference_mode():
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        logp = log_softmax(network(ids).logits[0].double(), dim=-1)
    places = [*range(5, 9), *range(20, 40)]
    np.testing.assert_allclose(actual.nll, [-logp[t - 1, ids[0, t]] for t in places], rtol=1e-4, atol=1e-5)
    plain = [-(logp[t - 1].exp() * logp[t - 1]).sum() for t in places]
    np.testing.assert_allclose(actual.entropy, plain, rtol=1e-4, atol=1e-5)
    assert actual.starts == (0, 4)


def test_the_means_over_a_row_are_its_scores_in_both_states(pool, run, place):
    rows = [23, 0, 4, 9]
    means = view_means(view(run, rows, place))
    columns = load_measured(run).columns
    for row, mean in zip(rows, means, strict=True):
        assert mean["tokens"] == columns["response_tokens"][row]
        for name in ("nll", "entropy", "nll_cal", "entropy_cal"):
            assert mean[name] == pytest.approx(columns[name][row], abs=1e-4)
    assert abs(means[0]["nll"] - means[0]["nll_cal"]) > 1e-3  # the warm-up had an effect


def test_the_tokens_of_a_row_are_its_response(pool, run, place):
    (one,) = view(run, [4], place)[BASE]
    assert "".join(one.texts) == pool.rows["response"][4].as_py() + "</s>"


def test_a_row_without_a_response_has_no_tokens(model):
    one = TokenView(*read_row(model, np.arange(4, 9).astype(np.uint32), np.empty(0, np.int32)))
    assert (len(one), one.starts) == (0, ())
    assert view_means({BASE: [one]}) == [{"tokens": 0, "nll": None, "entropy": None}]


def test_views_are_stored_and_loaded_without_a_model(run, place):
    views = view(run, [7], place)
    for name, state in ((BASE, None), (CALIBRATED, trained_state(place, run, 0))):
        stored = read_view(token_file(place, run, 7, state))
        assert stored.texts == views[name][0].texts
        np.testing.assert_array_equal(stored.nll, views[name][0].nll)
    assert read_view(token_file(place, run, 8, None)) is None


def test_a_damaged_view_is_made_again(run, place):
    (before,) = view(run, [9], place)[BASE]
    file = token_file(place, run, 9, None)
    file.write_bytes(file.read_bytes().replace(b"so", b"sO"))
    (after,) = view(run, [9], place)[BASE]
    assert after.texts == before.texts
    assert read_view(file).texts == before.texts


def test_a_run_names_its_base_pass_and_its_tokens(run, place, pool):
    columns = load_measured(run).columns
    np.testing.assert_array_equal(base_parts(place, run).column("nll", len(pool)), columns["nll"])
    np.testing.assert_array_equal(
        token_parts(place, run).column("response_tokens", len(pool)), columns["response_tokens"]
    )


def test_removed_stages_are_a_clear_error(run, place, tmp_path):
    shutil.copytree(place.root, tmp_path / "copy")
    copy = Workspace(tmp_path / "copy")
    shutil.rmtree(trained_state(copy, run, 0))
    assert trained_state(copy, run, 0) is None
    assert list(view(run, [11], copy)) == [BASE]
    shutil.rmtree(token_parts(copy, run).folder)
    with pytest.raises(WorkspaceError, match="the tokens of this run are missing"):
        view(run, [12], copy)
    shutil.rmtree(base_parts(copy, run).folder)
    with pytest.raises(WorkspaceError, match="base pass of this run is missing"):
        base_parts(copy, run)


# The command


def recipe(pool, tiny_model_dir, **method):
    reading = {"model": str(tiny_model_dir)}
    return parse_recipe({"pool": {"source": pool.source}, "method": SHIFT | method, "reading": reading}, "test")


def test_the_command_takes_rows_by_id_and_by_number(pool):
    assert commands.find_rows(pool, ["r3", "r1"], [3, 0]) == [3, 1, 0]
    for ids, numbers in ((["r99"], []), ([], [24]), ([], [-1])):
        with pytest.raises(RecipeError, match="has no row"):
            commands.find_rows(pool, ids, numbers)
    with pytest.raises(RecipeError, match="No row is given"):
        commands.find_rows(pool, [], [])


def test_the_calibrated_state_is_used_only_if_these_settings_made_it(pool, run, place, tiny_model_dir):
    def view_row(plan, *, strips):
        return commands.view_tokens(plan, pool, place, SilentReporter(), [4], strips=strips)["rows"][0]

    row = view_row(recipe(pool, tiny_model_dir), strips=True)
    assert row["id"] == "r4" and len(row[CALIBRATED]["texts"]) == len(row[BASE]["nll"]) == row["tokens"]
    row = view_row(recipe(pool, tiny_model_dir, params={"learning_rate": 5e-3}), strips=True)
    assert BASE in row and CALIBRATED not in row
    row = view_row(recipe(pool, tiny_model_dir, name="random", params={}), strips=False)
    assert row["nll"] == pytest.approx(load_measured(run).columns["nll"][4], abs=1e-4)


def test_an_unmeasured_pool_is_refused_with_the_command_to_run(pool, tiny_model_dir, workspace):
    with pytest.raises(RecipeError, match="First run: python -m core measure"):
        commands.view_tokens(recipe(pool, tiny_model_dir), pool, workspace, SilentReporter(), [0], strips=False)


# Text


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_joined_are_the_text(tokenizer, text):
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.uint32)
    pieces = split_text(tokenizer, ids, np.arange(len(ids)))
    assert "".join(pieces) == text
    assert len(pieces) == len(ids)


def test_a_character_of_several_tokens_belongs_to_the_last(tokenizer):
    ids = np.array(tokenizer("日", add_special_tokens=False)["input_ids"], np.uint32)
    assert len(ids) == 3
    assert split_text(tokenizer, ids, np.arange(3)) == ["", "", "日"]


def test_bytes_that_are_no_character_become_replacement_characters(tokenizer):
    half = tokenizer("日", add_special_tokens=False)["input_ids"][:1] * 30
    pieces = split_text(tokenizer, np.array(half, np.uint32), np.arange(30))
    assert "".join(pieces) == "\ufffd" * 30


def test_a_space_before_a_word_is_part_of_its_token():
    """Llama 2's decoder removes the space before a text."""
    words = {"▁it": 0, "▁is": 1, "▁so": 2, "<unk>": 3}
    rules = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.Metaspace()
    rules.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="<unk>")
    assert split_text(tokenizer, np.array([0, 1, 2], np.uint32), np.arange(3)) == ["it", " is", " so"]
    assert split_text(tokenizer, np.array([0, 1, 2], np.uint32), np.array([1, 2])) == [" is", " so"]
