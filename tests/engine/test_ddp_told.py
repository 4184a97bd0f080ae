"""What servers of the image tell the service of DDP runs, by way of a real hub with its scopes."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import docker
import pytest
from engine_fixtures import MakeHub
from hub_app import HubApp, until

from hub_ext import scopes

pytestmark = pytest.mark.timeout(300)

WORK = "/home/jovyan/work"
SCRIPT = """
import os, sys, time
if sys.argv[1:] and os.environ["RANK"] == sys.argv[1]:
    raise SystemExit(3)
time.sleep(600)
"""
TEACHES = {"name": "teaches", "services": ["tester"], "scopes": list(scopes.INSTRUCTOR_SCOPES)}
SETTINGS = f"""
c.JupyterHub.load_roles.append({TEACHES})
c.GPUDockerSpawner.environment = {{"GPUCAMP_DDP_QUIET": "10"}}
"""


async def launch(hub: HubApp, token: str, script: str) -> dict[str, Any]:
    """As Launch DDP does it in JupyterLab."""
    headers = {"Authorization": f"token {token}"}
    asked = {"script": script, "arguments": [], "processes": 2}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session,
        session.post(f"{hub.url}/user/ada/gpucamp/ddp/runs", headers=headers, json=asked) as answer,
    ):
        assert answer.status == 201, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found


async def test_the_class_sees_runs_of_jupyterlab_and_of_terminals(
    make_hub: MakeHub, engine: docker.DockerClient
) -> None:
    hub = make_hub(service=True, extra=SETTINGS)
    await hub.start()
    await hub.start_server("ada", 1)
    await until(hub.service_answers, 60, hub.log)
    status, made = await hub.api("POST", "/users/ada/tokens", {"scopes": ["access:servers!user"]})
    assert status == 201, made
    container = engine.containers.get(hub.container("ada"))

    async def sh(command: str) -> tuple[int, str]:
        done = await asyncio.to_thread(
            container.exec_run, ["bash", "-lc", command], workdir=WORK, user="1000"
        )
        return done.exit_code, done.output.decode(errors="replace")

    assert (await sh(f"cat > train.py <<'END'\n{SCRIPT}\nEND"))[0] == 0
    cards: list[Any] = []

    async def runs() -> list[tuple[str, str, int, int | None]]:
        status, view = await hub.ask_service("class")
        assert status == 200, view
        (card,) = view["servers"]
        cards[:] = [card]
        return [(run["run"], run["state"], run["ranks"], run["rank"]) for run in card["ddp_runs"]]

    def said() -> str:
        return f"{cards}\n{container.logs(tail=50)}\n{hub.log()[-3000:]}"

    assert await runs() == []
    run = await launch(hub, made["token"], "train.py")

    async def goes_on() -> bool:
        return await runs() == [(run["id"], "running", 2, None)]

    await until(goes_on, 60, said)

    # from a terminal, while the other goes on
    status, text = await sh("gpucamp-ddp -n 2 train.py 1")
    assert status == 1, text
    (_mine, (other, state, ranks, rank)) = await runs()
    assert (state, ranks, rank) == ("failed", 2, 1)
    assert other != run["id"] and (await runs())[0][0] == run["id"]

    async def hangs() -> bool:
        await runs()
        return bool(cards[0]["ddp_runs"][0]["hangs"]) and cards[0]["needs"][0] == "run-hangs"

    await until(hangs, 120, said)

    # Jupyter is gone and its run with the container: nobody told the end, and the card says nothing
    await hub.stop_server("ada")
    await hub.start_server("ada", 1)
    assert await runs() == []
