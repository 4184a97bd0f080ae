"""Resets over REST, of a hub of the tests that has the service."""

from __future__ import annotations

from typing import Any

from hub_app import HubApp, until

# for HubApp.extra: its token may reset
MAY_RESET = """
c.JupyterHub.load_roles.append({"name": "resetter", "services": ["tester"], "scopes":
    ["custom:gpucamp:environment:read", "custom:gpucamp:environment:reset"]})
"""


async def begin_reset(hub: HubApp, user: str) -> str:
    """The operation's id."""
    status, body = await hub.ask_service(
        f"users/{user}/server/reset", "POST", {"reason": "it is broken"}
    )
    assert status == 202, (status, body, hub.log()[-3000:])
    return str(body["operation"]["id"])


async def over(hub: HubApp, operation: str, seconds: float = 180) -> dict[str, Any]:
    """Wait for its end; the operation as the service shows it."""
    seen: list[dict[str, Any]] = []

    async def ended() -> bool:
        status, view = await hub.ask_service(f"operations/{operation}")
        if status == 200:
            seen[:] = [view]
        return status == 200 and bool(view["done"])

    await until(ended, seconds, lambda: f"{seen}\n{hub.log()[-6000:]}")
    return seen[0]


async def reset(hub: HubApp, user: str) -> dict[str, Any]:
    """Ask for it and wait for its end."""
    return await over(hub, await begin_reset(hub, user))
