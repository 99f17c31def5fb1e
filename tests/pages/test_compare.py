"""The Compare page as a user sees it. Numbers: the pool has 240 rows, of three tasks in turn."""

import json
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.errors import PoolError
from core.measurement.run_data import load_measured
from core.measurement.runs import list_runs
from core.methods import build_method
from core.methods.combined import Combined
from core.pool.pools import load_pool
from core.selection.filters import Filter
from pages.ui.measure.forms import CHECKS
from pages.ui.shell import state
from pages.ui.shell.settings import FORMAT, settings_from_json
from pages.ui.shell.state import Contender
from pages.ui.shell.terms import Match, Sets
from tests.pages.conftest import (
    ROOT,
    activation_coverage_run,
    bars_html,
    choose_only,
    click_line,
    entropy_shift_run,
    pick_bar,
    task_confidence_run,
)

SHIFT, NLL = "Entropy shift", "Lowest NLL"


@pytest.fixture
def page(run, app):
    at = app("compare")
    assert not at.exception
    return at


def verdict(at) -> str:
    """Return the sentence below the heading."""
    return at.subheader[0].value.replace("\\", "")


def words(at) -> str:
    return " ".join(one.value for one in (*at.markdown, *at.caption))


def tables(at) -> list:
    return [one.value for one in at.dataframe]


def subsets(at):
    """Return the table of all subsets, on the tab Make-up."""
    open_tab(at, "Make-up")
    return next(one for one in tables(at) if "Rows" in one)


def pick(at, key: str, value):
    at.get_by_key(key).set_value(value).run()
    assert not at.exception


def find_by_prefix(elements, start: str):
    """Return the widget whose key has this prefix: some keys depend on what is compared."""
    return next(one for one in elements if (one.key or "").startswith(start))


def press(at, key: str):
    at.button(key=key).click().run()
    assert not at.exception


def open_tab(at, name: str):
    at.session_state["winnow.chosen"]["compare.tab"] = name  # AppTest cannot click a tab
    at.run()
    assert not at.exception
    return at


def compared_names(at) -> list[str]:
    return list(at.pills(key="compare.who").value)


def count_shared_rows(run, k: int) -> tuple[int, int]:
    """Count with sets the rows shared by the first k of entropy shift and of the longest response; also return k."""
    measured, eligible = load_measured(run), np.ones(240, bool)
    methods = [build_method(name, {}) for name in ("entropy_shift", "longest")]
    orders = [method.order(measured, eligible, seed=0).rows[:k] for method in methods]
    return len(set(orders[0].tolist()) & set(orders[1].tolist())), k


def test_measured_methods_are_compared_with_random_and_longest(page):
    assert compared_names(page) == [SHIFT, "Random", "Longest response"]
    assert verdict(page).startswith("At 10%, Entropy shift")
    assert "without pins" in words(page)


def test_without_a_measurement_it_leads_to_the_measure_page(pool, app):
    at = app("compare")
    assert not at.exception
    assert "not measured on this pool yet" in at.subheader[0].value
    assert at.button(key="nothing.measure")


def test_the_matrix_has_the_overlap_that_sets_give(page, run):
    shared, k = count_shared_rows(run, 24)
    html = bars_html(page)
    assert f"Entropy shift and Longest response: overlap {100 * shared / (2 * k - shared):.1f}%" in html


def test_the_curves_are_also_a_table(page, run):
    shares = next(one for one in tables(page) if "Budget" in one)
    shared, k = count_shared_rows(run, 120)
    at_half = shares[shares["Budget"] == "50%"]["Longest response"].iloc[0]
    assert at_half.startswith(f"{100 * shared / (2 * k - shared):.1f}% (")


def test_only_the_open_tab_is_computed_and_it_stays_open_on_other_pages(page):
    assert any("Budget" in one for one in tables(page)) and page.get("plotly_chart")
    open_tab(page, "Make-up")
    assert [one.columns[0] for one in tables(page)] == ["Selection", "Tasks"]
    assert not page.get("plotly_chart")
    page.switch_page("pages/pool.py").run().switch_page("pages/compare.py").run()
    assert not page.exception
    assert page.session_state["compare.tab"] == "Make-up"
    assert not page.get("plotly_chart")


def test_a_link_opens_the_same_tab_reference_and_grouping(page):
    pick(page, find_by_prefix(page.selectbox, "compare.reference").key, "Longest response")
    open_tab(page, "Make-up")
    pick(page, "compare.by", "Lengths")
    link = dict(page.query_params)
    assert (link["tab"], link["reference"], link["group"]) == ("Make-up", "Longest response", "Lengths")
    other = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        other.query_params[name] = value
    other.run().switch_page("pages/compare.py").run()
    assert not other.exception
    assert verdict(other).startswith("At 10%, Longest response")
    assert other.get_by_key("compare.by").value == "Lengths"
    assert dict(other.query_params) == link


def test_the_current_method_is_the_reference_where_it_is_compared(page):
    page.switch_page("pages/select.py").run()
    pick(page, "select.method", "longest")
    page.switch_page("pages/compare.py").run()
    assert verdict(page).startswith("At 10%, Longest response")
    pick(page, "compare.who", [SHIFT, "Random"])
    assert verdict(page).startswith("At 10%, Entropy shift")


def test_at_most_three_curves_are_lit_and_one_more_replaces_the_first(page):
    pick(page, "compare.who", [SHIFT, "Random", "Longest response", NLL, "Highest NLL"])
    (lit,) = (one for one in page.pills if one.key == "compare.lit")
    assert len(lit.options) == 4 and len(lit.value) == 3
    (unlit,) = set(lit.options) - set(lit.value)
    first, *others = lit.value
    pick(page, "compare.lit", [*lit.value, unlit])
    kept = sorted([*others, unlit], key=lit.options.index)
    assert page.pills(key="compare.lit").value == kept
    spec = json.loads(next(one for one in page.get("plotly_chart") if "compare.curves" in one.proto.id).proto.spec)
    curves = {trace["name"]: trace for trace in spec["data"][1:]}
    assert {name for name, trace in curves.items() if "marker" in trace} == {*others, unlit}
    assert curves[first]["mode"] == "lines"
    assert "fullData.name" in curves[first]["hovertemplate"]  # a grey curve tells its name
    open_tab(open_tab(page, "Rows"), "Agreement")
    assert page.pills(key="compare.lit").value == kept
    assert page.query_params["curves"] == ".".join(str(lit.options.index(name)) for name in kept)


def test_the_legend_names_every_entry_but_the_reference(page):
    key = next(one.value for one in page.html if "chance range" in one.value)
    assert [name in key for name in compared_names(page)] == [False, *[True] * (len(compared_names(page)) - 1)]


def test_it_names_the_orders_that_leave_rows_out(page):
    (caption,) = (one.value for one in page.markdown if "[Jaccard overlap]" in one.value)
    assert caption.endswith("Some rows are not [eligible](#glossary-eligible) for Entropy shift.]")


def test_moving_the_budget_moves_the_answer_and_the_figures(page):
    before = verdict(page), subsets(page)
    page.number_input(key="select.exact.percent").set_value(50.0).run()
    assert not page.exception
    assert verdict(page).startswith("At 50%")
    assert subsets(page)["Rows"].tolist()[:3] == ["120", "120", "120"]
    assert before[1]["Rows"].tolist() == ["24", "24", "24", "24", "240"]


def test_a_budget_in_tokens_selects_as_many_rows_as_fit(page):
    pick(page, "select.unit", "tokens")
    rows = [int(n) for n in subsets(page)["Rows"].tolist()[:3]]
    assert min(rows) == rows[2] < max(rows)  # the longest rows are the fewest


def test_contenders_are_stored_and_can_be_undone(page):
    page.pills(key="compare.who").set_value([NLL, "Longest response"]).run()
    assert not page.exception
    assert verdict(page).startswith(f"At 10%, {NLL}")
    page.switch_page("pages/pool.py").run().switch_page("pages/compare.py").run()
    assert compared_names(page) == [NLL, "Longest response"]


def test_one_contender_is_no_comparison(page):
    page.pills(key="compare.who").set_value([NLL]).run()
    assert not page.exception
    assert "at least two" in page.info[0].value


def test_any_entry_can_be_the_reference(page):
    pick(page, find_by_prefix(page.selectbox, "compare.reference").key, "Longest response")
    assert verdict(page).startswith("At 10%, Longest response")


def test_a_stored_variant_is_compared_with_the_method_as_it_changes(page):
    press(page, "compare.keep")
    stored = compared_names(page)[-1]
    assert stored == "Entropy shift (learning rate 0.0005)"
    page.switch_page("pages/select.py").run()
    page.slider(key="select.entropy_shift.gamma").set_value(0.3).run()
    page.switch_page("pages/compare.py").run()
    page.pills(key="compare.who").set_value([SHIFT, stored]).run()
    page.number_input(key="select.exact.percent").set_value(100.0).run()
    assert subsets(page)["Rows"].tolist()[:2] == ["96", "192"]  # 240 less 2 · 72, less 2 · 24


def test_filters_apply_to_all_and_pins_to_none(run, app):
    at = app("select")
    at.pills(key="select.task").set_value(["sums"]).run()
    at.switch_page("pages/compare.py").run()
    at.number_input(key="select.exact.percent").set_value(100.0).run()
    assert not at.exception
    assert subsets(at)["Rows"].tolist()[:3] == ["65", "81", "81"]  # less int(81 * 0.1) at each end
    assert "1 active filter" in words(at)


def test_rows_selected_by_only_one_or_by_all_can_be_read(page, run):
    open_tab(page, "Rows")
    options = find_by_prefix(page.selectbox, "compare.set").options
    assert options[0] == "Biggest disagreements"
    assert options[1].startswith("Selected by all · ")
    alone = next(one for one in options if one.startswith("Only Entropy shift · "))
    find_by_prefix(page.selectbox, "compare.set").select_index(options.index(alone)).run()
    assert not page.exception
    listed = next(one for one in tables(page) if "State" in one)
    assert len(listed) == int(alone.split(" · ")[1].split()[0])
    assert set(listed["State"]) == {"selected"}


def test_the_strongest_disagreements_are_shown_one_way_at_a_time(page, run):
    open_tab(page, "Rows")
    (way,) = (one for one in page.get("button_group") if (one.key or "").startswith("compare.way"))
    measured, eligible = load_measured(run), np.ones(240, bool)
    order = build_method("entropy_shift", {}).order(measured, eligible, seed=0)
    assert len(order.rows) == 192
    for high, low in ((SHIFT, "Random"), ("Random", SHIFT)):
        pick(page, way.key, f"{high} ranks high, {low} ranks low")
        (listed,) = tables(page)
        assert re.fullmatch(r"top [\d.]+%", listed[high].iloc[0])
        assert re.fullmatch(r"bottom [\d.]+%", listed[low].iloc[0])


# Highlight


def highlight(at, *terms):
    now = at.session_state["winnow.settings"]
    at.session_state["winnow.settings"] = replace(now, highlight=terms)
    at.run()
    assert not at.exception
    return at


def task(name: str) -> Match:
    return Match(Filter("task", values=(name,)))


def selected_rows(run, name: str, k: int = 24) -> list[int]:
    order = build_method(name, {}).order(load_measured(run), np.ones(240, bool), seed=0)
    return order.rows[:k].tolist()


def test_the_matrix_counts_the_highlighted_rows_of_each_method(page, run):
    html = bars_html(highlight(page, task("words")))
    for name in ("entropy_shift", "longest"):
        count = sum(row % 3 == 1 for row in selected_rows(run, name))
        assert f"{build_method(name, {}).label}: selects {count} of 80 highlighted rows" in html


def test_the_make_up_shows_the_highlighted_rows_as_one_more_set(page, run):
    table = subsets(highlight(page, task("words"))).set_index("Selection")
    count = sum(row % 3 == 1 for row in selected_rows(run, "longest"))
    assert table.loc["Longest response", "Highlighted"] == str(count)
    assert table.loc["Highlighted rows", "Rows"] == table.loc["Pool", "Highlighted"] == "80"
    shares = next(one for one in tables(page) if "Tasks" in one).set_index("Tasks")
    assert shares.loc["words", "Highlighted rows"] == 100
    assert any("◉" in one.value for one in page.html)


def test_the_rows_are_the_highlighted_ones_of_the_set(page, run):
    highlight(open_tab(page, "Rows"), task("facts"))
    (listed,) = tables(page)
    assert len(listed) == 79
    longest = {f"row-{row}" for row in selected_rows(run, "longest")}
    by = listed.set_index("Id")["Selected by"]
    assert {row for row, names in by.items() if "Longest response" in names} == {
        row for row in by.index if row in longest
    }
    options = find_by_prefix(page.selectbox, "compare.set").options
    assert options[0] == "Highlighted · 79 rows"
    find_by_prefix(page.selectbox, "compare.set").select_index(1).run()  # the biggest disagreements
    assert {int(one.removeprefix("row-")) % 3 for one in tables(page)[0]["Id"]} == {2}
    assert set(tables(page)[0]["Task"]) == {"facts"}
    alone = next(one for one in options if one.startswith("Only Longest response"))
    find_by_prefix(page.selectbox, "compare.set").select_index(options.index(alone)).run()
    assert not page.exception
    assert set(tables(page)[0]["Task"]) == {"facts"}
    assert f"highlighted** of {alone.split(' · ')[1]}" in words(page)


def test_a_cell_of_the_matrix_highlights_what_both_select(page, run):
    both = set(selected_rows(run, "entropy_shift")) & set(selected_rows(run, "longest"))
    pick_bar(page, "compare.matrix", "0.2")
    html = bars_html(page)
    assert f"Entropy shift: selects {len(both)} of {len(both)} highlighted rows" in html
    assert f"Longest response: selects {len(both)} of {len(both)} highlighted rows" in html
    (term,) = page.session_state["winnow.settings"].highlight
    assert term.words == "selected by Entropy shift and Longest response"


@pytest.mark.parametrize(("kind", "line"), [("Tasks", 1), ("Lengths", 2), ("Clusters", 3)])
def test_a_line_of_the_groups_highlights_its_rows(page, workspace, pool, kind, line):
    activation_coverage_run(workspace, pool)
    open_tab(page, "Make-up")
    pick(page, "compare.by", kind)
    shares = next(one for one in tables(page) if "Pool" in one)
    pick_bar(page, "compare.groups", str(line))
    lit = next(one for one in tables(page) if "Pool" in one)["Highlighted rows"].tolist()
    assert lit == [100 * (k == line) for k in range(len(shares))]
    rows = subsets(page).set_index("Selection").loc["Highlighted rows", "Rows"]
    assert int(rows) == round(shares["Pool"][line] * 240 / 100)


def test_a_row_opens_in_the_reader_with_the_list_that_it_stands_in(page):
    open_tab(page, "Rows")
    click_line(page, "compare.rows", 3)
    assert page.query_params["row"] == tables(page)[0]["Id"].iloc[3]
    assert len(page.session_state["winnow.open"].rows) == len(tables(page)[0]) == 60


def test_a_set_of_the_figure_is_a_term_with_the_rows_of_that_set(page, run):
    shift, longest = (set(selected_rows(run, name)) for name in ("entropy_shift", "longest"))
    pick(page, "compare.who", [SHIFT, "Longest response"])
    only = Sets((Contender("longest"),), (Contender("entropy_shift"),), "only Longest response")
    highlight(open_tab(page, "Agreement"), only)
    spec = json.loads(next(one for one in page.get("plotly_chart") if "compare.sets" in one.proto.id).proto.spec)
    bars, lit = (trace for trace in spec["data"] if trace["type"] == "bar")
    place = [code for code, _ in bars["customdata"]].index(2)
    assert bars["y"][place] == lit["y"][place] == len(longest - shift)
    assert sum(lit["y"]) == len(longest - shift)


def test_groups_are_drawn_and_listed_in_a_table(page, workspace, pool, app):
    activation_coverage_run(workspace, pool)
    task_confidence_run(workspace, pool)
    at = app("compare")
    assert not at.exception
    assert compared_names(at) == [SHIFT, "Activation coverage", "Task confidence", "Random", "Longest response"]
    first = subsets(at)
    assert first["Clusters"].iloc[-1] == "6"
    assert first["Coverage"].iloc[-1] == "100.0%"
    for kind in ("Tasks", "Lengths", "Clusters"):
        pick(at, "compare.by", kind)
        shares = next(one for one in tables(at) if "Pool" in one)
        assert shares[SHIFT].sum() == pytest.approx(100)
        assert shares["Pool"].sum() == pytest.approx(100)


def combine(at, *names: str):
    """Follow the link from Compare to Select, and choose the methods of the combination there."""
    press(at, "compare.combine")
    at.switch_page("pages/select.py").run()  # AppTest does not follow st.switch_page in a fragment
    pick(at, "combination.methods", list(names))
    return at


def test_combination_is_a_method_that_is_set_up_on_select_and_exported(page, workspace):
    combine(page, SHIFT, NLL)
    assert verdict(page) == "24 of 240 rows are selected (10.0%)."
    pick(page, "select.combined.rule", "intersection")
    assert verdict(page) == "24 of 240 rows are selected (10.0%)."
    page.switch_page("pages/export.py").run()
    assert not page.exception
    page.button(key="export.write").click().run()
    assert not page.exception
    manifest = json.loads(next(workspace.root.glob("exports/*/chosen.manifest.json")).read_text())
    method = manifest["recipe"]["method"]
    assert (method["name"], method["params"]["rule"]) == ("combined", "intersection")
    assert [member["name"] for member in json.loads(method["params"]["members"])] == ["entropy_shift", "lowest_nll"]


def test_a_combination_without_methods_says_what_to_choose(page):
    page.switch_page("pages/select.py").run()
    pick(page, "select.method", "combined")
    assert note(page).startswith("Choose at least two methods: their ranks become one order.")
    assert not page.slider  # no selection, so nothing to limit
    assert "Combination" not in page.pills(key="combination.methods").options
    for name in ("explore", "compare", "export"):
        page.switch_page(f"pages/{name}.py").run()
        assert not page.exception
        assert note(page).startswith("Choose at least two methods") and page.pills(key="combination.methods")


def test_one_method_is_no_combination_and_changes_nothing(page):
    combine(page, SHIFT, NLL)
    pick(page, "combination.methods", [NLL])
    assert note(page) == "Choose at least two methods. Until then, Entropy shift and Lowest NLL stay combined."
    assert page.pills(key="combination.methods").value == [NLL]
    assert members_of(page) == ["entropy_shift", "lowest_nll"]
    pick(page, "combination.methods", [NLL, "Longest response"])
    assert members_of(page) == ["lowest_nll", "longest"]
    press(page, "select.undo")
    assert page.pills(key="combination.methods").value == [SHIFT, NLL]


def note(at) -> str:
    return at.info[0].value.replace("\\", "")


def members_of(at) -> list[str]:
    return [one["name"] for one in json.loads(at.session_state["winnow.settings"].params["combined"]["members"])]


def test_the_first_method_can_be_another_and_weights_go_with_their_methods(page):
    combine(page, SHIFT, NLL, "Longest response")
    page.number_input(key="combination.weight.2").set_value(3.0).run()
    assert not page.exception
    pick(page, "combination.first", "Longest response")
    assert members_of(page) == ["longest", "entropy_shift", "lowest_nll"]
    assert [page.number_input(key=f"combination.weight.{k}").value for k in range(3)] == [3, 1, 1]
    pick(page, "combination.methods", ["Longest response", SHIFT])
    assert page.session_state["winnow.settings"].params["combined"]["weights"] == "3, 1"


def test_a_variant_that_is_the_method_as_it_is_set_is_offered_once_and_other_settings_make_two(page):
    press(page, "compare.keep")
    combine(page, SHIFT, NLL)
    assert sum("Entropy shift" in name for name in page.pills(key="combination.methods").options) == 1
    pick(page, "select.method", "entropy_shift")
    page.slider(key="select.entropy_shift.gamma").set_value(0.3).run()
    pick(page, "select.method", "combined")
    names = page.pills(key="combination.methods")
    assert [name for name in names.options if "Entropy shift" in name] == [
        SHIFT,
        "Entropy shift (learning rate 0.0005)",
    ]
    assert names.value == ["Entropy shift (learning rate 0.0005)", NLL]  # the member keeps the settings it had


def test_weights_that_are_all_zero_are_refused_in_a_sentence(page):
    combine(page, SHIFT, NLL)
    for k in range(2):
        page.number_input(key=f"combination.weight.{k}").set_value(0.0).run()
        assert not page.exception
    assert "weights must be 2 numbers of 0 or more, not all 0" in page.warning[0].value.replace("\\", "")
    assert [page.number_input(key=f"combination.weight.{k}").value for k in range(2)] == [0, 1]


def test_a_filtered_combination_follows_its_first_method_and_is_compared_by_its_name(page):
    combine(page, SHIFT, "Random")
    pick(page, "select.combined.rule", "filtered")
    page.slider(key="select.combined.keep").set_value(0.2).run()
    page.number_input(key="select.exact.percent").set_value(100.0).run()
    # entropy shift ranks 192 of 240 rows; a fifth of these is in the top fifth of a random order, give or take
    assert 20 < int(verdict(page).split()[0]) < 48
    page.switch_page("pages/compare.py").run()
    press(page, "compare.keep")
    assert compared_names(page)[-1] == "Entropy shift among the top of Random"


def test_a_saved_selection_keeps_its_own_filters(run, app):
    at = app("select")
    at.pills(key="select.task").set_value(["words"]).run()
    for _ in range(2):  # AppTest does not send back that a popover is open
        at.session_state["saved.panel"] = True
        at.run()
    at.session_state["saved.panel"] = True
    at.text_input(key="saved.name").set_value("words only")
    press(at, "saved.save")
    at.pills(key="select.task").set_value([]).run()
    at.switch_page("pages/compare.py").run()
    at.pills(key="compare.who").set_value([SHIFT, "saved: words only"]).run()
    at.number_input(key="select.exact.percent").set_value(100.0).run()
    assert not at.exception
    assert subsets(at)["Rows"].tolist()[:2] == ["192", "64"]  # 80 words, less 8 at each end
    assert "Saved selections keep their own filters" in words(at)


def test_imported_scores_are_added_without_a_model(workspace, tmp_path, app):
    file = tmp_path / "scored.jsonl"
    rows = [{"instruction": f"q {i}", "output": "a " * (1 + i % 7), "ifd_ppl": (i * 7) % 100} for i in range(100)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pool = load_pool(str(file), workspace=workspace.root)
    entropy_shift_run(workspace, pool)
    at = app("compare")
    assert at.selectbox(key="compare.field").options == ["ifd_ppl"]
    press(at, "compare.import")
    assert compared_names(at)[-1] == "ifd_ppl (highest first)"
    run = next(run for run in list_runs(workspace, pool.fingerprint) if run.method["name"] == "imported")
    assert load_measured(run).columns["imported"].tolist() == [(i * 7) % 100 for i in range(100)]
    pick(at, find_by_prefix(at.selectbox, "compare.reference").key, "ifd_ppl (highest first)")
    assert verdict(at).startswith("At 10%, ifd_ppl (highest first)")


def test_settings_of_an_older_version_still_load():
    old = asdict(state.Settings())
    del old["contenders"]
    assert settings_from_json({"format": FORMAT, **old}).contenders == ()
    params = {"members": Combined('["longest", "random"]').members, "rule": "union"}
    new = state.Settings(contenders=(state.Contender("combined", params, "both"), state.Contender(saved="a")))
    assert settings_from_json({"format": FORMAT, **json.loads(json.dumps(asdict(new)))}) == new


def test_the_measure_page_accepts_a_combination_and_refuses_invalid_members(page):
    combine(page, SHIFT, NLL)
    page.switch_page("pages/measure.py").run()
    assert not page.exception
    members = page.text_input(key="form.combined.members")
    assert json.loads(members.value)[0]["name"] == "entropy_shift"
    members.set_value('["longest"]').run()
    assert not page.exception
    assert "at least two methods" in page.warning[0].value
    page.text_input(key="form.combined.members").set_value('["longest", "lowest_nll"]').run()
    assert not page.exception
    assert not page.warning
    choose_only(page, "imported")
    assert not page.exception
    page.switch_page("pages/explore.py").run()
    assert not page.exception
    assert "Imported score is not measured" in page.subheader[0].value


@pytest.mark.parametrize(
    "member",
    [
        {"name": "answer_divergence", "params": {"base_url": "http://169.254.169.254/v1"}},
        {"name": "answer_divergence", "params": {"answers_file": "/etc/passwd"}},
        {"name": "task_confidence", "params": {"embeddings": "/etc"}},
        {"name": "preference_influence", "params": {"targets": "t=/etc/passwd"}},
    ],
)
def test_members_name_only_what_a_browser_may_name(member, monkeypatch, tmp_path):
    monkeypatch.setenv("WINNOW_DATA_ROOTS", str(tmp_path))
    with pytest.raises(PoolError, match=r"outside the folders|not a server that this app may ask"):
        CHECKS["methods"](json.dumps(["longest", member]))
    assert (
        CHECKS["methods"]('["longest", "preference_influence"]')
        == Combined('["longest", "preference_influence"]').members
    )


def test_nothing_and_everything_can_be_compared(page):
    page.number_input(key="select.exact.percent").set_value(0.0).run()
    assert not page.exception
    assert verdict(page) == "At 0%, Entropy shift selects no rows."
    assert "Raise the budget" in words(page) and "The overlap of" not in words(page)
    page.number_input(key="select.exact.percent").set_value(100.0).run()
    assert not page.exception
    assert "The overlap of **Entropy shift** is within the chance range with Random and Longest response." in words(
        page
    )


def test_prompts_without_responses_are_compared_by_methods_that_need_none(workspace, prompts_only, app):
    task_confidence_run(workspace, prompts_only)
    at = app("compare")
    press(at, "show.task_confidence")
    assert compared_names(at) == ["Task confidence", "Random", "Longest response"]
    assert subsets(at)["Rows"].tolist()[:3] == ["24", "24", "0"]
    assert at.get_by_key("select.unit").options == ["Rows", "%"]


def test_a_filter_that_excludes_every_row_is_handled(run, app):
    at = app("select")
    at.text_input(key="select.contains").set_value("no row says this").run()
    at.switch_page("pages/compare.py").run()
    assert not at.exception
    assert verdict(at) == "At 10%, Entropy shift selects no rows."


def test_random_repeats_no_random_rows_of_another_method(workspace, pool, app):
    task_confidence_run(workspace, pool)
    at = app("compare")
    press(at, "show.task_confidence")
    html = "".join(one.value for one in at.html)
    rho = float(html.split("Task confidence and Random: ")[1].split('"')[0].replace("−", "-"))
    assert abs(rho) < 0.3  # with equal seeds the overlap would be at least 0.9
