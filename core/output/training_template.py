"""Chat templates for other trainers: rows as the models of a measurement read them, with the responses marked.

TRL has a loss on the assistant's turns alone only where `{% generation %}` marks them. It knows such templates of many
chat models. Here are those of models without a template, which read Alpaca's layout, and of plain ChatML; both print
tool calls as JSON.
"""

import re
from typing import Any

from core.models.chat_layout import HEADINGS, PREAMBLE

_CHATML = re.compile(  # a template holds the line ends as they are, or escaped
    r"\{\{-?\s*'<\|im_start\|>' \+ message\['role'\] \+ '(?:\\n|\n)' \+ message\['content'\] \+ '<\|im_end\|>' "
    r"\+ '(?:\\n|\n)'\s*-?\}\}"
)
_MARKED_CHATML = (
    r"{{ '<|im_start|>' + message['role'] + '\n' }}{% if message['role'] == 'assistant' %}{% generation %}"
    r"{{ message['content'] + (message['tool_calls'] | tojson if message['tool_calls'] else '') + '<|im_end|>' }}"
    r"{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>' }}"
    r"{% endif %}{{ '\n' }}"
)
_ALPACA = r"""{%- set headings = HEADINGS -%}
{%- set system = messages | selectattr('role', 'equalto', 'system') | map(attribute='content') | list -%}
{{- BOS + (((system + [tools | tojson]) if tools else system) | join('\n\n') or PREAMBLE) }}
{%- for message in messages if message['role'] != 'system' %}
  {{- '\n\n### ' + headings[message['role']] + ':\n' }}
  {%- set text = message['content'] or '' %}
  {%- if message['tool_calls'] %}{% set text = text + message['tool_calls'] | tojson %}{% endif %}
  {%- if message['role'] == 'assistant' %}{% generation %}{{ text + EOS }}{% endgeneration %}
  {%- else %}{{ text }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '\n\n### RESPONSE:\n' }}{% endif %}
"""


def training_template(tokenizer: Any, layout: str) -> str | None:
    """Return a template for a layout of core.models.encoder ("chat" or "alpaca"); None to leave the tokenizer's own."""
    if layout == "alpaca":
        ids = tokenizer("x")["input_ids"]
        bos = (tokenizer.bos_token or "") if ids and ids[0] == tokenizer.bos_token_id else ""
        words = {"HEADINGS": HEADINGS, "PREAMBLE": PREAMBLE, "BOS": bos, "EOS": tokenizer.eos_token or ""}
        template = _ALPACA.replace("RESPONSE", HEADINGS["assistant"])
        for name, value in words.items():
            template = template.replace(name, repr(value))
        return template
    own = tokenizer.chat_template
    marked, found = _CHATML.subn(lambda _: _MARKED_CHATML, own) if isinstance(own, str) else ("", 0)
    return marked if found == 1 else None
