"""Map: the dots that are sent, their colours, the highlight on it, and its clusters."""

import json
import re
from base64 import b64decode
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from core.analysis import maps
from core.analysis.raster import SIDE
from core.measurement.run_data import load_measured
from core.measurement.runs import save_run
from core.schema import Reading
from core.selection.filters import Filter
from core.selection.selection import Pin
from core.workspace.jobs import cancel_job, list_jobs
from core.workspace.parts import Parts
from pages.ui.explore.sections import embedding_map
from pages.ui.map import canvas as mapcanvas
from pages.ui.map import clusters, comparison
from pages.ui.map import dots as mapdots
from pages.ui.map.colours import CATEGORY_COLOURS, CategoricalColours, ContinuousColours
from pages.ui.map.dots import BRIGHT, GREY, LIT, PINNED, SCALE, Dots
from pages.ui.shell import server, state
from pages.ui.shell.terms import MapArea, MapCluster, Match, Rows, Search
from pages.ui.theme import REST
from tests.pages.conftest import activation_coverage_run, entropy_shift_run
from tests.pages.test_explore import open_section, page_text, verdict

CORNERS = np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])  # embeddings, one for each of the three tasks
PLACES = np.float32([[0, 0], [10, 0], [0, 10]])  # positions on the hand-made map, one for each task
AROUND = 0.2 * SIDE


@pytest.fixture
def embedded(workspace, pool):
    """Store an entropy shift run with embeddings of prompts and responses in three groups, by task, and a map."""
    run = entropy_shift_run(workspace, pool, dtype="float32")
    folder = run.stage_folder("base")
    kind = np.arange(len(pool)) % 3
    vectors = (CORNERS[kind] + np.random.default_rng(0).normal(0, 0.01, (len(pool), 4))).astype(np.float16)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4)
    parts = Parts.open(folder, {}, [np.arange(len(pool))])
    parts.write(0, pa.table(dict.fromkeys(maps.COLUMNS.values(), flat)))
    source = maps.need_source(workspace, pool, Reading(**run.reading), "prompt")
    by_hand = maps.make_map(workspace, source, "pca", 0) / "umap.npy"
    np.save(by_hand, (PLACES[kind] + np.random.default_rng(1).normal(0, 0.1, (len(pool), 2))).astype(np.float32))
    return run


@pytest.fixture
def at(embedded, app):
    return open_section(app("explore"), "Map")


def canvas(at) -> dict:
    """Return what the page sends to the canvas."""
    (element,) = (one.proto for one in at.get("bidi_component") if one.proto.component_name == "winnow.map")
    return json.loads(element.mixed.json or element.json)


def fetch(sent: dict) -> dict:
    """Return what the browser fetches for a set of dots, with its codes and flags."""
    answer = TestClient(server_app()).get(sent["url"])
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    dots = answer.json()
    row, codes, flags = (
        unpack(sent_or[name], dtype)
        for sent_or, name, dtype in ((dots, "row", "<u4"), (sent, "codes", "u1"), (sent, "flags", "u1"))
    )
    assert len(row) == len(codes) == len(flags) == len(dots["words"])
    return {"row": row, "codes": codes, "flags": flags, "words": dots["words"]}


def server_app():
    from starlette.applications import Starlette

    return Starlette(routes=server.app_options()["routes"])


def unpack(text, dtype):
    return np.frombuffer(b64decode(text), dtype)


def square(x, y, side=AROUND):
    """Return an outline around one point, 0..SIDE."""
    low, high = (x - side, y - side), (x + side, y + side)
    return ((low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]))


def map_name(workspace, pool, run, layout="umap"):
    source = maps.need_source(workspace, pool, Reading(**run.reading), "prompt")
    return f"{maps.map_folder(workspace, source, 0).name} {layout}"


def highlight(at, *terms):
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], highlight=terms)
    at.run()
    assert not at.exception
    return at


# What is sent


def test_the_map_needs_embeddings(run, app):
    assert "Map" not in app("explore").get_by_key("explore.section").options


def test_the_verdict_compares_the_selection_with_random_rows(at):
    assert re.fullmatch(r"The selection reaches \d+% of the map; random selections reach [\d to]+%\.", verdict(at))
    assert "All 240 rows shown" in page_text(at)
    assert at.get_by_key("explore.map.of").options == ["Prompts", "Responses"]


def test_every_row_has_a_dot_and_selected_rows_their_colour(at):
    sent = canvas(at)
    (dots,) = map(fetch, sent["sets"])
    assert dots["row"].tolist() == list(range(240)) and not sent["partial"] and not sent["lit"]
    assert (dots["flags"] & BRIGHT).sum() == 240  # nothing is dimmed beyond its colour
    assert (dots["codes"] == 0).sum() == 24 and (dots["codes"] == GREY).sum() == 216
    assert sent["outline"] is None and sent["open"] is None and sent["listed"] == []


def test_dots_are_served_to_those_who_know_the_address(at):
    assert TestClient(server_app()).get("/data/" + "0" * 32).status_code == 404


def test_the_oldest_dots_are_no_longer_served(monkeypatch):
    monkeypatch.setattr(server, "MAX_SERVED", 2)
    urls = [server.data_url(f"test {k}", lambda k=k: str(k).encode()) for k in range(3)]
    client = TestClient(server_app())
    assert [client.get(url).status_code for url in urls] == [404, 200, 200]
    assert server.data_url("test 1", lambda: b"other") == urls[1] and client.get(urls[1]).content == b"1"


@pytest.mark.parametrize("few", [0, 200])
def test_words_are_the_start_of_the_prompt_on_one_line(few, monkeypatch):
    monkeypatch.setattr(mapdots, "FEW_WORDS", few)
    table = pa.table({"prompt": ["<b>a</b> & b", "one\ntwo   three", "x" * 200]})
    words = mapdots.first_words(type("Rows", (), {"rows": table})(), np.array([2, 1, 0]))
    assert words == ["x" * 55 + "…", "one two three", "<b>a</b> & b"]


def test_words_are_shortened_to_the_byte_limit(monkeypatch):
    monkeypatch.setattr(mapdots, "MAX_TEXT_BYTES", 100)
    monkeypatch.setattr(mapdots, "FEW_WORDS", 0)
    table = pa.table({"prompt": ["漢" * 100] * 10})  # 3 bytes each
    words = mapdots.first_words(type("Rows", (), {"rows": table})(), np.arange(10))
    assert sum(len(text.encode()) for text in words) <= 100


def test_pca_reports_its_share_of_the_variance(at):
    assert "nearby points are similar" in page_text(at)
    at.get_by_key("explore.map.layout").set_value("PCA").run()
    assert not at.exception
    assert "first two principal components, 100% of variance" in page_text(at)  # three points span it


def test_a_sample_has_every_pinned_and_every_highlighted_row(embedded, workspace, pool, app, monkeypatch):
    monkeypatch.setattr(mapdots, "MAX_DOTS", 30)
    at = open_section(app("explore"), "Map")
    assert "30 of 240 rows shown over the density of all rows; zoom in to see all rows of a part" in page_text(at)
    (base,) = map(fetch, canvas(at)["sets"])
    lacking = [k for k in range(1, 240, 3) if k not in base["row"]]
    at.session_state[state.SETTINGS] = replace(
        at.session_state[state.SETTINGS], pins=(Pin(f"row-{lacking[0]}", "in"),),
        highlight=(Rows((f"row-{lacking[1]}", f"row-{base['row'][0]}")),),
    )  # fmt: skip
    at.run()
    assert not at.exception
    sample, lit = map(fetch, canvas(at)["sets"])
    assert len(sample["row"]) == 30 and lacking[0] in sample["row"][sample["flags"] & PINNED > 0]
    assert lit["row"].tolist() == [lacking[1]] and lit["flags"][0] & LIT
    assert canvas(at)["partial"]


def test_all_rows_in_view_are_sent_after_a_zoom(embedded, workspace, pool, app, monkeypatch):
    monkeypatch.setattr(mapdots, "MAX_DOTS", 100)
    at = open_section(app("explore"), "Map")
    key, corner = canvas(at)["key"], [0.8 * SIDE, SIDE, 0, 0.2 * SIDE]
    at.session_state[mapcanvas.KEY] = {"window": {"map": key, "frame": corner}}
    at.run()
    assert not at.exception and "all rows in view" in page_text(at)
    rows = np.concatenate([fetch(each)["row"] for each in canvas(at)["sets"]])
    assert len(rows) == len(set(rows)) and set(range(1, 240, 3)) <= set(rows.tolist())  # the task of that corner
    at.session_state[mapcanvas.KEY] = {"window": {"map": "another", "frame": corner}}
    at.run()
    assert len(canvas(at)["sets"]) == 1


# Highlight


def test_rows_inside_a_lasso_are_lit_and_listed_best_first(at, workspace, pool, embedded):
    highlight(at, MapArea(map_name(workspace, pool, embedded), square(0.97 * SIDE, 0.03 * SIDE)))
    sent = canvas(at)
    (dots,) = map(fetch, sent["sets"])
    assert sent["lit"] and dots["row"][dots["flags"] & LIT > 0].tolist() == list(range(1, 240, 3))
    assert np.array(sent["outline"]).shape == (2, 4)
    assert sorted(each["row"] for each in sent["listed"]) == list(range(1, 240, 3))
    selected = dots["row"][dots["codes"] == 0]
    chosen = [each["row"] for each in sent["listed"] if each["row"] in selected]
    assert [each["row"] for each in sent["listed"]][: len(chosen)] == chosen
    assert sent["heading"] == "80 highlighted" and sent["listed"][0]["words"].startswith("Question")
    assert set(at.dataframe[0].value["Task"]) == {"words"}


def test_a_search_lights_dots_without_an_outline(at):
    highlight(at, Search("question 12:"))
    (dots,) = map(fetch, canvas(at)["sets"])
    assert dots["row"][dots["flags"] & LIT > 0].tolist() == [12] and canvas(at)["outline"] is None


def test_the_list_is_cut_at_its_limit(at, monkeypatch):
    monkeypatch.setattr(embedding_map, "MAX_LISTED", 5)
    highlight(at, Search("question"))
    assert canvas(at)["heading"] == "240 highlighted, the first 5 by rank" and len(canvas(at)["listed"]) == 5


def test_a_lasso_on_another_map_has_no_outline_here(at, workspace, pool, embedded):
    highlight(at, MapArea(map_name(workspace, pool, embedded, "pca"), square(0, 0, 2 * SIDE)))
    assert canvas(at)["lit"] and canvas(at)["outline"] is None


def test_a_lasso_on_a_map_that_is_gone_is_reported(at):
    highlight(at, MapArea("0123456789abcdef umap", square(0, 0)))
    assert not canvas(at)["lit"]
    assert any("is not applied here" in warning.value for warning in at.warning)


def test_picks_on_the_map_become_terms(monkeypatch, at, workspace, pool, embedded):
    picked = []
    monkeypatch.setattr(state, "pick", picked.append)
    layout = type("Layout", (), {"name": "abc umap"})()
    named = clusters.Clusters(np.array([0, 1]), ("sums, plus", "cluster 2"), np.array([1, 1]), np.zeros((2, 2)))
    embedding_map._pick_area(layout, ([1, 2, 3], [4, 5, 6]))
    embedding_map._pick_cluster(layout, named, clusters.DENSITY, 0)
    embedding_map._pick_cluster(layout, named, clusters.ACTIVATIONS, 1)
    embedding_map._pick_cluster(layout, named, clusters.DENSITY, 2)  # the browser's number is not trusted
    assert picked == [
        MapArea("abc umap", ((1, 4), (2, 5), (3, 6))),
        MapCluster("abc umap", 0, "sums, plus"),
        Match(Filter("activation_cluster", values=(1,)), "activation cluster: cluster 2"),
    ]


def test_a_clicked_dot_opens_its_row_among_the_highlighted(monkeypatch, pool):
    opened = []
    monkeypatch.setattr(state, "open_row", lambda _, rows, position=0: opened.append((list(rows), position)))
    for row in (7, 8, 240, -1):
        embedding_map._open(pool, np.array([3, 7, 9]), row)
    assert opened == [([3, 7, 9], 1), ([8], 0)]


def test_highlighted_rows_are_compared_with_the_others_on_request(at, workspace, pool, embedded):
    highlight(at, MapArea(map_name(workspace, pool, embedded), square(0.97 * SIDE, 0.03 * SIDE)))
    at.toggle(key=embedding_map.COMPARE_KEY).set_value(True).run()
    assert not at.exception
    _, scores, tasks = (table.value for table in at.dataframe)
    assert "No word is more frequent among the highlighted rows." in page_text(at)  # all prompts have the same words
    assert tasks["Task"].tolist()[0] == "words"
    assert (tasks["Highlighted"].tolist()[0], tasks["Others"].tolist()[0]) == (100, 0)
    columns = load_measured(embedded).columns
    nll, inside = columns["nll"].astype(float), np.arange(240) % 3 == 1
    row = scores.set_index("Score").loc["NLL"]
    assert row["Highlighted"] == pytest.approx(nll[inside].mean())
    assert row["Others"] == pytest.approx(nll[~inside].mean())
    assert row["Difference"] == pytest.approx((nll[inside].mean() - nll[~inside].mean()) / nll.std())


# Clusters


def test_clusters_by_density_are_named_and_highlighted(at, workspace, pool, embedded):
    labels = canvas(at)["labels"]
    assert len(labels) == 3 and {label["cluster"] for label in labels} == {0, 1, 2}
    assert sorted((label["x"] > SIDE / 2, label["y"] > SIDE / 2) for label in labels) == [
        (False, False), (False, True), (True, False),
    ]  # fmt: skip
    corner = next(label["cluster"] for label in labels if label["x"] > SIDE / 2)
    highlight(at, MapCluster(map_name(workspace, pool, embedded), corner, "words"))
    (dots,) = map(fetch, canvas(at)["sets"])
    lit = dots["row"][dots["flags"] & LIT > 0]
    assert len(lit) > 70 and set(lit.tolist()) <= set(range(1, 240, 3))
    at.get_by_key(clusters.KEY).set_value(clusters.NONE).run()
    assert not at.exception and canvas(at)["labels"] == []


def test_a_cluster_is_highlighted_from_the_list(at, workspace, pool, embedded):
    box = at.selectbox(key=clusters.PICK_KEY)
    assert len(box.options) == 3 and all(re.fullmatch(r"plus, question \d \(\d+\)", option) for option in box.options)
    box.set_value(1).run()
    assert not at.exception
    assert at.session_state[state.SETTINGS].highlight == (
        MapCluster(map_name(workspace, pool, embedded), 1, "plus, question 2"),
    )
    assert at.selectbox(key=clusters.PICK_KEY).value is None and canvas(at)["lit"]


def test_activation_clusters_are_named_where_they_are_on_the_map(embedded, workspace, pool, app):
    coverage = activation_coverage_run(workspace, pool)
    at = open_section(app("explore"), "Map")
    at.get_by_key(clusters.KEY).set_value(clusters.ACTIVATIONS).run()
    assert not at.exception
    codes = coverage.load_columns([clusters.ACTIVATION_COLUMN])[clusters.ACTIVATION_COLUMN]
    assert [label["cluster"] for label in canvas(at)["labels"]] == list(range(codes.max() + 1))
    at.selectbox(key=clusters.PICK_KEY).set_value(0).run()
    assert not at.exception
    (dots,) = map(fetch, canvas(at)["sets"])
    assert dots["row"][dots["flags"] & LIT > 0].tolist() == np.flatnonzero(codes == 0).tolist()


def test_names_of_clusters_are_unique():
    assert clusters.unique_names([["a", "b"], [], ["c"], ["a", "b"]]) == ("a, b 1", "cluster 2", "c", "a, b 4")


def test_rows_are_coloured_by_the_named_clusters(at):
    at.selectbox(key="explore.map.colour").set_value("named cluster").run()
    assert not at.exception
    sent = canvas(at)
    (dots,) = map(fetch, sent["sets"])
    for task in range(3):
        codes = dots["codes"][task::3]
        assert np.bincount(codes[codes != GREY]).max() > 70
    assert len(set(dots["codes"][dots["codes"] != GREY])) == 3 and len(sent["names"]) == 3


# Colours


def test_columns_of_other_runs_colour_the_map(at, workspace, embedded):
    values = np.linspace(0, 1, 240).astype(np.float32)
    other = replace(
        embedded, id="f" * 16, folder=workspace.folder("runs", "f" * 16), columns=("anisotropy",), kept={},
        method={"name": "answer_divergence", "params": {}},
    )  # fmt: skip
    save_run(workspace, other, {"anisotropy": values})
    at.run()
    at.selectbox(key="explore.map.colour").set_value("column.anisotropy").run()
    assert not at.exception
    (dots,) = map(fetch, canvas(at)["sets"])
    assert (np.diff(dots["codes"].astype(int)) >= 0).all() and dots["codes"][-1] == mapdots.SCALE_STEPS - 1
    assert len(canvas(at)["palette"]) == mapdots.SCALE_STEPS


def test_tagged_rows_have_a_colour_of_their_own(at):
    at.text_input(key="highlight.search").set_value("question 12").run()
    at.session_state["highlight.actions"] = True
    at.run()
    at.selectbox(key="highlight.tag").set_value("twelves").run()
    at.button(key="highlight.tag.add").click().run()
    at.selectbox(key="explore.map.colour").set_value("tag.twelves").run()
    assert not at.exception
    codes = fetch(canvas(at)["sets"][0])["codes"]
    assert np.flatnonzero(codes != GREY).tolist() == [12, *range(120, 130)]
    assert canvas(at)["names"] == ["tagged", "not tagged"]


def test_unselected_rows_are_dimmed_on_request(at):
    at.selectbox(key="explore.map.colour").set_value("task").run()
    assert (fetch(canvas(at)["sets"][0])["flags"] & BRIGHT).sum() == 24
    at.toggle(key="explore.map.grey").set_value(False).run()
    assert not at.exception and (fetch(canvas(at)["sets"][0])["flags"] & BRIGHT).sum() == 240


# Layout


@pytest.fixture
def unmade(embedded, workspace):
    """Remove the UMAP."""
    for file in workspace.root.glob("measurements/*/umap.npy"):
        file.unlink()
    return embedded


def test_while_umap_is_laid_out_pca_is_shown(unmade, workspace, pool, job, app):
    progress = {"state": "running", "stage": "Laying out the map (UMAP)", "fraction": 0.4}
    job({"key": map_name(workspace, pool, unmade), "kind": "map"}, **progress)
    at = open_section(app("explore"), "Map")
    assert "first two principal components" in page_text(at)
    assert len(fetch(canvas(at)["sets"][0])["row"]) == 240


def test_a_failed_map_states_the_reason_and_can_be_retried(unmade, workspace, pool, job, app):
    job({"key": map_name(workspace, pool, unmade), "kind": "map"}, state="failed", message="The disk is full.")
    at = open_section(app("explore"), "Map")
    assert "The map job did not finish: The disk is full." in page_text(at)
    assert at.button(key="explore.map.begin").label == "Try again"


def test_a_small_map_starts_automatically_with_its_command(unmade, workspace, pool, app):
    open_section(app("explore"), "Map")
    (begun,) = list_jobs(workspace)
    cancel_job(workspace, begun)
    assert begun.command[:2] == ("project", pool.fingerprint) and begun.command[-2:] == ("--of", "prompt")


def test_large_embeddings_are_left_to_a_job(unmade, workspace, app, monkeypatch):
    monkeypatch.setattr("pages.ui.map.view.MAX_PAGE_BYTES", 10)
    for file in workspace.root.glob("measurements/*/pca.npy"):
        file.unlink()
    at = open_section(app("explore"), "Map")
    (begun,) = list_jobs(workspace)
    cancel_job(workspace, begun)
    assert verdict(at) == "The map is being computed." and begun.command[-2:] == ("--layout", "pca")


# Units


def five(codes, bright=(1, 1, 1, 1, 1)):
    places = np.arange(5, dtype=np.uint16)
    return Dots(np.arange(5), places, places, [""] * 5, "five"), np.array(codes), np.array(bright, bool)


def test_rows_without_a_category_of_their_own_are_grey():
    dots, codes, _ = five([1, 0, -1, 0, 2])
    colours = CategoricalColours({"a": CATEGORY_COLOURS[0], "b": CATEGORY_COLOURS[1], "3 others": REST}, codes)
    assert mapdots.palette(colours)[:2] == list(CATEGORY_COLOURS[:2])
    assert mapdots.colour_codes(colours, dots.rows).tolist() == [1, 0, GREY, 0, GREY]
    assert mapdots.colour_codes(colours, np.array([4, 1])).tolist() == [GREY, 0]


def test_scores_span_the_scale_and_missing_ones_are_grey():
    dots, values, _ = five([0.0, 1.0, np.nan, 0.5, 9.0])
    codes = mapdots.colour_codes(ContinuousColours("x", values), dots.rows)
    assert codes[2] == GREY and codes[0] == 0 and codes[4] == mapdots.SCALE_STEPS - 1
    assert 0 < codes[3] < codes[1] < mapdots.SCALE_STEPS - 1


def test_flags_say_which_rows_are_bright_lit_and_pinned():
    rows, bright = np.array([3, 0, 1]), np.array([1, 0, 0, 0], bool)
    lit, pinned = np.array([0, 1, 0, 1], bool), np.array([1, 2])
    assert mapdots.flags(rows, bright, lit, pinned).tolist() == [LIT, BRIGHT, LIT + PINNED]
    assert mapdots.flags(rows, bright, None, pinned).tolist() == [0, BRIGHT, PINNED]


def test_what_is_fetched_has_positions_rows_and_words():
    dots = Dots(np.array([7, 300_000]), np.uint16([1, SIDE]), np.uint16([2, 3]), ["<b>a</b>", "é"], "two")
    sent = json.loads(dots.body())
    assert sent["words"] == ["<b>a</b>", "é"]
    assert np.frombuffer(b64decode(sent["row"]), "<u4").tolist() == [7, 300_000]
    assert np.frombuffer(b64decode(sent["x"]), "<u2").tolist() == [1, SIDE]


def lightness(colour):
    """Return CIE L* of an sRGB colour."""
    parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return 116 * float(linear @ [0.2126, 0.7152, 0.0722]) ** (1 / 3) - 16


def test_the_scale_lightens_monotonically_and_is_visible_on_both_backgrounds():
    light = [lightness(colour) for colour in SCALE]
    assert (np.diff(light) > 3).all()
    assert light[0] > lightness("#14181D") + 25 and light[-1] < lightness("#FFFFFF") - 20


# Linear RGB under each colour-vision deficiency: Machado, Oliveira, Fernandes 2009, severity 1
SEEN_BY = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(colours, eye):
    """Return CIE L*a*b*, (C, 3), of sRGB colours under one colour-vision deficiency."""
    parts = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = np.clip(linear @ np.transpose(eye), 0, 1) @ to_xyz.T / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("eye", SEEN_BY)
def test_category_colours_differ_for_every_colour_vision(eye):
    perceived = lab([*CATEGORY_COLOURS, REST], SEEN_BY[eye])
    apart = np.linalg.norm(perceived[:, None] - perceived[None], axis=2)
    assert apart[~np.eye(len(perceived), dtype=bool)].min() > 25


def test_differences_by_hand():
    columns = {"a": np.array([1.0, 3, 1, 3]), "b": np.array([5.0, 5, 5, 5]), "c": np.array([0, 0, 2, np.nan])}
    rows = comparison.score_differences(columns, np.array([0, 1]), np.array([2, 3]))
    # c: 0 and 0 against 2; over all three the standard deviation is √(8/9)
    assert rows == [("c", 0, 2, pytest.approx(-2 / np.sqrt(8 / 9))), ("a", 2, 2, 0)]


def test_distinctive_words_are_more_frequent_in_the_set_than_in_the_rest():
    inside, outside = Counter({"the": 90, "poem": 60, "rare": 1}), Counter({"the": 90, "poem": 5})
    rows = comparison.find_distinctive_words(inside, 100, outside, 100)
    assert [word for word, *_ in rows] == ["poem", "rare"]
    assert rows[0][1:3] == (0.6, 0.05) and rows[0][3] > 5 > rows[1][3]


def test_a_word_counts_once_per_row():
    assert comparison.count_words(["poem poem poem", "a poem"]) == Counter({"poem": 2})
