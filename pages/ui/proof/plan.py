"""The plan of a proof, as tables of its arms and targets."""

from collections.abc import Sequence

import streamlit as st

from core.proof.plan import Plan
from pages.ui.proof import words
from pages.ui.words import format_rows


def draw(plan: Plan) -> None:
    """Draw the arms and the targets of a plan, and its id."""
    arms = [
        {
            "Arm": words.arm_label(arm.name),
            "Rows": _join_range(arm.rows),
            "Response tokens": _join_range(arm.response_tokens),
            "Removed": sum((arm.left_out or {}).values()),
        }
        for arm in plan.arms
    ]
    targets = [
        {
            "Target": words.target_label(target.name),
            "Size": format_rows(target.rows) if target.kind == "rows" else f"{target.rows:,} pairs",
            "Tasks": len(target.tasks),
            "Same prompt": target.prompts_in_pool,
            "Similar": target.near_duplicates,
        }
        for target in plan.targets
    ]
    help = "Of a selection or file: held-out rows, their near-duplicates and rows with a prompt of a target."
    options = {"Removed": st.column_config.NumberColumn(help=help)}
    st.dataframe(arms, hide_index=True, alt="Arms of the plan", column_config=options)
    in_pool = {
        "Same prompt": "Rows of the pool with a prompt of the target. They are in no arm, unless you allow it.",
        "Similar": "Near-duplicates of held-out rows. They leave the pool with them.",
    }
    options = {name: st.column_config.NumberColumn(help=help) for name, help in in_pool.items()}
    st.dataframe(targets, hide_index=True, alt="Targets of the plan", column_config=options)
    st.caption(f"Plan {plan.id}. It is stored before the first step; another plan is another proof.")


def _join_range(numbers: Sequence[int]) -> str:
    low, high = f"{min(numbers):,}", f"{max(numbers):,}"
    return low if low == high else f"{low}–{high}"
