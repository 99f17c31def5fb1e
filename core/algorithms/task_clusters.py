"""Derived tasks: clusters of prompts as tasks, for a pool without task labels. Arrays and text only.

1. Prompt embeddings minus their mean, scaled to unit length. Hidden states of language models share one large
   direction (Ethayarajh 2019, https://arxiv.org/abs/1909.00512), so uncentred all prompts look similar.
2. k-means on them (core.algorithms.kmeans).
3. Names by class-based TF-IDF (Grootendorst 2022, https://arxiv.org/abs/2203.05794), counting prompts, not
   occurrences, so that no long prompt dominates its cluster:

       weight(w, c) = p(w, c) · ln(1 + A / Σ_c p(w, c))

   p(w, c) = share of the cluster's sampled prompts that contain the word w; A = mean over clusters of Σ_w p(w, c).

A name always begins with "derived", its words contain only letters and digits whatever the prompts contain, and the
number in it makes it unique.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from core.algorithms.kmeans import kmeans
from core.algorithms.vector_blocks import VectorBlocks
from core.schema import IntArray

MIN_TASKS, MAX_TASKS = 2, 50  # tasks
ROWS_PER_TASK = 50
PROMPTS_PER_TASK = 200  # prompts read per cluster for its name
MAX_PROMPT_CHARS = 4000  # characters of a prompt that are read
MAX_WORD_CHARS = 20  # characters of a word; longer ones are mostly links
WORDS_PER_NAME = 3  # words in a name

# Scripts written without spaces: Thai, Lao, Burmese, Khmer, kana, Han. A word is approximated by two characters.
UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+)"
)


class _Kept(dict[int, int]):
    """Table for `str.translate`: keeps letters, digits and combining marks of letters; all else becomes a space."""

    def __missing__(self, code: int) -> int:
        letter = chr(code).isalnum() or unicodedata.category(chr(code)) in ("Mn", "Mc")
        self[code] = code if letter else ord(" ")
        return self[code]


LETTERS_AND_DIGITS = _Kept()


@dataclass(frozen=True, eq=False)
class DerivedTasks:
    """A task for every row that has an embedding."""

    codes: IntArray  # (N,) into `names`, 0 = the largest; −1: the row has no embedding
    names: tuple[str, ...]  # "derived 1: python, function, list"


def default_task_count(n: int) -> int:
    """Return the number of tasks to derive from n rows: √(n / 50) in 2..50, so tasks grow in number and in size."""
    return min(MAX_TASKS, max(MIN_TASKS, round(sqrt(n / ROWS_PER_TASK))))


def derive_tasks(
    embeddings: VectorBlocks, prompts: Callable[[IntArray], Sequence[str]], tasks: int, *, seed: int
) -> DerivedTasks:
    """Derive tasks by clustering embeddings by direction; a row without an embedding has none.

    `prompts` returns the texts of given rows; it is called once per task, with at most 200 rows. There are fewer tasks
    than requested if fewer rows differ. Same seed, same tasks. In memory: that of `core.algorithms.kmeans`.
    """
    codes = kmeans(embeddings, tasks, seed=seed, directions=True).labels
    return DerivedTasks(codes, tuple(_names(codes, prompts, np.random.default_rng(seed))))


def _names(codes: IntArray, prompts: Callable[[IntArray], Sequence[str]], rng: np.random.Generator) -> Iterator[str]:
    """Yield one name per task."""
    for number, best in enumerate(cluster_words(codes, prompts, rng), start=1):
        yield f"derived {number}: {', '.join(best)}" if best else f"derived {number}"


def cluster_words(
    codes: IntArray, texts: Callable[[IntArray], Sequence[str]], rng: np.random.Generator
) -> list[list[str]]:
    """Return the WORDS_PER_NAME words of most weight for each of the clusters 0.. in `codes` (N,); −1: in none.

    `texts` returns the texts of given rows; it is called once per cluster, with at most PROMPTS_PER_TASK rows.
    """
    shares = []
    for code in range(int(codes.max(initial=-1)) + 1):
        rows = np.flatnonzero(codes == code)
        if len(rows) > PROMPTS_PER_TASK:
            rows = np.sort(rng.choice(rows, PROMPTS_PER_TASK, replace=False))
        shares.append(_shares(texts(rows)))
    return distinctive_words(shares)


def _shares(texts: Sequence[str]) -> dict[str, float]:
    """Return the share of the texts that contain each word."""
    counts = Counter(word for text in texts for word in set(extract_words(text)))
    return {word: count / len(texts) for word, count in counts.items()}


def distinctive_words(shares: Sequence[dict[str, float]]) -> list[list[str]]:
    """Return for each cluster its words of most weight, best first; ties alphabetically. Fewer if it has fewer."""
    total: Counter[str] = Counter()
    for share in shares:
        total.update(share)
    mean = total.total() / max(1, len(shares))
    best_words = []
    for share in shares:
        weight = {word: p * log(1 + mean / total[word]) for word, p in share.items()}
        best_words.append(sorted(weight, key=lambda word: (-weight[word], word))[:WORDS_PER_NAME])
    return best_words


def extract_words(text: str) -> Iterator[str]:
    """Yield words that may appear in a name, as often as they occur: lower case, 2 to 20 letters and digits.

    English stop words and bare numbers are left out. Text of a script without spaces yields its pairs of characters.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    plain = unicodedata.normalize("NFKC", text[:MAX_PROMPT_CHARS]).lower().translate(LETTERS_AND_DIGITS)
    for run in plain.split():
        for place, piece in enumerate(UNSPACED.split(run)):
            if place % 2:
                yield from (piece[i : i + 2] for i in range(max(1, len(piece) - 1)))
            elif 2 <= len(piece) <= MAX_WORD_CHARS and piece not in ENGLISH_STOP_WORDS and not piece.isnumeric():
                yield piece
