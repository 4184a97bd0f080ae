"""REST about the settings in force, without their secrets (see settings_in_force.py)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..scopes import SETTINGS_READ
from .api_base import ApiHandler
from .api_lists import ListHandler, flag, one_of, sorted_page
from .auth import requires
from .lease_views import Json

if TYPE_CHECKING:
    from ..settings_in_force import Setting
    from .parts import Service

SECTIONS = ("GPUDockerSpawner", "GpuPolicy", "GpucampService")


async def settings_view(service: Service) -> list[Json]:
    """Those of the hub as it wrote them at its start, and of this service."""
    of_hub = await asyncio.to_thread(service.ledger.settings)
    return [_view(each) for each in (*of_hub, *service.settings) if each.section in SECTIONS]


def _view(setting: Setting) -> Json:
    return {
        "section": setting.section,
        "name": setting.name,
        "value": setting.value,
        "default": setting.default,
        "source": setting.source,
        "changed": setting.changed,
        "hidden": setting.hidden,
        "computed": setting.computed,
        "help": setting.help,
    }


class SettingsHandler(ListHandler):
    filters = {"section": one_of(*SECTIONS), "changed": flag}

    @requires(SETTINGS_READ)
    async def get(self) -> None:
        wanted = self.wanted()
        rows = [
            row
            for row in await settings_view(self.service)
            if wanted.admits(section=row["section"], changed=row["changed"])
        ]
        page = sorted_page(rows, lambda row: (row["section"], row["name"]), wanted)
        self.answer_page("settings", *page)


ROUTES: list[tuple[str, type[ApiHandler]]] = [(r"api/v1/settings", SettingsHandler)]
