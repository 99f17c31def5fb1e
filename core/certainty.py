"""How sure a model is in each task, from a few of its prompts: which rows to ask, and what their answers come to.

    c_t = mean confidence over the rows of task t that were asked
    its standard error = s / √n,  with s² = Σ (c − c_t)² / (n − 1)

The confidence of one prompt is that of core/confidence.py, in (0, 1], high = sure. Of many prompts a few per task
are enough, and the standard error says how far the mean is to be trusted. As the rows of a task are drawn without
replacement and all of them could be asked, it is on the safe side: with every row asked there is no error left.
"""

import numpy as np
from numpy.typing import NDArray

from core.apportion import drawn
from core.schema import BoolArray, FloatArray, IntArray

Float64Array = NDArray[np.float64]


def prompts_to_ask(task: IntArray, tasks: int, per_task: int, seed: int, usable: BoolArray) -> IntArray:
    """Rows to ask, ascending: of each task up to `per_task` of those that are usable, drawn at random.

    `task` and `usable` are (N,); rows of task −1 are in none. A larger `per_task` asks the same rows and more, and a
    row that is not usable makes room for the next of its task without moving the others.
    """
    chosen = [own[usable[own]][:per_task] for own in drawn(task, tasks, seed)]
    return np.sort(np.concatenate([np.empty(0, np.int64), *chosen]))


def task_means(
    confidence: FloatArray | Float64Array, task: IntArray, tasks: int
) -> tuple[Float64Array, Float64Array, IntArray]:
    """(T,) mean, (T,) standard error and (T,) count of the finite confidences of each task 0 to T − 1.

    The mean is NaN where a task has none, the standard error where it has fewer than two. Rows of task −1 are in none.
    """
    known = np.isfinite(confidence) & (task >= 0)
    values, own = confidence[known].astype(np.float64), task[known]
    count = np.bincount(own, minlength=tasks).astype(np.int64)
    mean = _ratio(_sums(values, own, tasks), count, count > 0)
    squares = _sums((values - mean[own]) ** 2, own, tasks)
    error: Float64Array = np.sqrt(_ratio(squares, count * (count - 1), count > 1))
    return mean, error, count


def _sums(values: Float64Array, own: IntArray, tasks: int) -> Float64Array:
    """The sum of the values of each task; float64 also where there are none at all."""
    return np.bincount(own, weights=values, minlength=tasks).astype(np.float64)


def _ratio(above: Float64Array, below: IntArray, where: BoolArray) -> Float64Array:
    """above / below where it is asked for, else NaN."""
    found: Float64Array = np.divide(above, below, out=np.full(len(above), np.nan), where=where)
    return found
