"""Facts about the ledger as a whole: the policy, the run of the hub, memos of the service."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import Connection, Table, delete, insert, select, update

from ..audit_actions import Action
from ..json_values import from_json, to_json
from ..models import EPOCH
from ..policy import Policy
from . import audit
from .tables import fact

POLICY = "policy"
HUB_RUN = "hub_run"
_VERSIONS = "lock"  # the row that writers lock: who changes something has it already
ALL_TABLES = "*"
_MEMO = "memo:"


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the hub and since when; "" before the first one."""

    name: str = ""
    since: datetime = EPOCH


def read(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    """The facts of these names, as far as they are known."""
    rows = connection.execute(select(fact).where(fact.c.name.in_(list(names))))
    return {row.name: row.value for row in rows}


def write(connection: Connection, name: str, value: str | None) -> None:
    """Set a fact; None forgets it."""
    if value is None:
        connection.execute(delete(fact).where(fact.c.name == name))
        return
    changed = connection.execute(update(fact).where(fact.c.name == name).values(value=value))
    if changed.rowcount == 0:
        connection.execute(insert(fact).values(name=name, value=value))


@dataclass(frozen=True, slots=True)
class Versions:
    """Of the tables. The same one: nothing has changed in that table; "": it is not known."""

    by_table: Mapping[str, str] = field(default_factory=dict)

    def of(self, *tables: Table) -> tuple[str, ...]:
        """The versions of these tables."""
        others = self.by_table.get(ALL_TABLES, "")
        return tuple([self.by_table.get(each.name, others) for each in tables])


def versions_policy_and_run(connection: Connection) -> tuple[Versions, Policy, Run]:
    """All three, in one query. What this transaction has changed has a version of its own."""
    found = read(connection, (_VERSIONS, POLICY, HUB_RUN))
    versions = _versions(found.get(_VERSIONS, ""))
    uncommitted = changed_tables(connection)
    if uncommitted:
        versions = _with_new(versions, uncommitted)
    return Versions(versions), _policy(found), _run(found)


def changed_tables(connection: Connection) -> set[str]:
    """Where the present transaction has written; database.py notes it. `*`: anywhere."""
    changed: set[str] = connection.info.setdefault("gpucamp_changed", set())
    return changed


def new_versions(connection: Connection) -> None:
    """Something changed in these tables; `*` are all.

    Versions are random, so that a ledger restored from a backup has others, too.
    """
    before = _versions(read(connection, (_VERSIONS,)).get(_VERSIONS, ""))
    value = json.dumps(_with_new(before, changed_tables(connection)))
    connection.execute(update(fact).where(fact.c.name == _VERSIONS).values(value=value))


def _versions(text: str) -> dict[str, str]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):  # a new ledger's, or an earlier release's, for all tables
        return {}


def _with_new(versions: Mapping[str, str], tables: Collection[str]) -> dict[str, str]:
    token = uuid.uuid4().hex
    if not versions or ALL_TABLES in tables:
        return {ALL_TABLES: token}
    return {**versions, **dict.fromkeys(sorted(tables), token)}


def policy(connection: Connection) -> Policy:
    """What was set last, or the default."""
    return _policy(read(connection, (POLICY,)))


def run(connection: Connection) -> Run:
    """The present run of the hub."""
    return _run(read(connection, (HUB_RUN,)))


def set_policy(connection: Connection, policy: Policy, now: datetime, actor: str) -> None:
    """Keep a policy for all who read this ledger; the present one again changes nothing."""
    found = read(connection, (POLICY,))
    text = json.dumps(to_json(policy))
    if found.get(POLICY) == text:
        return
    write(connection, POLICY, text)
    audit.write(connection, at=now, actor=actor, action=Action.POLICY_SET)


def begin_run(connection: Connection, name: str, now: datetime, actor: str) -> None:
    """A hub process starts; naming the present run again changes nothing."""
    if run(connection).name == name:
        return
    since = now.astimezone(UTC).isoformat()
    write(connection, HUB_RUN, json.dumps({"run": name, "since": since}))
    audit.write(connection, at=now, actor=actor, action=Action.HUB_RUN, detail=name)


def remember(connection: Connection, name: str, value: str | None) -> None:
    """A memo of the service; None forgets it."""
    write(connection, _MEMO + name, value)


def recall(connection: Connection, name: str) -> str | None:
    """A memo, or None."""
    return read(connection, (_MEMO + name,)).get(_MEMO + name)


def _policy(found: Mapping[str, str]) -> Policy:
    text = found.get(POLICY)
    return _parse_policy(text) if text is not None else Policy()


@lru_cache(maxsize=4)
def _parse_policy(text: str) -> Policy:
    return from_json(Policy, json.loads(text))


def _run(found: Mapping[str, str]) -> Run:
    text = found.get(HUB_RUN)
    if text is None:
        return Run()
    value = json.loads(text)
    return Run(value["run"], datetime.fromisoformat(value["since"]))
