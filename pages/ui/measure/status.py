"""State of every method on the Measure page: measured, running, or what it would take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from typing import Any

from core.errors import WinnowError
from core.measurement import measurement_of
from core.measurement.lookup import pick_run
from core.measurement.measurement import Work
from core.measurement.runs import Run, list_runs
from core.methods import METHODS, NEEDS_SETUP
from core.methods.params import has_effect, name_param
from core.schema import Method, Pool
from core.workspace.jobs import Job
from pages.ui.data import cached
from pages.ui.shell import running, state

PAPERS, BASELINES, IMPORTED, COMBINED = ("Methods from papers", "Baselines", "Score of another tool", "Combination")


@dataclass(frozen=True)
class Status:
    """One method with the current settings."""

    method: Method
    ticked: bool
    run: Run | None
    job: Job | None  # the live job that measures it
    work: Work
    problem: str = ""  # why it cannot be measured yet

    @property
    def waits(self) -> bool:
        """Whether it is ticked and has still to be measured."""
        return self.ticked and self.run is None


def find_statuses(pool: Pool) -> list[Status]:
    """Return the status of every method of the page, in its order."""
    now = state.settings()
    runs = list_runs(cached.workspace(), pool.fingerprint)
    return [_status(pool, runs, name) for name in METHODS if name != "combined" or _uses_combination(now)]


def _uses_combination(now: state.Settings) -> bool:
    return "combined" in (now.method, *now.also) or bool(now.params.get("combined"))


def _status(pool: Pool, runs: Sequence[Run], name: str) -> Status:
    now = state.settings()
    method = state.method_of(name)
    work, problem = Work(), ""
    missing = [name_param(f).lower() for f in required_params(method) if not getattr(method, f.name)]
    try:
        work = measurement_of(name).cost(method, pool)
    except WinnowError as error:
        problem = str(error)
    return Status(
        method=method,
        ticked=name in (now.method, *now.also),
        run=pick_run(runs, pool, method, now.reading, now.seed),
        job=running.find(pool, method, now.reading, now.seed),
        work=work,
        problem=f"Set the {' and the '.join(missing)} first." if missing else problem,
    )


def required_params(method: Method) -> Iterator[Field[Any]]:
    """Yield the text parameters of a measurement that must not be empty."""
    declared: Any = method
    for f in fields(declared):
        about = f.metadata
        if about["stage"] == "measure" and about["names"] and "" not in about["words"] and has_effect(method, f):
            yield f


def group(statuses: Sequence[Status]) -> Mapping[str, list[Status]]:
    """Return the statuses by the groups of the page; groups without a method are left out."""
    groups: dict[str, list[Status]] = {PAPERS: [], BASELINES: [], IMPORTED: [], COMBINED: []}
    for status in statuses:
        name = status.method.name
        own = {"imported": IMPORTED, "combined": COMBINED}.get(name, BASELINES) if not status.method.paper else PAPERS
        groups[own].append(status)
    return {title: members for title, members in groups.items() if members}


def tick(name: str, ticked: bool) -> None:
    """Tick or untick a method. The current method is always ticked: without it another ticked one becomes current."""
    now = state.settings()
    names = [other for other in METHODS if other != name and other in (now.method, *now.also)]
    if not ticked and not names:
        state.leave_notice("One method must stay ticked. Tick another one first.")
        return
    current = now.method if now.method != name or ticked else names[0]
    everyone = [*names, name] if ticked else names
    state.change(method=current, also=tuple(other for other in METHODS if other in everyone and other != current))


def tick_all() -> None:
    """Tick every method that runs without further settings."""
    now = state.settings()
    wanted = [name for name in METHODS if name not in NEEDS_SETUP or name in (now.method, *now.also)]
    state.change(also=tuple(name for name in wanted if name != now.method))
