"""Read a few rows token by token: which words of a response surprise the model, and where it is sure.

A row runs by itself, so that what it takes is what that one row takes. The means over a row are the nll and entropy
of the pass over the pool (core/models/forward_pass.py), up to rounding.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.measurement.run_data import (
    BASE,
    CALIBRATED,
    TokenView,
    read_view,
    token_file,
    token_parts,
    trained_state,
    write_view,
)
from core.measurement.runs import Run
from core.measurement.stages import Tokens
from core.models.batching import run_or_halve
from core.models.forward_pass import BLOCK_BYTES, LOGIT_BYTES, pad_rows, reduce_logits
from core.models.loading import Model, check_head, compute_logits, load_model, pick_device
from core.models.reference import resolve_model
from core.models.shared_prefix import compute_hidden_states
from core.progress import Reporter
from core.schema import FloatArray, ModelRef
from core.workspace.folder import Workspace

BEFORE = 4  # tokens before a stretch that its first text is read after: whether a space leads it hangs on them
HELD = 8  # tokens that may make up one letter; more than that is no text


def view_states(
    run: Run, rows: Sequence[int], workspace: Workspace, *, calibrated: bool, device: str, report: Reporter
) -> dict[str, list[TokenView]]:
    """These rows as the run read them: under the base model and, with `calibrated`, in the state that it trained."""
    after = trained_state(workspace, run) if calibrated else None
    wanted = {BASE: None} | ({CALIBRATED: after} if after else {})
    return {name: _under(state, run, rows, workspace, device, report) for name, state in wanted.items()}


def _under(
    state: Path | None, run: Run, rows: Sequence[int], workspace: Workspace, device: str, report: Reporter
) -> list[TokenView]:
    """Rows under one state (None: the base model), kept in the workspace; none is read twice."""
    files = [token_file(workspace, run, row, state) for row in rows]
    missing = [k for k, file in enumerate(files) if not file.exists()]
    if missing:
        of = "the calibrated model" if state else "the base model"
        report.stage(f"Reading token by token with {of}", rows=len(missing), work=len(missing))
        parts = token_parts(workspace, run)
        batch = Tokens(parts, sum(map(len, parts.plan))).batch(np.array(rows, np.int64))
        with _device(device, workspace, report):
            model = load_model(_model_of(run), dtype=run.summary["dtype"], device=device, state=state)
            check_head(model.network, model.device)
            for done, k in enumerate(missing, start=1):
                write_view(files[k], _view_alone(model, batch["tokens"][k], batch["spans"][k]))
                report.advance(done, done)
    return [found for file in files if (found := read_view(file)) is not None]


def _model_of(run: Run) -> ModelRef:
    return resolve_model(run.reading["model"], run.model["revision"])


def _device(device: str, workspace: Workspace, report: Reporter) -> AbstractContextManager[None]:
    """One job at a time on an accelerator, whose memory a second model may not fit into; a processor has room."""
    place = pick_device() if device == "auto" else device
    if place == "cpu":
        return nullcontext()
    return workspace.hold(f"device-{place.replace(':', '-')}", lambda: report.waiting("Another job uses this device."))


def _view_alone(model: Model, tokens: NDArray[Any], spans: NDArray[Any]) -> TokenView:
    """`view`; ModelError where the row does not fit into memory."""
    name = f"A row of {len(tokens)} tokens"
    work = run_or_halve(
        np.zeros(1, np.int64),
        lambda _: view(model, tokens, spans),
        model,
        describe=lambda _: name,
        setting="max_length",
    )
    return next(work)[1]


@torch.inference_mode()
def view(model: Model, tokens: NDArray[Any], spans: NDArray[Any]) -> TokenView:
    """One row, as `core.models.encoder.Encoder` gives it; without a response a view of no tokens."""
    padded, _, response = pad_rows([tokens], [spans])
    places = np.flatnonzero(response[0, 1:])  # token place + 1 is predicted at place
    nll, entropy = _likelihoods(model, padded, places)
    starts = np.flatnonzero(np.diff(places, prepend=-2) > 1)
    texts = [
        piece for stretch in np.split(places + 1, starts[1:]) for piece in pieces(model.tokenizer, tokens, stretch)
    ]
    return TokenView(tuple(texts), nll, entropy, tuple(starts.tolist()))


def _likelihoods(model: Model, padded: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """NLL and entropy of the tokens after these places of one row (1, T), in chunks of logits as the probe does."""
    kind = torch.device(model.device).type
    chunk, block = (max(1, b.get(kind, b["cpu"]) // (4 * model.vocabulary)) for b in (LOGIT_BYTES, BLOCK_BYTES))
    nll, entropy = np.empty(len(places), np.float32), np.empty(len(places), np.float32)
    if not len(places):
        return nll, entropy
    hidden = compute_hidden_states(model.network, padded, None, model.device)[0]
    for start in range(0, len(places), chunk):
        some = places[start : start + chunk]
        logits = compute_logits(model.network, hidden[torch.from_numpy(some).to(hidden.device)])
        targets = torch.from_numpy(padded[0, some + 1]).to(hidden.device)
        found = reduce_logits(logits, targets, block)
        nll[start : start + chunk], entropy[start : start + chunk] = (x.cpu().numpy() for x in found)
    return nll, entropy


def pieces(tokenizer: Any, tokens: NDArray[Any], places: NDArray[np.int64]) -> list[str]:
    """The text that each of these tokens, one after another, adds to those before it.

    A token that ends inside a letter adds nothing; the one that ends the letter adds it. End to end they are the
    text itself.
    """
    ids = tokens.astype(np.int64).tolist()
    texts: list[str] = []
    read = int(places[0]) if len(places) else 0  # tokens [read, place] are not told yet
    begin = max(0, read - BEFORE)  # and are read after [begin, read)
    for place in places.tolist():
        before, now = (_decoded(tokenizer, ids[begin:end]) for end in (read, place + 1))
        last = place == places[-1] or place - read >= HELD
        if (now.endswith("\ufffd") and not last) or len(now) < len(before):
            texts.append("")
            continue
        texts.append(now[len(before) :])
        begin, read = read, place + 1
    return texts


def _decoded(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
