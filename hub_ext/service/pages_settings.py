"""The page of the settings in force, for admins.

Guarantees: what is shown is what REST tells the same visitor: no secret; it changes nothing.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import BadRequest
from ..i18n import _
from ..scopes import SETTINGS_READ
from .api_settings import SECTIONS, settings_view
from .auth import requires
from .page_base import PageHandler


class SettingsPage(PageHandler):
    """What hub, policy and service work with."""

    @requires(SETTINGS_READ)
    async def get(self) -> None:
        shown = self.get_query_argument("show", "all")
        if shown not in ("all", "changed"):
            raise BadRequest(
                _("{name} must be one of: {names}.").format(name="show", names="all, changed")
            )
        rows = await settings_view(self.service)
        self.show(
            "settings.html",
            sections=[
                (section, [_row(row) for row in rows if row["section"] == section])
                for section in SECTIONS
            ],
            shown=shown,
        )


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """With value and default as they are written in Python's configuration, nearly."""
    return {
        **row,
        "value_text": said(row["value"]),
        "default_text": said(row["default"]),
        "told_source": row["source"] if ":" in row["source"] else source_text(row["source"]),
    }


def said(value: object) -> str:
    """A value in a line; text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def source_text(source: str) -> str:
    """Where a setting comes from, where that is no line of a file."""
    return {
        "default": _("default"),
        "start": _("worked out at the start"),
        "command line": _("command line"),
    }.get(source, _("configuration file"))


ROUTES: list[tuple[str, type[PageHandler]]] = [(r"settings", SettingsPage)]
