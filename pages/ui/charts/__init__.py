"""Figures of all pages: aggregates in, Plotly dicts or HTML out; no Streamlit.

answer_divergence    dispersion against anisotropy, and the share selected from each semantic bin
coverage             coverage by budget, and the share selected from each activation cluster
entropy_shift        ΔNLL against ΔH, and expansion and compression by task
figures              layout, axes, traces and labels that all Plotly figures are built of, and the training loss
histogram            one score's histogram, and correlations
html_bars            small HTML charts that follow a slider
influence            histograms per target, influence against length, training on halves, pair accuracy
overlap              overlap of selections at every budget, and exact combinations of them
overlap_tables       tables of pairs and shares of groups that follow the budget, in HTML
pool                 lengths of texts and sizes of tasks of a pool, in HTML
proof                differences from random with intervals, and training loss by arm
scales               axis positions, number formats and row colours
tasks                mean confidence by task, and allocation by budget
"""
