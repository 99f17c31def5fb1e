"""A report is one file with all parts, or what is missing in words; it runs nothing, and the same input gives it."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from core.cli.commands import report_manifest
from core.errors import OutputError, ReplayError
from core.output.curate import curate
from core.output.manifest import read_manifest, write_manifest
from core.output.report.write import MARK, write_report
from core.pool.pools import load_pool
from core.progress import SilentReporter
from tests.browser.test_map import store_map
from tests.pages.conftest import entropy_shift_run

MAX_BYTES = 5_000_000
SECTIONS = ["Proof", "Scores", "Overlap with other methods", "Make-up", "Map", "Examples", "Origin"]
HOSTILE = (
    '<script>document.title="ran"</script><img src="http://127.0.0.1:9/x" onerror="document.title=1">'
    "![](http://127.0.0.1:9/y) <style>@import 'http://127.0.0.1:9/z'</style> {{ 7*7 }} {% raw %} "
    "\u202e\u2066reversed\u200f </pre></article><svg onload=alert(1)> &lt; \x07 javascript:alert(1)"
)


class Tags(HTMLParser):
    """Every start tag of a page with its attributes."""

    def __init__(self, page):
        super().__init__()
        self.seen = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


@pytest.fixture
def report(recipe, pool, run, tmp_path):
    """Return a function that writes a report and returns its text."""

    def write(method="entropy_shift", *, budget="10%", out=tmp_path / "report.html", **options):
        write_report(recipe(method, budget=budget), pool, run, out, **options)
        return out.read_text()

    return write


def sections(page):
    return re.findall(r"<h2>(.*?)</h2>", page)


def section(page, name):
    return page.split(f"<h2>{name}</h2>")[1].split("<h2>")[0]


def test_every_section_is_there_or_says_what_is_missing(report):
    page = report("random")
    assert sections(page) == SECTIONS
    assert "24 of 240 rows selected from rows.jsonl" in page
    assert "Not proved: no model has been trained on these rows" in section(page, "Proof")
    assert "No map of this pool is stored." in section(page, "Map")
    assert "The pool has no list of known bad rows." in section(page, "Make-up")
    assert "No other method" not in section(page, "Overlap with other methods")
    assert "No other method is measured" in section(report(compared=[]), "Overlap with other methods")


def test_nothing_is_run_or_fetched_and_a_policy_says_so(report, place, pool, run):
    store_map(place, pool, run)
    tags = Tags(report()).seen
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe", "object", "embed", "form", "a", "base")]
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert [attributes["src"][:22] for tag, attributes in tags if tag == "img"] == ["data:image/png;base64,"]
    (policy,) = (a["content"] for tag, a in tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert "script-src" not in policy


def write_pool(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def report_of(path, place, recipe, out):
    """Import a file, store a run of it and a map, and write the report of its longest rows."""
    pool = load_pool(str(path), workspace=place.root)
    run = entropy_shift_run(place, pool, dtype="float32")
    store_map(place, pool, run)
    (file,) = place.root.glob("measurements/*/umap.npy")
    np.save(file, np.random.default_rng(0).normal(size=(len(pool), 2)).astype(np.float32))  # dots everywhere
    own = {"source": pool.source, "fingerprint": pool.fingerprint}
    plain = recipe("longest", budget="10%")
    plain = plain.model_copy(update={"pool": plain.pool.model_copy(update=own)})
    return write_report(plain, pool, run, out)


def test_text_of_a_pool_stays_text(place, tmp_path, recipe):
    rows = [
        {"id": f"{k}{HOSTILE}", "prompt": HOSTILE, "response": f"{k} {HOSTILE}", "task": HOSTILE} for k in range(30)
    ]
    rows += [{"id": f"b{k}", "prompt": f"b{k}", "response": "c", "task": "plain"} for k in range(10)]
    path = write_pool(tmp_path / "hostile<b>&.jsonl", rows)
    report_of(path, place, recipe, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    tags = Tags(page).seen
    assert not {tag for tag, _ in tags} & {"script", "a", "link", "iframe", "form", "b>&.jsonl"}
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in tags].count("style") == [tag for tag, _ in tags].count("img") == 1
    assert page.count("&lt;script&gt;") > 20 and "{{ 7*7 }}" in page
    assert "\x07" not in page and "\u202e" in page


def test_the_same_selection_gives_the_same_bytes_and_another_one_other_bytes(report):
    assert report() == report()
    assert report() != report(budget="20%")


def test_the_recipe_and_checksums_of_an_export_are_in_it(report, recipe, pool, run, tmp_path):
    written = curate(recipe(budget="10%"), pool, run, tmp_path / "chosen.jsonl")
    page = section(report(manifest=read_manifest(written.manifest), commands=[["select", "a b"]]), "Origin")
    assert written.sha256 in page and "chosen.jsonl" in page
    assert "python -m core replay chosen.manifest.json" in page and "python -m core select &#39;a b&#39;" in page
    assert "method:\n  name: entropy_shift" in page and pool.fingerprint in page


def test_a_report_of_a_manifest_is_of_its_rows(recipe, pool, run, place, tmp_path):
    written = curate(recipe("longest", budget="7"), pool, run, tmp_path / "chosen.jsonl")
    options = {"out": tmp_path / "report.html", "overwrite": False}
    facts = report_manifest(written.manifest, place, SilentReporter(), **options)
    assert (facts["rows"], facts["proved"], facts["map"]) == (7, False, False)
    assert written.sha256 in (tmp_path / "report.html").read_text()
    manifest = read_manifest(written.manifest)
    other = manifest.recipe | {"budget": "8"}
    write_manifest(manifest.model_copy(update={"recipe": other}), written.manifest)
    with pytest.raises(ReplayError, match="now selects 8 rows, and the manifest lists 7 others"):
        report_manifest(written.manifest, place, SilentReporter(), **options)


def test_a_stored_map_is_a_picture_in_it(report, place, pool, run):
    store_map(place, pool, run)
    assert "UMAP of the prompt embeddings by the built-in model: 240 rows, 24 of them selected." in section(
        report(), "Map"
    )


def test_a_report_takes_the_place_of_a_report_and_of_nothing_else(report, pool, tmp_path):
    report()
    assert report(budget="20%").encode().startswith(MARK)
    other = tmp_path / "notes.html"
    other.write_text("<p>mine")
    with pytest.raises(OutputError, match=r"notes\.html already exists"):
        report(out=other)
    assert other.read_text() == "<p>mine"
    assert report(out=other, overwrite=True).encode().startswith(MARK)
    with pytest.raises(OutputError, match=r"Give one that ends in \.html"):
        report(out=tmp_path / "report.pdf")


def test_it_says_when_a_budget_is_not_filled_and_what_is_excluded(report, recipe, pool, run, tmp_path):
    filters = [{"column": "task", "values": ["sums"]}]
    write_report(recipe("longest", budget="50%", filters=filters), pool, run, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "81 of 120 rows: only 81 rows are eligible (159 filtered out)." in page


@pytest.mark.slow
def test_a_pool_of_52_002_rows_stays_far_below_the_limit(place, tmp_path, recipe):
    long = "<&\"'" * 1000
    rows = (
        {
            "id": f"{k}",
            "prompt": f"{k}",
            "response": long if k < 30 else "a" * 40,
            "task": f"task {k % 3000} {long[:60]}",
        }
        for k in range(52_002)
    )
    written = report_of(write_pool(tmp_path / "large.jsonl", rows), place, recipe, tmp_path / "report.html")
    assert written.map and written.rows == 5200 and 100_000 < written.bytes < MAX_BYTES / 5
