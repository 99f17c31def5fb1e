"""Measure page: what to measure, and what it costs."""

import streamlit as st

from pages.ui.measure import forms, start
from pages.ui.shell import jobs, state

pool = state.need_pool()
st.title("Measure", anchor=False)
st.caption("A model reads every row once. After that, choosing rows is arithmetic, and every slider is free.")

choice, model = st.columns([3, 2], gap="large")
with choice:
    forms.choose_method()
    forms.choose_others()
with model:
    forms.choose_model(start.models_used(pool))
    start.about_model()
forms.target_sets(pool)
if forms.has_params("measure"):
    with st.expander(f"How {state.method().label.lower()} is measured", icon=":material/model_training:"):
        forms.params("measure")
        forms.suggestions()
with st.expander("How a row is read", icon=":material/tune:"):
    forms.reading()

plan = jobs.plan(pool)
run = state.run(pool)
st.subheader("Measure", anchor=False)
start.describe_work(pool)
if run is not None:
    start.result_panel(run)
if run is None or start.unmeasured_methods(pool):
    start.start_panel(plan)
start.command_panel(plan)
start.other_work(pool, plan, run)
