from itertools import islice

import numpy as np
import pytest
import torch
import typer
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.demo.training.stream import next_block, stream_tokens
from core.demo.training.train import CONTEXT, WARM_UP_STEPS, TrainingProgress, TrainingRun, export_model, main
from core.demo.training.vocabulary import BOS_ID, EOS_ID, VOCABULARY, token_rows, train_tokenizer, unigram_nats

PAGE = ["A small page of text, with 12 numbers.", "Ein kleiner Text: größer.", "def f(x): return x"] * 5


@pytest.fixture(scope="module")
def batch():
    return np.random.default_rng(0).integers(0, 40, (2, 25))


def progress(**given):
    return TrainingProgress(**{"steps": 400, "decay_from": 300} | given)


def test_a_data_folder_without_the_pools_is_refused_by_name_before_anything_is_written(tmp_path):
    with pytest.raises(typer.BadParameter, match=r"has no gsm8k_train\.jsonl\.gz, .*--data names the folder"):
        main(tmp_path, tmp_path / "model", tmp_path / "work")
    assert not list(tmp_path.iterdir())


def test_the_rate_rises_stays_constant_and_falls_to_zero():
    rates = [progress(step=step).rate() for step in range(401)]
    assert rates[0] == pytest.approx(1 / WARM_UP_STEPS)
    assert rates[WARM_UP_STEPS - 1 : 301] == [1.0] * (302 - WARM_UP_STEPS)
    assert rates[350] == pytest.approx(0.5)
    assert rates[400] == 0


def test_a_run_stopped_early_falls_over_a_quarter_of_its_steps():
    stopped = progress(step=90)
    stopped.end_early()
    assert (stopped.decay_from, stopped.steps) == (90, 120)
    assert stopped.rate() == 1.0
    assert stopped.window() == CONTEXT


def test_windows_are_short_until_the_rate_falls():
    assert [progress(step=step).window() for step in (0, 299, 300)] == [CONTEXT // 4, CONTEXT // 4, CONTEXT]


def test_an_epoch_reads_every_source_as_often_as_it_is_repeated():
    rows = {"a": [[1], [2]], "b": [[3], [4]], "c": [[5]]}
    epoch = list(islice(stream_tokens(rows, {"a": 2.5, "b": 0.5}, seed=0), 7))
    counts = np.bincount(epoch, minlength=6)
    assert sorted(counts[1:3]) == [2, 3]
    assert sorted(counts[3:5]) == [0, 1]
    assert counts[5] == 1


def test_the_stream_depends_on_its_seed_alone_and_shuffles_every_epoch():
    rows = {"a": [[i] for i in range(50)]}
    first, second = np.array_split(list(islice(stream_tokens(rows, {}, seed=0), 100)), 2)
    assert sorted(first) == sorted(second) == list(range(50))
    assert list(first) != list(second)
    assert list(first) == list(islice(stream_tokens(rows, {}, seed=0), 50))
    assert list(first) != list(islice(stream_tokens(rows, {}, seed=1), 50))


def test_a_block_holds_consecutive_tokens_and_takes_no_more():
    tokens = iter(range(100))
    assert next_block(tokens, 2, 3).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert next(tokens) == 8


def test_the_first_loss_is_that_of_a_uniform_guess(batch):
    assert TrainingRun(progress(), seed=0, compiled=False).step(batch) == pytest.approx(np.log(VOCABULARY), rel=0.02)


def test_training_on_the_same_rows_lowers_the_loss(batch):
    run = TrainingRun(progress(), seed=0, compiled=False)
    losses = [run.step(batch) for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1


def test_a_run_resumed_from_its_checkpoint_ends_on_the_same_bits(tmp_path, batch):
    whole = TrainingRun(progress(), seed=0, compiled=False)
    for _ in range(2):
        whole.step(batch)
    whole.save(tmp_path)
    resumed = TrainingRun(progress(steps=9, decay_from=9), seed=7, compiled=False)
    resumed.resume(tmp_path)
    assert resumed.progress == whole.progress
    assert [whole.step(batch) for _ in range(2)] == [resumed.step(batch) for _ in range(2)]
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_resuming_from_an_empty_folder_starts_at_the_start(tmp_path):
    run = TrainingRun(progress(), seed=0, compiled=False)
    run.resume(tmp_path)
    assert run.progress == progress()


def test_an_exported_folder_loads_and_holds_the_weights_in_bf16(tmp_path):
    run = TrainingRun(progress(), seed=0, compiled=False)
    export_model(run.model, train_tokenizer(PAGE), tmp_path / "model")
    export_model(run.model, train_tokenizer(PAGE), tmp_path / "model")  # over itself
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype="auto")
    assert loaded.dtype == torch.bfloat16
    for name, weight in run.model.state_dict().items():
        assert torch.equal(weight.bfloat16(), loaded.state_dict()[name]), name
    ids = AutoTokenizer.from_pretrained(tmp_path / "model")("größer").input_ids
    assert ids == [BOS_ID, *train_tokenizer(PAGE).encode("größer", add_special_tokens=False).ids]


def test_token_rows_are_between_bos_and_eos_with_a_token_for_each_digit():
    tokenizer = train_tokenizer(PAGE)
    (row,) = token_rows(tokenizer, ["12"])
    assert (row[0], row[-1], len(row)) == (BOS_ID, EOS_ID, 4)
    assert tokenizer.decode(row) == "12"


def test_unigram_counts_follow_the_repeats_and_leave_bos_out():
    rows = {"a": [[BOS_ID, 7, 7, EOS_ID]], "b": [[BOS_ID, 8, EOS_ID]]}
    shares = np.exp(-unigram_nats(rows, {"a": 2.0, "b": 1.0}))
    total = VOCABULARY + 2 * 3 + 2  # one for each token, three tokens twice, two tokens once
    assert shares[[7, 8, EOS_ID, BOS_ID, 99]] * total == pytest.approx([5, 2, 4, 1, 1])
    assert shares.sum() == pytest.approx(1)
