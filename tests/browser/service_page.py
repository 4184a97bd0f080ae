"""The service's pages for tests: which there are, a hub that takes its time, pictures of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from playwright.sync_api import Page
from service_server import RunningService
from service_world import UUIDS, FakeHub

PICTURES = Path(__file__).resolve().parents[2] / "artifacts" / "browser"

PAGES = (
    "",
    "class",
    "class?screen=1",
    "class?search=nobody",
    "servers",
    "devices",
    f"devices/{UUIDS[0]}",
    "leases",
    "leases?days=7",
    "images",
    "settings",
    "queue",
    "usage",
    "groups",
    "groups/class-1",
    "users/cleo/server",
    "users/eve/server",
    "findings/GC101",
    "docs/api",
    "no/such/page",
)


class SlowHub(FakeHub):
    """Takes a moment to stop and to start a server, as a real one does."""

    async def stop(self, user: str, server: str) -> None:
        self._set(user, server, pending="stop", ready=False)
        asyncio.get_running_loop().call_later(0.8, self.world.stop_server, user, server)

    async def start(self, user: str, server: str, user_options: Mapping[str, object]) -> None:
        self._set(user, server, pending="spawn", stopped=False)
        asyncio.get_running_loop().call_later(0.8, self.world.run_server, user, server)

    def _set(self, user: str, server: str, **changes: object) -> None:
        self.world.servers[user, server] = replace(self.world.servers[user, server], **changes)


def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"service-{name}.png", full_page=True)


def as_admin(service: RunningService) -> None:
    service.visitor = service.tokens["admin-token"]
