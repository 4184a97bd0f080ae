"""Clean-ups that wait for an Engine which does not answer, written down for the next hub.

What this module guarantees: once `add` has returned, a hub that is restarted knows which servers an
earlier one could not clean up after, and so does the service, should no hub come to it. JupyterHub
does not: for it they are stopped.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass

from .json_values import from_json
from .ledger import Ledger
from .models import Key

MEMO = "clean-ups"

_log = logging.getLogger("gpucamp.lifecycle")


@dataclass(frozen=True, slots=True)
class CleanUp:
    """A server whose container and lease are still to be removed."""

    user: str
    server: str
    container: str  # its name
    lease_id: str
    reason: str

    @property
    def key(self) -> Key:
        """The server."""
        return (self.user, self.server)


class CleanUps:
    """Those of one ledger. Synchronous; every method may raise LedgerUnavailable."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._known = {each.key: each for each in written(ledger)}

    def all(self) -> tuple[CleanUp, ...]:
        """Those written down."""
        return tuple(self._known.values())

    def add(self, clean_up: CleanUp) -> None:
        """Write one down; an earlier one of the same server is forgotten."""
        with self._lock:
            self._write({**self._known, clean_up.key: clean_up})

    def drop(self, key: Key) -> None:
        """It is done, or a new start of the server does it."""
        with self._lock:
            if key in self._known:
                self._write({k: each for k, each in self._known.items() if k != key})

    def _write(self, known: dict[Key, CleanUp]) -> None:
        text = json.dumps([asdict(each) for each in known.values()])
        self._ledger.remember(MEMO, text if known else None)
        self._known = known


def written(ledger: Ledger) -> tuple[CleanUp, ...]:
    """Those that any hub has written down and not done yet. Raises LedgerUnavailable."""
    text = ledger.recall(MEMO)
    try:
        return tuple([from_json(CleanUp, each) for each in json.loads(text or "[]")])
    except (TypeError, ValueError) as error:
        _log.error("What an earlier hub left to clean up cannot be read: %s", error)
        return ()
