"""The arms of a new proof: measured methods, saved selections and files, as options of the command."""

import re
from collections.abc import Mapping

import streamlit as st

from core.proof.arms import ALWAYS_IN, REVERSED
from core.proof.plan import WHOLE_POOL
from core.schema import Pool
from core.selection.recipe import dump_recipe
from core.workspace.folder import content_key
from pages.ui import glossary
from pages.ui.controls import contenders
from pages.ui.proof import files
from pages.ui.shell import show, state, visitors
from pages.ui.shell.state import Contender, Settings

CURRENT = "Current selection"
_FORBIDDEN = re.compile(r"[^\w .+-]+")  # in the name of an arm
MAX_NAME = 60  # characters of it


def choose_arms(pool: Pool) -> list[str]:
    """Draw the choice of arms. Return the options `--arms` and `--set` of those that are chosen."""
    offered = _offer(pool)
    picked = _choose(offered)
    arm, held_out = glossary.link("arm", "Arms"), glossary.link("held_out_rows", "held-out rows")
    st.markdown(
        f":small[{arm} that are always compared: random rows, with a new draw for each seed, and the longest "
        f"responses. The {held_out} leave the pool first.]"
    )
    methods = any(not offered[name].saved for name in picked)
    with st.container(horizontal=True, gap="large"):
        help = "Adds the rows that each method ranks last. If its score means something, they train a worse model."
        box = {"key": "proof.opposites", "persist_state": "session", "help": help}
        opposites = methods and st.checkbox("Opposite of each method", **box)
        whole = st.checkbox("Whole pool", key="proof.whole", persist_state="session", help="Adds all rows as one arm.")
    files.draw(files.ARMS, pool)
    options = [word for name in picked for word in _options(pool, name, offered[name], opposites=opposites)]
    for word in [*[WHOLE_POOL] * whole, *(one.word for one in files.list_added(files.ARMS, pool))]:
        options += ["--arms", word]
    return options


def _choose(offered: Mapping[str, Contender]) -> list[str]:
    """Draw the choice of selections. Return the labels of those that are chosen."""
    if not offered:
        st.caption("Nothing is measured on this pool yet, so only baselines and files can be compared.")
        st.page_link(show.PAGES["measure"]["page"], label="Go to Measure", icon=show.PAGES["measure"]["icon"])
        return []
    wanted = contenders.default_contenders(list(offered.values()))
    return show.choose_many(
        "Selections",
        list(offered),
        f"proof.arms.{contenders.names_digest(list(offered))}",
        default=[name for name, one in offered.items() if one in wanted or name == CURRENT],
        persist_state="session",
        help="Measured methods without filters and pins, and saved selections with the current budget.",
    )


def _offer(pool: Pool) -> Mapping[str, Contender]:
    """Return what can be an arm, by label: the current selection, if it is more than a method, comes first."""
    now, saved = state.settings(), state.saved_selections(pool)
    every = contenders.available(pool, contenders.list_pool_runs(pool))
    fitting = [one for one in every if one.method not in ALWAYS_IN]
    fitting = [one for one in fitting if not one.saved or saved[one.saved].budget == now.budget]
    tuned = now.filters or now.pins or now.given or now.threshold is not None
    current = {CURRENT: Contender(saved=CURRENT)} if tuned and state.run(pool) else {}
    return {**current, **contenders.name_contenders(fitting)}


def _options(pool: Pool, label: str, one: Contender, *, opposites: bool) -> list[str]:
    """Return the options of one arm and, if wanted, of its opposite; a selection has none."""
    if one.saved:
        now, saved = state.settings(), state.saved_selections(pool)
        return ["--arms", f"{_name(label)}={_write_recipe(pool, now if label == CURRENT else saved[one.saved])}"]
    plain = one.params is None and not one.label
    name, what = (one.method, one.method) if plain else (_name(label), f"{_name(label)}={one.method}")
    params = state.settings().params.get(one.method, {}) if one.params is None else one.params
    reverse = f"{name} reversed"
    arms = {name: what} | ({reverse: f"{reverse}={REVERSED}{one.method}"} if opposites else {})
    options = []
    for arm, word in arms.items():
        options += [
            "--arms",
            word,
            *(part for key, value in params.items() for part in ("--set", f"{arm}.{key}={value}")),
        ]
    return options


def _name(label: str) -> str:
    """Return a label as the name of an arm on the command line."""
    return " ".join(_FORBIDDEN.sub(" ", label.removeprefix("saved: ")).split())[:MAX_NAME].strip() or "selection"


def _write_recipe(pool: Pool, chosen: Settings) -> str:
    """Write settings as a recipe into the visitor's folder, unless it is there already. Return its path."""
    recipe = state.recipe(pool, chosen)
    path = visitors.home() / "selections" / pool.fingerprint / "recipes" / f"{content_key(recipe.as_data())}.yaml"
    if not path.exists():
        dump_recipe(recipe, path)
    return str(path)
