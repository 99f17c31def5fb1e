"""Chat templates are rendered as transformers renders them, in a process of their own with limits."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template, render_jinja_template

from core.errors import ModelError
from core.models import chat_template, template_worker
from core.models.chat_template import ChatTemplate
from tests.core.conftest import CHATML

MESSAGES = [{"role": "system", "content": "Be <brief> & kind"}, {"role": "user", "content": "é “x”\n  "}]
TEMPLATES = {
    "chatml": CHATML,
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}\n{% endfor %}!",
    "tojson": "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}{{ {'é': 1} | tojson(ensure_ascii=true) }}",
    "loop controls": "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "namespace": "{% set n = namespace(a=1) %}{% for m in messages %}{% set n.a = n.a + 1 %}{% endfor %}{{ n.a }}",
    "dict": "{{ dict(a=1) }}{{ dict.fromkeys(['a'], 2) }}",
    "values": "{{ bos_token }}{{ tools is none }}{{ documents }}{{ add_generation_prompt }}{{ missing }}",
    "white space": "  {% if true %}\n  a\n  {% endif %}\n b",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("for_generation", [False, True])
def test_it_is_rendered_as_transformers_does(name, for_generation):
    text = ChatTemplate(TEMPLATES[name], {"bos_token": "<s>"}).render(MESSAGES, for_generation=for_generation)
    (expected,), _ = render_jinja_template(
        [MESSAGES], chat_template=TEMPLATES[name], add_generation_prompt=for_generation, bos_token="<s>"
    )
    assert text == expected


def test_the_environment_has_what_that_of_transformers_has():
    ours, theirs = template_worker.build_environment(), _compile_jinja_template("").environment
    assert ours.globals.keys() == theirs.globals.keys()
    assert (ours.filters.keys(), ours.tests.keys()) == (theirs.filters.keys(), theirs.tests.keys())
    assert (ours.trim_blocks, ours.lstrip_blocks) == (theirs.trim_blocks, theirs.lstrip_blocks)
    assert len(ours.extensions) == len(theirs.extensions)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}", "{{ dict.mro() }}", "{{ namespace(__class__=1) }}", "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__globals__ }}", "{{ messages.append(1) }}", "{{ cycler.__init__.__globals__ }}",
    ],
)  # fmt: skip
def test_a_template_does_not_reach_python(text):
    with suppress(TemplateError):
        assert ChatTemplate(text, {}).render(MESSAGES, for_generation=False) == ""


def test_several_templates_take_turns():
    one, other = ChatTemplate("1 {{ messages[1].role }}", {}), ChatTemplate("2 {{ x }}", {"x": "y"})
    for _ in range(2):
        assert one.render(MESSAGES, for_generation=False) == "1 user"
        assert other.render(MESSAGES, for_generation=False) == "2 y"


def test_a_template_that_cannot_be_compiled_is_refused_every_time():
    broken = ChatTemplate("{% for %}", {})
    for _ in range(2):
        with pytest.raises(TemplateError, match="Expected an expression"):
            broken.render(MESSAGES, for_generation=False)


def test_after_a_template_without_end_others_are_rendered():
    endless = ChatTemplate("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", {})
    with pytest.raises(ModelError, match="more than 3 s for the conversation that begins 'Be <brief>"):
        endless.render(MESSAGES, for_generation=False)
    assert ChatTemplate("fine", {}).render(MESSAGES, for_generation=False) == "fine"


def test_a_worker_that_was_killed_is_replaced():
    template = ChatTemplate("{{ messages[1].role }}", {})
    template.render(MESSAGES, for_generation=False)
    process = chat_template._current[0]._process
    process.kill()
    process.wait()
    assert template.render(MESSAGES, for_generation=False) == "user"


def test_an_interrupted_rendering_does_not_answer_the_next():
    slow = ChatTemplate("{% for a in range(30000) %}{% for b in range(999) %}{% endfor %}{% endfor %}slow", {})

    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    with pytest.raises(KeyboardInterrupt):
        slow.render(MESSAGES, for_generation=False)
    signal.signal(signal.SIGUSR1, before)
    assert ChatTemplate("next", {}).render(MESSAGES, for_generation=False) == "next"


def test_a_forked_process_has_a_worker_of_its_own():
    template = ChatTemplate("{{ messages[1].role }}", {})
    template.render(MESSAGES, for_generation=False)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if template.render(MESSAGES, for_generation=False) == "user" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert template.render(MESSAGES, for_generation=False) == "user"


def test_no_worker_outlives_the_process_that_started_it():
    code = (
        "import os, signal, sys\n"
        "from core.models import chat_template\n"
        "chat_template.ChatTemplate('x', {}).render([{'role': 'user', 'content': 'a'}], for_generation=False)\n"
        "print(chat_template._current[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    deadline = time.monotonic() + 30
    while psutil.pid_exists(int(done.stdout)) and psutil.Process(int(done.stdout)).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("text", [7, ["x"], "x" * 1_000_001])
def test_a_template_that_is_no_text_is_refused(text):
    with pytest.raises(ModelError, match="not a text of at most 1,000,000 characters"):
        ChatTemplate(text, {})
