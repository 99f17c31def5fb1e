"""Who measures: the number of processes on this machine, or a Ray cluster. Scores never depend on it."""

from importlib.util import find_spec

import psutil
import streamlit as st

from core.workers.places import LOCAL, RAY, check_workers, cluster_address, count_cores
from core.workspace.inventory import format_size
from pages.ui.measure.costs import Prices
from pages.ui.shell import roots, state

RUNNING_CLUSTER = "auto"  # what is typed for the cluster that runs on this machine, in Ray's own word


def panel(prices: Prices) -> None:
    """Draw the choice of workers, where there is one."""
    workers, limit, has_ray = state.settings().workers, _limit(prices), find_spec("ray") is not None
    if limit < 2 and not has_ray and workers == LOCAL:
        return
    with st.expander("Workers" + _describe(workers), icon=":material/groups:", key="workers"):
        number, cluster = st.columns(2)
        with number:
            _choose_number(workers, limit, prices)
        if has_ray or cluster_address(workers) is not None:
            with cluster:
                _choose_cluster(workers)
        st.caption(_describe_need(workers, prices))


def _choose_number(workers: str, limit: int, prices: Prices) -> None:
    value = int(workers) if workers.isdigit() else None
    st.number_input(
        "Worker processes",
        min_value=1,
        max_value=max(limit, value or 1),  # Streamlit refuses more, whatever a browser sends
        value=None,
        placeholder=_automatic(prices),
        disabled=cluster_address(workers) is not None,
        help="Processes on this machine that share the rows. Scores do not depend on their number. Empty: one for "
        "each GPU, or a single process without one.",
        **state.bind("form.workers", value, lambda typed: _set(str(typed) if typed else LOCAL)),
    )


def _choose_cluster(workers: str) -> None:
    address = cluster_address(workers)
    value = "" if address is None else address or RUNNING_CLUSTER
    st.text_input(
        "Ray address",
        placeholder="no cluster",
        help=f"Such as 10.0.0.1:6379, or {RUNNING_CLUSTER} for the cluster that this machine belongs to. One worker "
        "runs on each of its GPUs, or on each CPU of a cluster without one. Every node needs the workspace's folder.",
        **state.bind("form.ray", value, _set_cluster),
    )


def _set_cluster(typed: str) -> None:
    with state.failures_as_notices():
        address = typed.strip()
        _set(LOCAL if not address else RAY if address == RUNNING_CLUSTER else f"{RAY}:{roots.check_cluster(address)}")


def _set(workers: str) -> None:
    state.change(workers=check_workers(workers))


def _describe(workers: str) -> str:
    """Return what is chosen, to stand behind the heading."""
    if workers == LOCAL:
        return ""
    if cluster_address(workers) is not None:
        return ": Ray cluster"
    return ": 1 process" if workers == "1" else f": {int(workers):,} processes"


def about_times(prices: Prices) -> None:
    """Draw how the times of an estimate are to be read if several workers will share the work."""
    workers = state.settings().workers
    if workers not in (LOCAL, "1") or (workers == LOCAL and prices.trial.get("cards", 0) > 1):
        st.caption("These times are for one worker. Several share all stages but loading and training.")


def _automatic(prices: Prices) -> str:
    """Return how many workers there are when none is chosen."""
    cards = prices.trial.get("cards")
    if cards is None:
        return "one for each GPU, or 1"
    return f"{cards:,}, one for each GPU" if cards > 1 else "1"


def _limit(prices: Prices) -> int:
    """Return how many processes this machine has GPUs for; without one, cores and free memory for."""
    need = _bytes_per_process(prices)
    if need is None:
        return int(prices.trial.get("cards", 0)) or 1
    return min(count_cores(), int(psutil.virtual_memory().available / need)) if need else count_cores()


def _bytes_per_process(prices: Prices) -> float | None:
    """Return the memory that a process needs; 0 before a trial, None if a GPU does the work."""
    on_gpu = prices.trial.get("cards") or prices.trial.get("device", "cpu") != "cpu"
    return None if on_gpu else float(prices.trial.get("memory_bytes", 0))


def _describe_need(workers: str, prices: Prices) -> str:
    """Return what the processes need, and what there is."""
    if cluster_address(workers) is not None:
        return "The cluster decides how many workers there are."
    need = _bytes_per_process(prices)
    if need is None:
        return "Each GPU holds the model once."
    if not need:
        return "Estimate time and memory to see how much memory a process needs."
    count = int(workers) if workers.isdigit() else 1
    free = f"{format_size(psutil.virtual_memory().available)} of memory is free"
    if count == 1:
        return f"A process needs about {format_size(need)} of memory; {free}."
    return f"{count:,} processes need about {format_size(count * need)}, {format_size(need)} each; {free}."
