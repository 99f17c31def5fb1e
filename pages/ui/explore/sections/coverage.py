"""Coverage: how much the selection covers, and how many rows of each activation cluster it contains."""

from typing import Any

import streamlit as st

from core.measurement.runs import Run
from core.schema import Pool
from pages.ui import glossary
from pages.ui.data import cached
from pages.ui.data.cached import find_coverage_run
from pages.ui.data.grouping import find_grouping
from pages.ui.data.live_selection import LiveSelection
from pages.ui.explore import clusters, coverage, scores
from pages.ui.shell import show, state

GAIN = "coverage_gain"


def draw(verdict: Any, pool: Pool, run: Run, live: LiveSelection) -> None:
    """Draw how much the selection covers and how many rows of each cluster it contains."""
    coverage_run, recipe = find_coverage_run(pool, run), state.recipe(pool)
    assert coverage_run is not None
    curves = coverage.count_curves(pool, run, coverage_run, live, recipe)
    point = coverage.coverage_at_budget(curves, len(live.selection.rows) + curves.used, len(pool))
    verdict.subheader(coverage.headline(point), anchor=False)
    random = coverage.random_selections(run, live.selection)
    _draw_figures(pool, run, live, coverage_run, curves, point, random)


def _draw_figures(
    pool: Pool,
    run: Run,
    live: LiveSelection,
    coverage_run: Run,
    curves: coverage.CoverageCurves,
    point: coverage.CoverageAtBudget,
    random: Any,
) -> None:
    left, right = show.columns(2, gap="medium")
    with left:
        st.subheader("Coverage by budget", anchor=False)
        st.markdown(coverage.describe(point, curves))
        coverage.draw_curve(curves, point, live, len(pool))
        st.caption(coverage.reading_help(curves, coverage_run))
    labels = cached.measurements(coverage_run).need(clusters.COLUMN)
    counts = clusters.count_by_cluster(labels, live.selection.rows, random)
    with right:
        st.subheader("Clusters of similar activations", anchor=False)
        st.markdown(clusters.describe(counts))
        clusters.draw_bars(counts, find_grouping(pool, run), live)
        link = glossary.link("activation_cluster", "Activation clusters")
        st.caption(f"{link}: k-means over active neurons. Click a bar to highlight its rows.")
    gains = cached.measurements(coverage_run).need(GAIN)
    scores.draw_highlighted(pool, run, live, GAIN, gains, highest=True)
