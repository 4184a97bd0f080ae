"""Takes out of the queue what nobody waits for any more.

What this module guarantees: a start that waited when its hub ended keeps its place for two
minutes, in which the service starts it again; then it is dropped, and its user is told. A place
that no start of this hub stands in is kept while a reset of that server is under way (its start
comes back to it) and dropped after that. So no restart costs a place, and nothing is reserved for
nobody.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

from .errors import LedgerUnavailable
from .ledger import Ledger
from .models import FINAL_STEPS, Key, OperationStep

ORPHAN_SECONDS = 120.0  # since the start of the run, to be started again
LOOK_SECONDS = 10.0

# the stop of a server is a part of its reset: the start to come takes the place in the queue again
STOPPED_BY_RESET = (OperationStep.REQUESTED, OperationStep.STOPPING, OperationStep.SWITCHING)

_log = logging.getLogger("gpucamp.queue")


class QueueKeeper:
    """For one run of the hub; `waiting` are the servers whose starts stand in the queue now."""

    def __init__(self, ledger: Ledger, run: str) -> None:
        self.run = run
        self.waiting: set[Key] = set()
        self._ledger = ledger
        self._alone: frozenset[Key] = frozenset()  # places that nobody stood in at the last look
        self._over = threading.Event()

    def start(self) -> None:
        """Look from now on, in a thread of its own, until this process ends or `stop`."""
        threading.Thread(target=self._keep, name="queue-keeper", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def look(self, now: datetime) -> None:
        """Drop what nobody waits for. Raises LedgerUnavailable."""
        for entry in self._ledger.drop_orphans(now - timedelta(seconds=ORPHAN_SECONDS), now):
            _log.warning("Nobody started %s again after the restart", entry.request)
        alone = {
            (entry.request.user, entry.request.server)
            for entry in self._ledger.queue()
            if entry.waiter == self.run
        } - self.waiting
        kept = {key for key in alone if is_reset(self._ledger, *key, steps=None)}
        for key in (alone - kept) & self._alone:
            if key not in self.waiting:
                _log.warning("Nobody waits for %s any more", key)
                self._ledger.withdraw(*key)
        self._alone = frozenset(alone - kept)

    def _keep(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            try:
                self.look(datetime.now(UTC))
            except LedgerUnavailable as error:
                _log.warning("The queue could not be looked through: %s", error)


def is_reset(
    ledger: Ledger,
    user: str,
    server: str,
    *,
    steps: tuple[OperationStep, ...] | None = STOPPED_BY_RESET,
) -> bool:
    """Whether a reset of this server, after which it starts again, is at one of these steps.

    None: at any that is not the last. Raises LedgerUnavailable.
    """
    found = ledger.operation_of(user, server)
    if found is None or not found.start_after:
        return False
    return found.step not in FINAL_STEPS if steps is None else found.step in steps
