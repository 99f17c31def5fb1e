"""Train and evaluate one run of a proof, or evaluate what another trainer has trained.

    python train_trl.py RUN                     with TRL (pip install trl), on the rows of every step of the plan
    python train_trl.py RUN --weights FOLDER    evaluate the model, or the LoRA adapter, in FOLDER

RUN is a line of runs.txt. The result is results/RUN.jsonl: first a line on the run, then a line for each evaluated row
with the summed NLL of its response (nats) and the number of response tokens. `python -m core prove collect` reads it.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).resolve().parent
BATCH_TOKENS = 4096  # padded tokens that are evaluated together
MASKED = -100
Rows = list[dict[str, Any]]


def main() -> None:
    """Train if no weights are given, evaluate, and write the result when it is complete."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", help="a line of runs.txt")
    parser.add_argument("--weights", help="a trained model or LoRA adapter; TRL trains nothing then")
    parser.add_argument("--trainer", default="another trainer", help="what trained the weights")
    parser.add_argument("--save", action="store_true", help="keep the trained model, in models/RUN")
    options = parser.parse_args()
    if torch.cuda.device_count() > 1:
        raise SystemExit("A run takes one GPU. Name it, for example CUDA_VISIBLE_DEVICES=0.")
    proof = json.loads((HERE / "runs.json").read_text(encoding="utf-8"))
    run = proof["runs"][options.run]
    began = time.monotonic()
    network, losses = load_network(proof, options.weights), list[float]()
    if run["rows"] and not options.weights:
        network, losses = train(network, proof, run)
        if options.save:
            network.save_pretrained(HERE / "models" / options.run)
            load_tokenizer(proof).save_pretrained(HERE / "models" / options.run)
    trained = time.monotonic()
    network = network.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    results: Rows = []
    for target, file in proof["targets"].items():
        results += [{"target": target} | result for result in evaluate(network, read_lines(HERE / file))]
    about = {"plan": proof["plan"], "run": options.run, "trainer": options.trainer if options.weights else "trl"}
    about |= {"training_seconds": trained - began, "evaluation_seconds": time.monotonic() - trained, "losses": losses}
    write_lines(HERE / "results" / f"{options.run}.jsonl", [about, *results])


def load_network(proof: dict[str, Any], weights: str | None) -> Any:
    """Load the model of the plan, or trained weights; peft adds an adapter to the model that it names."""
    if weights and (Path(weights) / "adapter_config.json").exists():
        from peft import AutoPeftModelForCausalLM

        return AutoPeftModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    revision = None if weights else proof["revision"]
    return AutoModelForCausalLM.from_pretrained(weights or proof["model"], revision=revision, dtype=torch.float32)


def train(network: Any, proof: dict[str, Any], run: dict[str, Any]) -> tuple[Any, list[float]]:
    """Train with TRL on the response tokens alone; return the model, and the loss of each step."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    class PlannedTrainer(SFTTrainer):  # type: ignore[misc, unused-ignore]
        """Trains on the rows, and at the learning rate, that the plan has for each step."""

        def get_train_dataloader(self) -> Any:
            """Return the steps' rows as batches."""
            loader = DataLoader(self.train_dataset, batch_sampler=steps["rows"], collate_fn=self.data_collator)
            return self.accelerator.prepare(loader)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            """Return the plan's rates, as shares of the highest; one is asked for after the last step too."""
            shares = [*steps["rate"], 0.0]
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, lambda step: shares[step])
            return self.lr_scheduler

    steps = json.loads((HERE / run["steps"]).read_text(encoding="utf-8"))

    columns = ("input_ids", "labels")  # of tokens; labels are -100 outside the response
    rows = [{name: row[name] for name in columns} for row in read_lines(HERE / run["rows"])]
    lora = proof["lora"] and LoraConfig(task_type="CAUSAL_LM", **proof["lora"])
    config = SFTConfig(**(proof["sft"] | run["sft"]), bf16=torch.cuda.is_available())
    dataset = Dataset.from_list(rows)
    trainer = PlannedTrainer(
        network, args=config, train_dataset=dataset, processing_class=load_tokenizer(proof), peft_config=lora or None
    )
    trainer.train()
    return trainer.model, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def load_tokenizer(proof: dict[str, Any]) -> Any:
    """Load the model's tokenizer; TRL asks for a padding token, which no loss counts."""
    tokenizer = AutoTokenizer.from_pretrained(proof["model"], revision=proof["revision"])
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


@torch.inference_mode()
def evaluate(network: Any, rows: Rows) -> Rows:
    """Return id, summed NLL and response tokens of each row, of a pair also those of its rejected response.

    Rows with a short response say whether it is the greedy answer to the prompt.
    """
    results: Rows = [{"id": row["id"]} for row in rows]
    for prefix in ("", "rejected_"):
        places = [k for k, row in enumerate(rows) if f"{prefix}input_ids" in row]
        places.sort(key=lambda k: len(rows[k][f"{prefix}input_ids"]))
        while places:
            size = max(1, BATCH_TOKENS // len(rows[places[-1]][f"{prefix}input_ids"]))
            some, places = places[-size:], places[:-size]
            batch = [(rows[k][f"{prefix}input_ids"], rows[k][f"{prefix}labels"]) for k in some]
            for k, (nll, tokens, greedy) in zip(some, sum_nlls(network, batch), strict=True):
                results[k] |= {f"{prefix}nll": nll, f"{prefix}tokens": tokens}
                results[k] |= {"match": greedy} if rows[k].get("short") else {}
    return results


def sum_nlls(network: Any, rows: list[tuple[list[int], list[int]]]) -> list[tuple[float, int, bool]]:
    """Return summed NLL, response tokens, and whether every response token is the most likely one, of each row."""
    device = next(network.parameters()).device
    ids, labels = (nn.utils.rnn.pad_sequence(
        [torch.tensor(row[side]) for row in rows], batch_first=True, padding_value=value
    ).to(device) for side, value in ((0, 0), (1, MASKED)))  # fmt: skip
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = network(input_ids=ids, use_cache=False).logits[:, :-1].float()
    targets = labels[:, 1:]
    nll = nn.functional.cross_entropy(logits.mT, targets, ignore_index=MASKED, reduction="none").double()
    counted = targets != MASKED
    greedy = ((logits.argmax(-1) == targets) | ~counted).all(1)
    return list(zip(nll.sum(1).tolist(), counted.sum(1).tolist(), greedy.tolist(), strict=True))


def read_lines(file: Path) -> Rows:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


def write_lines(file: Path, rows: Rows) -> None:
    """Write JSON lines under a temporary name, so that a result is complete or absent; refuse NaN."""
    if any(isinstance(value, float) and not math.isfinite(value) for row in rows for value in row.values()):
        raise SystemExit(f"{file.name}: a loss is not finite. Lower the learning rate.")
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".unfinished")
    temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    temporary.replace(file)


if __name__ == "__main__":
    main()
