"""A ledger in PostgreSQL: what is said when no server is there, and what survives its death."""

from __future__ import annotations

import logging
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from ledger_databases import new_database
from postgres_cluster import PostgresCluster, shared_cluster

from hub_ext.errors import LedgerUnavailable
from hub_ext.ledger import Ledger, database, postgres, remedies
from hub_ext.models import Request

ANN = Request("ann", "", 1)
SECRET = "s3cr3t-größe"
WRITTEN = "s3cr3t-gr%C3%B6%C3%9Fe"  # in a URL


@pytest.fixture
def kind() -> str:
    return "postgresql"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(database, "OUTCOME_SECONDS", 0.3)


def refusal(call) -> str:
    """What a call says, if nobody can read a password anywhere in what it leaves behind."""
    with pytest.raises(LedgerUnavailable) as caught:
        call()
    everything = "".join(traceback.format_exception(caught.value))
    assert SECRET not in everything and WRITTEN not in everything
    return str(caught.value)


# -- the URL


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_name_of_postgresql_means_the_driver_that_is_installed(scheme):
    url = remedies.parse(f"{scheme}://ann:x@host/db")
    assert url.drivername == "postgresql+psycopg"
    assert remedies.place(url) == "postgresql+psycopg://ann:***@host/db"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"mysql://ann:{WRITTEN}@host/db", "neither"),
        (f"not a url {SECRET}", "postgresql\\+psycopg://USER"),
        (f"postgresql://ann:a@{SECRET}@host/db", "%40"),
        (f"postgresql://ann:{SECRET}@host:port/db", "is not one"),
    ],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(url, says):
    with pytest.raises(ValueError, match=says) as caught:
        Ledger(url)
    assert SECRET not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"pip install 'gpucamp\[postgresql\]'"):
        Ledger("postgresql://ann@host/db")


# -- a server that refuses


@pytest.fixture
def roles() -> Iterator[str]:
    """A database that `ann` owns, with a password; `bob` may connect once; `eve` owns nothing."""
    cluster = shared_cluster()
    cluster.sql(
        f"CREATE ROLE ann LOGIN PASSWORD '{SECRET}'",
        f"CREATE ROLE bob LOGIN PASSWORD '{SECRET}' CONNECTION LIMIT 1",
        f"CREATE ROLE eve LOGIN PASSWORD '{SECRET}'",
        "CREATE DATABASE owned OWNER ann",
    )
    yield "owned"
    cluster.drop("owned")
    cluster.sql("DROP ROLE ann", "DROP ROLE bob", "DROP ROLE eve")


def test_with_its_password_an_owner_needs_nothing_else(roles, open_ledger, now, caplog):
    caplog.set_level(logging.DEBUG)
    ledger = open_ledger(shared_cluster().url(roles, user="ann", password=WRITTEN))
    ledger.migrate()
    ledger.enqueue(ANN, now)
    assert len(ledger.queue()) == 1
    assert SECRET not in caplog.text and WRITTEN not in caplog.text


@pytest.mark.parametrize(
    ("user", "password", "name", "says"),
    [
        ("ann", WRITTEN + "x", "owned", "Check the user and the password"),
        ("ann", "", "owned", "Check the user and the password"),
        ("zoe", WRITTEN, "owned", "Check the user and the password"),
        ("ann", WRITTEN, "nowhere", 'database "nowhere" does not exist. Make the database'),
        ("eve", WRITTEN, "owned", "Make the user the owner of the database"),
    ],
)
def test_who_may_not_is_told_what_to_do(roles, open_ledger, user, password, name, says):
    ledger = open_ledger(shared_cluster().url(name, user=user, password=password))
    message = refusal(ledger.migrate)
    assert says in message
    assert name in message


def test_too_many_connections(roles, open_ledger, impatient):
    cluster = shared_cluster()
    with psycopg.connect(host=str(cluster.folder), user="bob", password=SECRET, dbname=roles):
        ledger = open_ledger(cluster.url(roles, user="bob", password=WRITTEN))
        assert "raise max_connections" in refusal(ledger.queue)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("@/db?host=/nowhere", "Start the PostgreSQL server"),
        ("@localhost:1/db", "Start the PostgreSQL server"),
        ("@no-such-host.invalid/db", "Check the host"),
        (f"@localhost:1/db?password={WRITTEN}", "Start the PostgreSQL server"),
    ],
)
def test_no_server(open_ledger, impatient, place, says):
    ledger = open_ledger(f"postgresql://ann:{WRITTEN}{place}")
    for call in (ledger.migrate, ledger.queue, ledger.snapshot):
        assert says in refusal(call)


def test_a_database_without_tables_says_so(kind, tmp_path, open_ledger):
    with new_database(kind, tmp_path) as url:
        ledger = open_ledger(url)
        assert "call migrate() first" in refusal(ledger.queue)
        ledger.close()


def test_a_lock_that_another_session_keeps(ledger_url, open_ledger, now, monkeypatch):
    monkeypatch.setattr(database, "LOCK_SECONDS", 0.3)
    ledger, other = open_ledger(ledger_url), open_ledger(ledger_url)
    with other._database.write():
        assert "pg_stat_activity" in refusal(lambda: ledger.enqueue(ANN, now))
        assert ledger.queue() == (), "reading goes on"
    assert ledger.enqueue(ANN, now)


def test_a_writer_that_stands_still_is_ended(ledger_url, open_ledger, now, monkeypatch):
    """As a process is that was stopped, or whose host went to sleep."""
    monkeypatch.setattr(postgres, "IDLE_SECONDS", 1)
    ledger, other = open_ledger(ledger_url), open_ledger(ledger_url)

    def stand_still():
        with other._database.write():
            ledger.enqueue(ANN, now)

    assert "try again" in refusal(stand_still)
    assert [entry.request for entry in ledger.queue()] == [ANN]


def test_a_commit_is_on_disk_whatever_the_server_would_do(ledger_url, open_ledger):
    name = remedies.parse(ledger_url).database
    shared_cluster().sql(
        f"ALTER DATABASE {name} SET synchronous_commit = off",
        f"ALTER DATABASE {name} SET default_transaction_isolation = serializable",
        f"ALTER DATABASE {name} SET timezone = 'Asia/Shanghai'",
    )
    ledger = open_ledger(ledger_url)

    def settings(connection):
        return [
            connection.exec_driver_sql(f"SHOW {setting}").scalar()
            for setting in ("synchronous_commit", "transaction_isolation", "timezone")
        ]

    with ledger._database.write() as connection:
        assert settings(connection) == ["on", "read committed", "UTC"]
    with ledger._database.read() as connection:
        assert settings(connection) == ["on", "repeatable read", "UTC"]


def test_a_read_sees_one_state(ledger_url, open_ledger, now):
    ledger, other = open_ledger(ledger_url), open_ledger(ledger_url)
    with ledger._database.read() as connection:
        query = "SELECT count(*) FROM queue_entry"
        assert connection.exec_driver_sql(query).scalar() == 0
        other.enqueue(ANN, now)
        assert connection.exec_driver_sql(query).scalar() == 0


@pytest.mark.parametrize(
    ("said", "to_do"),
    [
        # of PostgreSQL, src/backend: postmaster.c, waiteventset.c, postgres.c
        ("FATAL:  terminating connection due to unexpected postmaster exit", "has crashed"),
        (
            "WARNING:  terminating connection because of crash of another server process",
            "has crashed",
        ),
        ("FATAL:  the database system is not yet accepting connections", "is being started"),
        ("FATAL:  the database system is starting up", "is being started"),
        ("FATAL:  the database system is in recovery mode", "recovers"),
        ("FATAL:  the database system is shutting down", "is being stopped"),
    ],
)
def test_a_server_that_comes_and_goes_is_asked_again(said, to_do):
    url = remedies.parse("postgresql://ann@host/db")
    assert to_do in remedies.explain(url, said)
    assert remedies.may_pass(said)


# -- an answer to a commit that is lost


def cut(connection: psycopg.Connection) -> None:
    """The network is gone."""
    with socket.socket(fileno=connection.fileno()) as line:
        line.shutdown(socket.SHUT_RDWR)
        line.detach()


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_whose_answer_is_lost_is_asked_for(ledger, now, monkeypatch, committed):
    dialect = ledger._database.engine.dialect
    lost = []

    def commit(connection):
        if lost:
            return connection.commit()
        lost.append(True)
        if committed:
            connection.commit()
        cut(connection)
        connection.execute("SELECT 1")
        raise AssertionError("the connection works")

    monkeypatch.setattr(dialect, "do_commit", commit)
    if committed:
        entry = ledger.enqueue(ANN, now)
        assert ledger.queue() == (entry,)
    else:
        refusal(lambda: ledger.enqueue(ANN, now))
        assert ledger.queue() == ()
    assert ledger.enqueue(ANN, now).sequence, "and it works on"


# -- a server that dies


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgresCluster]:
    """One that may be killed."""
    made = PostgresCluster()
    made.start(wal_level="replica")
    yield made
    made.close()


@pytest.fixture
def mortal(cluster, open_ledger, make_devices, now):
    """A ledger on it, with two devices."""
    name = cluster.new_database()
    ledger = open_ledger(cluster.url(name))
    ledger.migrate()
    ledger.record_inventory(make_devices(2), now)
    yield ledger
    ledger.close()
    cluster.drop(name)


def test_a_server_killed_in_the_middle_leaves_nothing_half_done(
    cluster, mortal, now, impatient, first_free
):
    mortal.enqueue(ANN, now)
    held = mortal.acquire(Request("bob", "", 1), lambda s: ["GPU-1"], now)
    before = (mortal.snapshot(now), mortal.audit_trail())

    def choose(snapshot):
        cluster.kill()
        return ["GPU-0"]

    message = refusal(lambda: mortal.acquire(ANN, choose, now))
    assert "crashed" in message
    assert "Start the PostgreSQL server" in refusal(mortal.queue)
    cluster.start(wal_level="replica")
    assert (mortal.snapshot(now), mortal.audit_trail()) == before
    lease = mortal.acquire(ANN, first_free(1), now)
    assert (lease.device_uuids, held.device_uuids) == (("GPU-0",), ("GPU-1",))
    assert mortal.queue() == ()


def test_a_server_that_dies_at_the_commit_and_stays_away(
    cluster, mortal, now, impatient, monkeypatch
):
    dialect = mortal._database.engine.dialect

    def commit(connection):
        cluster.kill()
        connection.commit()

    with monkeypatch.context() as patch:
        patch.setattr(dialect, "do_commit", commit)
        message = refusal(lambda: mortal.enqueue(ANN, now))
    assert "does not say whether" in message
    cluster.start(wal_level="replica")
    assert mortal.queue() == ()
    assert mortal.enqueue(ANN, now)


def test_a_restart_is_waited_for(cluster, mortal, now, monkeypatch):
    """Also with connections that the restart broke."""
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 30.0)
    mortal.enqueue(ANN, now)
    cluster.stop()
    with ThreadPoolExecutor(2) as threads:
        seen = threads.submit(mortal.queue)
        entry = threads.submit(mortal.enqueue, Request("bob", "", 1), now)
        time.sleep(0.5)
        assert not seen.done() and not entry.done()
        cluster.start(wal_level="replica")
        assert len(seen.result(30)) in (1, 2)
        assert entry.result(30) in mortal.queue()


def test_a_server_that_stays_away_is_waited_for_once(cluster, mortal, now, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 1.0)
    cluster.stop()
    try:
        begun = time.monotonic()
        refusal(mortal.queue)
        waited = time.monotonic() - begun
        begun = time.monotonic()
        for _ in range(5):
            refusal(lambda: mortal.enqueue(ANN, now))
        assert (time.monotonic() - begun) / 5 < waited
    finally:
        cluster.start(wal_level="replica")
    assert mortal.enqueue(ANN, now)


def test_a_replica_leases_nothing(cluster, mortal, now, first_free):
    mortal.enqueue(ANN, now)
    cluster.stop()
    signal = cluster.data / "standby.signal"
    signal.touch()
    try:
        cluster.start(wal_level="replica")
        assert len(mortal.queue()) == 1, "reading goes on"
        message = refusal(lambda: mortal.acquire(ANN, first_free(1), now))
        assert "Give the address of the primary" in message
    finally:
        signal.unlink()
        cluster.stop()
        cluster.start(wal_level="replica")
    assert mortal.acquire(ANN, first_free(1), now)
