"""Home: the road with its state, and the button to the next step."""

from pages.ui.shell import road
from tests.pages.conftest import activation_coverage_run, choose_pool, opened, store_run


def steps(at) -> dict[str, str]:
    """Return page -> label of its link on the road."""
    links = [link for link in at.main.get("page_link") if "**" in link.proto.label]
    return {link.proto.label.split("**")[1]: link.proto.label.split("**")[2].strip() for link in links}


CHECK = ":green[:material/check:] "


def test_before_measuring_the_road_leads_to_it(pool, app):
    at = app("pool")
    assert steps(at) == {
        "Pool": f"{CHECK}240 rows",
        "Measure": "not measured",
        "Select": "needs scores",
        "Proof": "not run",
        "Export": "not exported",
    }
    at.button(key="to.measure").click().run()
    assert not at.exception
    assert at.title[0].value == "Measure"


def test_once_measured_it_counts_methods_and_selected_rows_and_leads_to_scores(run, workspace, pool, app):
    assert steps(app("pool"))["Measure"] == f"{CHECK}1 method"
    activation_coverage_run(workspace, pool)
    at = app("pool")
    assert steps(at)["Measure"] == f"{CHECK}2 methods"
    assert steps(at)["Select"] == "24 rows"
    assert at.button(key="to.explore").label == "See the scores"


def test_a_baseline_is_no_measured_method(run, workspace, pool):
    store_run(workspace, pool, "longest", {})
    assert road.measured_methods(pool) == {"entropy_shift"}


def test_a_running_measurement_is_named(pool, app, job):
    job({"kind": "measure", "pool": pool.fingerprint, "key": "k"}, state="running")
    at = app("pool")
    assert steps(at)["Measure"] == "running"
    assert "Show the progress" in at.button(key="to.measure").label


def test_an_export_counts_for_the_selection_it_was_made_of(run, app):
    at = app("export")
    at.button(key="export.write").click().run()
    assert not at.exception
    at.switch_page("pages/pool.py").run()
    assert steps(at)["Export"] == f"{CHECK}exported"
    at.switch_page("pages/select.py").run()
    at.number_input(key="select.exact.percent").set_value(30.0).run()
    at.switch_page("pages/pool.py").run()
    assert steps(at)["Select"] == "72 rows"
    assert steps(at)["Export"] == "not exported"


def test_a_damaged_manifest_is_no_export(run, app, workspace):
    file = workspace.root / "exports" / "x" / "chosen.manifest.json"
    file.parent.mkdir(parents=True)
    file.write_text("{broken")
    assert steps(app("pool"))["Export"] == "not exported"


def test_a_pool_that_breaks_leaves_the_ways_to_open_another(pool, app, workspace):
    at = app("pool")
    for file in workspace.root.glob("pools/*/pool.json"):
        file.unlink()
    at.run()
    assert not at.exception
    assert at.error
    assert not [button for button in at.main.button if button.label == "Go to Pool"]
    choose_pool(at, "demo")
    assert opened(at) == "Demo pool"


def test_a_visit_to_a_damaged_pool_begins_with_the_demo_pool_and_a_notice(pool, app, workspace):
    (file,) = workspace.root.glob("pools/*/rows.arrow")
    file.unlink()
    at = app("pool")
    assert not at.exception
    assert opened(at) == "Demo pool"
    assert at.warning[0].value.endswith("The demo pool is shown instead\\.")
