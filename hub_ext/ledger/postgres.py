"""What is particular to PostgreSQL: its engine, locks, and whether a lost commit was one.

Guarantees:

- a write is on disk when it returns, whatever the server's default for synchronous_commit is;
- who waits for a lock, and who holds one and does nothing, is ended by the server in bounded time;
- a host that vanished is noticed by keepalives.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text

IDLE_SECONDS = 60  # a writer that was stopped (SIGSTOP, a laptop's lid) must not lock others out
_MIGRATION_KEY = 0x67707563616D70  # "gpucamp"; of pg_advisory_xact_lock

READS = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
# a writer sees what was committed while it waited for the lock row
WRITES = {"isolation_level": "READ COMMITTED"}

_SESSION = """
SELECT set_config('lock_timeout', %s, false),
       set_config('idle_in_transaction_session_timeout', %s, false),
       set_config('timezone', 'UTC', false),
       set_config('synchronous_commit',
                  CASE current_setting('synchronous_commit')
                  WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""


def make_engine(url: URL, lock_seconds: float) -> Engine:
    """Connects at first use. Raises ValueError if the driver is not installed."""
    arguments: dict[str, Any] = {
        "application_name": "gpucamp",
        "client_encoding": "utf8",
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # milliseconds
        # plans would go stale under a service that runs while the hub migrates
        "prepare_threshold": None,
    }
    try:
        engine = create_engine(
            url,
            pool_pre_ping=True,
            pool_timeout=lock_seconds,
            connect_args={k: v for k, v in arguments.items() if k not in url.query},
        )
    except ModuleNotFoundError as error:
        raise ValueError(
            "A ledger in PostgreSQL needs the driver psycopg: "
            "install it with `pip install 'gpucamp[postgresql]'`."
        ) from error

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.autocommit = True
        limits = (f"{round(lock_seconds * 1000)}ms", f"{IDLE_SECONDS}s")
        connection.execute(_SESSION, limits)
        connection.autocommit = False

    return engine


def lock_for_migration(connection: Connection) -> None:
    """Wait until no other process migrates, and no other writes."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_KEY})
    if connection.execute(text("SELECT to_regclass('fact')")).scalar() is not None:
        connection.execute(text("SELECT 1 FROM fact WHERE name = 'lock' FOR UPDATE"))


def lock_for_write(connection: Connection) -> str:
    """Wait until no other process writes; the transaction's id, to ask about it later."""
    row = connection.execute(
        text("SELECT pg_current_xact_id()::text FROM fact WHERE name = 'lock' FOR UPDATE")
    ).one_or_none()
    return str(row[0]) if row is not None else ""


def outcome(connection: Connection, transaction: str) -> str | None:
    """ "committed", "aborted", "in progress", or None: it is too long ago."""
    found = connection.execute(
        text("SELECT pg_xact_status(CAST(:id AS xid8))"), {"id": transaction}
    ).scalar()
    return str(found) if found is not None else None
