"""Plans of batches: every row once, within memory, in the least time; what they are on a GPU, by arithmetic alone."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from core.errors import ModelError
from core.models import batching
from core.models.batching import BatchCost, batch_cost, can_run_at_once, plan_batches, run_at_once
from tests.core.models.families import GROUPED, network_of

CPU = BatchCost(launch=40, capacity=2048)
ALPACA = np.random.default_rng(0).lognormal(4.8, 0.5, 4000).astype(np.int64).clip(40, 512)  # tokens of a row


def time_of(plan, lengths, cost, passes=1) -> int:
    return sum(passes * cost.launch + len(rows) * max(1, int(lengths[rows].max())) for rows in plan)


def best_time(lengths, cost, passes=1) -> float:
    """Try every split of the rows in order of length."""
    ordered, best = sorted(lengths.tolist(), reverse=True), float("inf")
    for cuts in range(1 << (len(ordered) - 1)):
        time, start = 0, 0
        for stop in range(1, len(ordered) + 1):
            if stop == len(ordered) or cuts >> (stop - 1) & 1:
                rows, longest = stop - start, max(1, ordered[start])
                fits = rows == 1 or rows * (longest + cost.row) <= cost.capacity
                time += passes * cost.launch + rows * longest if fits else float("inf")
                start = stop
        best = min(best, time)
    return best


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=9),
    st.builds(BatchCost, st.integers(1, 100), st.integers(1, 200), st.integers(0, 9)),
    st.integers(1, 3),
)
def test_no_other_split_takes_less_time(lengths, cost, passes):
    lengths = np.array(lengths)
    assert time_of(plan_batches(lengths, cost, passes=passes), lengths, cost, passes) == best_time(
        lengths, cost, passes
    )


@given(
    st.lists(st.integers(0, 600), max_size=200),
    st.builds(BatchCost, st.integers(1, 50_000), st.integers(1, 9_000), st.integers(0, 99)),
)
def test_every_row_is_in_one_batch_that_fits(lengths, cost):
    lengths = np.array(lengths, np.int64)
    plan = plan_batches(lengths, cost)
    assert sorted(row for rows in plan for row in rows.tolist()) == list(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * (lengths[rows].max() + cost.row) <= cost.capacity for rows in plan)
    order = np.concatenate([*plan, np.empty(0, np.int64)]).astype(np.int64)
    assert (np.diff(lengths[order]) <= 0).all()  # a row that does not fit fails first
    assert all(map(np.array_equal, plan, plan_batches(lengths, cost)))


def test_a_row_over_the_capacity_is_a_batch_by_itself():
    assert [rows.tolist() for rows in plan_batches(np.array([5, 99, 5]), BatchCost(1, 10))] == [[1], [0, 2]]


def test_rows_of_one_length_stay_in_order():
    plan = plan_batches(np.full(10, 7), BatchCost(1, 28))
    assert [rows.tolist() for rows in plan] == [[0, 1], [2, 3, 4, 5], [6, 7, 8, 9]]


def test_on_a_processor_little_is_padding():
    padded = sum(len(rows) * ALPACA[rows].max() for rows in plan_batches(ALPACA, CPU))
    assert padded < 1.02 * ALPACA.sum()


@pytest.fixture
def on_gpu(monkeypatch):
    """Return the cost of a model of 135 M parameters on a GPU that has this much memory free."""

    def cost(work: batching.Work, free: float = 70e9, memory: int | None = None, **changes: int) -> BatchCost:
        monkeypatch.setattr(batching, "free_memory", lambda _device: free)
        shape = {"num_hidden_layers": 30, "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3}
        config = SimpleNamespace(**shape | {"intermediate_size": 1536, "head_dim": 64, "vocab_size": 49152} | changes)
        config.get_text_config = lambda: config
        weights = torch.empty(1, device="meta").expand(134_515_008)
        network = SimpleNamespace(config=config, parameters=lambda: [weights], dtype=torch.bfloat16)
        return batch_cost(network, "cuda", work, cpu_tokens=1, memory=memory)

    return cost


def test_on_a_gpu_a_training_step_of_16_rows_is_one_pass(on_gpu):
    cost = on_gpu("training")
    for step in np.split(ALPACA[:1600], 100):
        assert len(plan_batches(step, cost)) == 1


def test_on_a_gpu_640_continuations_are_one_batch(on_gpu):
    assert len(plan_batches(ALPACA[:640] + 32, on_gpu("generation"), passes=32)) == 1


def test_on_a_gpu_1000_prompts_with_5_answers_are_at_most_4_batches(on_gpu):
    cost = on_gpu("generation")
    cost = BatchCost(cost.launch, cost.capacity, 5 * cost.row)
    assert len(plan_batches(5 * (ALPACA[:1000] + 64), cost, passes=64)) <= 4


@pytest.mark.parametrize("work", ["pass", "training", "generation"])
def test_on_a_gpu_the_capacity_follows_the_free_memory(on_gpu, work):
    small, large = on_gpu(work, 8e9), on_gpu(work, 80e9)
    assert large.capacity == pytest.approx(10 * small.capacity, rel=1e-3)
    assert small.launch == large.launch


def test_a_stage_keeps_the_plan_of_the_memory_that_was_free_at_first(on_gpu, monkeypatch, tmp_path):
    monkeypatch.setattr(batching, "free_memory", lambda _device: 70e9)
    memory = batching.planned_memory(tmp_path, "cuda")
    first = on_gpu("pass", memory=memory)
    assert on_gpu("pass", 8e9, memory=batching.planned_memory(tmp_path, "cuda")) == first
    assert on_gpu("pass", 8e9) != first
    assert batching.planned_memory(tmp_path / "on a processor", "cpu") is None


def test_keys_values_and_logits_are_counted(on_gpu):
    cost = on_gpu("generation")
    held = 2 * 30 * 3 * 64 * 2  # bytes of the keys and values of a token, in bfloat16
    assert cost.capacity * held < 0.6 * 70e9
    assert cost.row * 2 * (12 * 576 + 4 * 1536 + held / 2) >= 4 * 49152 * batching.LOGIT_COPIES
    assert on_gpu("generation", num_key_value_heads=9).capacity < cost.capacity


def test_on_a_processor_the_capacity_is_what_was_given(model):
    cost = batch_cost(model.network, "cpu", "pass", cpu_tokens=2048)
    assert (cost.capacity, cost.row) == (2048, 0)
    assert cost.launch >= 1
    assert batch_cost(model.network, "cpu", "pass", 2048, capacity=77).capacity == 77


@pytest.mark.usefixtures("two_threads")
class TestBatchesAtOnce:
    def test_two_run_at_the_same_time_on_one_thread_each_and_come_in_order(self, model):
        meeting = threading.Barrier(2, timeout=60)

        def work(rows):
            meeting.wait()  # until another batch is here, too
            return rows.sum(), torch.get_num_threads()

        batches = [np.array([n, n + 1]) for n in range(6)]
        done = list(run_at_once(batches, work, model, "A row of {}", np.ones(7, int)))
        assert [rows.tolist() for rows, _ in done] == [[n, n + 1] for n in range(6)]
        assert [result for _, result in done] == [(2 * n + 1, 1) for n in range(6)]
        assert torch.get_num_threads() == 2

    def test_an_error_ends_the_others_and_gives_the_threads_back(self, model):
        seen = []

        def work(rows):
            seen.append(rows)
            raise torch.OutOfMemoryError("CUDA out of memory")

        with pytest.raises(ModelError, match="A row of 9 does not fit"):
            list(run_at_once([np.array([n]) for n in range(50)], work, model, "A row of {}", np.full(50, 9)))
        assert len(seen) < 50
        assert torch.get_num_threads() == 2

    def test_they_serve_on_a_processor_where_passes_leave_the_model_as_it_is(self):
        parameters = {"rope_theta": 1e4, "factor": 2.0}
        plain = network_of(LlamaConfig(**GROUPED))
        moving = network_of(LlamaConfig(**GROUPED, rope_parameters=parameters | {"rope_type": "dynamic"}))
        assert can_run_at_once(plain, "cpu")
        assert not can_run_at_once(plain, "cuda")
        assert not can_run_at_once(moving, "cpu")
        torch.set_num_threads(1)
        assert not can_run_at_once(plain, "cpu")
