"""Suggested parameters for the embedded model, which is far smaller than those the methods were published with."""

from collections.abc import Mapping
from typing import Any

from core.methods import build_method
from core.methods.combined import DEFAULT, NAME, format_members, parse_member_specs

# The papers' learning rates are for models a thousand times larger; at 5 M parameters they change nothing.
# So small a model adds nothing between 32 and 256 tokens of an answer, and it shows what influence is after two
# epochs in half the time of four.
SUGGESTED_PARAMS: dict[str, dict[str, Any]] = {
    "entropy_shift": {"learning_rate": 5e-4},
    "answer_divergence": {"max_new_tokens": 32},
    "preference_influence": {"epochs": 2},
}


def with_suggestions(method: str, params: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Complete `params` with suggestions for the embedded model, also in a combination's members; no-op for others."""
    suggested = SUGGESTED_PARAMS.get(method, {}) if model == "embedded" else {}
    if method != NAME or model != "embedded":
        return suggested | dict(params)
    members = parse_member_specs(params.get("members", DEFAULT))
    completed = [build_method(name, with_suggestions(name, own_params, model)) for name, own_params in members]
    return dict(params) | {"members": format_members(completed)}
