"""Train with Unsloth on data/train.jsonl, with the settings of unsloth.yaml: python train_unsloth.py.

The loss is on the assistant's turns alone, as the chat template prints them.
"""

import json
from pathlib import Path
from typing import Any

import yaml
from unsloth import FastLanguageModel  # before TRL, which it changes

# isort: split
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

HERE = Path(__file__).resolve().parent
MASKED = -100
Rows = list[dict[str, Any]]


def main() -> None:
    """Train an adapter, and save it with its tokenizer."""
    settings = yaml.safe_load((HERE / "unsloth.yaml").read_text(encoding="utf-8"))
    network, tokenizer = FastLanguageModel.from_pretrained(**settings["model"])
    network = FastLanguageModel.get_peft_model(network, **settings["lora"])
    if "chat_template" in settings:
        tokenizer.chat_template = (HERE / settings["chat_template"]).read_text(encoding="utf-8")
    config = SFTConfig(**settings["sft"])
    sets = {part: HERE / "data" / f"train{part}.jsonl" for part in ("", ".heldout")}
    encoded = {
        part: Dataset.from_list([encode(tokenizer, row, config.max_length) for row in read_lines(file)])
        for part, file in sets.items()
        if file.exists()
    }
    trainer = SFTTrainer(
        model=network,
        args=config,
        train_dataset=encoded[""],
        eval_dataset=encoded.get(".heldout"),
        processing_class=tokenizer,
    )
    trainer.train()
    network.save_pretrained(config.output_dir)
    tokenizer.save_pretrained(config.output_dir)


def encode(tokenizer: Any, row: dict[str, Any], max_length: int) -> dict[str, list[int]]:
    """Return the tokens of a row, with labels that are MASKED outside the assistant's turns.

    An earlier turn that the template prints otherwise in the whole conversation, such as without its reasoning, is
    context.
    """
    messages, tools = row["messages"], row.get("tools")

    def render(count: int, *, prompt: bool = False) -> str:
        return str(
            tokenizer.apply_chat_template(messages[:count], tools=tools, tokenize=False, add_generation_prompt=prompt)
        )

    text, done = render(len(messages)), 0
    ids, labels = list[int](), list[int]()
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt, turn = render(place, prompt=True), render(place + 1)
        if not (text.startswith(turn) and turn.startswith(prompt)):
            continue
        for start, end, trained in ((done, len(prompt), False), (len(prompt), len(turn), True)):
            piece = tokenizer(text=text[start:end], add_special_tokens=False)["input_ids"]
            ids += piece
            labels += piece if trained else [MASKED] * len(piece)
        done = len(turn)
    return {"input_ids": ids[:max_length], "labels": labels[:max_length], "attention_mask": [1] * len(ids[:max_length])}


def read_lines(file: Path) -> Rows:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]


if __name__ == "__main__":
    main()
