"""The part of Ledger about DDP runs."""

from __future__ import annotations

from ..audit_actions import Action
from ..ddp_runs import DdpRun
from ..models import Key
from . import audit, ddp_runs
from .database import Database


class DdpStore:
    """What servers tell of their runs."""

    _database: Database
    _actor: str

    def keep_ddp_run(self, told: DdpRun) -> bool:
        """Keep what a server told. Whether it is anything new; what is over stays as it ended.

        Coming again, or late, does no harm.
        """
        with self._database.write() as connection:
            if not ddp_runs.keep(connection, told):
                return False
            audit.write(
                connection,
                at=told.at,
                actor=self._actor,
                action=Action.DDP_RUN,
                lease_id=told.lease_id,
                detail=f"{told.run} {'hangs' if told.hangs else told.state.value}",
                user=told.user,
                server=told.server,
            )
            return True

    def ddp_runs(self) -> dict[Key, tuple[DdpRun, ...]]:
        """By server: the runs of its present lease that go on, and the one that ended last."""
        with self._database.read() as connection:
            return ddp_runs.read_current(connection)
