"""What went wrong outside our control, in words: what happened, and what to do. Pure.

Guarantees: a message holds no password, not even if the database repeats it.
"""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_DRIVER = "postgresql+psycopg"
# query parameters of a PostgreSQL URL that are a secret
_SECRET_PARAMETERS = ("password", "sslpassword", "passfile")

_TOO_MANY = (
    "End other clients, or raise max_connections: the hub and the service take up to 15 each."
)

_ONLY_READS = (
    "This server only reads: it is a replica, or set to be read-only. Give the address of the "
    "primary in GPUCAMP_LEDGER_URL."
)

_CRASHED = "The server was stopped or has crashed; look at its log, try again."

# signs in what the database says, most telling first
_REMEDIES = (
    ("disk is full", "Free some space there; nothing was leased, and nothing is lost."),
    ("no space left", "Free some space on the database's disk; nothing was leased or lost."),
    ("disk i/o", "Look at the disk (dmesg), then start the hub again."),
    ("read-only transaction", _ONLY_READS),
    ("during recovery", _ONLY_READS),
    ("readonly", "Make the file and its folder writable for the user that runs the hub."),
    ("read-only", "Make the file and its folder writable for the user that runs the hub."),
    ("unable to open", "The folder must exist and be writable for the user that runs the hub."),
    ("not a database", "Restore it from a backup, or move it away to begin with an empty one."),
    ("malformed", "Restore it from a backup, or move it away to begin with an empty one."),
    ("locked", "Another program keeps it locked; find it with `fuser` and stop it."),
    ("no such table", "Its tables are missing: call migrate() first, or restore a backup."),
    # PostgreSQL
    (
        "lock timeout",
        "Another session keeps it locked; find it in pg_stat_activity and end it, then try again.",
    ),
    ("too many", _TOO_MANY),
    ("connection slots", _TOO_MANY),
    (
        "password",
        "Check the user and the password in GPUCAMP_LEDGER_URL (or in PGPASSFILE), and pg_hba.conf "
        "on the server.",
    ),
    ("no pg_hba.conf entry", "Allow this host and user in pg_hba.conf on the server."),
    (
        "peer authentication",
        "Run the hub as the system user of that name, or give a user with a password.",
    ),
    ('role "', "Make the user, as in `createuser NAME`, or correct GPUCAMP_LEDGER_URL."),
    (
        "permission denied",
        "Make the user the owner of the database, as in `createdb -O USER NAME`.",
    ),
    ("starting up", "The server is being started; try again in a minute."),
    ("shutting down", "The server is being stopped; start it again, then try again."),
    ("recovery mode", "The server recovers from a crash; try again in a minute."),
    ("administrator command", "The server was stopped or restarted; try again in a minute."),
    ("not yet accepting", "The server is being started; try again in a minute."),
    ("closed the connection", _CRASHED),
    ("connection is lost", _CRASHED),
    ("unexpected postmaster exit", _CRASHED),
    ("crash of another server process", _CRASHED),
    (
        "resolve host",
        "Check the host in GPUCAMP_LEDGER_URL (special characters in a password are written as "
        "in %40).",
    ),
    (
        "connection refused",
        "Start the PostgreSQL server, and check host and port in GPUCAMP_LEDGER_URL.",
    ),
    (
        "is the server running",
        "Start the PostgreSQL server, and check host and port in GPUCAMP_LEDGER_URL.",
    ),
    (
        "timeout expired",
        "Check host and port in GPUCAMP_LEDGER_URL, and whether a firewall is in between.",
    ),
    (
        "undefinedtable",
        "Its tables are missing: call migrate() first, or restore a backup.",
    ),
    ("does not exist", "Make the database, as in `createdb -O USER NAME`, or restore a backup."),
)

# a server that restarts says one of these; a new try soon may do
_PASSING = (
    "starting up",
    "shutting down",
    "recovery mode",
    "administrator command",
    "closed the connection",
    "connection is lost",
    "unexpected postmaster exit",
    "crash of another server process",
    "not yet accepting",
    "connection refused",
    "connection reset",
    "is the server running",
    "too many",
    "connection slots",
)


def parse(url: str) -> URL:
    """The URL of a ledger: SQLite in a file, or PostgreSQL. Raises ValueError, without the URL."""
    try:
        parsed = make_url(url)
        name = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise ValueError(
            "The ledger's URL is not one: write sqlite:////FOLDER/ledger.sqlite, or "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."
        ) from None
    if name == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ValueError(
                "The ledger cannot live in memory: leases must survive a restart. "
                "Give a file, as in sqlite:////srv/gpucamp/ledger.sqlite"
            )
        return parsed
    if name not in ("postgresql", "postgres"):
        raise ValueError(f"A ledger is kept in SQLite or PostgreSQL; {name} is neither.")
    if "@" in (parsed.host or ""):
        # a part of the password would be taken for the host, and shown
        raise ValueError(
            "The ledger's URL has more than one @: in a user or password, write it as %40 (and "
            "other special characters like this, too)."
        )
    return parsed.set(drivername=_DRIVER)


def place(url: URL) -> str:
    """Where the ledger is, for people; without a password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def explain(url: URL, cause: str) -> str:
    """What happened and what to do."""
    said = " ".join(cause.split())
    for secret in _secrets(url):
        said = said.replace(secret, "***")
    lower = said.lower()
    remedy = next(
        (remedy for sign, remedy in _REMEDIES if sign in lower),
        "Check that the database answers, then try again.",
    )
    return f"The ledger {place(url)} cannot be used: {said.rstrip('.')}. {remedy}"


def may_pass(cause: str) -> bool:
    """Whether a server that says so may be well again in a moment."""
    lower = cause.lower()
    return any(sign in lower for sign in _PASSING)


def _secrets(url: URL) -> list[str]:
    parameters = [url.query[name] for name in _SECRET_PARAMETERS if name in url.query]
    found = [str(url.password or ""), *(str(each) for each in parameters)]
    return [secret for secret in found if secret]
