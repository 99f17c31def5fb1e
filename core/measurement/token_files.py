"""Token views of single rows on disk: a small file for each row and model state, loaded without a model.

    NLL_t = −log π(y_t | x, y_<t)        H_t = −Σ_v π(v | x, y_<t) log π(v | x, y_<t)        nats

Their means over the response are the row's nll and entropy (core/models/forward_pass.py). Written by
core/measurement/token_view.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.measurement.runs import Run
from core.schema import FloatArray
from core.workspace.files import read_json, write_json
from core.workspace.folder import Workspace, content_key

KIND = "token view"
BASE, CALIBRATED = "base", "calibrated"  # model states
COLUMN_ENDS = {BASE: "", CALIBRATED: "_cal"}


@dataclass(frozen=True, eq=False)
class TokenView:
    """The T tokens of a row's response, in order."""

    texts: tuple[str, ...]  # (T,) "": part of a character that a later token completes
    nll: FloatArray  # (T,)
    entropy: FloatArray  # (T,)
    starts: tuple[int, ...]  # indices where a response begins: several if all turns of a row count

    def __len__(self) -> int:
        return len(self.texts)


def token_file(workspace: Workspace, run: Run, row: int, state: Path | None) -> Path:
    """Return the file for the view of a row under this run, stored or not; `state`: None for the base model."""
    spec = {
        "kind": KIND,
        "tokens": run.kept["tokens"],
        "revision": run.model["revision"],
        "dtype": run.summary["dtype"],
        "state": state.parent.name if state else None,
    }
    return workspace.folder("measurements", content_key(spec)) / f"{row:08d}.json"


def read_view(file: Path) -> TokenView | None:
    """Load the view in this file, or None."""
    if not file.exists():
        return None
    stored = read_json(file)
    nll, entropy = (np.array(stored[name], np.float32) for name in ("nll", "entropy"))
    return TokenView(tuple(stored["texts"]), nll, entropy, tuple(stored["starts"]))


def write_view(file: Path, view: TokenView) -> None:
    """Write a view as JSON."""
    write_json(file, asdict(view))


def view_means(views: Mapping[str, Sequence[TokenView]]) -> list[dict[str, Any]]:
    """Return for each row the number of response tokens, and means for each model state named as a run's columns.

    The means of a row without tokens are None.
    """
    means: list[dict[str, Any]] = [{"tokens": len(one)} for one in views[BASE]]
    for state, own in views.items():
        for row, one in zip(means, own, strict=True):
            for name, values in (("nll", one.nll), ("entropy", one.entropy)):
                row[name + COLUMN_ENDS[state]] = float(np.mean(values, dtype=np.float64)) if len(one) else None
    return means
