"""Ledger: devices, leases, the queue, environments, operations and the audit trail.

Guarantees, on top of those of database.py, leases.py and environments.py:

- every method is one transaction: done as a whole and on disk, or not at all;
- every method may be called from any thread, and from several processes on one ledger;
- every method may raise LedgerUnavailable, which says what to do; then nothing was changed.

Times are aware datetimes; the caller's clock is `now`, so a test needs no sleep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from ..models import AuditEntry, Lease, QueueEntry, Request, Snapshot
from ..policy import Policy
from . import (
    audit,
    claims,
    facts,
    failed_starts,
    grants,
    group_operations,
    history,
    image_pulls,
    leases,
    operations,
    snapshots,
    terms,
    verdicts,
    waiting,
)
from .answer_store import AnswerStore
from .database import Database
from .ddp_store import DdpStore
from .device_store import DeviceStore
from .environment_store import EnvironmentStore
from .figures import Figures
from .group_store import GroupStore
from .hand_store import HandStore
from .image_store import ImageStore
from .people_store import PeopleStore
from .search_store import SearchStore
from .settings_store import SettingsStore
from .verdict_store import VerdictStore


class Ledger(
    AnswerStore,
    DdpStore,
    DeviceStore,
    EnvironmentStore,
    GroupStore,
    HandStore,
    ImageStore,
    PeopleStore,
    SearchStore,
    SettingsStore,
    VerdictStore,
):
    """Synchronous; call it with asyncio.to_thread from an event loop."""

    def __init__(self, url: str, *, actor: str = "hub") -> None:
        """Opens nothing yet.

        `url` is SQLAlchemy's, for example sqlite:////srv/gpucamp/ledger.sqlite; `actor` is who the
        audit trail names. Raises ValueError for a SQLite ledger in memory.
        """
        self._database = Database(url)
        self._actor = actor
        self._seen: snapshots.Seen | None = None

    def migrate(self) -> None:
        """Make or update the tables. Call it at start, before anything else; idempotent."""
        self._database.migrate()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    # -- one hub per ledger

    def hub_id(self) -> str:
        """A random id, made at first use, that stays with the ledger."""
        with self._database.read() as connection:
            made = claims.hub_id(connection)
        if made is not None:
            return made
        with self._database.write() as connection:
            return claims.make_hub_id(connection)

    def claim(self, owner: str, now: datetime, ttl: timedelta) -> None:
        """Claim or renew the ledger for `owner` until `now + ttl`.

        An expired claim is taken over. Raises LedgerInUse, naming the owner, if another's is alive.
        """
        with self._database.write() as connection:
            claims.take(connection, owner, now, ttl)

    def release_claim(self, owner: str) -> None:
        """Give up the claim, if `owner` has it."""
        with self._database.write() as connection:
            claims.release(connection, owner)

    def begin_run(self, run: str, now: datetime) -> None:
        """A hub process starts, under a name of its own. Entries of the queue stay.

        Those that an earlier run waits for are orphans until they are queued again. Naming the
        present run again changes nothing.
        """
        with self._database.write() as connection:
            facts.begin_run(connection, run, now, self._actor)

    # -- policy and memos

    def set_policy(self, policy: Policy, now: datetime | None = None) -> None:
        """Keep a policy for all who read this ledger; devices get it with the next inventory."""
        with self._database.write() as connection:
            facts.set_policy(connection, policy, now or datetime.now(UTC), self._actor)

    def policy(self) -> Policy:
        """What was set last; Policy() if nothing was."""
        with self._database.read() as connection:
            return facts.policy(connection)

    def remember(self, name: str, value: str | None) -> None:
        """Keep a text under a name (at most 59 characters); None forgets it."""
        with self._database.write() as connection:
            facts.remember(connection, name, value)

    def recall(self, name: str) -> str | None:
        """The text kept under a name, or None."""
        with self._database.read() as connection:
            return facts.recall(connection, name)

    # -- queue

    def enqueue(
        self,
        request: Request,
        now: datetime,
        *,
        waiter: str = "",
        user_options: Mapping[str, object] | None = None,
    ) -> QueueEntry:
        """Wait in the queue. A server that waits already keeps its place, and the rest is new.

        `waiter` is the run of the hub that waits; `user_options` are what it takes to start the
        server again if that run ends.
        """
        with self._database.write() as connection:
            return waiting.add(connection, request, now, self._actor, waiter, user_options)

    def drop_orphans(self, before: datetime, now: datetime) -> tuple[QueueEntry, ...]:
        """Withdraw all that an earlier run waited for, if the present one began by `before`.

        Their users get a notice. Gives what was dropped.
        """
        with self._database.write() as connection:
            return waiting.drop_orphans(connection, before, now, self._actor)

    def withdraw(self, user: str, server: str, now: datetime | None = None) -> None:
        """Leave the queue; nothing happens if the server is not in it."""
        with self._database.write() as connection:
            waiting.leave(connection, user, server, now or datetime.now(UTC), self._actor)

    def move_in_queue(
        self,
        user: str,
        server: str,
        place: Callable[[Snapshot, QueueEntry], tuple[int, Mapping[int, int]]],
        reason: str,
        now: datetime,
        *,
        actor: str,
    ) -> None:
        """Give a server that waits another place in the line.

        `place` gets a snapshot and the server's entry, and gives the place and all boosts that
        there are then (see queue_moves.moved). It must be pure, as in `acquire`. Nothing happens if
        nothing would change but the reason. Raises NotFound if the server does not wait, and what
        `place` raises.
        """
        with self._database.write() as connection:
            entry = waiting.one(connection, user, server)
            seen = self._look(connection, now)
            position, boosts = place(seen, entry)
            before = {each.sequence: each.boost for each in seen.queue if each.boost}
            if entry.move is None or before != boosts:
                waiting.move(connection, entry, boosts, reason, now, actor, position)

    def undo_move_in_queue(self, user: str, server: str, now: datetime, *, actor: str) -> None:
        """Take a move back; nothing happens if it was not moved. Raises NotFound."""
        with self._database.write() as connection:
            entry = waiting.one(connection, user, server)
            if entry.move is not None:
                waiting.undo_move(connection, entry, now, actor)

    def cancel_waiting(
        self, user: str, server: str, reason: str, now: datetime, *, actor: str
    ) -> None:
        """Take a server out of the queue, and tell its user why.

        A hub that waits for it sees that and ends the start. Raises NotFound if it does not wait.
        """
        with self._database.write() as connection:
            waiting.cancel(connection, waiting.one(connection, user, server), reason, now, actor)

    def queue(self) -> tuple[QueueEntry, ...]:
        """Who waits, in order of arrival."""
        with self._database.read() as connection:
            return waiting.read(connection)

    def snapshot(self, now: datetime | None = None) -> Snapshot:
        """All that a decision needs; holds that are over by `now` (the clock) are ended."""
        moment = now or datetime.now(UTC)
        with self._database.read() as connection:
            if not leases.expired(connection, moment):
                return self._look(connection, moment)
        with self._database.write() as connection:
            leases.end_expired(connection, moment, self._actor)
            return self._look(connection, moment)

    def figures(self, now: datetime) -> Figures:
        """What metrics show, in one transaction that only reads."""
        with self._database.read() as connection:
            return Figures(
                self._look(connection, now),
                verdicts.read_current(connection),
                operations.unfinished(connection),
                Counter(group_operations.running(connection).values()),
                group_operations.without_result(connection),
                image_pulls.running(connection),
            )

    def _look(self, connection: Connection, now: datetime) -> Snapshot:
        self._seen = seen = snapshots.read(connection, now, self._seen)
        return seen.snapshot

    # -- leases

    def acquire(
        self,
        request: Request,
        choose: Callable[[Snapshot], Sequence[str] | None],
        now: datetime,
    ) -> Lease | None:
        """Grant the server a lease and take it out of the queue, or None: it has to wait.

        If the server has a HELD lease with enough healthy devices of the kind asked for, that one
        is taken up with the same devices and the same end of its term (devices beyond
        `request.gpus` are given back). Else `choose` gets a snapshot and gives the UUIDs of as many
        free devices as asked for, or None. It must be pure: it runs inside the transaction, and
        must not call the ledger.

        Raises Conflict if the server has a lease that is granted or running, or a held one that
        does not fit while its container is not known to be gone. Raises ValueError if `choose`
        gives devices that are not free, or of the wrong mode.
        """
        with self._database.write() as connection:
            return grants.acquire(connection, request, choose, now, self._actor, self._look)

    def mark_running(self, lease_id: str, container_id: str, now: datetime) -> None:
        """The lease's container answers. Takes a HELD lease back, too (the reset was given up).

        Raises NotFound, and Conflict if the lease has ended.
        """
        with self._database.write() as connection:
            found = leases.mark_running(connection, lease_id, container_id, now, self._actor)
            failed_starts.forget(connection, found.user, found.server)

    def name_container(self, lease_id: str, container_id: str, now: datetime) -> None:
        """The lease's container is made; call it before the container starts.

        From now on nobody ends the lease who has not seen this container (see `end`). Raises
        NotFound, and Conflict if the lease has ended: then the container must not start.
        """
        with self._database.write() as connection:
            leases.name_container(connection, lease_id, container_id, now, self._actor)

    def hold(self, lease_id: str, until: datetime, now: datetime) -> None:
        """Keep the devices for the same server until `until`, while its container is replaced.

        The hold expires only when `mark_gone` was called: time alone is no proof that nobody uses
        the devices. Raises NotFound, and Conflict if the lease has ended.
        """
        with self._database.write() as connection:
            leases.hold(connection, lease_id, until, now, self._actor)

    def mark_gone(self, lease_id: str, now: datetime) -> None:
        """The Engine says that the container of a HELD lease is gone; its hold may expire now.

        Changes nothing in any other state: those leases are ended with `end`. Raises NotFound.
        """
        with self._database.write() as connection:
            leases.mark_gone(connection, lease_id, now, self._actor)

    def end(
        self, lease_id: str, reason: str, now: datetime, *, if_container: str | None = None
    ) -> None:
        """Free the devices; only after proof that the container is gone. Idempotent.

        With `if_container` only if the lease still names that one ("": none): the proof does not
        hold for a container that was made since. Raises NotFound.
        """
        with self._database.write() as connection:
            leases.end(connection, lease_id, reason, now, self._actor, if_container)

    def extend(
        self,
        lease_id: str,
        until: datetime,
        now: datetime,
        *,
        by_user: bool,
        actor: str = "",
        reason: str = "",
    ) -> None:
        """Give a lease a later end; `by_user` counts it as an extension of theirs.

        With a `reason` its user is told that `actor` gave it. Raises NotFound, and Conflict if the
        lease has ended or has no end, if one of its devices is being drained, if it ends earlier as
        it was revoked, or if `until` is not later.
        """
        with self._database.write() as connection:
            terms.extend(
                connection,
                lease_id,
                until,
                now,
                actor or self._actor,
                by_user=by_user,
                reason=reason,
            )

    def revoke(
        self, lease_id: str, notice: timedelta, reason: str, now: datetime, *, actor: str
    ) -> Lease:
        """Let a lease end once its user has had `notice`; gives it. They are told at once.

        Nothing happens if it is revoked already and ends by then. Raises NotFound, and Conflict if
        it has ended or has no devices.
        """
        with self._database.write() as connection:
            return terms.revoke(connection, lease_id, notice, reason, now, actor)

    def undo_revoke(self, lease_id: str, now: datetime, *, actor: str) -> Lease:
        """Give a revoked lease the end of its term back; gives it. Its user is told.

        Nothing happens if it is not revoked. Raises NotFound, and Conflict if it has ended or the
        notice period is over.
        """
        with self._database.write() as connection:
            return terms.undo_revoke(connection, lease_id, now, actor)

    def shorten(self, lease_id: str, until: datetime, now: datetime, reason: str) -> None:
        """Give a lease an earlier end; nothing happens if it ends by then, or has. NotFound."""
        with self._database.write() as connection:
            terms.shorten(connection, lease_id, until, now, self._actor, reason)

    def mark_idle(
        self,
        lease_id: str,
        since: datetime | None,
        reclaim_at: datetime | None,
        now: datetime,
        *,
        actor: str = "",
    ) -> None:
        """Note since when a lease's devices do nothing, and when they are taken back if they still
        do nothing then. A lease that has ended is left alone. Raises NotFound."""
        with self._database.write() as connection:
            terms.mark_idle(connection, lease_id, since, reclaim_at, now, actor or self._actor)

    def lease(self, lease_id: str) -> Lease:
        """A lease, ended or not. Raises NotFound."""
        with self._database.read() as connection:
            return leases.one(connection, lease_id)

    def lease_of(self, user: str, server: str) -> Lease | None:
        """The server's lease that has not ended."""
        with self._database.read() as connection:
            return leases.of_server(connection, user, server)

    def leases(self, *, include_ended: bool = False) -> tuple[Lease, ...]:
        """Leases in order of grant."""
        with self._database.read() as connection:
            return leases.read(connection) if include_ended else leases.live(connection)

    # -- history

    def audit_trail(
        self,
        lease_id: str | None = None,
        *,
        limit: int | None = None,
        before: int | None = None,
    ) -> tuple[AuditEntry, ...]:
        """Every change in order; of one lease, or all; at most the `limit` latest lines.

        `before` is the number of a line: only those that are older.
        """
        with self._database.read() as connection:
            return audit.read(connection, lease_id, limit, before)

    def prune(self, before: datetime) -> int:
        """Delete leases that ended before, with their audit lines and what else is as old.

        Usage stays. Several short transactions, so that nobody waits long. Gives how many leases.
        """
        pruned = 0
        while True:
            with self._database.write() as connection:
                found = history.prune_leases(connection, before)
                if not found:
                    history.prune_rest(connection, before)
                    return pruned
            pruned += found
