"""The server tells the service how DDP runs do, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from scripted_service import ScriptedService

from server_ext.ddp.diagnosis import Diagnosis
from server_ext.ddp.hang import IDLE, Hang
from server_ext.ddp.runs import FAILED, RUNNING, STARTING, SUCCEEDED, Owner, Run
from server_ext.ddp.telling import Teller

pytestmark = pytest.mark.timeout(120)
LOG = logging.getLogger("test")
RUN = "20260131-120000-0a1b2c"


def run(state: str = FAILED, **changes: Any) -> Run:
    return replace(
        Run(
            id=RUN,
            script="secret.py",
            command="torchrun secret.py",
            arguments=("--key", "secret"),
            processes=2,
            working_directory="/secret",
            owner=Owner("host", "second", 1, 1),
            state=state,
        ),
        **changes,
    )


@pytest.fixture
async def service() -> AsyncIterator[ScriptedService]:
    service = ScriptedService()
    service.body = {"kept": True}
    async with service.serving():
        yield service


def environ(service: ScriptedService) -> dict[str, str]:
    return {
        "GPUCAMP_SERVICE_URL": service.url,
        "JUPYTERHUB_API_TOKEN": "the server's token",
        "JUPYTERHUB_USER": "ada",
        "JUPYTERHUB_SERVER_NAME": "second",
    }


def bodies(service: ScriptedService) -> list[dict[str, Any]]:
    return [json.loads(body) for _method, _path, _token, body in service.asked]


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def told(teller: Teller, *runs: Run) -> None:
    """Each of these, one after another."""
    for each in runs:
        teller.changed(each)
        await teller.flush(30)


async def test_it_is_told_once_and_nothing_that_a_user_wrote(service: ScriptedService) -> None:
    teller = Teller(environ(service), LOG)
    found = Diagnosis("python-error", "secret {x}", "secret", 1, "secret", {"x": "secret"})
    await told(teller, run(diagnosis=found))
    ((method, path, token, body),) = service.asked
    assert (method, token) == ("POST", "token the server's token")
    assert path == "/services/gpucamp/api/v1/users/ada/servers/second/ddp/runs"
    assert json.loads(body) == {"run": RUN, "state": "failed", "ranks": 2, "rank": 1}
    await teller.close()


async def test_what_changes_is_told_and_nothing_twice(service: ScriptedService) -> None:
    teller = Teller(environ(service), LOG)
    hang = Hang(IDLE, (), None, 1.0)
    await told(
        teller,
        run(STARTING),
        run(RUNNING),
        run(RUNNING, members=()),
        run(RUNNING, hang=hang),
        run(RUNNING, hang=replace(hang, since=2.0)),
        run(RUNNING),
        run(SUCCEEDED),
    )
    goes_on = {"run": RUN, "state": "running", "ranks": 2}
    assert bodies(service) == [
        goes_on,
        {**goes_on, "hangs": True},
        goes_on,
        {**goes_on, "state": "succeeded"},
    ]
    assert not teller._newest, "nothing is remembered of what is over"


async def test_the_last_word_is_the_end_also_if_the_service_was_away(
    service: ScriptedService,
) -> None:
    service.status = 503
    teller = Teller(environ(service), LOG, pauses=(0.01,) * 1000)
    teller.changed(run(RUNNING))
    await until(lambda: len(service.asked) >= 2)
    teller.changed(run(FAILED))
    await until(lambda: bodies(service)[-1]["state"] == "failed")
    service.status = 200
    await teller.flush(30)
    assert not teller._tasks
    assert bodies(service)[-1]["state"] == "failed"


async def test_a_change_while_the_service_thinks_is_told_afterwards(
    service: ScriptedService,
) -> None:
    service.delay = 0.2
    teller = Teller(environ(service), LOG)
    teller.changed(run(RUNNING))
    await until(lambda: service.asked)
    teller.changed(run(FAILED))
    await teller.flush(30)
    assert [body["state"] for body in bodies(service)] == ["running", "failed"]


async def test_without_a_service_or_ranks_nobody_is_told(service: ScriptedService) -> None:
    for what, known in ((run(), {}), (run(STARTING), environ(service))):
        teller = Teller(known, LOG)
        teller.changed(what)
        assert not teller._tasks
    assert service.asked == []


@pytest.mark.parametrize(("status", "asked"), [(409, 1), (404, 1), (503, 3)])
async def test_what_goes_wrong_is_a_line_in_the_log(
    service: ScriptedService, caplog: pytest.LogCaptureFixture, status: int, asked: int
) -> None:
    """A service that says no is not asked again, one that is away is."""
    service.status, service.body = status, {"detail": "no"}
    await told(Teller(environ(service), LOG, pauses=(0.01, 0.01)), run())
    assert len(service.asked) == asked
    assert "could not be told" in caplog.text


async def test_the_end_of_the_server_waits_for_nobody(service: ScriptedService) -> None:
    service.delay = 20.0
    teller = Teller(environ(service), LOG)
    teller.changed(run())
    await until(lambda: len(service.asked) == 1)
    began = time.monotonic()
    await teller.close()
    assert time.monotonic() - began < service.delay / 2
    assert not teller._tasks
