"""Examinations from outside: GPU doctor's command, run by the Engine in a server's own container.

Guarantees:

- It needs no Jupyter there, and runs as the container's user with the base's Python, so that
  neither a hung server nor a broken environment is in its way.
- A server is examined once at a time: who asks meanwhile joins, so a request whose reply was lost
  can be sent again. A few are examined at once, the others wait.
- It ends within `seconds`; it can be cancelled; when this service ends, the command in the
  container ends by itself (its stdin is gone, and it has a time limit of its own).
- Reports are in memory only, the last one of a server, for some minutes and for few servers; the
  verdict is kept in the ledger. Who examined whose server is in the audit trail before it begins.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from ..engine_exec import ContainerNotRunning, Done, OutputTooLong
from ..errors import Conflict, EngineRefused, EngineUnavailable, LedgerUnavailable
from ..i18n import _
from ..ledger import Ledger
from ..models import Key
from ..reconcile import ContainerFact
from .containers import HubContainers
from .examined_report import NoReport, read_report, tidy, verdict_in
from .lease_views import Json

_log = logging.getLogger(__name__)

DOCTOR = "/opt/gpucamp/base/bin/gpucamp-doctor"
# server_ext/doctor/leash.py: it ends with its stdin
ENVIRONMENT = {"GPUCAMP_DOCTOR_ATTACHED": "1"}
MOST_BYTES = 2 * 2**20
SECONDS = 180.0
SPARE_SECONDS = 20.0  # until what does not watch its stdin is ended, too
AT_ONCE = 4
KEPT = 32
KEPT_FOR = timedelta(minutes=15)
LONGEST_DETAIL = 500
STOP_LOOKS, STOP_SECONDS = 6, 0.3


class State(StrEnum):
    WAITING = "waiting"  # others are examined
    RUNNING = "running"
    DONE = "done"  # it has a report
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trouble(StrEnum):
    """Why there is no report; wording_doctor.py has the words."""

    SERVER_STOPPED = "server-stopped"
    NO_COMMAND = "no-command"
    ENGINE_SILENT = "engine-silent"
    ENGINE_REFUSED = "engine-refused"
    TIMEOUT = "timeout"
    TOO_LONG = "too-long"
    GARBLED = "garbled"
    KILLED = "killed"
    FAILED = "failed"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True, slots=True)
class Examination:
    """One, from its request to its report. detail: what was said, as it was said."""

    id: str
    user: str
    server: str
    by: str
    requested_at: datetime
    state: State = State.WAITING
    ended_at: datetime | None = None
    trouble: Trouble | None = None
    detail: str = ""
    report: Json | None = None

    @property
    def over(self) -> bool:
        """Nothing more happens."""
        return self.state not in (State.WAITING, State.RUNNING)


class Runner(Protocol):
    """Runs a command in a container; engine_exec.EngineExec does."""

    async def run(
        self,
        container: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        most_bytes: int,
    ) -> Done: ...


class _Failed(Exception):
    def __init__(self, trouble: Trouble, detail: str = "") -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.detail = tidy(detail).strip()[-LONGEST_DETAIL:]


class Examinations:
    """All of this service."""

    def __init__(
        self,
        ledger: Ledger,
        engine: HubContainers,
        runner: Runner,
        *,
        prefix: str,
        seconds: float = SECONDS,
        at_once: int = AT_ONCE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`prefix` is that of the service, for links."""
        self._ledger = ledger
        self._engine = engine
        self._runner = runner
        self._prefix = prefix
        self._seconds = seconds
        self._now = now
        self._turn = asyncio.Semaphore(at_once)
        self._known: dict[Key, Examination] = {}  # the latest last
        self._tasks: dict[Key, asyncio.Task[None]] = {}

    def of(self, user: str, server: str) -> Examination | None:
        """The last one of a server, while it is remembered."""
        self._forget()
        return self._known.get((user, server))

    async def begin(
        self, user: str, server: str, *, by: str, kernel: str = "", language: str = "en"
    ) -> Examination:
        """Begin one, or join the one under way.

        Raises Conflict if the server has no container that runs, EngineUnavailable, EngineRefused,
        LedgerUnavailable.
        """
        key = (user, server)
        if (under_way := self._under_way(key)) is not None:
            return under_way
        container = await self._container(key)
        await asyncio.to_thread(
            self._ledger.note_examination, user, server, container.lease_id, self._now(), actor=by
        )
        if (under_way := self._under_way(key)) is not None:  # somebody was quicker
            return under_way
        self._forget(room=1)
        begun = Examination(uuid.uuid4().hex, user, server, by, self._now())
        self._set(begun)
        _log.info("%s examines the server %s/%s", by, user, server)
        task = asyncio.create_task(
            self._work(begun, container, command(kernel, language, self._seconds))
        )
        self._tasks[key] = task
        task.add_done_callback(functools.partial(self._ended, key))
        return begun

    async def cancel(self, user: str, server: str) -> Examination | None:
        """End the one under way; what became of it, or of the last one."""
        task = self._tasks.get((user, server))
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        return self.of(user, server)

    async def close(self) -> None:
        """End all."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- inside

    def _under_way(self, key: Key) -> Examination | None:
        known = self._known.get(key)
        return known if known is not None and not known.over else None

    def _ended(self, key: Key, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def _container(self, key: Key) -> ContainerFact:
        found = [
            each
            for each in await self._engine.containers()
            if (each.user, each.server) == key and each.running
        ]
        if not found:
            raise Conflict(_("The server does not run, so there is nothing to examine."))
        return found[0]

    async def _work(
        self, begun: Examination, container: ContainerFact, argv: Sequence[str]
    ) -> None:
        ended = begun
        try:
            async with self._turn:
                self._set(replace(begun, state=State.RUNNING))
                report = await self._examine(container, argv)
            await self._keep(begun, container, report)
            ended = replace(begun, state=State.DONE, report=report)
        except asyncio.CancelledError:
            ended = replace(begun, state=State.CANCELLED)
            raise
        except _Failed as error:
            ended = replace(begun, state=State.FAILED, trouble=error.trouble, detail=error.detail)
        except Exception:  # a bug here must not leave it "running"
            _log.exception("examining %s/%s failed", begun.user, begun.server)
            ended = replace(begun, state=State.FAILED, trouble=Trouble.UNEXPECTED)
        finally:
            self._set(replace(ended, ended_at=self._now()))

    async def _examine(self, container: ContainerFact, argv: Sequence[str]) -> Json:
        """Raises _Failed."""
        try:
            async with asyncio.timeout(self._seconds):
                done = await self._runner.run(
                    container.id, argv, environment=ENVIRONMENT, most_bytes=MOST_BYTES
                )
        except TimeoutError as error:
            raise _Failed(Trouble.TIMEOUT) from error
        except ContainerNotRunning as error:
            raise _Failed(Trouble.SERVER_STOPPED) from error
        except OutputTooLong as error:
            raise _Failed(Trouble.TOO_LONG) from error
        except EngineUnavailable as error:
            _log.warning("examining %s/%s: %s", container.user, container.server, error)
            raise _Failed(Trouble.ENGINE_SILENT) from error
        except EngineRefused as error:
            raise _Failed(Trouble.ENGINE_REFUSED, str(error)) from error
        try:
            return await asyncio.to_thread(read_report, done.stdout, self._prefix)
        except NoReport as error:
            raise await self._why_none(container, done, str(error)) from error

    async def _why_none(self, container: ContainerFact, done: Done, said: str) -> _Failed:
        """By how the command ended; a container that stopped took it along."""
        stderr = done.stderr.decode("utf-8", "replace")
        words = stderr or done.stdout[-LONGEST_DETAIL:].decode("utf-8", "replace")
        if done.exit_code in (124, 137, 143) or done.exit_code < 0:
            if await self._stopped(container):
                return _Failed(Trouble.SERVER_STOPPED)
            if done.exit_code == 124:
                return _Failed(Trouble.TIMEOUT)
            return _Failed(Trouble.KILLED, stderr)
        if done.exit_code in (126, 127):
            return _Failed(Trouble.NO_COMMAND, words)
        if done.exit_code in (0, 1, 2) and not stderr:
            return _Failed(Trouble.GARBLED, said)
        return _Failed(Trouble.FAILED, words)

    async def _stopped(self, container: ContainerFact) -> bool:
        """Its processes end a moment before the Engine says that the container has."""
        for look in range(STOP_LOOKS):
            await asyncio.sleep(look and STOP_SECONDS)
            try:
                await self._container((container.user, container.server))
            except Conflict:
                return True
            except (EngineUnavailable, EngineRefused):
                return False
        return False

    async def _keep(self, begun: Examination, container: ContainerFact, report: Json) -> None:
        """Where the server could not tell it itself."""
        user, server, ledger = begun.user, begun.server, self._ledger
        found = verdict_in(report, user, server, container.lease_id, self._now())

        def keep() -> None:
            known = ledger.verdict(user, server)
            if known is None or known.at < found.at:
                ledger.keep_verdict(found)

        try:
            await asyncio.to_thread(keep)
        except LedgerUnavailable as error:  # the report is there all the same
            _log.warning("the verdict about %s/%s was not kept: %s", user, server, error)

    def _set(self, examination: Examination) -> None:
        key = (examination.user, examination.server)
        self._known.pop(key, None)
        self._known[key] = examination

    def _forget(self, room: int = 0) -> None:
        before = self._now() - KEPT_FOR
        over = [key for key, each in self._known.items() if each.over]
        old = [key for key in over if (self._known[key].ended_at or before) <= before]
        for key in {*old, *over[: max(0, len(over) - KEPT + room)]}:
            del self._known[key]


def command(kernel: str, language: str, seconds: float) -> tuple[str, ...]:
    """What is run in the container. Pure.

    Programs by their full names: the PATH there begins with a folder of the user's.
    """
    return (
        "/usr/bin/timeout",
        "--kill-after=10",
        f"{seconds + SPARE_SECONDS:.0f}",
        DOCTOR,
        "--json",
        "--locale",
        language,
        *((f"--kernel={kernel}",) if kernel else ()),
    )
