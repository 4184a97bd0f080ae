"""From the first version's ledger to the newest, step by step, with a row in every table."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from ledger_databases import new_database
from sqlalchemy import JSON, Boolean, Date, DateTime, Float, Integer, MetaData, select
from test_ledger_schema import migrate_to

from hub_ext.ledger import database, tables
from hub_ext.models import GroupAction, MemberState

NUMBERED = {  # by the database
    ("audit_entry", "id"),
    ("device_health", "id"),
    ("notice", "id"),
    ("queue_entry", "sequence"),
}
# what the code must be able to read again, by table and column
WORDS = {
    ("device", "uuid"): "GPU-0",
    ("device", "state"): "healthy",
    ("device_health", "state"): "missing",
    ("lease", "id"): "l" * 32,
    ("lease", "state"): "running",
    ("fact", "name"): "hub_id",
    ("operation", "id"): "o" * 32,
    ("operation", "kind"): "reset",
    ("operation", "step"): "done",
    ("group_reset", "id"): "g" * 32,
    ("group_reset", "group_name"): "red",
    ("group_reset", "state"): "done",
    ("group_operation", "id"): "n" * 32,
    ("group_operation", "action"): "stop",
    ("group_operation", "state"): "done",
    ("notice", "kind"): "lease_expired",
    ("notice", "detail"): "{}",
    ("verdict", "findings"): "[]",
    ("ddp_run", "state"): "failed",
    ("queue_entry", "user_name"): "zoe",
}
# tables that are no more, and where their rows are
REPLACED = {"group_reset": "group_operation", "group_reset_member": "group_operation_member"}


def revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    return [each.revision for each in reversed(list(script.walk_revisions()))]


def value(column: Any, now: Any) -> Any:
    """Something that fits, the same for the same column of all tables."""
    if (column.table.name, column.name) in WORDS:
        return WORDS[column.table.name, column.name]
    for key in column.foreign_keys:
        return value(key.column, now)
    match column.type:
        case JSON():
            return {}
        case Boolean():
            return False
        case DateTime():
            return now
        case Date():
            return date(2026, 1, 31)
        case Integer():
            return 0 if column.name == "slot" else 1
        case Float():
            return 1.5
    return {"user_name": "ann", "server_name": ""}.get(column.name, "x")


def row_of(table: Any, now: Any) -> dict[str, Any]:
    """A row with what must be given, as that version of the code would."""
    return {
        column.name: value(column, now)
        for column in table.columns
        if not column.nullable
        and (column.server_default is None or column.primary_key)
        and (table.name, column.name) not in NUMBERED
    }


def plain(found: Any) -> Any:
    """SQLite's reflected columns give times without a zone."""
    return found.replace(tzinfo=None) if hasattr(found, "tzinfo") else found


@pytest.fixture
def upgraded(kind, tmp_path, open_ledger, now):
    """The ledger, and every row that was in it before it came to the newest version."""
    with new_database(kind, tmp_path) as url:
        ledger = open_ledger(url)
        rows: dict[str, dict[str, Any]] = {}
        for revision in revisions():
            migrate_to(ledger, revision)
            with ledger._database.write() as connection:
                there = MetaData()
                there.reflect(connection)
                for table in there.sorted_tables:
                    if table.name != "alembic_version" and table.name not in rows:
                        rows[table.name] = row_of(table, now)
                        connection.execute(table.insert().values(rows[table.name]))
        ledger.migrate()
        yield ledger, rows


def test_every_table_had_a_row_and_keeps_it(upgraded):
    ledger, rows = upgraded
    assert set(rows) - set(REPLACED) == set(tables.metadata.tables)
    with ledger._database.read() as connection:
        for name, row in rows.items():
            table = tables.metadata.tables[REPLACED.get(name, name)]
            found = connection.execute(select(table)).mappings().all()
            kept = {column: plain(each) for column, each in row.items() if column in table.c}
            assert len(kept) > 0, name
            assert any(
                {column: plain(each[column]) for column in kept} == kept for each in found
            ), (name, kept, found)


def test_the_code_reads_what_was_brought_along(upgraded, now):
    ledger, _rows = upgraded
    (lease,) = ledger.leases()
    assert (lease.user, lease.device_uuids, lease.revocation) == ("ann", ("GPU-0",), None)
    (entry,) = ledger.queue()
    assert (entry.request.user, entry.move) == ("zoe", None)
    (line,) = ledger.audit_trail()
    assert (line.user, line.server, line.device, line.group, line.reason) == ("",) * 5
    assert [r.lease_ids for r in ledger.snapshot(now).devices] == [(lease.id,)]
    assert [each.state for each in ledger.device_history("GPU-0", 9)] == ["missing"]
    assert ledger.audit_after(0, 10).entries == (line,)
    assert len(ledger.notices("ann")) == 1
    assert ledger.operation_of("ann", "").group_reset == ""
    (member,) = ledger.group_operation_of("red", GroupAction.RESET).members
    assert (member.user, member.state, member.note) == ("ann", MemberState.FAILED, "x")
    assert ledger.environment("ann", "").generation == 1
    assert ledger.verdict("ann", "").findings == ()
    assert sum(each.seconds for each in ledger.usage(date(2026, 1, 31), date(2026, 1, 31), now))
    ledger.end(lease.id, "stopped", now)
    assert [each.action for each in ledger.audit_trail(lease.id)][-1] == "end"
    assert ledger.hub_id() == "x"
