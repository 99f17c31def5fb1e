"""Parameters that suit the embedded model, which is far smaller than those the methods were published with."""

from collections.abc import Mapping
from typing import Any

from core.methods import build_method
from core.methods.combined import DEFAULT, NAME, format_members, parse_member_specs

# The papers' learning rates are for models a thousand times larger; at 5 M parameters they change nothing.
# Nor does so small a model say anything in 256 tokens that it does not in 32, and it shows what influence is after
# two epochs in half the time of four.
SUGGESTED_PARAMS: dict[str, dict[str, Any]] = {
    "entropy_shift": {"learning_rate": 5e-4},
    "answer_divergence": {"max_new_tokens": 32},
    "preference_influence": {"epochs": 2},
}


def with_suggestions(method: str, params: Mapping[str, Any], model: str) -> dict[str, Any]:
    """`params`, completed for the embedded model with what suits its size; for any other model as they are. Those of a
    combination's members are completed likewise."""
    suggested = SUGGESTED_PARAMS.get(method, {}) if model == "embedded" else {}
    if method != NAME or model != "embedded":
        return suggested | dict(params)
    members = parse_member_specs(params.get("members", DEFAULT))
    made = [build_method(name, with_suggestions(name, own, model)) for name, own in members]
    return dict(params) | {"members": format_members(made)}
