"""The part of Ledger about GPU doctor's verdicts, and who examined whose server."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..audit_actions import Action
from ..models import Key
from ..verdicts import Verdict
from . import audit, verdicts
from .database import Database


class VerdictStore:
    """One verdict for each server."""

    _database: Database
    _actor: str

    def keep_verdict(self, found: Verdict) -> bool:
        """Keep a verdict, unless one of a later examination is known. Whether it changed anything.

        Coming again, or late, does no harm.
        """
        with self._database.write() as connection:
            known = verdicts.read(connection, found.user, found.server)
            if not verdicts.keep(connection, found):
                return False
            if known is None or known.findings != found.findings:
                audit.write(
                    connection,
                    at=found.at,
                    actor=self._actor,
                    action=Action.DOCTOR_VERDICT,
                    lease_id=found.lease_id,
                    detail=", ".join(code for code, _severity in found.findings),
                    user=found.user,
                    server=found.server,
                )
            return True

    def verdict(self, user: str, server: str) -> Verdict | None:
        """The last one about a server, or None."""
        with self._database.read() as connection:
            return verdicts.read(connection, user, server)

    def verdicts(self) -> dict[Key, Verdict]:
        """The last one about each server, by (user, server)."""
        with self._database.read() as connection:
            return verdicts.read_all(connection)

    def forget_verdicts(self, servers: Iterable[Key]) -> None:
        """These servers, (user, server), are no more."""
        with self._database.write() as connection:
            verdicts.forget(connection, servers)

    def note_examination(
        self, user: str, server: str, lease_id: str, now: datetime, *, actor: str
    ) -> None:
        """A line of the audit trail: `actor` has this server examined from outside."""
        with self._database.write() as connection:
            audit.write(
                connection,
                at=now,
                actor=actor,
                action=Action.EXAMINE,
                lease_id=lease_id,
                detail=f"{user}/{server}",
                user=user,
                server=server,
            )
