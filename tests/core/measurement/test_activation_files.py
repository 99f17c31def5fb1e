"""Activations on disk, gathered from parts into the order of the pool."""

import numpy as np
import pyarrow as pa
import pytest

from core.algorithms.active_neurons import ABSENT
from core.measurement.activation_files import COLUMN, NEURONS, gather_activations, has_activations, read_activations
from core.workspace.parts import Parts


def write_parts(folder, plan, rows, neurons=9) -> Parts:
    """Write parts of `plan`, in which pool row i has the neurons rows[i]."""
    parts = Parts.open(folder, {}, [np.array(p) for p in plan])
    for part, part_rows in enumerate(plan):
        values = np.array([rows[i] for i in part_rows], np.uint32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        parts.write(part, pa.table({COLUMN: column}).replace_schema_metadata({NEURONS: str(neurons)}))
    return parts


ROWS = [[0, 4], [1, 5], [ABSENT, ABSENT], [2, 8]]


def test_rows_come_back_in_the_order_of_the_pool(tmp_path):
    gather_activations(write_parts(tmp_path, [[3, 1], [2, 0]], ROWS), 4)
    activations = read_activations(tmp_path)
    assert activations.neurons == 9
    assert [activations.row(i).tolist() for i in range(4)] == [[0, 4], [1, 5], [], [2, 8]]


def test_activations_are_memory_mapped(tmp_path):
    gather_activations(write_parts(tmp_path, [[0, 1, 2, 3]], ROWS), 4)
    assert isinstance(read_activations(tmp_path).indices, np.memmap)


def test_parts_are_removed_when_activations_are_complete(tmp_path):
    parts = write_parts(tmp_path, [[3, 1], [2, 0]], ROWS)
    assert not has_activations(tmp_path)
    gather_activations(parts, 4)
    assert has_activations(tmp_path)
    assert parts.missing() == [0, 1]


@pytest.mark.parametrize("rows", [[[ABSENT, ABSENT]] * 3, [[ABSENT, ABSENT]]])
def test_rows_without_a_response_have_no_active_neurons(tmp_path, rows):
    gather_activations(write_parts(tmp_path, [list(range(len(rows)))], rows), len(rows))
    assert read_activations(tmp_path).indptr.tolist() == [0] * (len(rows) + 1)
