"""What the workspace holds, on the Pool page: listed when opened, deleted by tick and confirmation."""

from types import SimpleNamespace

import pytest

from core.workspace.inventory import KINDS, take_inventory
from pages.ui.pool import storage


def opened(app, kind=None):
    at = app("pool")
    at.session_state["storage"] = True
    at.run()
    if kind:
        at.segmented_control(key="storage.kind").set_value(kind).run()
    assert not at.exception
    return at


def text_of(at) -> str:
    return "\n".join([element.value for element in (*at.caption, *at.markdown, *at.text)])


def tick(at, workspace, kind, *places):
    count = len(take_inventory(workspace).of_kind(kind))
    at.session_state[f"storage.{kind}.{count}"] = {"selection": {"rows": list(places), "columns": [], "cells": []}}
    at.run()
    assert not at.exception
    return at


def test_nothing_is_read_while_it_is_closed(run, app, monkeypatch):
    monkeypatch.setattr(storage, "take_inventory", lambda _: pytest.fail("read"))
    assert not app("pool").exception


def test_it_lists_pools_and_runs_with_sizes(pool, run, app):
    at = opened(app)
    assert "Measurements stay until you delete them here." in text_of(at)
    assert at.dataframe[-1].value["what"].tolist() == ["small.jsonl, 240 rows"]
    at = opened(app, "runs")
    assert at.dataframe[-1].value["what"].tolist() == ["entropy shift by embedded, small.jsonl"]
    assert (at.dataframe[-1].value["size"] > 0).all()


def test_a_ticked_run_is_deleted_after_its_meaning_was_read(pool, run, app, workspace):
    at = tick(opened(app, "runs"), workspace, "runs", 0)
    assert "This deletes 1 run and frees " in text_of(at) and KINDS["runs"] in text_of(at)
    assert run.folder.exists()
    at.button(key="storage.delete").click().run()
    assert not at.exception and not run.folder.exists()
    assert pool.fingerprint in {item.pool for item in take_inventory(workspace).of_kind("pools")}


def test_the_open_pool_stays(pool, run, app, workspace):
    at = tick(opened(app, "pools"), workspace, "pools", 0)
    assert "1 stored run depends on this" in text_of(at)
    assert "The open pool cannot be deleted. Open another pool first" in text_of(at).replace("\\", "")


def test_on_a_shared_server_it_is_offered_only_if_the_setting_allows_it(pool, run, app, monkeypatch):
    monkeypatch.setattr(storage, "visitors", SimpleNamespace(are_apart=lambda: True))
    monkeypatch.delenv("WINNOW_ALLOW_DELETE", raising=False)
    assert not storage.may_delete()
    monkeypatch.setenv("WINNOW_ALLOW_DELETE", "1")
    assert storage.may_delete()
    monkeypatch.setenv("WINNOW_ALLOW_DELETE", "yes")
    assert not storage.may_delete()
    at = opened(app)
    assert "This server is shared, so stored items are not listed here." in text_of(at)
    assert "storage.kind" not in {one.key for one in at.get("segmented_control")}
