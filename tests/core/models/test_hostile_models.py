"""Model folders made to hang, to fill the memory or to escape: each ends in one sentence, in bounded time and space."""

import json
import multiprocessing
import os
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import ModelError
from core.models.encoder import Encoder
from core.models.loading import load_model
from core.models.reference import resolve_model
from core.schema import Reading

SECONDS = 20  # of processor time, at most
MEGABYTES = 1000  # at most, beyond what loading the same model unchanged takes
ROWS = {
    "prompt": ["What is 2 + 3?", "x" * 3000],
    "response": ["Five.", "y" * 3000],
    "turns": [None, json.dumps([{"role": r, "content": c} for r, c in [("user", "a b"), ("assistant", "c " * 99)]])],
}


def edit_json(name: str, **changes: Any) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | changes))

    return edit


def put(name: str, content: bytes | str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def template(text: str) -> Callable[[Path], None]:
    return put("chat_template.jinja", text)


def index(weight_map: Any) -> Callable[[Path], None]:
    return put("model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": weight_map}))


def header(head: Any, size: int | None = None, body: bytes = b"") -> Callable[[Path], None]:
    data = head if isinstance(head, bytes) else json.dumps(head).encode()
    return put("model.safetensors", struct.pack("<Q", len(data) if size is None else size) + data + body)


def replaced_by(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def replace(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return replace


NESTED_LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
TENSOR = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}
CONFIGS = {
    "config is a string": put("config.json", '"llama"'),
    "config is a list": put("config.json", "[1, 2]"),
    "config is nested 100,000 deep": put("config.json", "[" * 100_000),
    "config is no text": put("config.json", b"\xff\xfe\x00{"),
    "config of 80 MB": put("config.json", '{"model_type": "llama", "x": "' + "y" * 80_000_000 + '"}'),
    "config of another folder": replaced_by("config.json", lambda path: path.symlink_to("/etc/passwd")),
    "config is a pipe": replaced_by("config.json", os.mkfifo),
    "a million layers": edit_json("config.json", num_hidden_layers=10**6),
    "a trillion layers": edit_json("config.json", num_hidden_layers=10**12),
    "layers as text": edit_json("config.json", num_hidden_layers="many"),
    "negative width": edit_json("config.json", hidden_size=-5),
    "no heads": edit_json("config.json", num_attention_heads=0),
    "width of 2^40": edit_json("config.json", hidden_size=2**40),
    "width of 20,000": edit_json("config.json", hidden_size=20_000, intermediate_size=80_000, head_dim=5_000),
    "vocabulary of 2^33": edit_json("config.json", vocab_size=2**33),
    "vocabulary of 20 million": edit_json("config.json", vocab_size=20_000_000),
    "a list as width": edit_json("config.json", hidden_size=[32]),
    "unknown architecture": edit_json("config.json", model_type="\x00../x"),
    "model type is a number": edit_json("config.json", model_type=7),
    "no architecture": edit_json("config.json", model_type=None),
    "rope of another shape": edit_json("config.json", rope_parameters=[1], rope_scaling={"type": "x", "factor": "y"}),
    "context of 10^30": edit_json("config.json", max_position_embeddings=10**30),
    "context as text": edit_json("config.json", max_position_embeddings="long"),
    "negative context": edit_json("config.json", max_position_embeddings=-1),
    "quantised by an unknown method": edit_json("config.json", quantization_config={"quant_method": "x"}),
    "needs its own code": edit_json("config.json", model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
    "attention from a hub": edit_json("config.json", _attn_implementation="someone/kernel"),
    "an adapter of another model": put(
        "adapter_config.json", json.dumps({"peft_type": "LORA", "base_model_name_or_path": "someone/else"})
    ),
}
WEIGHTS = {
    "header of 2^40 bytes": header({}, size=2**40),
    "header of 2^63 bytes": header({}, size=2**63),
    "header is a list": header([1, 2]),
    "header is nested": header(b"[" * 100_000),
    "header of 90 MB": header(b'{"a": "' + b"x" * 90_000_000 + b'"}'),
    "shape beyond 64 bits": header({"lm_head.weight": TENSOR}, body=b"1234"),
    "offsets beyond the end": header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
    "offsets that go back": header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, body=b"1234"),
    "no tensor": header({}),
    "weights are a pipe": replaced_by("model.safetensors", os.mkfifo),
    "weights are a device": replaced_by("model.safetensors", lambda path: path.symlink_to("/dev/zero")),
    "index that climbs out": index({"a": "../../../../../etc/passwd"}),
    "index with an absolute name": index({"a": "/etc/passwd"}),
    "index with a name below": index({"a": "sub/model.safetensors"}),
    "index of numbers": index({"a": 7}),
    "index is a list": index(["model.safetensors"]),
    "index is nested": put("model.safetensors.index.json", "[" * 100_000),
    "index of nothing": put("model.safetensors.index.json", "null"),
}
TEMPLATES = {
    "nested loops": template(NESTED_LOOPS),
    "a loop only where the text says so": template(
        "{% if 'yyy' in messages[-1].content %}" + NESTED_LOOPS + "{% endif %}"
    ),
    "content a hundred million times": template("{{ messages[0].content * 100000000 }}"),
    "content a thousand times": template("{% for i in range(1000) %}{{ messages[0].content }}{% endfor %}"),
    "text doubled forty times": template(
        "{% set n = namespace(x='x') %}{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
    ),
    "a power of powers": template("{{ 9 ** (9 ** 9) }}"),
    "a number squared forty times": template(
        "{% set n = namespace(x=3) %}{% for i in range(40) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}"
    ),
    "padding of ten gigabytes": template("{{ 'x'.ljust(10000000000) }}"),
    "format of ten gigabytes": template("{{ '%10000000000d' % 1 }}"),
    "a range that overflows": template("{% for i in range(10 ** 30) %}{{ i }}{% endfor %}"),
    "a macro that calls itself": template("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
    "a template that includes another": template("{% include '/etc/passwd' %}"),
    "a template that extends another": template("{% extends 'x' %}"),
    "nested 2,000 deep": template("{% if 1 %}" * 2000 + "{% endif %}" * 2000),
    "parentheses 100,000 deep": template("{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}"),
    "no template at all": template("{% for %}"),
    "a wrong type": template("{{ messages + 1 }}"),
    "division by nothing": template("{{ 1 / 0 }}"),
    "a template of 20 MB": template("x" * 20_000_000),
    "names of Python": template("{{ ''.__class__.__mro__[1].__subclasses__() }}"),
    "a template that is a number": edit_json("tokenizer_config.json", chat_template=7),
    "templates that are numbers": edit_json("tokenizer_config.json", chat_template=[1, 2]),
}
TOKENIZERS = {
    "tokenizer is a list": put("tokenizer.json", "[]"),
    "tokenizer is nested": put("tokenizer.json", "[" * 100_000),
    "tokenizer of 150 MB": put("tokenizer.json", '{"version": "' + "x" * 150_000_000 + '"}'),
    "tokenizer is a pipe": replaced_by("tokenizer.json", os.mkfifo),
    "tokenizer of another kind": put("tokenizer.json", '{"model": {"type": "Mystery"}}'),
    "settings are a string": put("tokenizer_config.json", '"x"'),
    "settings are a list": put("tokenizer_config.json", "[1]"),
    "settings are nested": put("tokenizer_config.json", "[" * 100_000),
    "class is a number": edit_json("tokenizer_config.json", tokenizer_class=7),
    "class is a path": edit_json("tokenizer_config.json", tokenizer_class="../../x"),
    "added tokens are a list": edit_json("tokenizer_config.json", added_tokens_decoder=[1]),
    "added tokens without numbers": edit_json("tokenizer_config.json", added_tokens_decoder={"x": {"content": "y"}}),
    "end token is a number": edit_json("tokenizer_config.json", eos_token=7),
    "length as text": edit_json("tokenizer_config.json", model_max_length="long"),
    "negative length": edit_json("tokenizer_config.json", model_max_length=-7),
}
HOSTILE = {**CONFIGS, **WEIGHTS, **TEMPLATES, **TOKENIZERS}
HARMLESS = {"context of 10^30", "class is a path", "quantised by an unknown method"}  # nothing comes of it


def use_model(folder: str, answer: Any) -> None:
    """Load a model as measuring does and encode rows; send the outcome, seconds and the growth of memory."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    try:
        ref = resolve_model(folder)
        model = load_model(ref, device="cpu")
        Encoder(model.tokenizer, Reading(model=folder))(ROWS)
        outcome = "loaded"
    except ModelError as error:
        outcome = str(error)
    own, worker = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    seconds = sum(use.ru_utime + use.ru_stime for use in (own, worker)) - before.ru_utime - before.ru_stime
    answer.send((outcome, seconds, max(own.ru_maxrss - before.ru_maxrss, worker.ru_maxrss) / 1024))


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "transformers.models.llama"])
    return context


def run(processes, folder):
    receive, send = processes.Pipe(duplex=False)
    process = processes.Process(target=use_model, args=(str(folder), send))
    process.start()
    send.close()
    try:
        assert receive.poll(10 * SECONDS), "no end"
        return receive.recv()
    except EOFError:
        process.join()
        pytest.fail(f"ended without an answer, exit code {process.exitcode}")
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_model_folder_is_one_sentence_in_bounded_time_and_memory(name, processes, tiny_model_dir, tmp_path):
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    HOSTILE[name](folder)
    outcome, seconds, megabytes = run(processes, folder)
    assert outcome != "loaded" or name in HARMLESS
    assert "\n" not in outcome and len(outcome) < 700
    assert "root:" not in outcome  # nothing of a file outside the folder
    assert seconds < SECONDS
    assert megabytes < MEGABYTES
