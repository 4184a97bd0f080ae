"""A private PostgreSQL server for tests: a Unix socket in a temporary folder, no TCP, no service.

`shared_cluster()` is one per test process; `PostgresCluster` is one of a test's own, to be killed.
It runs as an unprivileged user, because postgres refuses root, and dies with its test process.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
import psycopg

from setup_host.postgres import bin_folder

OWNER = "gpucamp"  # role without a password; any other role needs one
_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "80",
    "shared_buffers": "16MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "autovacuum": "off",
    # a test kills processes, never the power
    "fsync": "off",
    "full_page_writes": "off",
}
_PR_SET_PDEATHSIG = 1


class PostgresCluster:
    """One server; `close` ends it and removes its files."""

    def __init__(self) -> None:
        programs = bin_folder()
        if programs is None:
            raise RuntimeError(
                "PostgreSQL is missing: install it with `apt-get install postgresql` "
                "(`make test-setup` does)."
            )
        self._programs = programs
        self._user = _unprivileged()
        # not in pytest's own folder, which is closed to others; a socket's path must be short
        self.folder = Path(tempfile.mkdtemp(prefix="gpucamp-pg-", dir=_open_folder()))
        self.data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self._make()

    def _make(self) -> None:
        self._call(
            *("initdb", "--pgdata", self.data, "--username", OWNER, "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--wal-segsize", "1"),
        )
        (self.data / "pg_hba.conf").write_text(
            f"local all {OWNER} trust\nlocal all all scram-sha-256\n", encoding="ascii"
        )

    def _call(self, program: str, *arguments: object) -> None:
        result = subprocess.run(
            [str(self._programs / program), *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd="/",
            env=_environment(),
            **self._as_user(),
        )
        assert result.returncode == 0, f"{program}: {result.stdout}{result.stderr}"

    def _as_user(self) -> dict[str, Any]:
        if self._user is None:
            return {}
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}

    # -- running

    def start(self, **settings: str) -> None:
        """Start the server, and wait until it answers; `settings` are PostgreSQL's.

        It ends with the thread that called this.
        """
        options = [f"-c{name}={value}" for name, value in (_SETTINGS | settings).items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, "-k", self.folder, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509
                **self._as_user(),
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.sql("SELECT 1")
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None and time.monotonic() < deadline, self.log()
                time.sleep(0.05)

    def log(self) -> str:
        """What the server said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End the server as an admin does: its sessions are told, and everything is written."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9, the server and all its sessions at once."""
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        # it neither makes more sessions nor tells them of the ends of others
        server.suspend()
        deadline = time.monotonic() + 30
        while server.status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        sessions = server.children()
        for session in sessions:
            # before the server, whose end they would notice
            session.kill()
        for session in sessions:
            while session.is_running() and session.status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < deadline
                time.sleep(0.001)
        server.kill()
        self._process.wait(30)
        self._process = None

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def close(self) -> None:
        """End the server and remove its files."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- databases

    def sql(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run statements, each its own transaction; the rows of the last one."""
        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(
            host=str(self.folder), user=OWNER, dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def url(self, database: str, *, user: str = OWNER, password: str = "") -> str:
        """SQLAlchemy's URL of a database."""
        secret = f":{password}" if password else ""
        return f"postgresql+psycopg://{user}{secret}@/{database}?host={self.folder}"

    def new_database(self, template: str = "template1") -> str:
        """Make a database; its name."""
        name = f"ledger_{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, and end who is still connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


@functools.cache
def shared_cluster() -> PostgresCluster:
    """The cluster of this test process; it ends with it."""
    cluster = PostgresCluster()
    atexit.register(cluster.close)
    cluster.start()
    return cluster


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run it as; None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("There is no user postgres or nobody to run PostgreSQL as.")


def _open_folder() -> str:
    folder = Path(tempfile.gettempdir())
    closed = any(not path.stat().st_mode & 0o001 for path in (folder, *folder.parents))
    return "/tmp" if closed or len(str(folder)) > 60 else str(folder)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
