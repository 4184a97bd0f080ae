"""Leases that are revoked, with a real hub, its service and the Engine; the service is killed in
between.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from engine_fixtures import MakeHub
from hub_app import HubApp, until
from kill_points import services_of

pytestmark = pytest.mark.timeout(300)

MAY_MANAGE = """
c.GpucampService.terms_interval = 0.5
c.JupyterHub.load_roles.append({"name": "manager", "services": ["tester"], "scopes": [
    "custom:gpucamp:leases:manage", "custom:gpucamp:leases:read", "custom:gpucamp:devices:read",
    "custom:gpucamp:devices:manage", "custom:gpucamp:environment:read"]})
"""


@pytest.fixture
async def hub(make_hub: MakeHub) -> HubApp:
    """With two devices, and ada on one of them."""
    hub = make_hub(service=True, extra=MAY_MANAGE)
    await hub.start()
    await until(hub.service_answers, 60, hub.log)
    await hub.start_server("ada", 1)
    return hub


async def ask(hub: HubApp, method: str, path: str, body: object = None) -> Any:
    status, answer = await hub.ask_service(path, method, body)
    assert status == 200, (status, answer)
    return answer


async def lease_of(hub: HubApp, user: str) -> dict[str, Any] | None:
    found = (await ask(hub, "GET", "leases"))["leases"]
    return next((lease for lease in found if lease["user"] == user), None)


async def test_at_once_the_device_is_free_for_who_waits_and_its_user_reads_why(hub: HubApp) -> None:
    await hub.start_server("bob", 1)
    assert (await hub.request_server("cleo", {"gpus": 1}))[0] == 202
    lease = await lease_of(hub, "ada")
    assert lease is not None
    path = f"leases/{lease['id']}"
    # long enough to be taken back
    await ask(hub, "POST", f"{path}/revoke", {"minutes": 60, "reason": "the exam"})
    await ask(hub, "POST", f"{path}/undo-revoke")
    await asyncio.sleep(3)
    assert await hub.server("ada") is not None, "it goes on"
    await ask(hub, "POST", f"{path}/revoke", {"minutes": 0, "reason": "the exam"})
    await hub.wait_ready("cleo")

    async def stopped() -> bool:
        return await hub.server("ada") is None

    await until(stopped, 60, hub.log)
    found = await lease_of(hub, "cleo")
    assert found is not None and found["devices"] == lease["devices"]
    told = (await ask(hub, "GET", "users/ada/server"))["notices"]
    assert "stopped because tester took its GPUs back: “the exam”" in told[-1]["text"]
    ended = await ask(hub, "GET", path)
    assert ended["lease"]["state"] == "ended"
    assert [line["action"] for line in ended["audit"]].count("revoke") == 2


async def test_a_service_that_is_killed_forgets_no_revocation(hub: HubApp) -> None:
    lease = await lease_of(hub, "ada")
    assert lease is not None
    await ask(hub, "POST", f"leases/{lease['id']}/revoke", {"minutes": 0, "reason": "the exam"})
    for pid in services_of(hub.process.pid):
        os.kill(pid, signal.SIGKILL)

    async def stopped() -> bool:
        return await hub.server("ada") is None

    # the hub starts the service again within half a minute, and that goes on
    await until(stopped, 90, hub.log)
    assert hub.ledger().lease_of("ada", "") is None
    told = [notice.kind.value for notice in hub.ledger().notices("ada", "")]
    assert told.count("stopped_as_revoked") == 1
