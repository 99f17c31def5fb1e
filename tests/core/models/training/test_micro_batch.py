"""Which shapes of micro-batches are captured. The graphs themselves are tested in tests/core/test_cuda.py."""

import pytest

from core.models.training.micro_batch import LENGTH_STEP, MOST_GRAPHS, WORTH, MicroBatches


@pytest.fixture
def batches(monkeypatch):
    """Return a function that builds micro-batches as on a GPU, whose captures only note the shape."""

    def capture(self, shape):
        self._graphs[shape] = f"graph of {shape}"

    def build(*, launch=100_000, longest=2000, device="cuda"):
        return MicroBatches(None, [], device=device, dtype="float32", launch=launch, longest=longest)

    monkeypatch.setattr(MicroBatches, "_capture", capture)
    return build


def find(batches, rows, length, times=WORTH):
    return [batches._find_graph(rows, length) for _ in range(times)][-1]


def test_a_shape_is_captured_when_it_comes_often_enough(batches):
    run = batches()
    assert [run._find_graph(16, 300) for _ in range(WORTH - 1)] == [None] * (WORTH - 1)
    assert run._find_graph(16, 300) == "graph of (16, 384)"
    assert run.keeps_gradients


def test_lengths_are_rounded_up_but_not_beyond_the_longest_row(batches):
    run = batches(longest=LENGTH_STEP + 10)
    assert find(run, 4, LENGTH_STEP) == f"graph of (4, {LENGTH_STEP})"
    assert find(run, 4, LENGTH_STEP + 1) == f"graph of (4, {LENGTH_STEP + 10})"


def test_shapes_whose_tokens_cost_more_than_a_start_run_plainly(batches):
    run = batches(launch=16 * 3 * LENGTH_STEP)
    assert find(run, 16, 3 * LENGTH_STEP) is not None
    assert find(run, 16, 3 * LENGTH_STEP + 1) is None


def test_there_are_so_many_graphs_at_most(batches):
    run = batches()
    found = [find(run, rows, 100) for rows in range(1, MOST_GRAPHS + 3)]
    assert None not in found[:MOST_GRAPHS]
    assert found[MOST_GRAPHS:] == [None, None]


def test_nothing_is_captured_on_a_processor_or_after_a_failure(batches):
    assert find(batches(device="cpu"), 16, 300) is None
    run = batches()
    assert not run.stop_capturing()
    assert find(run, 16, 300) is None
