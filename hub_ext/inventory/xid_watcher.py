"""Keeps xid_watch.py running and collects what it says.

Guarantees: nothing here waits for the driver but a thread and a process of its own; a watch that
ends, fails or falls silent is started again, with growing pauses; one that cannot be killed is not
joined by a second; `trouble` says in words whether XIDs are seen.
"""

from __future__ import annotations

import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from ..health import XidEvent

PROGRAM = (sys.executable, "-m", "hub_ext.inventory.xid_watch")
SILENCE_SECONDS = 30.0  # several times what the watch lets pass between two lines
PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)  # before it is started again
_STEADY_SECONDS = 60.0  # a watch that ran for so long begins with the first pause again
_MOST_EVENTS = 1000
_HANGS = "The watch for XIDs does not answer: the driver may hang. Look at `dmesg` on the host."

_log = logging.getLogger("gpucamp.inventory")


class XidWatcher:
    """From `start` to `close`; all methods may be called from any thread."""

    def __init__(
        self,
        *,
        program: Sequence[str] = PROGRAM,
        silence: float = SILENCE_SECONDS,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """`silence` and `pauses` are in seconds; `program` is xid_watch.py, or a test's."""
        self._program = tuple(program)
        self._silence = silence
        self._pauses = tuple(pauses)
        self._lock = threading.Lock()
        self._events: deque[XidEvent] = deque(maxlen=_MOST_EVENTS)
        self._told: frozenset[str] | None = None  # the cards that the running watch knows
        self._asked_for: frozenset[str] = frozenset()
        self._leave: frozenset[int] = frozenset()
        self._trouble = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def start(self) -> None:
        """Begin to watch, if this was not called before."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="xids", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the watch; returns within seconds."""
        self._closed.set()
        self._kill()
        if self._thread is not None:
            self._thread.join(2.0)

    def events(self) -> tuple[XidEvent, ...]:
        """What came since the last call, oldest first."""
        with self._lock:
            events = tuple(self._events)
            self._events.clear()
        return events

    @property
    def trouble(self) -> str:
        """Why XIDs are not seen now, or ""."""
        return self._trouble

    def expect(self, cards: Collection[str], leave: Collection[int] = ()) -> None:
        """Have these cards watched, and those of the indices `leave` not even opened.

        A watch that began otherwise begins anew.
        """
        wanted, left = frozenset(cards), frozenset(leave)
        with self._lock:
            known = self._told is None or wanted <= self._told or wanted == self._asked_for
            if known and left == self._leave:
                return
            self._asked_for = wanted  # once for each set of cards, whatever the watch makes of it
            self._leave = left
        _log.info("There are other cards to watch than before: watching for XIDs anew.")
        self._kill()

    # -- in the thread

    def _run(self) -> None:
        failures = 0
        while not self._closed.is_set():
            began = time.monotonic()
            trouble = self._watch()
            if self._closed.is_set():
                return
            with self._lock:
                self._told = None
            if time.monotonic() - began > _STEADY_SECONDS:
                failures = 0
            self._say(trouble)
            self._closed.wait(self._pauses[min(failures, len(self._pauses) - 1)])
            failures += 1

    def _watch(self) -> str:
        """Run the program once, until it ends; why it ended."""
        with self._lock:
            leave = ",".join(map(str, sorted(self._leave)))
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                (*self._program, f"--leave={leave}"),
                stdin=subprocess.PIPE,  # its end is the sign to end
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            return f"XIDs are not watched: {error}."
        with self._lock:
            self._process = process
        if self._closed.is_set():  # before close() could see it
            process.kill()
        assert process.stdin and process.stdout  # noqa: S101 - for mypy: both are pipes
        try:
            trouble = self._listen(process.stdout.fileno())
        finally:
            process.stdin.close()
            process.stdout.close()
            with self._lock:
                self._process = None
            process.kill()
        while not self._closed.is_set():
            try:
                process.wait(1.0)
                break
            except subprocess.TimeoutExpired:  # stuck in the kernel
                self._say(_HANGS)
        return trouble

    def _listen(self, pipe: int) -> str:
        """Take lines until there are no more, or none for too long; why it ended."""
        trouble = "The watch for XIDs ended; it is started again."
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                if not selector.select(self._silence):
                    return _HANGS
                chunk = os.read(pipe, 65536)
                if not chunk:
                    return trouble
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    try:
                        trouble = self._take(json.loads(line)) or trouble
                    except (ValueError, KeyError, TypeError, AttributeError) as error:
                        _log.error("The watch for XIDs said %r: %r", line[:200], error)

    def _take(self, message: dict[str, Any]) -> str:
        """One line; why the watch will end, if it says so."""
        if "error" in message:
            return f"XIDs are not watched: NVML says {message['text']} ({message['error']})."
        if "xid" in message:
            event = XidEvent(
                str(message["card"]), int(message["xid"]), datetime.fromisoformat(message["at"])
            )
            with self._lock:
                self._events.append(event)
        if "watching" in message:
            deaf, silent = dict(message["deaf"]), message["silent"]
            with self._lock:
                self._told = frozenset(message["watching"]).union(deaf, silent)
            if silent:
                _log.info("Cards without XID events: %s.", ", ".join(silent))
            named = "; ".join(f"{name}: {why}" for name, why in deaf.items())
            self._say(f"No XIDs are seen of {named}." if deaf else "")
        return ""

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("%s", trouble)
        self._trouble = trouble

    def _kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()
