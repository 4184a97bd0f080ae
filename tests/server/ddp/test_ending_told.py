"""When a DDP run is over the server tells the service how it ended, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable

import pytest
from scripted_service import ScriptedService

from server_ext.ddp.ending import Teller
from server_ext.ddp.runs import FAILED, RUNNING, Owner, Run

pytestmark = pytest.mark.timeout(120)
LOG = logging.getLogger("test")


def run(state: str = FAILED) -> Run:
    return Run(
        id="20260131-120000-0a1b2c",
        script="secret.py",
        command="torchrun secret.py",
        arguments=("--key", "secret"),
        processes=2,
        working_directory="/secret",
        owner=Owner("host", "second", 1, 1),
        state=state,
    )


@pytest.fixture
async def service() -> AsyncIterator[ScriptedService]:
    service = ScriptedService()
    service.body = {"counted": True}
    async with service.serving():
        yield service


def environ(service: ScriptedService) -> dict[str, str]:
    return {
        "GPUCAMP_SERVICE_URL": service.url,
        "JUPYTERHUB_API_TOKEN": "the server's token",
        "JUPYTERHUB_USER": "ada",
        "JUPYTERHUB_SERVER_NAME": "second",
    }


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_it_is_told_once_and_nothing_that_a_user_wrote(service: ScriptedService) -> None:
    teller = Teller(environ(service), LOG)
    teller.ended(run())
    await until(lambda: not teller._tasks)
    ((method, path, token, body),) = service.asked
    assert (method, token) == ("POST", "token the server's token")
    assert path == "/services/gpucamp/api/v1/users/ada/servers/second/ddp/ended"
    assert json.loads(body) == {"run": "20260131-120000-0a1b2c", "ending": "failed"}
    await teller.close()


async def test_without_a_service_or_an_end_nobody_is_told(service: ScriptedService) -> None:
    for told, known in ((run(), {}), (run(RUNNING), environ(service))):
        teller = Teller(known, LOG)
        teller.ended(told)
        assert not teller._tasks
    assert service.asked == []


@pytest.mark.parametrize(("status", "asked"), [(409, 1), (404, 1), (503, 3)])
async def test_what_goes_wrong_is_a_line_in_the_log(
    service: ScriptedService, caplog: pytest.LogCaptureFixture, status: int, asked: int
) -> None:
    """A service that says no is not asked again, one that is away is."""
    service.status, service.body = status, {"detail": "no"}
    teller = Teller(environ(service), LOG, pauses=(0.01, 0.01))
    teller.ended(run())
    await until(lambda: not teller._tasks)
    assert len(service.asked) == asked
    assert "could not be told" in caplog.text


async def test_the_end_of_the_server_waits_for_nobody(service: ScriptedService) -> None:
    service.delay = 20.0
    teller = Teller(environ(service), LOG)
    teller.ended(run())
    await until(lambda: len(service.asked) == 1)
    began = time.monotonic()
    await teller.close()
    assert time.monotonic() - began < service.delay / 2
    assert not teller._tasks
