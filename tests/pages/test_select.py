"""The Select page as a user sees it, and what each control changes. Numbers: the pool has 240 rows."""

from dataclasses import replace

import pytest

from core.selection.selection import Pin
from core.workspace.files import read_json, write_json
from pages.ui.shell import state
from tests.pages.conftest import bars_html, click_line, entropy_shift_run, pick_bar, task_confidence_run


@pytest.fixture
def page(run, app):
    at = app("select")
    assert not at.exception
    return at


def verdict(at) -> str:
    """Return the sentence below the heading: how many rows are selected."""
    assert at.title[0].value == "Select"
    return at.subheader[0].value.replace("\\", "")


def metric(at, label: str):
    return next(one for one in at.metric if one.label == label)


def in_force(at) -> list[str]:
    """Return the texts of the filters in force."""
    return [one.label.replace("\\", "") for one in at.button if one.key.startswith("filter.remove")]


def html_text(at) -> str:
    return "".join(one.value for one in at.html) + bars_html(at)


def press(at, key: str):
    at.button(key=key).click().run()
    assert not at.exception


def view(at, name: str) -> str:
    """Open a set of rows and return its full label."""
    control = at.get_by_key("select.view")
    label = next(option for option in control.options if option.startswith(name))
    control.set_value(name).run()
    assert not at.exception
    return label


def test_the_title_gives_the_number_of_rows(page):
    assert verdict(page) == "24 of 240 rows are selected (10.0%)."


def test_without_a_measurement_it_leads_to_the_measure_page(pool, app):
    at = app("select")
    assert not at.exception
    assert "not measured" in at.subheader[0].value
    assert not at.slider


def test_moving_the_budget_moves_rows_tokens_and_drawings(page):
    tokens, pictures = metric(page, "Response tokens").value, html_text(page)
    page.number_input(key="select.exact.percent").set_value(20.0).run()
    assert verdict(page) == "48 of 240 rows are selected (20.0%)."
    assert metric(page, "Response tokens").value != tokens
    assert html_text(page) != pictures
    assert page.number_input(key="select.exact.percent").value == 20.0


def test_the_exact_field_accepts_what_the_slider_cannot(page):
    page.number_input(key="select.exact.percent").set_value(12.92).run()
    assert verdict(page).startswith("31 of 240")  # int(240 * 0.1292)


def test_another_unit_keeps_the_selection(page):
    page.get_by_key("select.unit").set_value("rows").run()
    assert verdict(page).startswith("24 of 240")
    assert page.number_input(key="select.exact.rows").value == 24
    page.get_by_key("select.unit").set_value("tokens").run()
    assert verdict(page).startswith("24 of 240")
    assert page.number_input(key="select.exact.tokens").value == int(
        metric(page, "Response tokens").value.replace(",", "")
    )


def test_the_nll_filter_excludes_rows_at_both_ends(page):
    assert metric(page, "ΔH at the cutoff").delta == "192 eligible rows"  # 240 - 2 * int(240 * 0.1)
    page.slider(key="select.entropy_shift.gamma").set_value(0.2).run()
    assert metric(page, "ΔH at the cutoff").delta == "144 eligible rows"


def test_highest_and_lowest_select_opposite_ends(page):
    assert metric(page, "ΔH at the cutoff").value.startswith("−")
    page.get_by_key("select.entropy_shift.pick").set_value("highest").run()
    assert not metric(page, "ΔH at the cutoff").value.startswith("−")


def test_a_score_limit_ends_the_selection_before_the_budget(page):
    page.number_input(key="select.exact.percent").set_value(100.0).run()
    assert verdict(page).startswith("192 of 240")
    page.slider(key="select.threshold.delta_entropy.low").set_value(-0.2).run()
    assert 0 < int(verdict(page).split()[0]) < 192
    page.get_by_key("select.entropy_shift.pick").set_value("highest").run()  # the threshold applied to the other end
    assert verdict(page).startswith("192 of 240")


def test_a_task_filter_decides_who_is_eligible(page):
    page.pills(key="select.task").set_value(["sums"]).run()
    assert in_force(page) == ["task is sums"]
    page.number_input(key="select.exact.percent").set_value(100.0).run()
    assert verdict(page).startswith("65 of 240")  # 81 rows, less int(81 * 0.1) at each end
    page.get_by_key("select.task.side").set_value("not").run()
    assert verdict(page).startswith("129 of 240")  # 159, less 15 at each end


def test_exact_duplicates_can_be_excluded(page):
    page.slider(key="select.entropy_shift.gamma").set_value(0.0).run()
    page.toggle(key="select.duplicate_of").set_value(True).run()
    assert metric(page, "ΔH at the cutoff").delta == "239 eligible rows"


def add(at, column, kind=None, **values):
    """Add a filter by the form of the panel."""
    at.selectbox(key="filter.column").set_value(column).run()
    if kind is not None:
        at.get_by_key(f"filter.kind.{'text' if kind in ('contains', 'matches') else 'number'}").set_value(kind).run()
    for name, value in values.items():
        widget = at.text_input if isinstance(value, str) else at.number_input
        widget(key=f"filter.{name}").set_value(value)
    at.button(key="filter.add").click().run()
    assert not at.exception


def test_several_filters_on_one_column_apply_together_and_each_can_be_removed(page):
    page.slider(key="select.entropy_shift.gamma").set_value(0.0).run()
    add(page, "prompt", "matches", matches="^Question 1")
    add(page, "prompt", "matches", matches=r"\d\?$")
    add(page, "prompt", "contains", contains="7")
    assert in_force(page) == ["prompt matches '^Question 1'", "prompt matches 'd?$'", "prompt contains '7'"]
    assert metric(page, "ΔH at the cutoff").delta == "20 eligible rows"  # 17, nineteen of 100 to 199
    press(page, "filter.remove.2")
    assert metric(page, "ΔH at the cutoff").delta == "111 eligible rows"  # 1, 10 to 19, 100 to 199
    press(page, "select.undo")
    assert len(in_force(page)) == 3


def test_an_invalid_pattern_shows_one_sentence_and_changes_nothing(page):
    before = verdict(page), page.session_state[state.SETTINGS]
    for pattern in ("(", "(?=x)", "(a{500}){900}"):
        add(page, "response", "matches", matches=pattern)
        assert len(page.error) == 1
        assert (verdict(page), page.session_state[state.SETTINGS]) == before
    add(page, "nll", "range")
    assert "has no condition" in page.error[0].value
    add(page, "response", "matches", matches="(a+)+$")
    assert not page.error and verdict(page).startswith("0 of 240")


def test_any_score_can_be_filtered_by_a_range_or_its_complement(page):
    page.slider(key="select.entropy_shift.gamma").set_value(0.0).run()
    add(page, "nll", "range", high=2.0)
    n_inside = int(metric(page, "ΔH at the cutoff").delta.split()[0])
    press(page, "select.undo")
    page.toggle(key="filter.exclude").set_value(True)
    add(page, "nll", "range", high=2.0)
    assert metric(page, "ΔH at the cutoff").delta == f"{240 - n_inside} eligible rows"


def test_the_methods_own_score_can_be_filtered_by(page):
    page.slider(key="select.entropy_shift.gamma").set_value(0.0).run()
    add(page, "delta_entropy", "range", high=0.0)
    n_inside = int(metric(page, "ΔH at the cutoff").delta.split()[0])
    assert 0 < n_inside < 240
    page.number_input(key="select.exact.percent").set_value(100.0).run()
    assert verdict(page).startswith(f"{n_inside} of 240")
    page.selectbox(key="select.method").set_value("longest").run()  # has no such score
    assert "there is no column 'delta_entropy'" in page.error[0].value.replace("\\", "")
    press(page, "filter.remove.0")
    assert verdict(page).startswith("240 of 240")


def test_an_empty_selection_shows_why_and_undo_restores_it(page):
    page.text_input(key="select.contains").set_value("no row says this").run()
    assert verdict(page).startswith("0 of 240")
    assert "No rows are selected" in page.warning[0].value
    assert "240 filtered out" in page.warning[0].value
    press(page, "select.undo")
    assert verdict(page).startswith("24 of 240")
    assert not page.warning


def test_undo_and_redo_move_the_slider_too(page):
    assert not [one for one in page.button if one.key in ("select.undo", "select.redo")]
    page.number_input(key="select.exact.percent").set_value(30.0).run()
    press(page, "select.undo")
    assert verdict(page).startswith("24 of 240")
    assert page.number_input(key="select.exact.percent").value == 10.0
    press(page, "select.redo")
    assert verdict(page).startswith("72 of 240")


def test_rows_that_the_last_change_added_and_removed_can_be_read(page):
    page.number_input(key="select.exact.percent").set_value(20.0).run()
    assert view(page, "Newly added") == "Newly added · 24"
    assert view(page, "Removed") == "Removed · 0"
    page.number_input(key="select.exact.percent").set_value(15.0).run()
    assert view(page, "Removed") == "Removed · 12"
    assert len(page.dataframe[0].value) == 12


def test_the_rows_at_the_cut_are_the_last_selected_and_the_next_in_order(page):
    assert view(page, "Near the cutoff") == "Near the cutoff · 20"
    table = page.dataframe[0].value
    assert table["State"].tolist() == ["selected"] * 10 + ["unselected"] * 10
    assert table["Score"].is_monotonic_increasing


def test_a_row_pinned_out_is_replaced_by_the_next(page):
    view(page, "Top ranked")
    best = page.dataframe[0].value["Id"][0]
    click_line(page, "select.rows", 0)
    press(page, "reader.x")
    page.run()  # the whole page: the button has drawn the two fragments only
    assert verdict(page).startswith("24 of 240")
    assert best not in page.dataframe[0].value["Id"].tolist()
    assert view(page, "Removed") == "Removed · 1"
    assert view(page, "Pinned") == "Pinned · 1"
    assert page.dataframe[0].value["State"].tolist() == ["always excluded"]
    press(page, "reader.x")
    page.run()  # the whole page: the button has drawn the two fragments only
    assert view(page, "Top ranked") == "Top ranked · 24"
    assert page.dataframe[0].value["Id"][0] == best


def test_a_row_pinned_in_counts_against_the_budget(page):
    page.number_input(key="select.exact.percent").set_value(5.0).run()
    view(page, "Near the cutoff")
    outside = page.dataframe[0].value["Id"].tolist()[-1]
    page.session_state[state.SETTINGS] = replace(
        page.session_state[state.SETTINGS], pins=(Pin(outside, "in", "a good example"),)
    )
    page.run()
    assert verdict(page).startswith("12 of 240")
    view(page, "Top ranked")
    assert page.dataframe[0].value["Id"][0] == outside


def test_every_method_that_is_measured_can_be_chosen(page):
    for name in ("random", "longest", "lowest_nll", "highest_nll"):
        page.selectbox(key="select.method").set_value(name).run()
        assert not page.exception
        assert verdict(page) == "24 of 240 rows are selected (10.0%)."


def test_an_unmeasured_method_is_marked_and_another_can_be_chosen(run, app):
    at = app("select")
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], seed=5)  # not the run's
    at.run()
    assert "Entropy shift (not measured)" in at.selectbox(key="select.method").options
    assert "not measured" in verdict(at)
    at.selectbox(key="select.method").set_value("longest").run()
    assert verdict(at) == "24 of 240 rows are selected (10.0%)."


def test_a_label_that_has_changed_since_the_browser_got_it_chooses_no_method(page):
    page.selectbox(key="select.method").set_value("Combination (not measured)").run()
    assert not page.exception
    assert page.session_state[state.SETTINGS].method == "entropy_shift"
    assert page.selectbox(key="select.method").value == "entropy_shift"


def test_stored_settings_with_an_unknown_method_are_put_aside_with_a_sentence(page, app, workspace):
    page.number_input(key="select.exact.percent").set_value(20.0).run()
    (file,) = workspace.root.glob("selections/*/current.json")
    write_json(file, read_json(file) | {"method": "Combination (not measured)"})
    at = app("pool")
    assert not at.exception
    assert "they name an unknown method" in at.warning[0].value
    assert file.with_name("unreadable.json").exists()


def test_a_choice_survives_a_reload(run, app, page):
    page.number_input(key="select.exact.percent").set_value(25.0).run()
    assert verdict(app("select")).startswith("60 of 240")


# Highlight


def count_lit(at) -> int:
    """Return how many rows are highlighted, as the badge of the bar says it."""
    badge = next(one.value for one in at.markdown if "material/highlight:" in one.value)
    return int(badge.split("material/highlight:")[1].split()[0])


def highlight(at):
    return at.session_state[state.SETTINGS].highlight


def test_a_task_a_length_and_a_last_line_are_picked_by_what_they_are(page):
    pick_bar(page, "select.composition", "0.1")
    (term,) = highlight(page)
    assert len(page.dataframe[0].value) == 80 and set(page.dataframe[0].value["Task"]) == set(term.filter.values)
    pick_bar(page, "select.composition", "1.0")  # replaces the highlight
    (term,) = highlight(page)
    assert (term.filter.column, term.filter.low, term.filter.high) == ("response_tokens", 1, 7)
    tokens = page.dataframe[0].value["Tokens"]
    assert tokens.min() > 0 and tokens.max() <= 7


def test_the_highlighted_rows_come_first_among_the_sets_and_open_by_themselves(page):
    view(page, "Top ranked")
    pick_bar(page, "select.composition", "0.0")
    control = page.get_by_key("select.view")
    assert control.options[0] == "Highlighted · 81" and control.value == "Highlighted"
    table = page.dataframe[0].value
    ranked = table["State"].tolist()
    assert ranked == sorted(ranked)  # selected ones, which have the best ranks, come first
    assert view(page, "Near the cutoff") == "Near the cutoff · 20"  # another set may be opened, and stays open
    page.number_input(key="select.exact.percent").set_value(20.0).run()
    assert page.get_by_key("select.view").value == "Near the cutoff"
    press(page, "highlight.clear")
    assert page.get_by_key("select.view").value == "Near the cutoff"
    assert not any(option.startswith("Highlighted") for option in page.get_by_key("select.view").options)


def test_every_set_can_be_narrowed_to_the_highlighted_rows(page):
    assert not [one for one in page.toggle if one.key == "select.only"]
    pick_bar(page, "select.composition", "0.0")
    page.toggle(key="select.only").set_value(True).run()
    label = view(page, "Top ranked")
    table = page.dataframe[0].value
    assert label == f"Top ranked · {len(table)}" and 0 < len(table) < 24
    assert set(table["Task"]) == set(highlight(page)[0].filter.values)


def test_picks_narrow_the_highlight_while_that_is_on_and_terms_are_inverted_and_removed(page):
    pick_bar(page, "select.composition", "0.0")
    page.toggle(key="winnow.narrow").set_value(True).run()
    pick_bar(page, "select.composition", "1.1")
    task, length = highlight(page)
    table = page.dataframe[0].value
    assert (
        count_lit(page) == len(table) == 10
    )  # 32 to 63 characters: four to eight times "so", which are 30 rows, a third of them sums
    assert set(table["Task"]) == set(task.filter.values) and table["Tokens"].between(8, 15).all()
    press(page, "highlight.negate.1")
    assert count_lit(page) == 81 - 10
    press(page, "highlight.remove.0")
    assert highlight(page) == (replace(length, exclude=True),)
    page.toggle(key="winnow.narrow").set_value(False).run()
    pick_bar(page, "select.composition", "0.0")
    assert highlight(page) == (task,)
    assert not [one for one in page.button if one.key == "select.undo"]  # the highlight is no step of undo


def test_the_panels_show_the_shares_of_the_highlighted_rows(page):
    assert "of the highlighted rows" not in html_text(page)
    pick_bar(page, "select.composition", "0.0")
    assert html_text(page).count("100.0% of the highlighted rows") == 1  # of tasks; lengths are spread
    assert "highlighted rows</span>" in html_text(page)


def test_the_methods_parameters_are_in_sight(page):
    assert page.slider(key="select.entropy_shift.gamma").value == 0.1
    assert "Settings" not in [one.proto.popover.label for one in page.get("popover")]


# Derived tasks, other orders, prompts without responses


def choose(at, method):
    at.selectbox(key="select.method").set_value(method).run()
    assert not at.exception
    return at


def test_derived_tasks_replace_labels_and_are_named_so(unlabelled, workspace, app):
    task_confidence_run(workspace, unlabelled)
    at = choose(app("select"), "task_confidence")
    assert ">Derived tasks<" in html_text(at)
    assert "derived 1: so, it" in html_text(at)
    assert any(part.value.startswith("Tasks are derived: clusters of similar prompts") for part in at.caption)


def test_labels_are_never_called_derived(run, confidence_run, app):
    at = choose(app("select"), "task_confidence")
    assert ">Tasks<" in html_text(at)
    assert "derived" not in html_text(at)


def test_a_filter_on_derived_tasks_decides_who_is_eligible(unlabelled, workspace, app):
    task_confidence_run(workspace, unlabelled)
    at = choose(app("select"), "task_confidence")
    at.number_input(key="select.exact.percent").set_value(100.0).run()
    at.pills(key="select.derived_task").set_value(["derived 2: plus"]).run()
    assert not at.exception
    assert verdict(at) == "80 of 240 rows are selected (33.3%)."
    at.get_by_key("select.derived_task.side").set_value("not").run()
    assert verdict(at) == "160 of 240 rows are selected (66.7%)."


def test_a_filter_on_a_column_that_another_run_lacks_can_be_removed(unlabelled, workspace, app):
    task_confidence_run(workspace, unlabelled)
    entropy_shift_run(workspace, unlabelled)
    at = choose(app("select"), "task_confidence")
    at.pills(key="select.derived_task").set_value(["derived 2: plus"]).run()
    choose(at, "entropy_shift")
    assert "there is no column 'derived_task'" in at.error[0].value.replace("\\", "")
    press(at, "select.unfilter")
    assert verdict(at) == "24 of 240 rows are selected (10.0%)."


def test_under_a_filter_cutoff_and_threshold_use_the_gains_of_the_eligible_rows(run, coverage_run, app):
    at = choose(app("select"), "activation_coverage")
    whole = metric(at, "Coverage gain at the cutoff").value
    at.pills(key="select.task").set_value(["sums"]).run()
    assert not at.exception
    assert metric(at, "Coverage gain at the cutoff").value != whole
    assert metric(at, "Coverage gain at the cutoff").delta == "81 eligible rows"
    at.number_input(key="select.exact.percent").set_value(100.0).run()
    limit = at.slider(key="select.threshold.coverage_gain.high")
    limit.set_value((limit.min + limit.max) / 2).run()
    assert not at.exception
    assert 0 < int(verdict(at).split()[0]) < 81


@pytest.mark.parametrize("method", ["task_confidence", "random"])
def test_prompts_alone_are_counted_in_prompt_tokens(prompts_only, workspace, app, method):
    task_confidence_run(workspace, prompts_only)
    at = choose(app("select"), method)
    assert verdict(at) == "24 of 240 rows are selected (10.0%)."
    assert [one.label for one in at.metric] == ["Prompt tokens", "Median prompt length", "Eligible rows"]
    assert "none" not in metric(at, "Median prompt length").value
    assert ">Prompt length (tokens)<" in html_text(at)
    assert at.get_by_key("select.unit").options == ["Rows", "%"]
    view(at, "Top ranked")
    assert "Response" not in at.dataframe[0].value and at.dataframe[0].value["Tokens"].min() > 0
    if method == "task_confidence":
        assert set(at.dataframe[0].value["Task"]) == {"derived 1: so, it", "derived 2: plus", "derived 3: is"}


def test_a_budget_in_tokens_without_responses_is_refused_and_can_be_replaced(prompts_only, workspace, app):
    task_confidence_run(workspace, prompts_only)
    at = choose(app("select"), "task_confidence")
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], budget="5ktok")
    at.run()
    assert not at.exception
    assert "No row of this pool has a response" in at.error[0].value
    press(at, "select.percent")
    assert verdict(at) == "24 of 240 rows are selected (10.0%)."


def test_a_budget_that_cannot_be_filled_says_so_on_every_page(page):
    assert not page.info
    page.text_input(key="select.contains").set_value("Question 12").run()
    sentence = "9 of 24 rows: only 9 rows are eligible (229 filtered out, 2 outside the ΔNLL band)."
    assert page.info[0].value.replace("\\", "") == sentence
    assert metric(page, "Response tokens").delta.split()[-1].count("–") == 0  # all random selections are these rows
    page.switch_page("pages/export.py").run()
    assert page.info[0].value.replace("\\", "") == sentence
    page.switch_page("pages/compare.py").run()
    note = page.info[0].value.replace("\\", "")
    assert f"Entropy shift: {sentence}" in note
    assert "Random and Longest response: 11 of 24 rows: only 11 rows are eligible (229 filtered out)." in note
    page.number_input(key="select.exact.percent").set_value(2.0).run()
    assert not page.info


def test_a_score_limit_that_leaves_the_budget_unfilled_is_named(page):
    page.number_input(key="select.exact.percent").set_value(70.0).run()
    page.slider(key="select.threshold.delta_entropy.low").set_value(-0.2).run()
    assert page.info[0].value.endswith("are within the score limit\\.")
