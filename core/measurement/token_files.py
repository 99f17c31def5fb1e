"""One row token by token, as it is stored: a small file for each row and model state. Needs no model to be read.

    NLL_t = −log π(y_t | x, y_<t)        H_t = −Σ_v π(v | x, y_<t) log π(v | x, y_<t)        nats

Their means over the row are its nll and entropy (core/models/forward_pass.py). Written by
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

    texts: tuple[str, ...]  # (T,) "": part of a letter, which the next token ends
    nll: FloatArray  # (T,)
    entropy: FloatArray  # (T,)
    starts: tuple[int, ...]  # places where an answer begins: one, or several where all answers of a row count

    def __len__(self) -> int:
        return len(self.texts)


def token_file(workspace: Workspace, run: Run, row: int, state: Path | None) -> Path:
    """Return where the view of a row, as this run read it, is or will be; `state`: None for the base model."""
    spec = {
        "kind": KIND,
        "tokens": run.kept["tokens"],
        "revision": run.model["revision"],
        "dtype": run.summary["dtype"],
        "state": state.parent.name if state else None,
    }
    return workspace.folder("measurements", content_key(spec)) / f"{row:08d}.json"


def read_view(file: Path) -> TokenView | None:
    """Read the view in this file; None where there is none yet."""
    if not file.exists():
        return None
    stored = read_json(file)
    nll, entropy = (np.array(stored[name], np.float32) for name in ("nll", "entropy"))
    return TokenView(tuple(stored["texts"]), nll, entropy, tuple(stored["starts"]))


def write_view(file: Path, view: TokenView) -> None:
    """Write a view."""
    write_json(file, asdict(view))


def view_means(views: Mapping[str, Sequence[TokenView]]) -> list[dict[str, Any]]:
    """Return for each row the number of response tokens and, for each model state, its means, named as in a run.

    A mean is None where there are no tokens.
    """
    means: list[dict[str, Any]] = [{"tokens": len(one)} for one in views[BASE]]
    for state, own in views.items():
        for row, one in zip(means, own, strict=True):
            for name, values in (("nll", one.nll), ("entropy", one.entropy)):
                row[name + COLUMN_ENDS[state]] = float(np.mean(values, dtype=np.float64)) if len(one) else None
    return means
