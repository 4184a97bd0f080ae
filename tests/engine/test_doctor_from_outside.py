"""GPU doctor from outside, in real containers of the image: the Engine runs it beside a Jupyter
that answers nobody, as the container's user, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container
from hub_app import HubApp

from hub_ext import scopes
from hub_ext.container_args import HUB_LABEL, LEASE_LABEL, SERVER_LABEL, USER_LABEL
from hub_ext.engine import EngineClient
from hub_ext.engine_exec import EngineExec
from hub_ext.ledger import Ledger
from hub_ext.models import Request
from hub_ext.service import examinations
from hub_ext.service.containers import HubContainers
from hub_ext.service.examinations import Examination, Examinations, State, Trouble

pytestmark = pytest.mark.timeout(180)

HUNG_JUPYTER = ["sleep", "1000"]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    ledger.migrate()
    yield ledger
    ledger.close()


@pytest.fixture
def container(engine: docker.DockerClient, image: str, ledger: Ledger) -> Iterator[Container]:
    """Ada's, as the spawner makes it, with a Jupyter that answers nobody."""
    lease = ledger.acquire(Request("ada", "", 0), lambda snapshot: (), datetime.now(UTC))
    assert lease is not None
    made = engine.containers.run(
        image,
        HUNG_JUPYTER,
        name=f"gpucamp-test-outside-{secrets.token_hex(5)}",
        detach=True,
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        tmpfs={"/tmp": "exec"},
        mounts=[docker.types.Mount("/home/jovyan", None)],  # a volume of its own
        shm_size="1g",
        network_mode="none",
        environment={"GPUCAMP_LEASE": lease.id, "GPUCAMP_DEVICES": "", "GPUCAMP_SIMULATED": "0"},
        labels={
            HUB_LABEL: ledger.hub_id(),
            LEASE_LABEL: lease.id,
            USER_LABEL: "ada",
            SERVER_LABEL: "",
        },
    )
    ledger.mark_running(lease.id, str(made.id), datetime.now(UTC))
    yield made
    made.remove(force=True, v=True)


@pytest.fixture
async def outside(ledger: Ledger, container: Container) -> AsyncIterator[Examinations]:
    client = EngineClient(threads=2)
    made = Examinations(
        ledger, HubContainers(client, ledger.hub_id), EngineExec(), prefix="/services/gpucamp/"
    )
    yield made
    await made.close()
    await client.close()


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def report(outside: Examinations) -> Examination:
    await outside.begin("ada", "", by="kim", language="zh_CN")
    return await over(outside)


async def over(outside: Examinations) -> Examination:
    """The one under way, when it has ended."""

    async def ended() -> bool:
        found = outside.of("ada", "")
        return found is not None and found.over

    await until(ended)
    found = outside.of("ada", "")
    assert found is not None
    return found


async def processes(container: Container) -> list[tuple[str, str]]:
    """(uid, command line) of what runs in it beside the hung Jupyter."""
    told = await asyncio.to_thread(container.top, ps_args="-eo pid,uid,args")
    rows = [(row[1], row[2]) for row in told["Processes"]]
    return [row for row in rows if "sleep 1000" not in row[1]]


async def test_an_examination_its_cancelling_and_a_container_that_goes(
    outside: Examinations, container: Container, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await report(outside)
    assert (found.state, found.trouble, found.detail) == (State.DONE, None, "")
    assert found.report is not None
    assert [(each["code"], each["severity"]) for each in found.report["findings"]] == [
        ("GC101", "advice")
    ]
    assert "没有" in found.report["findings"][0]["title"], "in the language of who asked"
    verdict = ledger.verdict("ada", "")
    assert verdict is not None and verdict.word == "advice"
    assert verdict.lease_id == container.labels[LEASE_LABEL]

    await outside.begin("ada", "", by="kim")

    async def runs() -> bool:
        return any("torch" in line for _uid, line in await processes(container))

    await until(runs)
    assert {uid for uid, _line in await processes(container)} == {"1000"}, "never as root"
    cancelled = await outside.cancel("ada", "")
    assert cancelled is not None and cancelled.state is State.CANCELLED

    async def nothing_left() -> bool:
        return not await processes(container)

    await until(nothing_left, 20)

    with monkeypatch.context() as changed:
        changed.setattr(examinations, "DOCTOR", "/opt/gpucamp/base/bin/gpucamp-doctor-of-old")
        found = await report(outside)
        assert (found.state, found.trouble) == (State.FAILED, Trouble.NO_COMMAND)

    move = "mv /home/jovyan/{} /home/jovyan/{}"
    await asyncio.to_thread(container.exec_run, move.format(".venv", "away"))
    found = await report(outside)
    assert found.report is not None, found
    assert found.report["verdict"] == "blocked"
    assert "GC202" in {each["code"] for each in found.report["findings"]}, "it needs nothing of it"
    await asyncio.to_thread(container.exec_run, move.format("away", ".venv"))

    await asyncio.to_thread(container.pause)
    assert (await report(outside)).trouble is Trouble.SERVER_STOPPED
    await asyncio.to_thread(container.unpause)

    await outside.begin("ada", "", by="kim")
    await until(runs)
    await asyncio.to_thread(container.kill)
    assert (await over(outside)).trouble is Trouble.SERVER_STOPPED


# -- the whole chain: a real hub with its scopes, its service, a participant's real server

TEACHES = {"name": "teaches", "services": ["tester"], "scopes": list(scopes.INSTRUCTOR_SCOPES)}


async def test_a_real_hub_knows_what_a_server_tells_and_has_it_examined(
    make_hub: Callable[..., HubApp], engine: docker.DockerClient
) -> None:
    hub = make_hub(service=True, extra=f"c.JupyterHub.load_roles.append({TEACHES})\n")
    await hub.start()
    await hub.start_server("ada", 1)
    await until(hub.service_answers)
    path = "/services/gpucamp/api/v1/users/ada/server"

    # the server's own token may tell it
    container = engine.containers.get(hub.container("ada"))
    done = await asyncio.to_thread(container.exec_run, ["gpucamp-doctor", "--json"])
    assert done.exit_code == 0, done.output.decode()
    told = (await hub._ask("GET", path))[1]["doctor"]
    assert told is not None, hub.log()[-3000:]
    assert (told["verdict"], told["current"], told["kernel"]) == ("advice", True, "python3")
    assert [each["code"] for each in told["findings"]] == ["GC109"]

    # with Jupyter stopped in its tracks
    # in brackets, so that the shell does not find itself
    stop = "kill -STOP $(pgrep -f [s]erve.py)"
    assert container.exec_run(["sh", "-c", stop]).exit_code == 0
    status, body = await hub._ask("POST", f"{path}/doctor/examine", {})
    assert (status, body["examination"]["by"]) == (202, "tester"), body

    async def examined() -> bool:
        return bool((await hub._ask("GET", f"{path}/doctor"))[1]["examination"]["ended_at"])

    await until(examined)
    found = (await hub._ask("GET", f"{path}/doctor"))[1]
    assert (found["examination"]["state"], found["examination"]["error"]) == ("done", None)
    report = found["examination"]["report"]
    assert [each["code"] for each in report["findings"]] == ["GC109"]
    # to the second, which a fast host needs for neither
    assert report["started_at"] >= told["at"] and found["verdict"]["at"] == report["started_at"]
