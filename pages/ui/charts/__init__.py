"""Plotly figures and drawings that every page uses: from all rows to the few numbers a chart is sent."""
