"""The part of the ledger that keeps what settings the hub works with, for the service to tell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..audit_actions import Action
from ..settings_in_force import Setting, different, from_text, to_text
from . import audit, facts
from .database import Database

_NAME = "settings"


class SettingsStore:
    """Methods of Ledger; each is one transaction."""

    _database: Database
    _actor: str

    def set_settings(self, settings: Sequence[Setting], now: datetime) -> None:
        """Keep what the hub works with; which values are others than before is in the trail."""
        text = to_text(settings)
        with self._database.write() as connection:
            before = facts.read(connection, (_NAME,)).get(_NAME)
            if before == text:
                return
            facts.write(connection, _NAME, text)
            changed = different(from_text(before), settings) if before is not None else ()
            if changed:
                audit.write(
                    connection,
                    at=now,
                    actor=self._actor,
                    action=Action.SETTINGS_SET,
                    detail=", ".join(changed),
                )

    def settings(self) -> tuple[Setting, ...]:
        """What the hub worked with when it was started last; () if no hub has said."""
        with self._database.read() as connection:
            return from_text(facts.read(connection, (_NAME,)).get(_NAME, "[]"))
