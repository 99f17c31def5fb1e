"""The embedded model under both layouts: as it is (Alpaca), and with a chat template that opens turns with BOS."""

import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from core.demo import MODEL_PATH
from core.schema import Reading

TURNS_FROM_BOS = (  # as SmolLM2's
    "{% for m in messages %}<|bos|>{{ m.role }}\n{{ m.content }}<|eos|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|bos|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def chat_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the embedded model with a chat template."""
    folder = tmp_path_factory.mktemp("chat") / "model"
    shutil.copytree(MODEL_PATH, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TURNS_FROM_BOS
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["alpaca", "chat"])
def embedded_reading(request: pytest.FixtureRequest) -> Reading:
    """Return a reading of 160 tokens by the embedded model, under each layout."""
    chat = request.param == "chat"
    return Reading(
        model=str(request.getfixturevalue("chat_model_dir")) if chat else "embedded",
        template="chat" if chat else "alpaca",
        max_length=160,
        dtype="float32",
    )
