"""NLL and entropy of a few rows token by token, computed once and stored."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from core.measurement.run_data import token_parts, trained_state
from core.measurement.runs import Run
from core.measurement.stages import Tokens
from core.measurement.token_files import BASE, CALIBRATED, TokenView, read_view, token_file, write_view
from core.models.loading import check_device, check_head, load_model
from core.models.reference import resolve_model
from core.models.row_tokens import read_row
from core.progress import Reporter
from core.workspace.files import remove_damaged
from core.workspace.folder import Workspace
from core.workspace.stages import Stages


def view_rows(
    run: Run, rows: Sequence[int], workspace: Workspace, *, calibrated: bool, device: str, report: Reporter
) -> dict[str, list[TokenView]]:
    """Return token views of these rows by model state: base and, with `calibrated`, the calibrated state of each row.

    A row that has none, while others have one, has an empty view.
    """
    stages = Stages(workspace, report)
    views = {BASE: _view_state(None, run, rows, stages, device)}
    states = [trained_state(workspace, run, row) if calibrated else None for row in rows]
    if any(states):
        nothing = np.empty(0, np.float32)
        views[CALIBRATED] = [TokenView((), nothing, nothing, ())] * len(rows)
    for state in dict.fromkeys(filter(None, states)):
        places = [place for place, own in enumerate(states) if own == state]
        for place, view in zip(places, _view_state(state, run, [rows[k] for k in places], stages, device), strict=True):
            views[CALIBRATED][place] = view
    return views


def _view_state(state: Path | None, run: Run, rows: Sequence[int], stages: Stages, device: str) -> list[TokenView]:
    """Return token views under one model state (None: base); compute and store those that are missing or damaged."""
    files = [token_file(stages.workspace, run, row, state) for row in rows]
    remove_damaged(files)
    if not all(file.exists() for file in files):
        of = "the calibrated model" if state else "the base model"
        parts = token_parts(stages.workspace, run)
        batch = Tokens(parts, sum(map(len, parts.plan))).batch(np.array(rows, np.int64))
        place = check_device(device)
        # An accelerator may have no memory for a second model, so jobs take turns; a CPU has.
        with nullcontext() if place == "cpu" else stages.on_device(place):
            ref = resolve_model(run.reading["model"], run.model["revision"], models=stages.workspace.models)
            model = load_model(ref, dtype=run.summary["dtype"], device=device, state=state)
            check_head(model.network, model.device)
            for k in stages.missing_files(files, f"Measuring tokens with {of}"):
                write_view(files[k], TokenView(*read_row(model, batch["tokens"][k], batch["spans"][k])))
    return [view for file in files if (view := read_view(file)) is not None]
