"""Map: figure, lasso, and actions for the rows inside it."""

import re
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from core.analysis import maps, raster
from core.analysis.raster import PIXELS, SIDE, Layer
from core.measurement.run_data import load_measured
from core.schema import Reading
from core.selection.selection import Pin
from core.workspace.jobs import cancel_job, list_jobs
from core.workspace.parts import Parts
from pages.ui.map import dots as mapdots
from pages.ui.map import lasso_compare, picture
from pages.ui.map.colours import CATEGORY_COLOURS, CategoricalColours, ContinuousColours
from pages.ui.map.dots import SCALE, Dots, dot_layers
from pages.ui.map.picture import Outline, update_outline
from pages.ui.shell import state
from pages.ui.theme import REST
from tests.pages.conftest import entropy_shift_run
from tests.pages.test_explore import click, figures, open_section, page_text, verdict

CORNERS = np.float32([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])  # embeddings, one for each of the three tasks
PLACES = np.float32([[0, 0], [10, 0], [0, 10]])  # positions on the hand-made map, one for each task
AROUND = 0.2 * SIDE
CHART = "explore.map.0"


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


def square(x, y, side=AROUND):
    """Return a lasso around one point, 0..SIDE."""
    low, high = (x - side, y - side), (x + side, y + side)
    return {"x": [low[0], high[0], high[0], low[0]], "y": [low[1], low[1], high[1], high[1]]}


def chart(at):
    return figures(at)[0]


def outlines(at):
    return chart(at)["layout"].get("shapes", [])


def do(at, what):
    at.get_by_key("explore.map.do").set_value(what).run()
    assert not at.exception
    return at


# The figure


def test_the_map_needs_embeddings(run, app):
    assert "Map" not in app("explore").get_by_key("explore.section").options


def test_the_verdict_compares_the_selection_with_random_rows(at):
    assert re.fullmatch(r"The selection reaches \d+% of the map; random selections reach [\d to]+%\.", verdict(at))
    assert "All 240 rows shown" in page_text(at)
    assert at.get_by_key("explore.map.of").options == ["Prompts", "Responses"]


def test_the_hover_trace_draws_no_dots(at):
    # Plotly reports every drawn dot inside a lasso with every click, so none is drawn
    shade, words, none = chart(at)["data"]
    assert shade["type"] == "heatmap" and words["mode"] == "none"
    assert none["mode"] == "markers" and none["x"] == [None]


def test_hover_text_is_escaped_for_plotly(workspace, pool):
    table = pa.table({"prompt": ["<b>a</b> & b", "one\ntwo   three", "x" * 200]})
    words = picture.first_words(type("Rows", (), {"rows": table})(), np.array([2, 1, 0]))
    assert words == ["x" * 55 + "…", "one two three", "&lt;b&gt;a&lt;/b&gt; &amp; b"]


def test_hover_text_is_shortened_to_the_byte_limit(monkeypatch):
    monkeypatch.setattr(picture, "MAX_TEXT_BYTES", 100)
    table = pa.table({"prompt": ["漢" * 100] * 10})  # 3 bytes each
    words = picture.first_words(type("Rows", (), {"rows": table})(), np.arange(10))
    assert sum(len(text.encode()) for text in words) <= 100


def test_pca_reports_its_share_of_the_variance(at):
    assert "nearby points are similar" in page_text(at)
    at.get_by_key("explore.map.layout").set_value("PCA").run()
    assert not at.exception
    assert "first two principal components, 100% of variance" in page_text(at)  # three points span it


def test_a_sample_of_rows_is_reported_and_includes_pinned_rows(embedded, app, monkeypatch):
    monkeypatch.setattr(picture, "MAX_DOTS", 30)
    at = open_section(app("explore"), "Map")
    assert "30 of 240 rows shown over the density of all rows" in page_text(at)
    click(at, CHART, lasso=[square(0.97 * SIDE, 0.03 * SIDE)])
    assert "**80 rows** inside" in page_text(at)  # all rows, sent to the browser or not
    sent = set(chart(at)["data"][1]["text"])
    lacking = next(k for k in range(1, 240, 3) if f"Question {k}: what is {k} plus {k}?" not in sent)
    at.session_state[state.SETTINGS] = replace(at.session_state[state.SETTINGS], pins=(Pin(f"row-{lacking}", "in"),))
    at.run()
    assert not at.exception
    sent = set(chart(at)["data"][1]["text"])
    assert len(sent) == 30 and f"Question {lacking}: what is {lacking} plus {lacking}?" in sent


# Lasso


def test_a_lasso_returns_the_rows_inside_it(at):
    click(at, CHART, lasso=[square(0.97 * SIDE, 0.03 * SIDE)])
    assert "**80 rows** inside" in page_text(at)
    assert set(at.dataframe[0].value["Task"]) == {"words"}


def test_a_box_returns_the_rows_inside_it(at):
    at.session_state[CHART] = {"selection": {"points": [], "lasso": [], "box": [{"x": [0, SIDE], "y": [0, AROUND]}]}}
    at.run()
    assert not at.exception and "**160 rows** inside" in page_text(at)


def test_a_lasso_stays_when_colours_change(at):
    click(at, CHART, lasso=[square(0.03 * SIDE, 0.97 * SIDE)])
    assert outlines(at) == []  # Plotly itself shows the lasso
    at.selectbox(key="explore.map.colour").set_value("task").run()
    assert not at.exception
    assert "**80 rows** inside" in page_text(at)
    assert len(outlines(at)) == 1
    at.button(key="explore.map.clear").click().run()
    assert "inside" not in page_text(at) and outlines(at) == []


def test_an_empty_lasso_is_reported(at):
    click(at, CHART, lasso=[square(0.9 * SIDE, 0.9 * SIDE, 0.05 * SIDE)])
    assert "No row lies inside the lasso." in page_text(at)


def test_rows_are_pinned_with_one_reason_and_unpinned_by_one_undo(at):
    click(at, CHART, lasso=[square(0.97 * SIDE, 0.03 * SIDE)])
    do(at, "Pin")
    at.text_input(key="explore.map.reason").set_value("all about words")
    at.button(key="explore.map.all.in").click().run()
    assert not at.exception
    pins = at.session_state[state.SETTINGS].pins
    assert len(pins) == 80 and {pin.reason for pin in pins} == {"all about words"} and {p.side for p in pins} == {"in"}
    at.button(key="explore.map.undo").click().run()
    assert at.session_state[state.SETTINGS].pins == ()


def test_rows_become_a_filter(at, pool):
    click(at, CHART, lasso=[square(0.97 * SIDE, 0.03 * SIDE)])
    do(at, "Filter")
    at.button(key="explore.map.filter.True").click().run()
    assert not at.exception
    (rows,) = at.session_state[state.SETTINGS].filters
    assert (rows.column, rows.exclude) == ("id", True)
    assert sorted(rows.values) == sorted(pool.rows["id"].to_pylist()[1::3])


def test_too_many_rows_can_not_be_pinned_by_hand(at, monkeypatch):
    monkeypatch.setattr("pages.ui.map.lasso.MAX_BY_HAND", 50)
    click(at, CHART, lasso=[square(0.97 * SIDE, 0.03 * SIDE)])
    assert "At most 50 rows can be pinned" in page_text(do(at, "Pin"))


def test_the_rows_inside_are_compared_with_the_rest(at, embedded):
    click(at, CHART, lasso=[square(0.97 * SIDE, 0.03 * SIDE)])
    do(at, "Compare")
    scores, tasks = (table.value for table in at.dataframe)
    assert "No word is more frequent inside the lasso." in page_text(at)  # all prompts have the same words
    assert (
        tasks["Task"].tolist()[0] == "words"
        and tasks["Inside"].tolist()[0] == 100
        and tasks["Outside"].tolist()[0] == 0
    )
    columns = load_measured(embedded).columns
    nll, inside = columns["nll"].astype(float), np.arange(240) % 3 == 1
    row = scores.set_index("Score").loc["NLL"]
    assert row["Inside"] == pytest.approx(nll[inside].mean()) and row["Outside"] == pytest.approx(nll[~inside].mean())
    assert row["Difference"] == pytest.approx((nll[inside].mean() - nll[~inside].mean()) / nll.std())


# Layout


@pytest.fixture
def unmade(embedded, workspace):
    """Remove the UMAP."""
    for file in workspace.root.glob("measurements/*/umap.npy"):
        file.unlink()
    return embedded


def key_of(workspace, pool, run):
    source = maps.need_source(workspace, pool, Reading(**run.reading), "prompt")
    return f"{maps.map_folder(workspace, source, 0).name} umap"


def test_while_umap_is_laid_out_pca_is_shown(unmade, workspace, pool, job, app):
    progress = {"state": "running", "stage": "Laying out the map (UMAP)", "fraction": 0.4}
    job({"key": key_of(workspace, pool, unmade), "kind": "map"}, **progress)
    at = open_section(app("explore"), "Map")
    assert "first two principal components" in page_text(at)
    assert len(chart(at)["data"][1]["text"]) == 240


def test_a_failed_map_states_the_reason_and_can_be_retried(unmade, workspace, pool, job, app):
    job({"key": key_of(workspace, pool, unmade), "kind": "map"}, state="failed", message="The disk is full.")
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


def test_a_lasso_is_kept_cleared_and_redrawn():
    one, two = ([0.0, 1.0, 1.0], [0.0, 0.0, 1.0]), ([5.0, 6.0, 6.0], [0.0, 0.0, 1.0])

    def event(*lassos):
        return {"selection": {"points": [], "box": [], "lasso": [{"x": x, "y": y} for x, y in lassos]}}

    first = update_outline(None, event(one), 1, "map")
    assert first == Outline(one, "map", 1)
    assert update_outline(first, event(one), 1, "map") == first  # a click elsewhere
    assert update_outline(first, event(), 1, "map") is None  # cleared in the chart
    other = update_outline(first, event(one), 2, "map")
    assert other == Outline(one, "map", None)  # a new figure contains it as an outline
    assert update_outline(other, event(), 2, "map") == other  # Plotly does not report the outline
    assert update_outline(other, event(), 1, "map") == other  # the first figure is shown again
    assert update_outline(other, event(two), 2, "map") == Outline(two, "map", None)  # the old outline is dropped
    assert update_outline(first, event(two), 1, "map") == Outline(two, "map", 1)
    assert update_outline(first, None, 1, "map") == other  # the section was closed and opened again


def test_dots_by_hand():
    canvas = np.zeros((3, 5), np.uint8)
    corners = np.array([0, SIDE, 0], np.uint16), np.array([0, SIDE, SIDE], np.uint16)
    layer = Layer(*corners, ["#000000"] * 3, np.arange(3), 0.5)
    raster.paint_dots(canvas, layer, np.array([1, 2, 3], np.uint8))
    assert canvas.tolist() == [[3, 0, 0, 0, 2], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]  # row 0 is at the top
    raster.paint_dots(canvas, Layer(*corners, [], np.arange(3), 1.0), np.array([1, 2, 3], np.uint8))
    assert canvas.tolist() == [[3, 3, 0, 2, 2], [3, 0, 0, 0, 2], [1, 1, 0, 0, 0]]  # clipped at the edges


def test_a_disc_and_a_ring():
    assert sorted(raster.disc_offsets(1)) == [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)]
    assert sorted(raster.disc_offsets(1, hole=1)) == [(-1, 0), (0, -1), (0, 1), (1, 0)]
    assert raster.disc_offsets(0.5) == [(0, 0)]


def test_the_image_is_a_png_that_is_transparent_between_dots():
    middle = np.array([SIDE // 2], np.uint16)
    address = raster.encode_png([Layer(middle, middle, ["#102030"], np.array([0]), 0.5, 0.5)])
    assert address.startswith("data:image/png;base64,")
    image = np.asarray(Image.open(BytesIO(b64decode(address.split(",")[1]))).convert("RGBA"))
    assert image.shape == (PIXELS, PIXELS, 4)
    ((y, x),) = np.argwhere(image[:, :, 3])
    assert image[y, x].tolist() == [0x10, 0x20, 0x30, 128] and (x, y) == pytest.approx((PIXELS / 2, PIXELS / 2), abs=1)


def five(codes, bright=(1, 1, 1, 1, 1)):
    places = np.arange(5, dtype=np.uint16)
    return Dots(np.arange(5), places, places, [""] * 5), np.array(codes), np.array(bright, bool)


def test_rows_without_category_or_not_selected_are_grey_and_beneath():
    dots, codes, bright = five([1, 0, -1, 0, 2], [1, 1, 1, 0, 1])
    grey, own = dot_layers(
        dots, CategoricalColours({"a": CATEGORY_COLOURS[0], "b": CATEGORY_COLOURS[1], "3 others": REST}, codes), bright
    )
    assert grey.x.tolist() == [2, 3, 4] and grey.colours == [REST]
    assert own.x.tolist() == [1, 0] and [own.colours[k] for k in own.place] == [
        CATEGORY_COLOURS[0],
        CATEGORY_COLOURS[1],
    ]


def test_scores_span_the_scale_and_missing_ones_are_grey():
    dots, values, bright = five([0.0, 1.0, np.nan, 0.5, 9.0])
    grey, own = dot_layers(dots, ContinuousColours("x", values), bright)
    assert grey.x.tolist() == [2]
    assert own.place[0] == 0 and own.place[-1] == mapdots.SCALE_STEPS - 1 and 0 < own.place[2] < own.place[1] < 63


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
    rows = lasso_compare.score_differences(columns, np.array([0, 1]), np.array([2, 3]))
    # c: 0 and 0 against 2; over all three the standard deviation is √(8/9)
    assert rows == [("c", 0, 2, pytest.approx(-2 / np.sqrt(8 / 9))), ("a", 2, 2, 0)]


def test_distinctive_words_are_more_frequent_in_the_set_than_in_the_rest():
    inside, outside = Counter({"the": 90, "poem": 60, "rare": 1}), Counter({"the": 90, "poem": 5})
    rows = lasso_compare.find_distinctive_words(inside, 100, outside, 100)
    assert [word for word, *_ in rows] == ["poem", "rare"]
    assert rows[0][1:3] == (0.6, 0.05) and rows[0][3] > 5 > rows[1][3]


def test_a_word_counts_once_per_row():
    assert lasso_compare.count_words(["poem poem poem", "a poem"]) == Counter({"poem": 2})
