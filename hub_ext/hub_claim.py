"""One hub per ledger, for as long as its process lives.

What this module guarantees:

- A second hub on the same ledger gets LedgerInUse; two hubs never lease from it at a time.
- A hub that was killed does not lock its successor out: a claim whose process is known to be dead
  (same machine, same boot, same PID namespace) is taken over at once, any other one when it
  expires.
- The claim is renewed from a thread of its own, so that a busy event loop does not lose it.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .errors import LedgerInUse, LedgerUnavailable
from .ledger import Ledger

TTL = timedelta(seconds=60)
RENEW_SECONDS = 15.0

_log = logging.getLogger("gpucamp.claim")


class HubClaim:
    """This process's claim on a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owner = _name_of_process(os.getpid())
        self._released = threading.Event()
        self._lost: LedgerInUse | None = None

    def take(self) -> None:
        """Claim the ledger and keep the claim until `release` or the end of this process.

        Raises LedgerInUse, LedgerUnavailable.
        """
        try:
            self._ledger.claim(self._owner, datetime.now(UTC), TTL)
        except LedgerInUse as error:
            if not _is_dead(error.owner):
                raise
            _log.warning("The hub %s is dead; taking over its ledger", error.owner)
            self._ledger.release_claim(error.owner)
            self._ledger.claim(self._owner, datetime.now(UTC), TTL)
        threading.Thread(target=self._keep, name="ledger-claim", daemon=True).start()
        atexit.register(self.release)

    def require(self) -> None:
        """Raise LedgerInUse if another hub has taken the ledger (this one was stopped too long)."""
        if self._lost is not None:
            raise self._lost

    def release(self) -> None:
        """Give the claim up; idempotent."""
        if not self._released.is_set():
            self._released.set()
            with contextlib.suppress(LedgerUnavailable):
                self._ledger.release_claim(self._owner)

    def _keep(self) -> None:
        while not self._released.wait(RENEW_SECONDS):
            try:
                self._ledger.claim(self._owner, datetime.now(UTC), TTL)
                self._lost = None
            except LedgerInUse as error:
                self._lost = error
                _log.error("Lost the ledger to another hub: %s", error)
            except LedgerUnavailable as error:
                _log.warning("The claim on the ledger could not be renewed: %s", error)


def _name_of_process(pid: int) -> str:
    """host:boot:namespace:pid:start; the empty parts are those this system does not tell."""
    return ":".join((*_here(), str(pid), _start_of(pid)))


def _here() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        boot = namespace = ""
    return socket.gethostname(), boot, namespace


def _start_of(pid: int) -> str:
    """When a process started, in clock ticks since boot; "" if there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _is_dead(owner: str) -> bool:
    """Whether a claim's process certainly does not exist any more. In doubt, no."""
    parts = owner.split(":")
    if len(parts) != 5 or tuple(parts[:3]) != _here() or not all(parts[1:]):
        return False
    pid, started = parts[3], parts[4]
    return pid.isdigit() and _start_of(int(pid)) != started
