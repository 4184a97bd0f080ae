"""An examination asks the service what the host knows: a real HTTP server, asked in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from scripted_service import ScriptedService

from server_ext.doctor import host_view

pytestmark = pytest.mark.timeout(120)

UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
DEVICE = {
    "uuid": UUID,
    "name": "NVIDIA A100",
    "state": "healthy",
    "shared": False,
    "persistence": True,
    "memory_bytes": 40 * 2**30,
    "xids": [],
    "holders": [],
}
OTHERS = [{"holder": "another_user", "processes": 1, "pid": None, "memory_bytes": 2**30}]


@pytest.fixture
async def service() -> AsyncIterator[ScriptedService]:
    service = ScriptedService()
    service.body = {"looked_at": "2026-11-26T10:00:00+00:00", "devices": [DEVICE]}
    async with service.serving():
        yield service


@pytest.fixture
def environ(service: ScriptedService) -> dict[str, str]:
    """What the spawner gives a server."""
    return {
        "GPUCAMP_SERVICE_URL": service.url,
        "JUPYTERHUB_API_TOKEN": "the server's token",
        "JUPYTERHUB_USER": "ada",
        "JUPYTERHUB_SERVER_NAME": "second",
        "GPUCAMP_DEVICES": UUID,
    }


async def test_it_asks_for_its_own_server_with_its_own_token(
    service: ScriptedService, environ: dict[str, str]
) -> None:
    result = await host_view.ask(environ)
    path = "/services/gpucamp/api/v1/users/ada/servers/second/host-view"
    assert service.asked == [("GET", path, "token the server's token", b"")]
    assert result.failure is None
    (device,) = result.value["devices"]  # type: ignore[misc]  # a list
    assert device["uuid"] == UUID


@pytest.mark.parametrize(
    "change", [{"GPUCAMP_SERVICE_URL": ""}, {"GPUCAMP_DEVICES": ""}, {"JUPYTERHUB_API_TOKEN": ""}]
)
async def test_where_there_is_nothing_to_ask_nobody_is_asked(
    service: ScriptedService, environ: dict[str, str], change: dict[str, str]
) -> None:
    assert (await host_view.ask(environ | change)).value == {"asked": False}
    assert service.asked == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"status": 503, "detail": "later"}),
        (403, {"status": 403, "detail": "no"}),
        (404, {"status": 404, "detail": "There is nothing here."}),  # an older service
        (500, b"<html>"),
        (200, b"not JSON"),
        (200, [1, 2]),
        (302, {}),
    ],
)
async def test_a_service_that_gives_no_answer_is_a_failure_with_the_reason(
    service: ScriptedService, environ: dict[str, str], status: int, body: Any
) -> None:
    service.status, service.body = status, body
    failure = (await host_view.ask(environ)).failure
    assert failure is not None and failure.kind == "not-started"
    assert failure.detail


async def test_a_service_that_is_slow_is_not_waited_for(
    service: ScriptedService, environ: dict[str, str]
) -> None:
    service.delay = 30
    asking = asyncio.create_task(host_view.ask(environ, 0.2))
    done, _ = await asyncio.wait({asking}, timeout=20)
    assert done, "it still waits"
    failure = asking.result().failure
    assert failure is not None and failure.kind == "timeout"


async def test_a_service_that_is_not_there_is_a_failure(environ: dict[str, str]) -> None:
    gone = environ | {"GPUCAMP_SERVICE_URL": "http://127.0.0.1:9/services/gpucamp/"}
    failure = (await host_view.ask(gone)).failure
    assert failure is not None


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"state": "quarantined", "reason": "Xid 79"}, "GC161"),
        ({"state": "missing"}, "GC162"),
        ({"holders": OTHERS}, "GC163"),
        ({"holders": [OTHERS[0] | {"holder": "unknown"}]}, "GC164"),
        ({"holders": [OTHERS[0] | {"memory_bytes": 30 * 2**30}], "shared": True}, "GC165"),
        ({"persistence": False}, "GC166"),
        ({"xids": [{"xid": 31, "at": "", "text": "Xid 31"}]}, "GC167"),
        (None, "GC168"),
        ({"nodes": {"present": ["nvidia0"], "missing": ["nvidia-uvm"]}}, "GC169"),
    ],
)
async def test_the_report_has_what_the_host_says(
    jupyter: Any,
    service: ScriptedService,
    started_by_a_hub: Any,
    monkeypatch: Any,
    said: dict[str, Any] | None,
    code: str,
) -> None:
    started_by_a_hub(jupyter, service.url, server="second")
    monkeypatch.setenv("GPUCAMP_DEVICES", UUID)
    if said is None:
        service.status = 503
    else:
        device = {name: value for name, value in said.items() if name != "nodes"}
        service.body |= {"devices": [DEVICE | device], "nodes": said.get("nodes")}
    jupyter.add_kernel("broken", ["/gone/python", "-m", "ipykernel_launcher"])
    report = await examine(jupyter)
    assert [each["code"] for each in report["findings"] if each["layer"] == "host"] == [code]
    assert "the server's token" not in str(report)


OTHER = UUID.replace("8932", "8933")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"devices": [DEVICE | {"state": "quarantined", "reason": "Xid 79"}]}, "GC161"),
        ({"devices": [DEVICE | {"state": "missing"}]}, "GC162"),
        ({"nodes": {"present": ["nvidia0"], "missing": ["nvidia-uvm"]}}, "GC169"),
    ],
)
async def test_a_server_that_is_started_again_is_rid_of_what_it_had(
    jupyter: Any,
    service: ScriptedService,
    started_by_a_hub: Any,
    monkeypatch: Any,
    said: dict[str, Any],
    code: str,
) -> None:
    """As these offer: another device, another container, of which the service tells then."""
    started_by_a_hub(jupyter, service.url, server="second")
    monkeypatch.setenv("GPUCAMP_DEVICES", UUID)
    jupyter.add_kernel("broken", ["/gone/python", "-m", "ipykernel_launcher"])
    well = dict(service.body)
    service.body = well | said
    before = await examine(jupyter)
    (offered,) = [each["repair"] for each in before["findings"] if each["code"] == code]
    assert offered["kind"] == "restart" and "stopped and started" in offered["says"][0]
    monkeypatch.setenv("GPUCAMP_DEVICES", OTHER)
    nodes = {"present": ["nvidia0", "nvidia-uvm"], "missing": []}
    service.body = well | {"devices": [DEVICE | {"uuid": OTHER}], "nodes": nodes}
    after = await examine(jupyter)
    codes = [{each["code"] for each in report["findings"]} for report in (before, after)]
    assert codes[1] == codes[0] - {code}


async def examine(jupyter: Any) -> Any:
    body = {"kernel": "broken"}
    events = await jupyter.stream("gpucamp/doctor/examinations", method="POST", body=body)
    return events[-1][1]["report"]
