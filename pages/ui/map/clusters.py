"""Clusters on the map, each named by its words: by density, or by activations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from core.algorithms.task_clusters import cluster_words
from core.analysis import map_clusters
from core.analysis.maps import EmbeddingSource
from core.measurement.runs import Run
from core.schema import IntArray, Pool
from pages.ui.data import cached
from pages.ui.data.bins import Values
from pages.ui.data.cached import find_coverage_run
from pages.ui.map import job
from pages.ui.map.view import MapLayout
from pages.ui.shell import state

DENSITY, ACTIVATIONS, NONE = "By density", "By activations", "None"
KEY, PICK_KEY = "explore.map.clusters", "explore.map.cluster"
ACTIVATION_COLUMN = "activation_cluster"
MAX_NAMED = 40  # largest clusters that have a name on the map; those that would collide are left out there


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of the rows of a map, largest first."""

    codes: IntArray  # (N,) −1: in none
    names: tuple[str, ...]  # "recipe, cook, minutes", one per cluster, each once
    sizes: IntArray
    places: Values  # (C, 2) of their names on the map, 0..SIDE; NaN: none of its rows is on the map


def choose_clusters(pool: Pool, run: Run) -> str:
    """Let the user choose the clusters that are named on the map."""
    options = [DENSITY, *([ACTIVATIONS] if find_coverage_run(pool, run) is not None else []), NONE]
    help = (
        "Names are the words that distinguish a cluster's texts. By density: HDBSCAN on this map; rows "
        "in sparse areas are in no cluster. Click a name to highlight its rows."
    )
    return str(st.selectbox("Clusters", options, help=help, width=160, **state.view_choice("clusters", options, KEY)))


def choose_cluster(named: Clusters, pick: Callable[[int], None]) -> None:
    """Let the user highlight a cluster by its name, also one whose name has no room on the map."""

    def take() -> None:
        if (number := state.widget_value(PICK_KEY)) is not None:
            pick(int(number))
            state.set_widget(PICK_KEY, None, force=True)

    st.selectbox(
        "Highlight a cluster", range(len(named.names)), index=None, key=PICK_KEY, width=250, on_change=take,
        format_func=lambda k: f"{named.names[k]} ({named.sizes[k]:,})", placeholder="Highlight a cluster",
        label_visibility="collapsed",
    )  # fmt: skip


def find_clusters(kind: str, pool: Pool, run: Run, source: EmbeddingSource, map_layout: MapLayout) -> Clusters | None:
    """Return the chosen clusters; None if there are none."""
    by = find_coverage_run(pool, run) if kind == ACTIVATIONS else None
    if kind == NONE or (kind == ACTIVATIONS and by is None):
        return None
    found = _find_clusters(kind, map_layout.key, by.id if by else "", pool, by, source, map_layout)
    return found if found.names else None


@cached.keep(cached.MAX_POOLS, "Naming the clusters of the map")
def _find_clusters(
    kind: str, key: str, by: str, pool: Pool, _run: Run | None, _source: EmbeddingSource, _layout: MapLayout
) -> Clusters:
    codes = find_density_clusters(_layout) if _run is None else cached.measurements(_run).need(ACTIVATION_COLUMN)
    named = np.where(codes < MAX_NAMED, codes, -1)
    words = cluster_words(named, text_reader(pool, _source), np.random.default_rng(job.SEED))
    places = map_clusters.densest_places(_positions(_layout), codes, range(len(words)))
    sizes = np.bincount(named[named >= 0], minlength=len(words))
    return Clusters(named, unique_names(words), sizes, places)


def unique_names(words: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Name clusters by their words, with their number if they have none, or the same ones as another."""
    names = [", ".join(each) for each in words]
    return tuple(
        name if names.count(name) == 1 and name else f"{name or 'cluster'} {number:,}"
        for number, name in enumerate(names, start=1)
    )


def find_density_clusters(map_layout: MapLayout) -> IntArray:
    """Return each row's cluster by density, (N,), −1: in none; read-only."""
    return _find_density_clusters(map_layout.key, map_layout)


@cached.keep(2 * cached.MAX_POOLS)
def _find_density_clusters(key: str, _layout: MapLayout) -> IntArray:
    codes = map_clusters.density_clusters(_positions(_layout), seed=job.SEED)
    codes.flags.writeable = False
    return codes


def _positions(map_layout: MapLayout) -> Values:
    return np.stack([map_layout.x, map_layout.y], axis=1)


def text_reader(pool: Pool, source: EmbeddingSource) -> Callable[[IntArray], list[str]]:
    """Return a reader of the texts that a map embeds; "" for a row without one. It reads no other column."""
    column = pool.rows["prompt" if source.kind == "prompt" else "response"]
    return lambda rows: [column[int(row)].as_py() or "" for row in rows]
