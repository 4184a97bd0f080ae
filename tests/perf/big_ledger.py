"""A ledger as a large site has it after a year, for measurements of the service.

1,000 users in 20 classes; 64 practice devices, 63 of them shared by eight; 500 leases that run and
100,000 that ended, spread over a year, with what was used by day, user, class and device; four
lines of the audit trail for each lease; verdicts, hands, messages, resets, and 40 who wait. The
same at every run, but for the moment that the year ends at.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine

from hub_ext.audit_actions import Action
from hub_ext.inventory import practice_devices
from hub_ext.ledger import Ledger, tables
from hub_ext.ledger.texts import names_text
from hub_ext.models import NoticeKind
from hub_ext.policy import Policy, Pool, Rule
from hub_ext.usage import by_day

USERS, CLASSES, DEVICES, SLOTS = 1000, 20, 64, 8
RUNNING, ENDED, WAITING = 500, 100_000, 40
YEAR = timedelta(days=365)
AT_ONCE = 20_000  # rows of an insert

Row = dict[str, Any]


def user_name(number: int) -> str:
    return f"user-{number:04}"


def class_name(number: int) -> str:
    """The class of the user of this number."""
    return f"class-{number % CLASSES:02}"


def members() -> dict[str, list[str]]:
    """Users by class."""
    found: dict[str, list[str]] = defaultdict(list)
    for number in range(USERS):
        found[class_name(number)].append(user_name(number))
    return dict(found)


UUIDS = tuple(device.uuid for device in practice_devices(DEVICES))
SHARED, WHOLE = UUIDS[:-1], UUIDS[-1]
POLICY = Policy(
    pools=(Pool("shared", SHARED, SLOTS), Pool("whole", (WHOLE,))),
    default=Rule(
        priority=0, lease_hours=8.0, max_devices=2, device_hours_per_day=12.0, device_hours=2000.0
    ),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease of a device, or of a slot of one."""

    id: str
    number: int  # of its user
    uuid: str
    granted: datetime
    ended: datetime | None = None

    @property
    def user(self) -> str:
        return user_name(self.number)

    @property
    def slots(self) -> int:
        return 1 if self.uuid == WHOLE else SLOTS


def sqlite_url(folder: Path) -> str:
    """Of the ledger in this folder."""
    return f"sqlite:///{folder / 'ledger.sqlite'}"


def make(url: str, now: datetime) -> Ledger:
    """Write the ledger into an empty database, SQLite's or PostgreSQL's."""
    ledger = Ledger(url, actor="hub")
    ledger.migrate()
    ledger.hub_id()
    ledger.begin_run("run", now - YEAR)
    ledger.set_policy(POLICY, now - YEAR)
    ledger.record_inventory(practice_devices(DEVICES), now - YEAR)
    leases = [*_ended(now), *_running(now)]
    engine = create_engine(url)
    with engine.begin() as connection:
        for table, rows in _rows(leases, now):
            _insert(connection, table, rows)
    if engine.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")  # as it does by itself
    engine.dispose()
    ledger.remember("measurement", "begun")  # a change, so that all tables have a version
    return ledger


def _insert(connection: Connection, table: Table, rows: Iterable[Row]) -> None:
    source = iter(rows)
    while part := list(islice(source, AT_ONCE)):
        connection.execute(table.insert(), part)


def _ended(now: datetime) -> Iterator[Lease]:
    chance = random.Random(1)  # noqa: S311 - a measurement
    for number in range(ENDED):
        ended = now - YEAR * ((ENDED - number) / ENDED)
        granted = ended - timedelta(minutes=chance.randint(20, 480))
        yield Lease(f"{number:032x}", chance.randrange(USERS), chance.choice(UUIDS), granted, ended)


def _running(now: datetime) -> Iterator[Lease]:
    for number in range(RUNNING):
        uuid = WHOLE if number == RUNNING - 1 else SHARED[number // SLOTS]
        yield Lease(f"{ENDED + number:032x}", number, uuid, now - timedelta(minutes=number % 400))


def _rows(leases: list[Lease], now: datetime) -> Iterator[tuple[Table, Iterable[Row]]]:
    live = [lease for lease in leases if lease.ended is None]
    yield tables.lease, (_lease(each) for each in leases)
    yield (
        tables.lease_device,
        (
            {"lease_id": each.id, "position": 0, "device_uuid": each.uuid, "slots": each.slots}
            for each in leases
        ),
    )
    yield (
        tables.slot,
        (
            {
                "device_uuid": each.uuid,
                "slot": 0 if each.uuid == WHOLE else place % SLOTS,
                "lease_id": each.id,
                "shared": each.uuid != WHOLE,
            }
            for place, each in enumerate(live)
        ),
    )
    yield tables.usage, _usage(leases)
    yield tables.audit_entry, _audit(leases)
    yield tables.fair_share, _shares(now)
    yield tables.queue_entry, _queue(now)
    yield tables.environment, _environments()
    yield tables.operation, _operations(now)
    yield tables.verdict, _verdicts(live, now)
    yield tables.hand, _hands(now)
    yield tables.notice, _notices(now)
    yield tables.device_health, _health(now)


def _lease(lease: Lease) -> Row:
    return {
        "id": lease.id,
        "user_name": lease.user,
        "server_name": "",
        "state": "running" if lease.ended is None else "ended",
        "granted_at": lease.granted,
        "container_id": f"c{lease.id}",
        "ended_at": lease.ended,
        "end_reason": "" if lease.ended is None else "stopped",
        "shared": lease.uuid != WHOLE,
        "groups": names_text([class_name(lease.number)]),
        "expires_at": lease.granted + timedelta(hours=8),
    }


def _usage(leases: list[Lease]) -> Iterator[Row]:
    seconds: dict[tuple[Any, ...], float] = defaultdict(float)
    for each in leases:
        if each.ended is None:
            continue
        for day, part in by_day(each.granted, each.ended):
            for group in ("", class_name(each.number)):
                seconds[day, each.user, group, each.uuid] += part / each.slots
    names = ("day", "user_name", "group_name", "device_uuid", "seconds")
    return (dict(zip(names, (*key, value), strict=True)) for key, value in seconds.items())


def _audit(leases: list[Lease]) -> list[Row]:
    """What is written in the life of a lease, in the order of time."""
    lines = []
    for each in leases:
        steps = [(each.granted, Action.GRANT), (each.granted, Action.CREATE)]
        steps.append((each.granted + timedelta(seconds=3), Action.RUN))
        if each.ended is not None:
            steps.append((each.ended, Action.END))
        lines += [
            {
                "at": at,
                "actor": "hub",
                "action": action.value,
                "lease_id": each.id,
                "detail": f"container c{each.id[-8:]}",
                "user_name": each.user,
                "reason": "stopped" if action is Action.END else "",
            }
            for at, action in steps
        ]
    return sorted(lines, key=lambda line: line["at"])


def _shares(now: datetime) -> Iterator[Row]:
    for number in range(USERS):
        yield {"user_name": user_name(number), "device_seconds": 60.0 * number, "as_of": now}


def _queue(now: datetime) -> Iterator[Row]:
    """They want a whole device, and there is one."""
    for place in range(WAITING):
        number = RUNNING + place
        yield {
            "user_name": user_name(number),
            "server_name": "",
            "gpus": 1,
            "enqueued_at": now - timedelta(minutes=place),
            "groups": names_text([class_name(number)]),
            "waiter": "run",
            "user_options": json.dumps({"gpus": 1}),
            "term_seconds": 8 * 3600.0,
        }


def _environments() -> Iterator[Row]:
    for number in range(0, USERS, 2):
        at = 1 + number % 5
        yield {
            "user_name": user_name(number),
            "server_name": "",
            "generation": at,
            "newest": at,
            "changes": at - 1,
        }


def _operations(now: datetime) -> Iterator[Row]:
    for number in range(5000):
        at = now - YEAR * ((5000 - number) / 5000)
        yield {
            "id": f"{number:032x}",
            "kind": "reset",
            "user_name": user_name(number * 7 % USERS),
            "server_name": "",
            "step": "done",
            "requested_by": user_name(number * 7 % USERS),
            "requested_at": at,
            "updated_at": at,
            "start_after": True,
            "user_options": {"gpus": 1},
            "error": "",
        }


def _verdicts(live: list[Lease], now: datetime) -> Iterator[Row]:
    for place, each in enumerate(live):
        if place % 5 == 0:
            continue  # not examined yet
        yield {
            "user_name": each.user,
            "server_name": "",
            "at": now - timedelta(minutes=place % 60),
            "findings": json.dumps([["GC403", "advice"]] if place % 7 == 0 else []),
            "kernel": "python3",
            "seconds": 1.5,
            "passed": 40,
            "unexamined": 0,
            "version": "0.1.0",
            "lease_id": each.id,
        }


def _hands(now: datetime) -> Iterator[Row]:
    for number in range(0, RUNNING, 40):
        yield {
            "user_name": user_name(number),
            "server_name": "",
            "raised_at": now - timedelta(minutes=number % 30),
            "text": "the loss is NaN",
            "groups": names_text([class_name(number)]),
        }


def _notices(now: datetime) -> Iterator[Row]:
    for number in range(0, RUNNING, 2):
        yield {
            "user_name": user_name(number),
            "server_name": "",
            "at": now - timedelta(minutes=5),
            "kind": NoticeKind.MESSAGE.value,
            "detail": json.dumps({"by": "kim", "text": "Lunch is at noon."}),
        }


def _health(now: datetime) -> Iterator[Row]:
    for uuid in UUIDS:
        for week in range(52):
            for minutes, state in ((0, "quarantined"), (10, "healthy")):
                at = now - timedelta(weeks=52 - week) + timedelta(minutes=minutes)
                reason = "" if state == "healthy" else "XID 79"
                yield {"device_uuid": uuid, "at": at, "state": state, "reason": reason}


if __name__ == "__main__":
    import sys

    make(sqlite_url(Path(sys.argv[1])), datetime.now(UTC)).close()
