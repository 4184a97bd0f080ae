"""What JupyterLab gets from the real service with a real ledger: both parts mean the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from service_server import RunningService, running_service
from service_world import World, make_ledger

from hub_ext.models import NoticeKind
from server_ext.lease import readings
from server_ext.lease.view import NOTHING

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ada's server runs on one GPU, for an hour more."""
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    world.run_server("ada", term=timedelta(hours=1))
    yield world
    ledger.close()


@pytest.fixture
def service(world: World) -> Iterator[RunningService]:
    with running_service(world) as service:
        yield service


@pytest.fixture
def lab(
    jupyter: Any,
    service: RunningService,
    started_by_a_hub: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """Ada's server, whose token may do what the scopes of a server's token allow."""
    started_by_a_hub(jupyter, service.url)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "ada-server-token")
    monkeypatch.setattr(readings, "FRESH_SECONDS", 0.0)
    return jupyter


async def test_the_view_has_what_lab_shows(lab: Any, world: World) -> None:
    answer = await lab.json("gpucamp/lease")
    assert answer["state"] == "known"
    lease = world.ledger.lease_of("ada", "")
    assert lease is not None and lease.expires_at is not None
    assert answer["lease"]["id"] == lease.id
    assert datetime.fromisoformat(answer["lease"]["expires_at"]) == lease.expires_at
    assert [one["uuid"] for one in answer["lease"]["devices"]] == list(lease.device_uuids)
    assert answer["lease"]["devices"][0]["state"] == "healthy"
    assert answer["lease"]["can_extend"] is True
    assert answer["warn_minutes"] == [30, 10, 5]
    assert answer["quota"] is not None
    assert set(answer) == {"state", "now", "mine", *NOTHING}


async def test_extending(lab: Any, world: World) -> None:
    before = world.ledger.lease_of("ada", "")
    answer = await lab.json("gpucamp/lease/extend", method="POST", body={})
    after = world.ledger.lease_of("ada", "")
    assert before is not None and after is not None
    assert before.expires_at is not None and after.expires_at is not None
    assert after.expires_at > before.expires_at
    assert datetime.fromisoformat(answer["lease"]["expires_at"]) == after.expires_at
    assert answer["lease"]["extensions"] == after.extensions == 1


async def test_a_refused_extension(lab: Any, world: World) -> None:
    lease = world.ledger.lease_of("ada", "")
    assert lease is not None
    now = datetime.now(UTC)
    until = now + timedelta(minutes=20)
    world.ledger.drain(lease.device_uuids[0], until, "a fan", now, actor="kim")
    answer = await lab.json("gpucamp/lease")
    assert answer["lease"]["can_extend"] is False and answer["lease"]["extend_refusal"]
    assert answer["lease"]["devices"][0]["cordon"] == "draining"
    assert [one["kind"] for one in answer["notices"]] == ["draining"]
    response = await lab.fetch("gpucamp/lease/extend", method="POST", body={})
    assert response.code == 409
    assert json.loads(response.body)["message"] == answer["lease"]["extend_refusal"]


async def test_the_idle_warning(lab: Any, world: World) -> None:
    lease = world.ledger.lease_of("ada", "")
    assert lease is not None
    now = datetime.now(UTC)
    world.ledger.mark_idle(lease.id, now, now + timedelta(minutes=10), now)
    assert (await lab.json("gpucamp/lease"))["lease"]["reclaim_at"] is not None
    answer = await lab.json("gpucamp/lease/keep", method="POST", body={})
    assert answer["lease"]["reclaim_at"] is None


async def test_notices(lab: Any, world: World) -> None:
    now = datetime.now(UTC)
    detail = {"device": "A100", "reason": "XID 79"}
    for kind in (NoticeKind.DEVICE_QUARANTINED, NoticeKind.DEVICE_BACK):
        world.ledger.notify("ada", "", kind, detail, now)
    notices = (await lab.json("gpucamp/lease"))["notices"]
    assert [one["kind"] for one in notices] == ["device_quarantined", "device_back"]
    assert "XID 79" in notices[0]["text"]
    up_to = {"up_to": notices[0]["id"]}
    answer = await lab.json("gpucamp/notices/read", method="POST", body=up_to)
    assert [one["kind"] for one in answer["notices"]] == ["device_back"]


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_texts_are_in_the_readers_language(lab: Any, world: World, language: str) -> None:
    now = datetime.now(UTC)
    world.ledger.notify("ada", "", NoticeKind.DEVICE_BACK, {"device": "A100"}, now)
    answer = await lab.json("gpucamp/lease", headers={"Accept-Language": language})
    assert answer["notices"][0]["text"].isascii() is (language == "en")
