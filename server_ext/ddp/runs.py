"""Records of runs, on the work volume: `<runs folder>/<id>/run.json` beside the run's log.

Guarantees: a record is written whole or not at all (json_file.py); an id is checked before it
becomes a path; a file that is not a record of ours, or is damaged, is passed over and never raises;
times are UTC seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import json_file, regular_file
from ..errors import NotFound
from ..i18n import N_, Gettext
from . import hang as hangs
from .diagnosis import Diagnosis
from .launch_request import RUN_ID
from .process import Identity
from .remarks import MESSAGES
from .seed import SOURCES, Seed
from .trackers.choice import parse_trackers

STARTING, RUNNING = "starting", "running"
SUCCEEDED, FAILED, STOPPED, LOST = "succeeded", "failed", "stopped", "lost"
ALIVE = frozenset({STARTING, RUNNING})
STATES = ALIVE | {SUCCEEDED, FAILED, STOPPED, LOST}

RECORD, LOG, STOP_MARK = "run.json", "run.log", "stop-requested"
SERVER_MARK = "server-stopped"
USAGE = "usage.json"  # what its ranks used over time
MAXIMUM_RECORD_BYTES = 4 * 1024 * 1024
LISTED_AT_MOST = 200
LOCK_SECONDS = 3.0


@dataclass(frozen=True)
class Owner:
    """The process that watches a run: a server, or the command in a terminal."""

    host: str  # of the container
    server: str  # the JupyterHub server's name, "" for the default one
    pid: int
    started: int


@dataclass(frozen=True)
class Run:
    """One launch, from start to end."""

    id: str
    script: str
    command: str
    arguments: tuple[str, ...]
    processes: int
    working_directory: str
    owner: Owner
    state: str = STARTING
    started_at: float = 0.0
    ended_at: float | None = None
    exit_code: int | None = None
    diagnosis: Diagnosis | None = None
    agent: Identity | None = None
    members: tuple[Identity, ...] = ()  # the processes that were seen in it: see process.merge
    survivors: tuple[Identity, ...] = ()  # could not be ended
    is_module: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)  # that was asked for
    max_restarts: int = 0
    hidden_ranks: tuple[int, ...] = ()  # whose output is not in the log
    trackers: tuple[str, ...] | None = None  # that were asked for; None: what is set up
    remarks: tuple[str, ...] = ()  # codes; on a run that succeeded
    seed: Seed | None = None  # None: not stated anywhere, as far as is known
    hang: hangs.Hang | None = None  # as long as it hangs; kept where it ended so

    @property
    def alive(self) -> bool:
        """Whether it is not over, as far as its record knows."""
        return self.state in ALIVE

    def view(self, gettext: Gettext) -> dict[str, Any]:
        """As the REST interface shows it, in a language."""
        return {
            "id": self.id,
            "script": self.script,
            "command": self.command,
            "arguments": list(self.arguments),
            "processes": self.processes,
            "working_directory": self.working_directory,
            "is_module": self.is_module,
            "environment": dict(self.environment),
            "max_restarts": self.max_restarts,
            "hidden_ranks": list(self.hidden_ranks),
            "trackers": None if self.trackers is None else list(self.trackers),
            "state": self.state,
            "started_at": _iso(self.started_at),
            "ended_at": None if self.ended_at is None else _iso(self.ended_at),
            "exit_code": self.exit_code,
            "diagnosis": None if self.diagnosis is None else self.diagnosis.view(gettext),
            "remarks": [
                {"code": code, "message": gettext(MESSAGES[code])}
                for code in self.remarks
                if code in MESSAGES  # not one of a later version
            ],
            "seed": None if self.seed is None else asdict(self.seed),
            "hang": None if self.hang is None else self.hang.view(gettext),
            "ranks": sorted({one.rank for one in self.members if one.rank is not None}),
            "survivors": [one.pid for one in self.survivors],
        }


class RunStore:
    """The folder of records. Blocking I/O throughout: call it from a thread."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def path(self, run_id: str, name: str = "") -> Path:
        """A path of the run. Raises NotFound where the id cannot be one."""
        if not RUN_ID.fullmatch(run_id):
            raise NotFound(N_("There is no run {id}."), id=run_id[:40])
        return self.folder / run_id / name

    def new_id(self) -> str:
        """An id that sorts by time and is not taken."""
        while True:
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            run_id = f"{stamp}-{secrets.token_hex(3)}"
            if not os.path.exists(self.path(run_id)):  # what cannot be read is told by create
                return run_id

    def create(self, run: Run) -> None:
        """Make the run's folder and record. Raises FileExistsError, OSError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except FileExistsError as error:  # a file, which is no run
            raise NotADirectoryError(error.errno, "a file is in its place") from error
        self.path(run.id).mkdir(mode=0o700)
        try:
            self.save(run)
        except OSError:
            with contextlib.suppress(OSError):  # the id is free again
                self.path(run.id).rmdir()
            raise

    def save(self, run: Run) -> None:
        """Write the record, whole. Raises OSError."""
        json_file.write(self.path(run.id, RECORD), asdict(run))

    def take_over(
        self, run_id: str, is_left: Callable[[Run], bool], taken: Callable[[Run], Run]
    ) -> tuple[Run, bool]:
        """Write the record that `taken` makes of one that is alive and still left alone; the record
        as it is then, and whether it was. Of several processes that try, one succeeds.

        A volume that cannot be written does not keep a run from being watched. Raises NotFound.
        """
        with self._alone() as alone:
            run = self.load(run_id)
            if not alone or not run.alive or not is_left(run):
                return run, False
            run = taken(run)
            with contextlib.suppress(OSError):
                self.save(run)
            return run, True

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """A lock among the processes of this container, which ends with its holder. False: another
        has it for LOCK_SECONDS already. A volume without locks is no obstacle.
        """
        try:
            descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield True
            return
        try:
            yield _lock(descriptor)
        finally:
            os.close(descriptor)

    def load(self, run_id: str) -> Run:
        """The record. Raises NotFound where there is none that can be read."""
        text = regular_file.read(self.path(run_id, RECORD), MAXIMUM_RECORD_BYTES)
        try:
            run = _decode(json.loads(text or b""))
            if run.id != run_id:
                raise ValueError(run.id)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise NotFound(N_("There is no run {id}."), id=run_id) from error
        return run

    def all(self) -> list[Run]:
        """The latest records, newest first."""
        try:
            names = sorted(
                (n for n in os.listdir(self.folder) if RUN_ID.fullmatch(n)), reverse=True
            )
        except OSError:
            return []
        found = []
        for name in names:
            try:
                found.append(self.load(name))
            except NotFound:
                continue
            if len(found) >= LISTED_AT_MOST:
                break
        return found

    def beat(self, run_id: str) -> None:
        """Say that its watcher lives: the record's time of change."""
        try:
            os.utime(self.path(run_id, RECORD))
        except OSError:
            return  # a full or vanished volume; the next save says so

    def beat_age(self, run_id: str) -> float:
        """Seconds since the last beat; infinite where there is no record."""
        try:
            return max(0.0, time.time() - self.path(run_id, RECORD).stat().st_mtime)
        except OSError:
            return float("inf")

    def request_stop(self, run_id: str) -> None:
        """Leave word for the watcher that the end is wanted. Raises OSError."""
        self.path(run_id, STOP_MARK).touch(mode=0o600)

    def stop_requested(self, run_id: str) -> bool:
        """Whether such word was left."""
        return self.path(run_id, STOP_MARK).exists()

    def note_server_stop(self, run_id: str) -> None:
        """Leave word that the server was told to end while the run went on."""
        with contextlib.suppress(OSError):  # a full volume: then it looks as if it had crashed
            self.path(run_id, SERVER_MARK).touch(mode=0o600)

    def forget_server_stop(self, run_id: str) -> None:
        """The run went on all the same, and is watched again."""
        with contextlib.suppress(OSError):
            self.path(run_id, SERVER_MARK).unlink(missing_ok=True)

    def server_stopped(self, run_id: str) -> bool:
        """Whether such word was left."""
        return self.path(run_id, SERVER_MARK).exists()


def _lock(descriptor: int) -> bool:
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        except OSError:
            return True
        else:
            return True


def _iso(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )


def _decode(value: Any) -> Run:
    """A Run from JSON; unknown fields (of a later version) are passed over."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    names = {one.name for one in fields(Run)}
    known = {name: part for name, part in value.items() if name in names}
    run = Run(
        **{
            **known,
            "arguments": tuple(map(str, known["arguments"])),
            "environment": {
                str(name): str(text) for name, text in dict(known.get("environment") or {}).items()
            },
            "hidden_ranks": tuple(map(int, known.get("hidden_ranks") or ())),
            "trackers": parse_trackers(known.get("trackers")),
            "remarks": tuple(map(str, known.get("remarks") or ())),
            "owner": Owner(**known["owner"]),
            "agent": None if known.get("agent") is None else Identity(**known["agent"]),
            "members": _identities(known.get("members")),
            "survivors": _identities(known.get("survivors")),
            "hang": hangs.decode(known.get("hang")),
            "diagnosis": (
                None if known.get("diagnosis") is None else Diagnosis(**known["diagnosis"])
            ),
            "seed": None if known.get("seed") is None else Seed(**known["seed"]),
        }
    )
    for name, kind in _KINDS.items():
        if not kind(getattr(run, name)):
            raise ValueError(name)
    return run


def _identities(value: Any) -> tuple[Identity, ...]:
    return tuple(Identity(**one) for one in value or ())


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e11  # type: ignore[operator]


_KINDS: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str),
    "script": lambda value: isinstance(value, str),
    "command": lambda value: isinstance(value, str),
    "state": lambda value: value in STATES,
    "processes": lambda value: type(value) is int,
    "started_at": _is_number,
    "ended_at": lambda value: value is None or _is_number(value),
    "exit_code": lambda value: value is None or type(value) is int,
    "is_module": lambda value: type(value) is bool,
    "max_restarts": lambda value: type(value) is int,
    "seed": lambda value: value is None or (type(value.value) is str and value.source in SOURCES),
}
