"""Measure page: what to measure, and what it costs."""

import streamlit as st

from pages.ui.measure import costs, forms, methods, results, start, status, workers
from pages.ui.shell import jobs, show, state
from pages.ui.workbench import layout

pool = state.need_pool()
with layout.open_page("Measure", pool).body:
    st.caption("Measuring runs the model over every row. After that, all sliders respond instantly.")
    plan, statuses, prices = jobs.plan(pool), status.find_statuses(pool), costs.find_prices(pool)
    choice, action = show.columns([3, 2], gap="large")
    with choice:
        methods.choose_methods(statuses, prices)
    with action:
        forms.choose_model(start.models_used(pool))
        start.about_model()
        start.panel(pool, statuses, prices, plan)
    results.panels(pool, statuses)
    forms.method_settings(pool, statuses)
    with st.expander("Prompt and tokenization settings", icon=":material/tune:"):
        forms.reading()
    workers.panel(prices)
    start.command_panel(plan)
    results.other_work(pool, plan, statuses)
