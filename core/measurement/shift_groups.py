"""Groups of rows that entropy shift calibrates each by itself: by the task labels, or by any field of the rows."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pyarrow as pa

from core.errors import MethodError
from core.measurement.runs import Run
from core.methods.entropy_shift import EntropyShift
from core.pool.nested_fields import get_field
from core.pool.pools import field_names, iter_originals
from core.pool.validation import label_text
from core.schema import BoolArray, Columns, IntArray, Pool

TASK = "task"  # names the pool's task labels, whatever field they are in
MIN_WARM_UP = 8  # rows that the first warm-up of a group trains on, at least
MAX_GROUPS = 64  # each is a training, a stored model and a pass
MAX_NAMED = 12  # fields in an error message
MAX_LETTERS = 40  # of a label in a sentence


@dataclass(frozen=True, eq=False)
class RowGroups:
    """A group for each row of a pool."""

    names: tuple[str, ...]  # (T,) labels, most rows first; ties: first occurrence
    codes: IntArray  # (N,) index into `names`; -1: no label

    @property
    def rows(self) -> list[IntArray]:
        """The rows of each group, ascending."""
        return [np.flatnonzero(self.codes == code) for code in range(len(self.names))]

    def only(self, kept: BoolArray) -> "RowGroups":
        """Return the groups that `kept` (T,) marks; the rows of all others are in none."""
        number = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1)  # the last: of code -1
        return RowGroups(tuple(name for name, keep in zip(self.names, kept, strict=True) if keep), number[self.codes])


def find_groups(pool: Pool, method: EntropyShift) -> tuple[RowGroups, int]:
    """Return the groups to calibrate, and the number of rows in groups that `min_group` leaves out.

    A group counts by its rows with a response. MethodError, with what to do, for a group that is too small for a
    warm-up, and for more than MAX_GROUPS groups.
    """
    groups, answered = group_pool(pool, method.per), pool.rows["response_chars"].to_numpy() > 0
    counts = np.bincount(groups.codes[answered & (groups.codes >= 0)], minlength=len(groups.names))
    kept = groups.only(counts >= method.min_group)
    _check_groups(method, kept, counts[counts >= method.min_group])
    return kept, int((groups.codes >= 0).sum() - (kept.codes >= 0).sum())


def _check_groups(method: EntropyShift, groups: RowGroups, counts: IntArray) -> None:
    per = f"per={method.per}"
    if not len(counts):
        raise MethodError(f"{per}: no group has min_group={method.min_group:,} responses. Lower min_group.")
    if len(counts) > MAX_GROUPS:
        raise MethodError(
            f"{per} makes {len(counts):,} groups: each needs a warm-up training and a stored model, and at most "
            f"{MAX_GROUPS} are possible. Name a field with fewer labels, or exclude small groups with min_group."
        )
    small = np.flatnonzero((counts * method.alpha).astype(np.int64) < MIN_WARM_UP)
    if len(small):
        others, needed = len(small) - 1, ceil(MIN_WARM_UP / method.alpha)
        raise MethodError(
            f"{per}: the group '{shorten(groups.names[small[0]])}' ({counts[small[0]]:,} "
            f"responses){f' and {others:,} more groups are' if others else ' is'} too small to calibrate: at alpha "
            f"{method.alpha:g} a group needs {needed:,} responses, so that {MIN_WARM_UP} are trained on. Raise "
            f"alpha, name a field with larger groups, or exclude such groups with min_group={needed}."
        )


def group_pool(pool: Pool, field: str) -> RowGroups:
    """Group rows by the text of a field, `a.b` for a nested one, or by `task`.

    Numbers and true/false count as their JSON text; a row with a blank or any other value has no label. MethodError,
    naming the fields of the pool, if no row has a label.
    """
    if field == TASK:
        labels = pool.rows["task"].combine_chunks()
    else:
        labels = pa.array((label_text(get_field(row, field)) for row in iter_originals(pool)), pa.string())
    coded = labels.dictionary_encode()
    if not len(coded.dictionary):
        what = "this pool has no task labels" if field == TASK else f"no row has a label in the field '{field}'"
        fields = ", ".join(field_names(pool)[:MAX_NAMED])
        raise MethodError(f"per={field}: {what}. Map the task label, or name one of the fields: {fields}.")
    codes = np.asarray(coded.indices.fill_null(-1), np.int64)
    order = np.argsort(-np.bincount(codes[codes >= 0]), kind="stable")
    names = coded.dictionary.to_pylist()
    return RowGroups(tuple(names[i] for i in order), np.append(np.argsort(order), -1)[codes])


def describe_groups(run: Run, columns: Columns) -> list[dict[str, Any]]:
    """Return the rows of each group of a run, its warm-up rows, and the share of rows that expand (ΔH < 0).

    Empty for a run without groups. `columns`: those of the run.
    """
    if "groups" not in run.summary:
        return []
    shift, group = columns["entropy"] - columns["entropy_cal"], columns["shift_group"]
    shifts = [shift[(group == code) & np.isfinite(shift)] for code in range(len(run.summary["groups"]))]
    return [
        {
            "group": each["name"],
            "rows": each["rows"],
            "warm_up": each["rounds"][0]["rows"],
            "expand": round(float((own < 0).mean()), 4) if len(own) else None,
        }
        for each, own in zip(run.summary["groups"], shifts, strict=True)
    ]


def label_field(per: str, pool: Pool) -> str | None:
    """Return the field that the labels of `per` are in."""
    return pool.fields.task if per == TASK else per


def shorten(label: str) -> str:
    """Return a label on one line, cut where it is long."""
    text = " ".join(label.split())
    return text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}…"
