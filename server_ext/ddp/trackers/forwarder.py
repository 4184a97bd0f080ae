"""Hands a run's numbers to its trackers, by way of write_points.py in the user's own Python.

Guarantees:
- Nothing is started before the run has printed a number, and nothing here ends or holds up a run.
- Memory, reading and files are bounded: a log that grows faster than AT_ONCE bytes a tick is read
  from further on once it is FAR ahead (the log itself stays whole), nothing is read while the
  program does not take what was found, and what it prints is kept up to ERRORS_BYTES.
- The place in the log up to which the program took the numbers is written down, so that a server
  that takes the run over goes on there; one that is killed repeats what was taken in its last tick.
- The program is no process of the run: it outlives it by what is still to be sent, and ends by
  itself. It has the run's environment, which holds no secret of the server.
- What becomes of a tracker is told as long as the run goes on, and FINISH_SECONDS after its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess  # noqa: S404 - an argv of ours
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import json_file, regular_file
from .. import logs
from ..metrics import Point
from . import write_points
from .choice import Tracker
from .points import PointReader

RECORD = "trackers.json"
TOLD, ERRORS = "trackers.told", "trackers.log"  # the program's two outputs
TICK_SECONDS = 1.0
AT_ONCE = 2 * 2**20
FAR = 64 * 2**20
ERRORS_BYTES = 2**20
FINISH_SECONDS = 60.0
KEEP_SECONDS = 2.0  # for what is written when the server ends
_PENDING = _CHUNK = 2**18
_STATES = frozenset({"waiting", "open", "missing", "failed", "closed"})


@dataclass
class Record:
    """What is kept in the run's folder. python: absolute; environment, which may hold a key, is
    not kept; states: of each tracker, {name, state, where, reason}.
    """

    python: str
    folder: str
    title: str
    config: dict[str, Any]
    rank: int
    trackers: list[dict[str, Any]]
    states: list[dict[str, str]] = field(default_factory=list)
    offset: int = 0
    owner: int | None = None
    half: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    closed: bool = False

    def view(self) -> list[dict[str, str]]:
        """As the REST interface shows it."""
        return self.states


def new_record(
    trackers: Sequence[Tracker],
    *,
    python: str,
    folder: str,
    title: str,
    config: dict[str, Any],
    rank: int,
) -> Record:
    """For a run that starts. rank: the lowest that is in the log; folder: that it runs in."""
    states = [
        {"name": one.name, "state": "waiting", "where": one.where, "reason": ""} for one in trackers
    ]
    return Record(python, folder, title, config, rank, [one.record() for one in trackers], states)


def save(folder: Path, record: Record) -> None:
    """Blocking. Raises OSError."""
    json_file.write(folder / RECORD, vars(record), indent=None)


def load(folder: Path) -> Record | None:
    """None where the run has no trackers, or none that can be read. Blocking."""
    text = regular_file.read(folder / RECORD, 2**20)
    try:
        record = Record(**json.loads(text or b""))
        states = [one["state"] in _STATES and one["name"] for one in record.states]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return record if all(isinstance(name, str) for name in states) else None


class Forwarder:
    """The trackers of one run that this process watches; does nothing where it has none."""

    def __init__(
        self,
        run_id: str,
        folder: Path,
        log_path: Path,
        environ: Mapping[str, str],
        log: logging.Logger,
    ) -> None:
        """folder, log_path: the run's; environ: the program's, the run's without its mark."""
        self._run_id, self._folder, self._log_path = run_id, folder, str(log_path)
        self._environ, self._log = environ, log
        self._record: Record | None = None
        self._reader = PointReader(0)
        self._child: subprocess.Popen[bytes] | None = None
        self._pending = bytearray()
        self._put_bytes = 0  # into it, so far
        # how far the log was read when so many bytes had been put
        self._places: deque[tuple[int, PointReader]] = deque()
        self._told = 0
        self._over = asyncio.Event()
        self._exit_code = 255

    def end(self, exit_code: int | None) -> None:
        """The run is over; None: nobody knows how."""
        self._exit_code = 255 if exit_code is None else exit_code
        self._over.set()

    async def watch(self) -> None:
        """Until what the run printed was handed over and sent, FINISH_SECONDS after `end` at most.

        Cancelled, it leaves the program to send what it has, and keeps how much that is.
        """
        try:
            if not await self._open_record():
                return
            while self._some_wait() and not self._over.is_set():
                await self._tick(over=False)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_SECONDS):
                        await self._over.wait()
            if self._some_wait():
                await self._finish(self._exit_code)
        except asyncio.CancelledError:
            self._hang_up()
            if self._record is not None and self._move_on(self._record):
                # a volume that hangs must not hold up the end
                await asyncio.wait([asyncio.create_task(self._keep())], timeout=KEEP_SECONDS)
            raise
        except Exception as error:  # a tracker is no reason to end a run
            self._log.exception("The trackers of run %s get nothing any more", self._run_id)
            self._fail(str(error) or type(error).__name__)
            await self._keep()
        finally:
            self._hang_up()

    async def _open_record(self) -> bool:
        if self._record is None:
            self._record = await asyncio.to_thread(load, self._folder)
            if self._record is not None:
                kept = self._record
                self._reader = PointReader(
                    kept.rank, kept.offset, kept.owner, kept.half, dict(kept.counts)
                )
        return self._record is not None and not self._record.closed

    async def _finish(self, exit_code: int) -> None:
        deadline = time.monotonic() + FINISH_SECONDS
        complete = False
        while not complete and self._some_wait() and time.monotonic() < deadline:
            complete = await self._tick(over=True)
            if self._pending:
                await asyncio.sleep(0.05)
        if self._child is not None:
            self._put(_line({"close": exit_code}))
            while self._child.poll() is None and time.monotonic() < deadline:
                self._push()
                await self._listen()
                await asyncio.sleep(0.1)
        while await self._listen():
            pass  # until it has told all, and what it did not tell failed
        if self._record is not None:
            self._record.closed = True
            self._move_on(self._record)
        await self._keep()

    async def _tick(self, *, over: bool) -> bool:
        """Whether there is nothing left to hand over."""
        record = self._record
        if record is None:
            return True
        self._push()
        complete = False
        if len(self._pending) < _PENDING:
            lines, complete = await asyncio.to_thread(self._read, over)
            if lines and self._child is None and self._some_wait():
                await self._start(record)
            if self._child is not None:
                self._put(lines)
                if self._places and self._places[-1][0] == self._put_bytes:
                    self._places.pop()  # there was no number since
                self._places.append((self._put_bytes, self._reader.copy()))
                self._push()
        told, moved = await self._listen(), self._move_on(record)
        if told or moved:
            await self._keep()
        return complete and not self._pending

    def _move_on(self, record: Record) -> bool:
        """Note up to where the program took the numbers; whether that is further than before."""
        place = None
        while self._places and self._places[0][0] <= self._put_bytes - len(self._pending):
            place = self._places.popleft()[1]
        if place is None or place.offset == record.offset:
            return False
        record.offset, record.owner, record.half = place.offset, place.owner, place.half
        record.counts = place.counts
        return True

    def _some_wait(self) -> bool:
        states = [] if self._record is None else self._record.states
        return any(one["state"] in ("waiting", "open") for one in states)

    def _read(self, over: bool) -> tuple[bytes, bool]:
        """New points, for the program, and whether the end of the log was reached. Blocking."""
        size = logs.length(self._log_path)
        if size - self._reader.offset > FAR:
            self._skip(size - AT_ONCE)
        begun, lines = self._reader.offset, bytearray()
        while True:
            data = logs.read(self._log_path, self._reader.offset, _CHUNK)
            ended = self._reader.offset + len(data) >= size
            whole = logs.whole(data, everything=over and ended)
            lines += _points(self._reader.feed(whole))
            if over and ended:
                lines += _points(self._reader.end())
            enough = self._reader.offset - begun >= AT_ONCE or len(lines) >= _PENDING
            if ended or enough or not whole:
                return bytes(lines), ended

    def _skip(self, offset: int) -> None:
        head = logs.read(self._log_path, offset, 2**16)
        self._reader.skip(offset + head.find(b"\n") + 1)
        self._log.warning("Run %s prints faster than its trackers are given", self._run_id)

    async def _start(self, record: Record) -> None:
        def start() -> subprocess.Popen[bytes]:
            # the program of the server before may still write to its own
            (self._folder / TOLD).unlink(missing_ok=True)
            with (
                open(self._folder / TOLD, "wb") as told,
                open(self._folder / ERRORS, "ab") as errors,
            ):
                return subprocess.Popen(  # noqa: S603 - the kernel's Python, a program of ours
                    [record.python, "-u", write_points.__file__],
                    stdin=subprocess.PIPE,
                    stdout=told,
                    stderr=errors,
                    cwd=record.folder,
                    env=dict(self._environ),
                    start_new_session=True,  # Ctrl-C of a terminal is for the run
                )

        self._told = 0
        try:
            self._child = await asyncio.to_thread(start)
        except OSError as error:
            self._fail(error.strerror or str(error))
            return
        if self._child.stdin is not None:
            os.set_blocking(self._child.stdin.fileno(), False)
        shared = {"run": self._run_id, "title": record.title, "config": record.config}
        shared["counts"] = record.counts
        self._put(_line({"open": [{**one, **shared} for one in record.trackers]}))

    def _put(self, data: bytes) -> None:
        """For the program, as soon as it takes it."""
        self._pending += data
        self._put_bytes += len(data)

    def _push(self) -> None:
        """Give the program what it takes without waiting."""
        if self._child is None or self._child.stdin is None or self._child.stdin.closed:
            self._pending.clear()
            return
        try:
            while self._pending:
                count = os.write(self._child.stdin.fileno(), self._pending[:_PENDING])
                del self._pending[:count]
        except BlockingIOError:
            return
        except OSError:  # it has ended
            self._pending.clear()

    def _hang_up(self) -> None:
        """The end of its input is the end of the program, once it has sent what it got."""
        if self._child is None or self._child.stdin is None or self._child.stdin.closed:
            return
        if self._over.is_set() and not self._pending:
            self._put(_line({"close": self._exit_code}))
            self._push()
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    async def _listen(self) -> bool:
        """Whether the program told something new."""
        if self._child is None or self._record is None:
            return False
        ended = self._child.poll() is not None  # asked first: what it said last is then read
        data = await asyncio.to_thread(self._read_told)
        whole = data[: data.rfind(b"\n") + 1]
        self._told += len(whole)
        before = [dict(state) for state in self._record.states]
        for line in whole.splitlines():
            _note(self._record.states, line)
        if ended and not whole:
            self._fail(f"exit {self._child.returncode}")
        return self._record.states != before

    def _read_told(self) -> bytes:
        """What the program said of its trackers; what libraries print must not fill the volume."""
        errors = self._folder / ERRORS
        with contextlib.suppress(OSError):
            if errors.stat().st_size > ERRORS_BYTES:
                os.truncate(errors, 0)  # it is appended to
        return logs.read(str(self._folder / TOLD), self._told, 2**16)

    def _fail(self, reason: str) -> None:
        """The trackers that are still to get numbers get none any more."""
        for state in [] if self._record is None else self._record.states:
            if state["state"] in ("waiting", "open"):
                state.update(state="failed", reason=reason)

    async def _keep(self) -> None:
        if self._record is None:
            return
        try:
            await asyncio.to_thread(save, self._folder, self._record)
        except (OSError, RuntimeError) as error:  # the last: no room for a thread
            self._log.warning("%s cannot be written: %s", self._folder / RECORD, error)


def _line(message: Any) -> bytes:
    return json.dumps(message).encode("ascii") + b"\n"


def _points(points: Sequence[Point]) -> bytes:
    if not points:
        return b""
    return _line({"points": [[one.counter, one.step, one.values] for one in points]})


def _note(states: list[dict[str, str]], line: bytes) -> None:
    """What the program told of one tracker; whatever else stands there is passed over."""
    try:
        told = json.loads(line)
        name, state = told["name"], told["state"]
        where, reason = str(told["where"]), str(told["reason"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    for one in states:
        if one["name"] == name and state in _STATES:
            one.update(state=state, where=where or one["where"], reason=reason)
