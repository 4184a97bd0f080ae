"""The tables: migrations, also of a ledger in use, and what the database itself guarantees."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from ledger_databases import new_database
from sqlalchemy import MetaData, inspect, text
from sqlalchemy.exc import IntegrityError

from hub_ext.errors import LedgerUnavailable
from hub_ext.ledger import Ledger, database, tables
from hub_ext.models import Device, LeaseState, Request
from hub_ext.policy import Policy, Pool

ANN = Request("ann", "", 1)
MINUTE = timedelta(minutes=1)


def test_migrations_make_the_tables_that_the_code_uses(ledger, kind):
    with ledger._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        seen = inspect(connection)
        checks = {
            c["name"] for name in seen.get_table_names() for c in seen.get_check_constraints(name)
        }
        assert checks == {"ck_slot_exclusive_is_one"}
        for name in tables.metadata.tables:
            for index in seen.get_indexes(name):
                partial = index.get("dialect_options", {}).get(f"{kind}_where")
                expected = {
                    "uq_lease_live_server",
                    "uq_operation_unfinished_server",
                    "uq_image_pull_running",
                    "uq_group_operation_running",
                }
                assert (partial is not None) == (index["name"] in expected), index
        columns = {
            (table, column["name"]): column["default"] is not None
            for table in tables.metadata.tables
            for column in seen.get_columns(table)
            if column.get("autoincrement") is not True
        }
    for (table, name), has_default in columns.items():
        column = tables.metadata.tables[table].c[name]
        if not column.primary_key:
            assert has_default == (column.server_default is not None), (table, name)


def test_migrating_again_keeps_what_is_there(
    ledger, ledger_url, open_ledger, make_devices, now, first_free
):
    ledger.record_inventory(make_devices(1), now)
    lease = ledger.acquire(ANN, first_free(1), now)
    ledger.enqueue(Request("bob", "", 1), now)
    hub_id = ledger.hub_id()
    seen = ledger.snapshot(now)
    ledger.migrate()
    ledger.close()
    reopened = open_ledger(ledger_url)
    reopened.migrate()
    assert reopened.snapshot(now) == seen
    assert reopened.lease(lease.id) == lease
    assert reopened.hub_id() == hub_id


def test_a_ledger_of_a_newer_version_is_refused(ledger):
    with ledger._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerUnavailable, match="another version of gpucamp.*Install the newest"):
        ledger.migrate()


def migrate_to(ledger: Ledger, revision: str) -> None:
    """As an earlier version of gpucamp did."""
    config = Config()
    folder = Path(database.__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    ledger._database._make_file()
    with ledger._database._alone(lambda connection: None) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture
def first_ledger(kind, tmp_path, open_ledger, now):
    """One that the first version wrote: live leases, a held one, an ended one, a queue."""
    with new_database(kind, tmp_path) as url:
        ledger = open_ledger(url)
        migrate_to(ledger, "0001")
        with ledger._database.write() as connection:
            old = MetaData()
            old.reflect(connection)

            def add(table, **values):
                connection.execute(old.tables[table].insert().values(**values))

            for uuid_, slots in [("GPU-0", 1), ("GPU-1", 1), ("GPU-2", 3)]:
                add(
                    "device",
                    uuid=uuid_,
                    name="A100",
                    memory_bytes=2**36,
                    simulated=False,
                    driver_version="570",
                    cuda_version="12.8",
                    slots=slots,
                    state="healthy",
                    reason="",
                    last_seen=now,
                )
            for user, state, held in [
                ("ann", "running", [("GPU-0", 0)]),
                ("bob", "held", [("GPU-1", 0)]),
                ("cyd", "granted", [("GPU-2", 0)]),
                ("dan", "running", [("GPU-2", 2)]),
                ("eve", "ended", []),
            ]:
                add(
                    "lease",
                    id=user * 4,
                    user_name=user,
                    server_name="",
                    state=state,
                    granted_at=now,
                    container_id="c-" + user,
                    hold_until=now + MINUTE if state == "held" else None,
                    gone_at=None,
                    ended_at=now if state == "ended" else None,
                    end_reason="",
                )
                for position, (device, number) in enumerate(held):
                    add("lease_device", lease_id=user * 4, position=position, device_uuid=device)
                    add("slot", device_uuid=device, slot=number, lease_id=user * 4)
            add("lease_device", lease_id="eve" * 4, position=0, device_uuid="GPU-0")
            for user in ("zoe", "yan"):
                add("queue_entry", user_name=user, server_name="s", gpus=2, enqueued_at=now)
            add("audit_entry", at=now, actor="hub", action="grant", lease_id="ann" * 4, detail="x")
            add("fact", name="hub_id", value="the-id")
            add("environment", user_name="ann", server_name="", generation=2, newest=3, changes=4)
        yield ledger


def test_a_ledger_in_use_is_brought_up_to_date(first_ledger, now):
    ledger = first_ledger
    ledger.migrate()
    seen = ledger.snapshot(now)
    assert [(r.device.uuid, r.device.slots, r.device.shared) for r in seen.devices] == [
        ("GPU-0", 1, False),
        ("GPU-1", 1, False),
        ("GPU-2", 3, True),
    ]
    assert [r.lease_ids for r in seen.devices] == [
        ("ann" * 4,),
        ("bob" * 4,),
        ("cyd" * 4, "dan" * 4),
    ]
    assert {lease.user: (lease.state.value, lease.shared) for lease in seen.leases} == {
        "ann": ("running", False),
        "bob": ("held", False),
        "cyd": ("granted", True),
        "dan": ("running", True),
    }
    assert {lease.expires_at for lease in seen.leases} == {None}
    assert [(e.request, e.waiter) for e in seen.queue] == [
        (Request("zoe", "s", 2), ""),
        (Request("yan", "s", 2), ""),
    ]
    assert ledger.hub_id() == "the-id"
    assert ledger.environment("ann", "").newest == 3
    assert ledger.lease("eve" * 4).device_uuids == ("GPU-0",)
    assert len(ledger.audit_trail("ann" * 4)) == 1

    later = now + timedelta(hours=1)
    ledger.end("dan" * 4, "stopped", later)
    usage = ledger.usage(now.date(), now.date(), later)
    assert sum(u.seconds for u in usage if u.user == "dan") == pytest.approx(1200)
    assert ledger.enqueue(Request("zoe", "s", 1), later).sequence == seen.queue[0].sequence
    ledger.end("cyd" * 4, "stopped", later)
    ledger.record_inventory([Device(f"GPU-{i}", "A100", 2**36) for i in range(3)], later)
    assert not ledger.devices()[2].device.shared, "the policy rules as soon as it is free"


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(first_ledger, monkeypatch):
    """Another program made a table that is in the way of the last step."""
    with first_ledger._database.write() as connection:
        connection.execute(text("CREATE TABLE notice (id INTEGER)"))
    with pytest.raises(LedgerUnavailable):
        first_ledger.migrate()
    with first_ledger._database.read() as connection:
        assert (
            connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0001"
        )
        assert "shared" not in {c["name"] for c in inspect(connection).get_columns("slot")}
        assert connection.execute(text("SELECT count(*) FROM slot")).scalar() == 4
    with first_ledger._database.write() as connection:
        connection.execute(text("DROP TABLE notice"))
    first_ledger.migrate()
    assert len(first_ledger.leases()) == 4


@pytest.fixture
def mixed(ledger, make_devices, now):
    """GPU-0 exclusive and held by ann, GPU-1 shared and held by bob; a lease of cyd without any."""
    ledger.set_policy(Policy(pools=(Pool("half", ("GPU-1",), slots=2),)))
    ledger.record_inventory(make_devices(3), now)
    ledger.acquire(ANN, lambda s: ["GPU-0"], now)
    ledger.acquire(Request("bob", "", 1, share=True), lambda s: ["GPU-1"], now)
    ledger.acquire(Request("cyd", "", 0), lambda s: (), now)
    return ledger


TAKE = "INSERT INTO slot (device_uuid, slot, lease_id, shared) "


@pytest.mark.parametrize(
    "statement",
    [
        # one slot, two leases
        TAKE + "VALUES ('GPU-0', 0, :cyd, false)",
        TAKE + "VALUES ('GPU-1', 0, :cyd, true)",
        # a second slot of an exclusive device
        TAKE + "VALUES ('GPU-0', 1, :cyd, false)",
        # a shared slot beside an exclusive one, and the reverse
        TAKE + "VALUES ('GPU-0', 1, :cyd, true)",
        TAKE + "VALUES ('GPU-1', 0, :cyd, false)",
        TAKE + "VALUES ('GPU-1', 1, :cyd, false)",
        # by a version that does not know sharing
        "INSERT INTO slot (device_uuid, slot, lease_id) VALUES ('GPU-1', 1, :cyd)",
        # a change of mode while somebody holds the device
        "UPDATE device SET shared = true, slots = 2 WHERE uuid = 'GPU-0'",
        "UPDATE device SET shared = false, slots = 1 WHERE uuid = 'GPU-1'",
        "UPDATE slot SET shared = true WHERE device_uuid = 'GPU-0'",
        "UPDATE slot SET device_uuid = 'GPU-0', slot = 1 WHERE device_uuid = 'GPU-1'",
        # a device, or a lease, that does not exist
        TAKE + "VALUES ('GPU-9', 0, :cyd, false)",
        TAKE + "VALUES ('GPU-2', 0, 'nobody', false)",
        "DELETE FROM device WHERE uuid = 'GPU-0'",
        "DELETE FROM lease WHERE id = :ann",
        # a server with two live leases
        "UPDATE lease SET user_name = 'ann' WHERE user_name = 'bob'",
    ],
)
def test_the_database_itself_refuses_what_must_never_be(mixed, now, statement):
    before = mixed.snapshot(now)
    ids = {lease.user: lease.id for lease in mixed.leases()}
    used = {name: ids[name] for name in ("ann", "cyd") if f":{name}" in statement}
    with mixed._database.engine.connect() as connection:
        with pytest.raises(IntegrityError):
            connection.execute(text(statement), used)
            connection.commit()
        connection.rollback()
    assert mixed.snapshot(now) == before


def test_a_mode_may_change_while_nobody_holds_the_device(mixed, now):
    with mixed._database.write() as connection:
        connection.execute(text("UPDATE device SET shared = true, slots = 2 WHERE uuid = 'GPU-2'"))
    lease = mixed.acquire(Request("dan", "", 1, share=True), lambda s: ["GPU-2"], now)
    assert (lease.state, lease.shared) == (LeaseState.GRANTED, True)


def test_a_ledger_has_one_id_and_another_has_another(ledger, kind, tmp_path, open_ledger):
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    with new_database(kind, folder) as url:
        other = open_ledger(url)
        other.migrate()
        assert ledger.hub_id() == ledger.hub_id() != other.hub_id()
        other.close()


def test_times_come_back_in_utc(ledger, now):
    local = now.astimezone(ZoneInfo("Asia/Shanghai"))
    ledger.enqueue(ANN, local)
    (entry,) = ledger.queue()
    assert entry.enqueued_at == now
    assert entry.enqueued_at.utcoffset() == timedelta(0)
