"""Measurement of answer divergence: K answers to each instruction, their geometry, and bins of instructions.

    answers    sampled from the model or from a server, part by part; or read from a file
    geometry   of the embeddings of each row's answers: their Gram matrix, K² numbers, and their mean, for a map
    bins       k-means over embeddings of the instructions, and the merges that give fewer bins

Each is a separate stage: another embedding or number of bins samples no answer again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from core.algorithms.answer_geometry import CENTRE, answer_centres, compute_geometry, gram_matrices
from core.algorithms.semantic_bins import build_bin_tree, default_bin_count
from core.columns import Column, Signals, Signs, group_column
from core.errors import MethodError
from core.measurement.answer_file import read_answers
from core.measurement.measurement import Measurement, Result, TrialBatch, Work
from core.measurement.prompt_embeddings import prompt_embeddings, prompts, sample_key
from core.measurement.runs import Run
from core.measurement.stages import STEP_COST, PoolStages
from core.methods.answer_divergence import AnswerDivergence
from core.models.generation.answers import AnswerCounts, SamplingSettings, answer_table, count_answers
from core.models.generation.openai_client import ServedModel
from core.models.generation.server import ServerSampler
from core.progress import percent_callback
from core.schema import Columns, FloatArray, IntArray, Pool, Progress
from core.workspace.files import disk_errors, file_digest, reading, write_array
from core.workspace.parts import Parts, plan_blocks, plan_by_work
from core.workspace.stages import as_column

if TYPE_CHECKING:
    from core.models.answer_embeddings import AnswerLists
    from core.models.loading import Model

SERVED_PART_ROWS = 128  # twice the most requests at once, so that a part seldom waits for its last rows
FILE_PART_ROWS = 4096
TRIAL_SHARE, TRIAL_TOKENS = 8, 32  # one row in so many is answered in a trial; longer answers cost in proportion
MERGES = "merges.npy"
Embed = Callable[[Sequence[str], "AnswerLists"], FloatArray]  # instructions, their answers -> (n, K, d) unit vectors


class DivergenceMeasurement(Measurement[AnswerDivergence]):
    """Dispersion and anisotropy of generated answers, and semantic bins (ADG)."""

    signals: ClassVar[Signals] = {
        "answers": {
            "dispersion": Column(
                "D, dispersion",
                "the generated answers are more similar",
                "the generated answers differ more",
                "Mean squared distance of a row's answers from their mean, as unit vectors.",
                unit="0 = identical",
                signs=Signs(zero="the generated answers do not differ"),
            ),
            "anisotropy": Column(
                "I, anisotropy",
                "the generated answers differ in fewer directions",
                "the generated answers differ in more directions",
                "1 − λ₁ / Σ λ of the centred similarities of a row's answers; at most 1 − 1/(K − 1).",
                unit="0 = one direction",
                signs=Signs(zero="the generated answers differ in one direction at most"),
            ),
            "answers_counted": Column(
                "Number of answers", help="Generated answers of the row that D and I are computed from."
            ),
            "semantic_bin": group_column("Semantic bin", "the group of rows with similar instructions"),
        }
    }
    scores: ClassVar[Mapping[str, Column]] = {
        "divergence": Column(
            "Divergence",
            "the generated answers differ less, or in fewer directions",
            "the generated answers differ more, or in more directions",
            "w · D + (1 − w) · I of the row's answers; w is the weight of D.",
        )
    }
    work_in_words: ClassVar[Mapping[str, str]] = {
        "answers": "Several answers to each prompt are sampled and embedded. This takes longest."
    }

    def run(self, stages: PoolStages, method: AnswerDivergence, columns: Columns, seed: int) -> Result:
        """Get answers from the method's source, then compute their geometry and the bins."""
        answers = SOURCES[method.source](stages, method, seed)
        grams = _compute_grams(stages, method, answers)
        bins, folder = _find_bins(stages, method, seed)
        values = _geometry(grams, len(stages.pool), method.answers)
        kept = {"answers": answers.folder.name, "grams": grams.folder.name, "bins": folder}
        measured = dict(zip(self.signals["answers"], (*values, bins), strict=True))
        return Result(measured, kept, {"answers": _count_all(answers)})

    def warnings(self, columns: Mapping[str, Any], result: Result) -> list[str]:
        """Warn about rows with blank answers or too few."""
        counts = AnswerCounts(**result.summary["answers"])
        if not counts.blank_rows and not counts.short_rows:
            return []
        words = {
            "a blank answer": counts.blank_rows,
            f"fewer than {counts.asked // counts.rows} answers": counts.short_rows,
        }
        found = " and ".join(f"{n:,} {'has' if n == 1 else 'have'} {what}" for what, n in words.items() if n)
        return [
            f"Of {counts.rows:,} rows, {found}. Their scores use the answers they have and are a little lower; rows "
            "with fewer than two answers have no score."
        ]

    def cost(self, method: AnswerDivergence, pool: Pool) -> Work:
        """Return the most tokens that a model, or a server, generates for each row."""
        tokens, by_server = method.answers * method.max_new_tokens, method.source == "server"
        embedded = method.answers if method.source == "local" and not method.embeddings else 0
        if method.source == "file":
            return Work(base_pass="base" in method.needs, words="answers from a file")
        return Work(
            base_pass="base" in method.needs,
            generated=0 if by_server else tokens,
            served=tokens if by_server else 0,
            embedded=embedded,
            words=f"{method.answers} × {method.max_new_tokens} tokens{' from a server' if by_server else ''}",
        )

    def time_trial(self, model: "Model", method: AnswerDivergence, batch: TrialBatch) -> Mapping[str, float]:
        """Return seconds per generated token and per embedded answer, from short answers to a few prompts.

        {} for other sources. The model's own embeddings are timed, not those of a sentence-transformer.
        """
        from core.models.answer_embeddings import AnswerEmbedder
        from core.models.generation.sampler import Sampler

        if method.source != "local":
            return {}
        settings = sampling_settings(method, 0)
        sampler = Sampler(model, replace(settings, max_new_tokens=min(TRIAL_TOKENS, settings.max_new_tokens)))
        prompts, rows = batch.prompts(sampler.room), -(-batch.rows // TRIAL_SHARE)
        out, seconds = prompts.time(sampler, rows)
        count = max(1, sum(n or 0 for row in out["answer_tokens"] for n in row))
        rates = {"seconds_per_generated": seconds / count}
        if not method.embeddings:
            asked = prompts.first(rows)["tokens"]
            texts = {"instruction": model.tokenizer.batch_decode(asked), "answers": out["answers"]}
            embed = AnswerEmbedder(model, weights=method.weights)
            _, embedding = replace(prompts, columns=texts).time(embed, rows)
            read = method.answers * sum(map(len, asked))
            longer = (read + count * settings.max_new_tokens / sampler.settings.max_new_tokens) / (read + count)
            rates["seconds_per_embedded"] = embedding * longer / (method.answers * len(asked))
        return rates

    def files(self, method: AnswerDivergence) -> list[Path]:
        """Return the file of answers, if one is given."""
        return [Path(method.answers_file)] if method.answers_file else []

    def servers(self, method: AnswerDivergence) -> list[str]:
        """Return the server that gives the answers, if one does."""
        return [method.base_url] if method.source == "server" and method.base_url else []

    def load(self, run: Run) -> Mapping[str, Any]:
        """Load the merges of semantic bins (B - 1, 2): the two bins that become one at each step to fewer bins."""
        folder = run.stage_folder("bins")
        if folder is None:
            return {}
        with reading(folder / MERGES):
            return {"bin_merges": np.load(folder / MERGES, allow_pickle=False)}


def sampling_settings(method: AnswerDivergence, seed: int) -> SamplingSettings:
    """Return the sampling settings of a method."""
    return SamplingSettings(
        answers=method.answers,
        temperature=method.temperature,
        top_p=method.top_p,
        max_new_tokens=method.max_new_tokens,
        seed=seed,
        prompt_tokens=method.prompt_limit or None,
    )


# Answers


def _sample(stages: PoolStages, method: AnswerDivergence, seed: int) -> Parts:
    """Sample answers from the base model."""
    settings = sampling_settings(method, seed)
    work = stages.prompt_lengths + STEP_COST * method.answers * method.max_new_tokens

    def load() -> Callable[[IntArray], pa.Table]:
        from core.models.generation.sampler import Sampler

        sampler = Sampler(stages.model(), settings)
        ids = stages.pool.rows["id"]
        return lambda rows: answer_table(
            sampler({"tokens": stages.prompts(rows, sampler.room), "ids": ids.take(rows).to_pylist()})
        )

    spec = stages.model_spec("answers") | asdict(settings)
    return stages.fill(spec, plan_by_work(work, stages.part_tokens), "Sampling answers", load, work)


def _ask_server(stages: PoolStages, method: AnswerDivergence, seed: int) -> Parts:
    """Sample answers from a server. It receives text with the Alpaca template, else messages."""
    if not method.base_url or not method.served_model:
        raise MethodError(
            "Answers from a server need its address (base_url) and the model's name there (served_model)."
        )
    form: Literal["chat", "completions"] = "completions" if stages.reading.template == "alpaca" else "chat"
    served = ServedModel(method.base_url, method.served_model, form)
    settings = sampling_settings(method, seed)
    plan = plan_blocks(len(stages.pool), SERVED_PART_ROWS)
    spec = {"kind": "answers", "pool": stages.pool.fingerprint, "served": served.key_fields} | asdict(settings)
    with ServerSampler(served, settings) as server:

        def ask(rows: IntArray) -> pa.Table:
            return answer_table(server(_prompt_columns(stages.pool, rows)))

        return stages.fill(spec, plan, "Requesting answers from the server", lambda: ask)


def _prompt_columns(pool: Pool, rows: IntArray) -> dict[str, list[Any]]:
    """Return the columns of these rows that samplers read."""
    columns = pool.rows.select(["id", "prompt", "response", "turns"]).take(rows)
    return dict(columns.rename_columns(["ids", "prompt", "response", "turns"]).to_pydict())


def _read_file(stages: PoolStages, method: AnswerDivergence, _seed: int) -> Parts:
    """Read answers from a file, joined by id. The SHA-256 of the file is part of the stage's key."""
    if not method.answers_file:
        raise MethodError("Answers from a file need its path (answers_file).")
    path = Path(method.answers_file)
    with disk_errors(path):
        if path.is_char_device():  # which may have no end
            raise MethodError(f"{path} is a device. Give a file of answers.")
    digest = file_digest(path)
    plan = plan_blocks(len(stages.pool), FILE_PART_ROWS)
    spec = {"kind": "answers", "pool": stages.pool.fingerprint, "file": digest, "answers": method.answers}
    with stages.timed("answers"), stages.open(spec, plan) as parts:
        if missing := parts.missing():
            stages.report.stage("Loading the answers", rows=0, work=100)
            ids = stages.pool.rows["id"].to_pylist()
            answers = read_answers(path, ids, method.answers, percent_callback(stages.report))
            for part in missing:
                parts.write(part, answers.table.slice(int(plan[part][0]), len(plan[part])))
            stages.report.note(
                f"{answers.matched:,} rows have answers, {answers.missing:,} have none. {answers.unknown:,} "
                "answers have an unknown id."
            )
    return parts


SOURCES: Mapping[str, Callable[[PoolStages, AnswerDivergence, int], Parts]]
SOURCES = {"local": _sample, "server": _ask_server, "file": _read_file}


def _count_all(answers: Parts) -> dict[str, Any]:
    """Count missing, empty, refused and truncated answers over all parts."""
    total: dict[str, int] = {}
    for part in range(len(answers.plan)):
        for name, count in asdict(count_answers(answers.read(part))).items():
            total[name] = total.get(name, 0) + count
    return total


# Geometry


def _compute_grams(stages: PoolStages, method: AnswerDivergence, answers: Parts) -> Parts:
    """Store the Gram matrix of each row's answers, and their mean embedding."""
    embed: Embed | None = None
    about, load = _find_embedder(stages, method)
    spec = {"kind": "geometry", "centres": True, "answers": answers.folder.name} | about
    work = np.ones(len(stages.pool), np.int64)

    def embed_part(part: int, rows: IntArray) -> None:
        nonlocal embed
        embed = embed or load()
        vectors = embed(prompts(stages.pool, rows), answers.read(part, ["answers"])["answers"].to_pylist())
        gram, centre = gram_matrices(vectors).reshape(len(rows), -1), answer_centres(vectors).astype(np.float16)
        parts.write(part, pa.table({"gram": as_column(gram), CENTRE: as_column(centre)}), stages.made_by)

    with stages.timed("geometry"), stages.open(spec, answers.plan, together=True) as parts:
        stages.compute_missing([parts], "Embedding the answers", work, embed_part)
    return parts


def _find_embedder(stages: PoolStages, method: AnswerDivergence) -> tuple[dict[str, Any], Callable[[], Embed]]:
    """Return the part of the stage's key that identifies the embedding model, and a function that loads it."""
    from core.models.answer_embeddings import AnswerEmbedder, encode_answers
    from core.models.sentence_encoder import SentenceEncoder

    if method.embeddings:
        encoder = SentenceEncoder(method.embeddings, device=stages.reading.device)

        def load_encoder() -> Embed:
            stages.begin_on(encoder.device)
            return lambda _, answers: encode_answers(encoder, answers)

        return {"encoder": encoder.revision}, load_encoder

    def load() -> Embed:
        embedder = AnswerEmbedder(stages.model(), weights=method.weights)
        return lambda instructions, answers: embedder({"instruction": instructions, "answers": answers})["vectors"]

    weights = {} if method.weights == "unicode" else {"weights": method.weights}
    return {"revision": stages.ref.revision, "dtype": stages.dtype} | weights, load


def _geometry(grams: Parts, n: int, k: int) -> tuple[FloatArray, FloatArray, IntArray]:
    """Return dispersion, anisotropy and number of the k answers of each row, each (n,)."""
    dispersion, anisotropy = (np.full(n, np.nan, np.float32) for _ in range(2))
    counted = np.zeros(n, np.int64)
    for rows, gram in grams.blocks("gram"):
        some = compute_geometry(gram.reshape(-1, k, k))
        dispersion[rows], anisotropy[rows], counted[rows] = some.dispersion, some.anisotropy, some.counted
    return dispersion, anisotropy, counted


# Bins


def _find_bins(stages: PoolStages, method: AnswerDivergence, seed: int) -> tuple[IntArray, str]:
    """Return the semantic bin of each row (N,), and the key of the stage that stores the bins and their merges."""
    made_of, embeddings = prompt_embeddings(stages, method.embeddings)
    count = method.bins_measured or default_bin_count(len(stages.pool))

    def make(folder: Path, _: Progress) -> IntArray:
        tree = build_bin_tree(embeddings, count, seed=seed, directions=True)
        write_merges(folder, tree.merges)
        return tree.fine

    spec = {"kind": "bins", "embeddings": made_of, "bins": count, "seed": seed}
    spec |= sample_key(stages, embeddings.n, embeddings.width)
    title = "Clustering instructions into semantic bins"
    folder, bins = stages.once(spec, len(stages.pool), "semantic_bin", title, make, percent=False, files=[MERGES])
    return bins, folder.name


def write_merges(folder: Path, merges: IntArray) -> None:
    """Write the merges of semantic bins, in the folder of the bins."""
    write_array(folder / MERGES, merges)
