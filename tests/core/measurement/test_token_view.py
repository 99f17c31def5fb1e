"""Rows token by token: the plain definition, the pass over the pool, and every letter of the text."""

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
    """24 rows with short and long answers."""
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


def viewed(run, rows, place, *, calibrated=True):
    return view_rows(run, rows, place, calibrated=calibrated, device="cpu", report=SilentReporter())


@every_family
def test_every_token_has_the_plain_likelihood_and_entropy(config, model):
    network = network_of(config)
    tokens = np.random.default_rng(0).integers(4, 300, 40).astype(np.uint32)
    found = read_row(replace(model, network=network), tokens, np.array([5, 9, 20, 40], np.int32))
    with torch.inference_mode():
        ids = torch.from_numpy(tokens.astype(np.int64))[None]
        logp = log_softmax(network(ids).logits[0].double(), dim=-1)
    places = [*range(5, 9), *range(20, 40)]
    np.testing.assert_allclose(found.nll, [-logp[t - 1, ids[0, t]] for t in places], rtol=1e-4, atol=1e-5)
    plain = [-(logp[t - 1].exp() * logp[t - 1]).sum() for t in places]
    np.testing.assert_allclose(found.entropy, plain, rtol=1e-4, atol=1e-5)
    assert found.starts == (0, 4)


def test_the_means_over_a_row_are_its_scores_in_both_states(pool, run, place):
    rows = [23, 0, 4, 9]
    means = view_means(viewed(run, rows, place))
    columns = load_measured(run).columns
    for row, mean in zip(rows, means, strict=True):
        assert mean["tokens"] == columns["response_tokens"][row]
        for name in ("nll", "entropy", "nll_cal", "entropy_cal"):
            assert mean[name] == pytest.approx(columns[name][row], abs=1e-4)
    assert abs(means[0]["nll"] - means[0]["nll_cal"]) > 1e-3  # the warm-up did something


def test_the_tokens_of_a_row_are_its_response(pool, run, place):
    (one,) = viewed(run, [4], place)[BASE]
    assert "".join(one.texts) == pool.rows["response"][4].as_py() + "</s>"


def test_a_row_without_a_response_has_no_tokens(model):
    one = TokenView(*read_row(model, np.arange(4, 9).astype(np.uint32), np.empty(0, np.int32)))
    assert (len(one), one.starts) == (0, ())
    assert view_means({BASE: [one]}) == [{"tokens": 0, "nll": None, "entropy": None}]


def test_what_was_read_once_is_kept_and_found_without_a_model(run, place):
    views = viewed(run, [7], place)
    for name, state in ((BASE, None), (CALIBRATED, trained_state(place, run))):
        kept = read_view(token_file(place, run, 7, state))
        assert kept.texts == views[name][0].texts
        np.testing.assert_array_equal(kept.nll, views[name][0].nll)
    assert read_view(token_file(place, run, 8, None)) is None


def test_the_base_pass_and_its_tokens_are_found_by_what_the_run_says(run, place, pool):
    columns = load_measured(run).columns
    np.testing.assert_array_equal(base_parts(place, run).column("nll", len(pool)), columns["nll"])
    np.testing.assert_array_equal(
        token_parts(place, run).column("response_tokens", len(pool)), columns["response_tokens"]
    )


def test_what_is_gone_is_said_to_be(run, place, tmp_path):
    shutil.copytree(place.root, tmp_path / "copy")
    copy = Workspace(tmp_path / "copy")
    shutil.rmtree(trained_state(copy, run))
    assert trained_state(copy, run) is None
    assert list(viewed(run, [11], copy)) == [BASE]
    shutil.rmtree(token_parts(copy, run).folder)
    with pytest.raises(WorkspaceError, match="the tokens of this run are gone"):
        viewed(run, [12], copy)
    shutil.rmtree(base_parts(copy, run).folder)
    with pytest.raises(WorkspaceError, match="base pass of this run left is gone"):
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
    with pytest.raises(RecipeError, match="No row is named"):
        commands.find_rows(pool, [], [])


def test_the_calibrated_state_is_read_only_where_these_settings_made_it(pool, run, place, tiny_model_dir):
    said = commands.view_tokens(recipe(pool, tiny_model_dir), pool, place, SilentReporter(), [4], strips=True)["rows"][
        0
    ]
    assert said["id"] == "r4" and len(said[CALIBRATED]["texts"]) == len(said[BASE]["nll"]) == said["tokens"]
    other = recipe(pool, tiny_model_dir, params={"learning_rate": 5e-3})
    said = commands.view_tokens(other, pool, place, SilentReporter(), [4], strips=True)["rows"][0]
    assert BASE in said and CALIBRATED not in said
    said = commands.view_tokens(
        recipe(pool, tiny_model_dir, name="random", params={}), pool, place, SilentReporter(), [4], strips=False
    )
    assert said["rows"][0]["nll"] == pytest.approx(load_measured(run).columns["nll"][4], abs=1e-4)


def test_a_pool_that_no_model_has_read_is_refused_with_the_command_that_does(pool, tiny_model_dir, workspace):
    with pytest.raises(RecipeError, match="First run: python -m core measure"):
        commands.view_tokens(recipe(pool, tiny_model_dir), pool, workspace, SilentReporter(), [0], strips=False)


# Text


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_end_to_end_are_the_text(tokenizer, text):
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.uint32)
    told = split_text(tokenizer, ids, np.arange(len(ids)))
    assert "".join(told) == text
    assert len(told) == len(ids)


def test_a_letter_of_several_tokens_is_told_with_its_last(tokenizer):
    ids = np.array(tokenizer("日", add_special_tokens=False)["input_ids"], np.uint32)
    assert len(ids) == 3
    assert split_text(tokenizer, ids, np.arange(3)) == ["", "", "日"]


def test_bytes_that_are_no_letter_are_not_waited_for_forever(tokenizer):
    half = tokenizer("日", add_special_tokens=False)["input_ids"][:1] * 30
    told = split_text(tokenizer, np.array(half, np.uint32), np.arange(30))
    assert "".join(told) == "\ufffd" * 30


def test_a_space_that_leads_a_word_is_kept():
    """As in Llama 2's tokenizer, whose decoder takes away the space before a text."""
    words = {"▁it": 0, "▁is": 1, "▁so": 2, "<unk>": 3}
    rules = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.Metaspace()
    rules.decoder = decoders.Metaspace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, unk_token="<unk>")
    assert split_text(tokenizer, np.array([0, 1, 2], np.uint32), np.arange(3)) == ["it", " is", " so"]
    assert split_text(tokenizer, np.array([0, 1, 2], np.uint32), np.array([1, 2])) == [" is", " so"]
