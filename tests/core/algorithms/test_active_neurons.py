"""Lists of active neurons: read back unchanged, and refused if they are damaged."""

import numpy as np
import pytest

from core.algorithms.active_neurons import ABSENT, ActiveNeurons, gather_slices
from core.errors import MethodError


def states_of(rows, neurons):
    ends = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return ActiveNeurons(ends, np.array([n for row in rows for n in row], np.uint32), neurons)


def lists(states):
    return [states.row(i).tolist() for i in range(len(states))]


ROWS = [[0, 2, 5], [], [1], [0, 5]]


def test_a_table_gives_its_rows_without_absent_entries():
    table = np.array([[0, 2, 5], [ABSENT] * 3, [1, ABSENT, ABSENT], [0, 5, ABSENT]], np.uint32)
    assert lists(ActiveNeurons.from_table(table, 6)) == ROWS
    assert lists(ActiveNeurons.from_table(table[:1], 6)) == ROWS[:1]
    assert lists(ActiveNeurons.from_table(np.empty((0, 3), np.uint32), 6)) == []


def test_rows_are_taken_in_the_given_order():
    selected = states_of(ROWS, 6).take(np.array([3, 1, 0]))
    assert lists(selected) == [[0, 5], [], [0, 2, 5]]
    assert len(states_of(ROWS, 6).take(np.empty(0, np.int64))) == 0


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_counts_are_of_the_given_rows_for_any_chunk(monkeypatch, chunk):
    monkeypatch.setattr("core.algorithms.active_neurons.CHUNK", chunk)
    states = states_of(ROWS, 7)
    assert states.counts(np.arange(4)).tolist() == [2, 1, 1, 0, 0, 2, 0]
    assert states.counts(np.array([3, 2])).tolist() == [1, 1, 0, 0, 0, 1, 0]
    assert states.counts(np.empty(0, np.int64)).tolist() == [0] * 7


def test_a_mapped_file_works(tmp_path):
    plain = states_of(ROWS, 6)
    plain.indices.tofile(tmp_path / "on")
    mapped = ActiveNeurons(plain.indptr, np.memmap(tmp_path / "on", np.uint32, "r"), 6)
    assert lists(mapped.take(np.array([0, 3]))) == [[0, 2, 5], [0, 5]]


@pytest.mark.parametrize("chunk", [1, 2, 1000])
@pytest.mark.parametrize("rows", [[[2, 0]], [[1, 1]], [[0, 6]], [[3], [0, 1, 5, 4]]])
def test_rows_that_do_not_ascend_below_the_number_of_neurons_are_refused(monkeypatch, rows, chunk):
    monkeypatch.setattr("core.algorithms.active_neurons.CHUNK", chunk)
    with pytest.raises(MethodError, match="ascending numbers below 6"):
        states_of(rows, 6)


@pytest.mark.parametrize("ends", [[], [1, 3], [0, 2], [0, 3, 2, 3], [0, 4]])
def test_ends_that_do_not_fill_the_list_are_refused(ends):
    with pytest.raises(MethodError, match="do not fill the list"):
        ActiveNeurons(np.array(ends, np.int64), np.array([0, 1, 2], np.uint32), 6)


def test_slices_are_concatenated():
    result = gather_slices(np.arange(10), np.array([0, 3, 3, 10]), np.array([2, 1, 0]))
    assert result.tolist() == [3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
