"""Training of the embedded model: `python -m core.demo.training.train --data DIR --out DIR --work DIR`.

Plain language modelling over concatenated documents, each between BOS and EOS, cut into windows.
The learning rate warms up, stays constant, and decays linearly over the last DECAY_SHARE of the
tokens, where the windows grow from a quarter of the context to all of it. A file named `stop` in
the work folder ends the run early with the same decay. Hidden matrices are trained with Muon, the
rest with AdamW. Checkpoints are safetensors, and the same command resumes from the last one.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from core.demo.training import vocabulary
from core.demo.training.corpus import REPEATS, SOURCES, Document, read_corpus
from core.demo.training.heldout import measure_held_out
from core.demo.training.stream import Block, next_block, stream_tokens
from core.demo.training.vocabulary import TokenIds

CONTEXT = 1024  # positions
BATCH_TOKENS = 8192  # tokens of one step
PART_TOKENS = 2048  # tokens of one forward pass: more do not fit the processor's cache
WARM_UP_STEPS = 50
DECAY_SHARE = 0.25
MUON_RATE = 0.02
ADAM_RATE = 0.003
REPORTED = ("gsm8k", "flan_cot", "t0", "roleplay", "demo")
REPORTED_ROWS = 30  # held-out rows of each pool in a progress report

Rows = dict[str, list[TokenIds]]  # token rows by source


@dataclass
class TrainingProgress:
    """Progress of a training run, stored in its checkpoint."""

    steps: int  # the last step; fewer once a stop file was seen
    decay_from: int
    step: int = 0
    consumed: int = 0  # tokens read from the stream
    seconds: float = 0.0

    @classmethod
    def over(cls, tokens: int) -> "TrainingProgress":
        """Return the progress of a new run over this many tokens."""
        steps = tokens // BATCH_TOKENS
        return cls(steps=steps, decay_from=round(steps * (1 - DECAY_SHARE)))

    def rate(self) -> float:
        """Return the share of the full learning rate at this step: linear rise, constant, linear fall to 0."""
        rise = (self.step + 1) / WARM_UP_STEPS
        left = (self.steps - self.step) / max(1, self.steps - self.decay_from)
        return min(rise, 1.0, left)

    def end_early(self) -> None:
        """Begin the decay at this step, over a tail in proportion to the steps done."""
        self.decay_from = self.step
        self.steps = self.step + math.ceil(self.step * DECAY_SHARE / (1 - DECAY_SHARE))

    def window(self) -> int:
        """Return the tokens of one training window at this step."""
        return CONTEXT if self.step >= self.decay_from else CONTEXT // 4


def new_model(seed: int) -> LlamaForCausalLM:
    """Return a small Llama with fresh weights."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary.VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=vocabulary.BOS_ID,
        eos_token_id=vocabulary.EOS_ID,
        pad_token_id=vocabulary.PAD_ID,
    )
    return LlamaForCausalLM(config)


def mean_nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean loss in fp32; shapes (B, T, V), (B, T)."""
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


class TrainingRun:
    """A model in training: weights, two optimizers and progress."""

    def __init__(self, progress: TrainingProgress, *, seed: int, compiled: bool) -> None:
        self.progress = progress
        self.model = new_model(seed)
        self.model.set_attn_implementation("eager")  # sdpa's backward on a CPU costs three times as much
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.loss = torch.compile(mean_nats, dynamic=False) if compiled else mean_nats
        hidden = [p for n, p in self.model.named_parameters() if ".layers." in n and p.ndim == 2]
        others = [p for n, p in self.model.named_parameters() if ".layers." not in n or p.ndim != 2]
        self.optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(hidden, lr=MUON_RATE, weight_decay=0.01),
            torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0),
        )

    def step(self, batch: Block) -> float:
        """Train on (B, T + 1) tokens and return the mean nats per token before the step."""
        tokens = torch.from_numpy(batch)
        total = 0.0
        for part in torch.split(tokens, max(1, PART_TOKENS // (batch.shape[1] - 1))):
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.forward(input_ids=part[:, :-1], use_cache=False).logits
            loss = self.loss(logits, part[:, 1:]) * (len(part) / len(tokens))
            torch.autograd.backward(loss)
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, full in zip(self.optimizers, (MUON_RATE, ADAM_RATE), strict=True):
            optimizer.param_groups[0]["lr"] = full * self.progress.rate()
            optimizer.step()
            optimizer.zero_grad()
        self.progress.step += 1
        return total

    def save(self, folder: Path) -> None:
        """Save weights, moments and progress in one file, complete or absent."""
        tensors = {f"model.{name}": p.detach() for name, p in self.model.named_parameters()}
        for number, optimizer in enumerate(self.optimizers):
            for i, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{number}.{i}.{key}": torch.as_tensor(value) for key, value in state.items()}
        info = {"progress": json.dumps(asdict(self.progress))}
        draft = folder / "next.safetensors"
        save_file({name: t.contiguous() for name, t in tensors.items()}, draft, metadata=info)
        draft.replace(folder / "checkpoint.safetensors")

    def resume(self, folder: Path) -> None:
        """Restore the folder's checkpoint, if there is one."""
        path = folder / "checkpoint.safetensors"
        if not path.exists():
            return
        tensors = load_file(path)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[f"model.{name}"])
        for which, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for name in (name for name in tensors if name.startswith(f"{which}.")):
                _, i, key = name.split(".")
                state.setdefault(int(i), {})[key] = tensors[name]
            optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
        with safe_open(path, "pt") as file:
            self.progress = TrainingProgress(**json.loads(file.metadata()["progress"]))


def export_model(model: LlamaForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    """Write the folder that transformers loads, weights in bf16; each file complete or absent."""
    draft = out.with_name(f".{out.name}.draft")
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.to(torch.bfloat16).save_pretrained(draft)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=vocabulary.BOS,
        eos_token=vocabulary.EOS,
        pad_token=vocabulary.PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(draft)
    rules = json.loads((draft / "tokenizer.json").read_text("utf-8"))
    (draft / "tokenizer.json").write_text(json.dumps(rules, ensure_ascii=False), "utf-8")  # half the size
    out.mkdir(parents=True, exist_ok=True)
    for file in draft.iterdir():
        file.replace(out / file.name)
    shutil.rmtree(draft)


def tokenize_by_source(docs: list[Document], tokenizer: Tokenizer) -> Rows:
    """Return the token rows of each source."""
    texts: dict[str, list[str]] = {}
    for doc in docs:
        texts.setdefault(doc.source, []).append(doc.text)
    return {source: vocabulary.token_rows(tokenizer, texts_of_source) for source, texts_of_source in texts.items()}


def load_or_train_tokenizer(train: list[Document], work: Path) -> Tokenizer:
    """Return the run's tokenizer: trained once, loaded when the run is resumed."""
    path = work / "tokenizer.json"
    if not path.exists():
        vocabulary.train_tokenizer(doc.text for doc in train).save(str(path))
    return Tokenizer.from_file(str(path))


def report_held_out(
    model: LlamaForCausalLM, rows: Rows, unigram: NDArray[np.float64], *, most: int | None = None
) -> Mapping[str, str]:
    """Return held-out figures of each reported pool, over its first `most` rows."""
    model.eval()
    figures = {name: str(measure_held_out(model, rows[name][:most], unigram)) for name in REPORTED if name in rows}
    model.train()
    return figures


def train_model(
    run: TrainingRun, rows: Rows, work: Path, seed: int, *, every: float, on_save: Callable[[], None]
) -> None:
    """Train to the last step. Save a checkpoint every `every` seconds and call `on_save` after each."""
    tokens = islice(stream_tokens(rows, REPEATS, seed), run.progress.consumed, None)
    losses: list[float] = []
    start, last_save = time.monotonic() - run.progress.seconds, time.monotonic()
    while (now := run.progress).step < now.steps:
        if (work / "stop").exists() and now.step < now.decay_from:
            now.end_early()
        batch = next_block(tokens, BATCH_TOKENS // now.window(), now.window())
        now.consumed += batch.size
        losses.append(run.step(batch))
        now.seconds = time.monotonic() - start
        if now.step % 20 == 0:
            typer.echo(f"step {now.step}/{now.steps}  loss {np.mean(losses[-20:]):.3f}  {now.seconds:,.0f} s")
        if time.monotonic() - last_save > every:
            run.save(work)
            on_save()
            last_save = time.monotonic()


def main(
    data: Annotated[Path, typer.Option(help="Folder with the pools that corpus.SOURCES names.")],
    out: Annotated[Path, typer.Option(help="Model folder to write.")],
    work: Annotated[Path, typer.Option(help="Checkpoints; a file named stop here ends the run early.")],
    tokens: Annotated[int, typer.Option(help="Tokens to learn from.")] = 12_000_000,
    seed: Annotated[int, typer.Option(help="Split, first weights and order of rows.")] = 0,
    minutes: Annotated[float, typer.Option(help="Time between checkpoints.")] = 8.0,
    compiled: Annotated[bool, typer.Option(help="torch.compile; needs a C++ compiler.")] = True,
) -> None:
    """Train the embedded tokenizer and base model."""
    missing = [source.file for source in SOURCES if not (data / source.file).exists()]
    if missing:
        raise typer.BadParameter(f"{data} has no {', '.join(missing)}. --data names the folder of public pools.")
    work.mkdir(parents=True, exist_ok=True)
    train, held_out_docs = read_corpus(data, seed)
    tokenizer = load_or_train_tokenizer(train, work)
    rows, held_out_rows = tokenize_by_source(train, tokenizer), tokenize_by_source(held_out_docs, tokenizer)
    unigram = vocabulary.unigram_nats(rows, REPEATS)
    run = TrainingRun(TrainingProgress.over(tokens), seed=seed, compiled=compiled)
    run.resume(work)

    def on_save() -> None:
        export_model(run.model, tokenizer, out)
        for name, figures in report_held_out(run.model, held_out_rows, unigram, most=REPORTED_ROWS).items():
            typer.echo(f"  {name:10} {figures}")

    train_model(run, rows, work, seed, every=minutes * 60, on_save=on_save)
    export_model(run.model, tokenizer, out)
    typer.echo(f"{run.progress.step * BATCH_TOKENS:,} tokens in {run.progress.seconds:,.0f} s; all held-out rows:")
    shipped = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32)
    for name, figures in report_held_out(shipped, held_out_rows, unigram).items():
        typer.echo(f"  {name:10} {figures}")


if __name__ == "__main__":
    typer.run(main)
