"""Acceptance experiment for preference influence: does it find planted rows? Runs the whole measurement.

    python -m bench.planted_influence                    three seeds
    python -m bench.planted_influence --seeds 5 --noise words --steps 600
    python -m bench.planted_influence --json

    topics   eight, each with its own words and a grammar: the three words that may follow each word
    base     a small Llama trained on clean rows of all topics, long enough to learn the topics but only the beginnings
             of their grammar. With more `--steps` it learns the grammar too, and clean rows have nothing left to teach
    pool     640 rows, 80 of each topic, half of them with noise in place of the response
    target   three topics, five pairs of each, clean against noise; sub-task = topic
    noise    order: the words of the clean response, shuffled; words: any words of the topic; all: of any topic

The result is the share of the top 5 % (32 rows) that is clean and of a target topic; 120 / 640 = 0.19 is expected by
chance. The seed determines grammar, base, pool, pairs and warm-up. ROSE and LESS come from one measurement, so they
differ in the loss alone.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from core.measurement.measure import measure
from core.measurement.run_data import load_measured
from core.methods import build_method
from core.pool.pools import load_pool
from core.progress import SilentReporter
from core.schema import Reading
from core.workspace.folder import Workspace

TOPICS = 8
WORDS = 24  # per topic
SUCCESSORS = 3  # words that may follow a word
PROMPT_WORDS = 6  # words of a prompt
RESPONSE_WORDS = (6, 12)  # words of a response, fewest and most
ROWS, TARGETS, PAIRS = 640, 3, 5
SHARE = 0.05
STEPS = 60  # training steps of the base, on 64 rows each
RATE = 2e-3  # of the warm-up; the papers' rate changes nothing in so small a model
LEAST_SHARE = 0.8
SPECIAL = ("<unk>", "<s>", "</s>", "<q>", "<a>")
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}<q> {{ m.content }} <a>{% else %} {{ m.content }} </s>{% endif %}"
    "{% endfor %}"
)
Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Language:
    """A synthetic language of eight topics; seeded."""

    seed: int
    noise: str = "order"  # order | words | all

    @cached_property
    def successors(self) -> np.ndarray[Any, Any]:
        """Return the words that may follow each word, (TOPICS, WORDS, FOLLOW)."""
        rng = np.random.default_rng([self.seed, 0])
        choices = [rng.choice(WORDS, SUCCESSORS, replace=False) for _ in range(TOPICS * WORDS)]
        return np.stack(choices).reshape(TOPICS, WORDS, SUCCESSORS)

    def triple(self, rng: np.random.Generator, topic: int) -> Triple:
        """Generate a prompt, its clean response, and noise of the same length."""
        size = PROMPT_WORDS + int(rng.integers(*RESPONSE_WORDS, endpoint=True))
        chain = [int(rng.integers(WORDS))]
        while len(chain) < size:
            chain.append(int(rng.choice(self.successors[topic, chain[-1]])))
        words = [_word(topic, i) for i in chain]
        return (
            _join(words[:PROMPT_WORDS]),
            _join(words[PROMPT_WORDS:]),
            _join(self._noise(rng, topic, words[PROMPT_WORDS:])),
        )

    def _noise(self, rng: np.random.Generator, topic: int, clean: list[str]) -> list[str]:
        if self.noise == "order":
            return [clean[i] for i in rng.permutation(len(clean))]
        topics = rng.integers(TOPICS, size=len(clean)) if self.noise == "all" else [topic] * len(clean)
        return [_word(t, int(rng.integers(WORDS))) for t in topics]


def _word(topic: int, i: int) -> str:
    return f"{chr(97 + topic)}{i}"


def _join(words: list[str]) -> str:
    return " ".join(words)


def make_base(language: Language, folder: Path, steps: int = STEPS) -> Path:
    """Train a small Llama on clean rows, each seen once, and save it with its tokenizer."""
    logging.disable_progress_bar()
    tokenizer = _tokenizer()
    torch.manual_seed(language.seed)
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=64,
            bos_token_id=SPECIAL.index("<s>"),
            eos_token_id=SPECIAL.index("</s>"),
        )
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min((k + 1) / 30, 1.2 * (1 - k / steps), 1.0))
    rng = np.random.default_rng([language.seed, 1])
    for _ in range(steps):
        rows = [language.triple(rng, int(topic)) for topic in rng.integers(TOPICS, size=64)]
        ids = tokenizer([f"<q> {prompt} <a> {clean} </s>" for prompt, clean, _ in rows])["input_ids"]
        length = max(map(len, ids))
        tokens = torch.tensor([row + [0] * (length - len(row)) for row in ids])
        loss = network(input_ids=tokens, labels=tokens.masked_fill(tokens == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        falling.step()
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer() -> PreTrainedTokenizerFast:
    """Build a tokenizer with one token per word."""
    words = [*SPECIAL, *(_word(t, i) for t in range(TOPICS) for i in range(WORDS))]
    rules = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    rules.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=rules, additional_special_tokens=["<q>", "<a>"], **names)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def write_planted(language: Language, seed: int, folder: Path) -> tuple[Path, Path, np.ndarray[Any, Any]]:
    """Write a pool and a target set; return their paths and a (ROWS,) mask of rows that are clean and on target."""
    rng = np.random.default_rng([language.seed, seed, 2])
    topics = rng.choice(TOPICS, TARGETS, replace=False)
    rows, on_target = [], []
    for i in rng.permutation(ROWS):
        topic, clean = int(i) % TOPICS, i < ROWS // 2
        prompt, right, wrong = language.triple(rng, topic)
        rows.append({"instruction": prompt, "output": right if clean else wrong})
        on_target.append(clean and topic in topics)
    pairs = []
    for topic in np.repeat(topics, PAIRS):
        prompt, right, wrong = language.triple(rng, int(topic))
        pairs.append({"prompt": prompt, "chosen": right, "rejected": wrong, "topic": f"topic {topic}"})
    folder.mkdir(parents=True)
    return _write_jsonl(folder / "pool.jsonl", rows), _write_jsonl(folder / "pairs.jsonl", pairs), np.array(on_target)


def _write_jsonl(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measure_shares(language: Language, base: Path, seed: int, folder: Path) -> dict[str, float]:
    """Return the share of the top 5 % that is clean and of a target topic, for ROSE, LESS and a random order."""
    source, pairs, on_target = write_planted(language, seed, folder)
    workspace = Workspace(folder / "workspace")
    pool = load_pool(str(source), workspace=workspace.root)
    settings = {"targets": f"planted={pairs}", "subtask": "topic", "epochs": 4, "lora_rank": 8, "learning_rate": RATE}
    method = build_method("preference_influence", settings)
    run = measure(pool, method, Reading(model=str(base)), workspace, seed=seed, report=SilentReporter())
    scores = method.scores(load_measured(run))
    orders = {name: np.argsort(-scores[f"{column}.planted"], kind="stable") for name, column in SCORES.items()}
    orders["random"] = np.random.default_rng(seed).permutation(ROWS)
    return {name: float(on_target[order[: round(SHARE * ROWS)]].mean()) for name, order in orders.items()}


SCORES = {"ROSE": "influence", "LESS": "less"}


def main() -> int:
    """Run the experiment for each seed and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--noise", choices=("order", "words", "all"), default="order")
    parser.add_argument("--steps", type=int, default=STEPS, help="of 64 rows, that the base is trained")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    options = parser.parse_args()
    report = []
    for seed in range(options.seeds):
        began = time.perf_counter()
        language = Language(seed, options.noise)
        with tempfile.TemporaryDirectory() as folder:
            base = make_base(language, Path(folder) / "base", options.steps)
            shares = measure_shares(language, base, seed, Path(folder) / "pool")
        report.append({"seed": seed, **shares, "seconds": time.perf_counter() - began})
    print(json.dumps(report, indent=2) if options.json else format_table(report))
    return 0


def format_table(report: list[dict[str, float]]) -> str:
    """Return the report as text."""
    names = ("ROSE", "LESS", "random")
    spread = {name: np.array([row[name] for row in report]) for name in names}
    lines = [
        f"share of the top {round(SHARE * ROWS)} of {ROWS} rows that is clean and of a target topic",
        "",
        "seed       " + "".join(f"{name:>8}" for name in names) + "   seconds",
        *(
            f"{row['seed']:<11}" + "".join(f"{row[name]:8.2f}" for name in names) + f"{row['seconds']:10.1f}"
            for row in report
        ),
        "",
        *(
            f"{label:<11}" + "".join(f"{float(of(spread[name])):8.2f}" for name in names)
            for label, of in (("mean", np.mean), ("lowest", np.min), ("highest", np.max))
        ),
        "",
        f"wanted: ROSE at least {LEAST_SHARE} for every seed, its mean above that of LESS and of random",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
