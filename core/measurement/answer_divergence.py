"""From answers to figures: K answers to each instruction, the geometry of their embeddings, bins of instructions.

    answers    drawn by the model itself or by a server, part by part; or read from a file made elsewhere
    geometry   of the embeddings of each row's answers: their Gram matrix, K² numbers, and their mean, for a map
    bins       k-means over embeddings of the instructions, and the merges that make fewer bins of them

Each is a stage of its own: answers are never drawn again for another embedding or another number of bins.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.algorithms.answer_geometry import CENTRE, answer_centres, compute_geometry, gram_matrices
from core.algorithms.kmeans import centred_unit_vectors
from core.algorithms.semantic_bins import build_bin_tree, default_bin_count
from core.columns import SIGNALS
from core.errors import MethodError
from core.measurement.answer_file import read_answers
from core.measurement.prompt_embeddings import prompt_embeddings, prompts
from core.measurement.run_data import write_merges
from core.measurement.stages import Sweep, plan_parts
from core.measurement.task_confidence import STEP_COST
from core.methods.answer_divergence import AnswerDivergence
from core.models.answer_embeddings import AnswerEmbedder, AnswerLists, encode_answers
from core.models.generation.answers import SamplingSettings, answer_table, count_answers
from core.models.generation.sampler import Sampler
from core.models.generation.server import ServedModel, ServerSampler
from core.models.sentence_encoder import SentenceEncoder
from core.progress import percent_callback
from core.schema import FloatArray, IntArray
from core.workspace.files import disk_errors
from core.workspace.parts import Parts

SERVED_PART_ROWS = 64
FILE_PART_ROWS = 4096
Embed = Callable[[Sequence[str], AnswerLists], FloatArray]


def diverge(sweep: Sweep, method: AnswerDivergence, seed: int) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """The columns of SIGNALS["answers"], the measurements they were made from, and how many answers are of use."""
    answers = ANSWER[method.source](sweep, method, seed)
    geometry = _geometry(sweep, method, answers)
    n, k = len(sweep.pool), method.answers
    found = compute_geometry(geometry.column("gram", n).reshape(n, k, k))
    bins, folder = _bins(sweep, method, seed)
    values = (found.dispersion.astype(np.float32), found.anisotropy.astype(np.float32), found.counted, bins)
    kept = {"answers": answers.folder.name, "grams": geometry.folder.name, "bins": folder}
    return dict(zip(SIGNALS["answers"], values, strict=True)), kept, _counts(answers)


def _sampled(sweep: Sweep, method: AnswerDivergence, seed: int) -> Parts:
    """Answers of the model that scores, in its base state."""
    settings = sampling(method, seed)
    work = sweep.lengths + STEP_COST * method.answers * method.max_new_tokens
    sampler: Sampler | None = None
    spec = sweep.about_model("answers") | asdict(settings)
    with sweep.timed("answers"), sweep.stage(spec, plan_parts(work, sweep.part_tokens)) as parts:
        for part, rows in sweep.missing([parts], "Sampling answers", work):
            sampler = sampler or Sampler(sweep.model(), settings)
            batch = sweep.tokens.batch(rows) | {"ids": _texts(sweep, rows)["id"]}
            parts.write(part, answer_table(sampler(batch)))
    return parts


def _served(sweep: Sweep, method: AnswerDivergence, seed: int) -> Parts:
    """Answers of a model behind a server. With the Alpaca template it is given text, else messages."""
    if not method.base_url or not method.served_model:
        raise MethodError("Answers from a server need its address and the model's name there: base_url, served_model.")
    form: Literal["chat", "completions"] = "completions" if sweep.reading.template == "alpaca" else "chat"
    served = ServedModel(method.base_url, method.served_model, form)
    settings = sampling(method, seed)
    n = len(sweep.pool)
    plan = [np.arange(a, min(a + SERVED_PART_ROWS, n)) for a in range(0, n, SERVED_PART_ROWS)]
    spec = {"kind": "answers", "pool": sweep.pool.fingerprint, "served": served.key_fields} | asdict(settings)
    with (
        sweep.timed("answers"),
        sweep.stage(spec, plan) as parts,
        ServerSampler(served, settings) as server,
    ):
        for part, rows in sweep.missing([parts], "Asking the server for answers", np.ones(n, np.int64)):
            texts = _texts(sweep, rows)
            parts.write(part, answer_table(server(texts | {"ids": texts["id"]})))
    return parts


def _texts(sweep: Sweep, rows: IntArray) -> dict[str, list[Any]]:
    """The columns of these rows that make prompts."""
    view = sweep.pool.rows.select(["id", "prompt", "response", "turns"])
    texts: dict[str, list[Any]] = view.take(pa.array(rows)).to_pydict()
    return texts


def _given(sweep: Sweep, method: AnswerDivergence, _seed: int) -> Parts:
    """Answers made elsewhere, joined by id; the file is known by its content."""
    if not method.answers_file:
        raise MethodError("Answers from a file need the file: answers_file.")
    path, n = Path(method.answers_file), len(sweep.pool)
    with disk_errors(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    plan = [np.arange(a, min(a + FILE_PART_ROWS, n)) for a in range(0, n, FILE_PART_ROWS)]
    spec = {"kind": "answers", "pool": sweep.pool.fingerprint, "file": digest, "answers": method.answers}
    with sweep.timed("answers"), sweep.stage(spec, plan) as parts:
        if missing := parts.missing():
            sweep.report.stage("Reading the answers", rows=0, work=100)
            advance = percent_callback(sweep.report)
            found = read_answers(path, sweep.pool.rows["id"].to_pylist(), method.answers, advance)
            for part in missing:
                parts.write(part, found.table.slice(int(plan[part][0]), len(plan[part])))
            sweep.report.note(
                f"{found.found} rows have answers, {found.lacking} have none; {found.unknown} unknown ids."
            )
    return parts


ANSWER: Mapping[str, Callable[[Sweep, AnswerDivergence, int], Parts]]
ANSWER = {"local": _sampled, "server": _served, "file": _given}


def _counts(answers: Parts) -> dict[str, Any]:
    """How many answers are missing, empty, refusals, cut; over all parts."""
    total: dict[str, int] = {}
    for part in range(len(answers.plan)):
        for name, count in asdict(count_answers(answers.read(part))).items():
            total[name] = total.get(name, 0) + count
    return total


def sampling(method: AnswerDivergence, seed: int) -> SamplingSettings:
    """How answers are drawn."""
    return SamplingSettings(
        answers=method.answers,
        temperature=method.temperature,
        top_p=method.top_p,
        max_new_tokens=method.max_new_tokens,
        seed=seed,
        prompt_tokens=method.prompt_limit or None,
    )


def _geometry(sweep: Sweep, method: AnswerDivergence, answers: Parts) -> Parts:
    """The Gram matrix of each row's answers, and where their middle lies."""
    embed: Embed | None = None
    spec = {"kind": "geometry", "centres": True, "answers": answers.folder.name} | _embedder(sweep, method)
    work = np.ones(len(sweep.pool), np.int64)
    with sweep.timed("geometry"), sweep.stage(spec, answers.plan) as parts:
        for part, rows in sweep.missing([parts], "Embedding the answers", work):
            embed = embed or _embed(sweep, method)
            given = answers.read(part, ["answers"])["answers"].to_pylist()
            vectors = embed(prompts(sweep.pool, rows), given)
            gram, centre = gram_matrices(vectors).reshape(len(rows), -1), answer_centres(vectors).astype(np.float16)
            parts.write(part, pa.table({"gram": _lists(gram), CENTRE: _lists(centre)}))
    return parts


def _lists(values: NDArray[Any]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _embedder(sweep: Sweep, method: AnswerDivergence) -> dict[str, Any]:
    """What embeddings of answers are keyed by."""
    if method.embeddings:
        return {"encoder": SentenceEncoder(method.embeddings, device=sweep.reading.device).revision}
    return {"revision": sweep.ref.revision, "dtype": sweep.dtype}


def _embed(sweep: Sweep, method: AnswerDivergence) -> Embed:
    """Instructions and their answers to (n, K, d) unit vectors."""
    if method.embeddings:
        encoder = SentenceEncoder(method.embeddings, device=sweep.reading.device)
        return lambda _, answers: encode_answers(encoder, answers)
    space = AnswerEmbedder(sweep.model())
    return lambda instructions, answers: space({"instruction": instructions, "answers": answers})["vectors"]


def _bins(sweep: Sweep, method: AnswerDivergence, seed: int) -> tuple[IntArray, str]:
    """(N,) semantic bin of each row, and the measurement that holds the merges beside them."""
    made_of, embeddings = prompt_embeddings(sweep, method.embeddings)
    n = len(sweep.pool)
    count = method.bins_measured or default_bin_count(n)
    spec = {"kind": "bins", "embeddings": made_of, "bins": count, "seed": seed}
    column = SIGNALS["answers"][-1]
    with sweep.timed("bins"), sweep.stage(spec, [np.arange(n)]) as parts:
        if parts.missing():
            sweep.report.stage("Grouping instructions into bins", rows=0, work=0)
            vectors = embeddings().astype(np.float32)
            there = np.isfinite(vectors).all(axis=1)
            vectors[there] = centred_unit_vectors(vectors[there])
            tree = build_bin_tree(vectors, count, seed=seed)
            write_merges(parts.folder, tree.merges)
            parts.write(0, pa.table({column: pa.array(tree.fine)}))
    return parts.column(column, n), parts.folder.name
