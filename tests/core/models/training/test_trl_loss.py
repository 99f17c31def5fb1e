"""The loss of a training and its mask are those of TRL's completion-only loss, computed by TRL from the texts."""

import numpy as np
import pytest
import torch
from datasets import Dataset

from core.models.encoder import Encoder
from core.models.loading import load_network, load_tokenizer
from core.models.reference import resolve_model
from core.models.training.finetune import train
from core.models.training.response_loss import response_loss
from core.models.training.schedule import TrainSpec
from core.schema import Reading

pytestmark = pytest.mark.slow  # TRL takes long to import


def test_it_equals_the_completion_only_loss_of_trl_on_ten_rows(tmp_path):
    from trl import SFTConfig, SFTTrainer

    ref = resolve_model("embedded")
    tokenizer, network = load_tokenizer(ref), load_network(ref, "float32")
    prompts = [f"Add {k} and {3 * k}." if k % 2 else f"Name {k + 2} fruits, and nothing else." for k in range(10)]
    responses = [f"The sum is {4 * k}." if k % 2 else ", ".join(["apple", "pear"] * (k + 1)) for k in range(10)]
    rows = Encoder(tokenizer, Reading(template="alpaca", max_length=200))(
        {"prompt": prompts, "response": responses, "turns": [None] * 10}
    )
    split = [(t[: s[0]], t[s[0] : s[1]]) for t, s in zip(rows["tokens"], rows["spans"], strict=True)]
    texts = [[tokenizer.decode(part, skip_special_tokens=True) for part in row] for row in split]
    data = Dataset.from_list([{"prompt": prompt, "completion": completion} for prompt, completion in texts])
    settings = SFTConfig(
        output_dir=str(tmp_path),
        per_device_train_batch_size=10,
        report_to="none",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
    )
    trainer = SFTTrainer(network, settings, train_dataset=data, processing_class=tokenizer)
    (batch,) = trainer.get_train_dataloader()
    theirs = {
        tuple(ids[mask == 1].tolist()): (label != -100)[mask == 1].tolist()
        for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True)
    }
    ours = {
        tuple(tokens.tolist()): [spans[0] <= place < spans[1] for place in range(len(tokens))]
        for tokens, spans in zip(rows["tokens"], rows["spans"], strict=True)
    }
    assert theirs == ours  # the same tokens, and the same of them counted
    with torch.no_grad():
        expected = float(trainer.compute_loss(network.eval(), batch))
        total = sum(int(spans[1] - spans[0]) for spans in rows["spans"])
        loss = float(response_loss(network, rows["tokens"], rows["spans"], device="cpu", dtype="float32")) / total
    assert loss == pytest.approx(expected, abs=1e-5)
    spec = TrainSpec(epochs=1, batch_size=10)
    first = train(ref, rows["tokens"], rows["spans"], spec, folder=tmp_path / "t", dtype="float32", device="cpu").losses
    assert np.allclose(first, [expected], atol=1e-5)
