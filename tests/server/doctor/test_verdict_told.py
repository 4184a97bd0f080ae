"""After an examination the server tells its verdict to the service, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_service import ScriptedService
from service_server import RunningService, running_service
from service_world import World, make_ledger

from server_ext.doctor import verdict
from server_ext.doctor.report import Finished

pytestmark = pytest.mark.timeout(120)

DONE = Finished("2026-11-26T10:00:00+00:00", 1.5, "python3", (), {})


@pytest.fixture
async def service() -> AsyncIterator[ScriptedService]:
    service = ScriptedService()
    service.body = {"kept": True}
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
        "GPUCAMP_LEASE": "0a1b",
    }


async def test_it_is_told_once_with_the_servers_own_token(
    service: ScriptedService, environ: dict[str, str]
) -> None:
    assert await verdict.tell(DONE, environ) == ""
    ((method, path, token, body),) = service.asked
    assert (method, token) == ("POST", "token the server's token")
    assert path == "/services/gpucamp/api/v1/users/ada/servers/second/doctor/verdict"
    assert json.loads(body) == verdict.of(DONE, "0a1b")


@pytest.mark.parametrize("missing", ["GPUCAMP_SERVICE_URL", "JUPYTERHUB_API_TOKEN"])
async def test_where_no_hub_started_the_server_nobody_is_told(
    service: ScriptedService, environ: dict[str, str], missing: str
) -> None:
    assert await verdict.tell(DONE, environ | {missing: ""}) == ""
    assert service.asked == []


@pytest.mark.parametrize("status", [400, 403, 404, 409])
async def test_a_no_is_not_asked_again(
    service: ScriptedService, environ: dict[str, str], status: int
) -> None:
    service.status, service.body = status, {"status": status, "detail": "an older service"}
    assert "an older service" in await verdict.tell(DONE, environ, pauses=(0.01, 0.01))
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("status", "body"), [(503, {}), (502, b"<html>"), (200, b"cut o"), (302, {})]
)
async def test_a_service_that_is_away_is_told_again(
    service: ScriptedService, environ: dict[str, str], status: int, body: Any
) -> None:
    service.status, service.body = status, body
    assert await verdict.tell(DONE, environ, pauses=(0.01, 0.01))
    assert len(service.asked) == 3
    answers = iter([(status, body), (200, {"kept": False})])
    service.answer = lambda request: next(answers)  # type: ignore[method-assign]
    assert await verdict.tell(DONE, environ, pauses=(0.01, 0.01)) == ""


async def test_a_service_that_is_slow_is_given_up_in_time(
    service: ScriptedService, environ: dict[str, str]
) -> None:
    service.delay = 30
    telling = asyncio.create_task(verdict.tell(DONE, environ, pauses=(), seconds=0.2))
    done, _ = await asyncio.wait({telling}, timeout=20)
    assert done, "it still waits"
    assert "no answer" in telling.result()


# -- a server's examination


async def examine(jupyter: Any) -> dict[str, Any]:
    """The report of a kernel that is not there, which takes no time."""
    jupyter.add_kernel("broken", ["/gone/python", "-m", "ipykernel_launcher", "{connection_file}"])
    events = await jupyter.stream(
        "gpucamp/doctor/examinations", method="POST", body={"kernel": "broken"}
    )
    report: dict[str, Any] = events[-1][1]["report"]
    return report


async def test_an_examination_does_not_wait_for_the_service(
    jupyter: Any, service: ScriptedService, started_by_a_hub: Any, monkeypatch: Any
) -> None:
    started_by_a_hub(jupyter, service.url)
    monkeypatch.setenv("GPUCAMP_DEVICES", "")
    service.delay = 60
    report = await asyncio.wait_for(examine(jupyter), 50)
    assert "GC202" in {finding["code"] for finding in report["findings"]}
    deadline = time.monotonic() + 20
    while not service.asked:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ada's server runs on one GPU."""
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    world.run_server("ada")
    yield world
    ledger.close()


@pytest.fixture
def real(world: World) -> Iterator[RunningService]:
    with running_service(world) as service:
        yield service


async def test_the_real_service_knows_it_afterwards(
    jupyter: Any, real: RunningService, world: World, started_by_a_hub: Any, monkeypatch: Any
) -> None:
    started_by_a_hub(jupyter, real.url)
    lease = world.ledger.lease_of("ada", "")
    assert lease is not None
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "ada-server-token")
    monkeypatch.setenv("GPUCAMP_LEASE", lease.id)
    monkeypatch.setenv("GPUCAMP_DEVICES", "")
    report = await examine(jupyter)
    deadline = time.monotonic() + 20
    while (kept := world.ledger.verdict("ada", "")) is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert [code for code, _severity in kept.findings] == [
        finding["code"]
        for finding in sorted(
            report["findings"],
            key=lambda each: (
                ["blocker", "degraded", "advice"].index(each["severity"]),
                each["code"],
            ),
        )
    ]
    assert (kept.kernel, kept.lease_id, kept.word) == ("broken", lease.id, "blocked")
    view = await asyncio.to_thread(real, "GET", "api/v1/users/ada/server", "instructor-token")
    assert view.json()["doctor"]["current"] is True
