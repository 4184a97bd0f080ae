"""What the service tells about users: servers, quota, disk, use; as JSON-ready values.

Guarantees: what nobody can say is null, never 0 or an error; a page of users takes a few queries,
however many they are.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..errors import GpucampError, NotFound
from ..i18n import _
from ..ledger import Ledger
from ..models import EPOCH, Lease, Snapshot
from ..policy import Policy, Rule
from ..usage import day_start
from ..verdicts import Verdict
from .lease_views import Json, hours, iso, revocation_view, share
from .space_views import space_view
from .verdict_views import verdict_view
from .views import kept_view

if TYPE_CHECKING:
    from .parts import Service

Servers = set[tuple[str, str]]


async def users_view(
    service: Service, users: Sequence[str], groups: Mapping[str, Collection[str]]
) -> list[Json]:
    """These users, in this order. `groups`: of whom the hub was asked. Raises LedgerUnavailable."""
    ledger, now = service.ledger, service.now()
    snapshot, verdicts, servers = await asyncio.to_thread(
        lambda: (ledger.snapshot(now), ledger.verdicts(), ledger.servers_of(users))
    )
    known = _known_groups(snapshot, groups)
    rules = {user: snapshot.policy.rule_for(known.get(user, ())) for user in users}
    today, event = await asyncio.to_thread(_used, ledger, snapshot, rules)
    leases: dict[str, list[Lease]] = defaultdict(list)
    for lease in snapshot.leases:
        leases[lease.user].append(lease)
    mine: dict[str, Servers] = defaultdict(set)
    for user, server in (*servers, *verdicts):
        mine[user].add((user, server))
    waiting: dict[str, list[Json]] = defaultdict(list)
    for entry in snapshot.queue:
        of = entry.request
        waiting[of.user].append(
            {"server": of.server, "gpus": of.gpus, "since": entry.enqueued_at.isoformat()}
        )
    return [
        {
            "user": user,
            "groups": sorted(known[user]) if user in known else None,
            "servers": _servers(leases[user], mine[user], verdicts, service.prefix),
            "waiting": waiting[user],
            "quota": _quota(leases[user], rules[user], today.get(user), event.get(user)),
            "space": space_view(service.space, user, snapshot.policy, known.get(user)),
        }
        for user in users
    ]


async def whole_user_view(service: Service, user: str, days: int) -> Json:
    """One user, with environments, volumes and the use of the last days.

    Raises NotFound for one whom JupyterHub does not know, LedgerUnavailable.
    """
    groups: dict[str, Collection[str]] = {}
    try:
        groups[user] = (await service.hub.user(user)).groups
    except NotFound as error:
        raise NotFound(_("There is no such user.")) from error
    except GpucampError:
        pass  # the hub is silent: what the ledger knows is told all the same
    (row,) = await users_view(service, [user], groups)
    now, ledger = service.now(), service.ledger
    names = sorted({"", *(server["server"] for server in row["servers"])})
    environments, by_day = await asyncio.to_thread(
        lambda: (
            [ledger.environment(user, server) for server in names],
            use_by_day(ledger, user, days, now),
        )
    )
    current = {(each.server, each.generation) for each in environments}
    return {
        **row,
        "environments": [
            {
                "server": each.server,
                "generation": each.generation,
                "undo": [kept_view(kept) for kept in each.kept],
            }
            for each in environments
        ],
        "volumes": volumes_view(service, user, current),
        "usage": [
            {"day": day, "device_seconds": round(seconds, 3)} for day, seconds in by_day.items()
        ],
    }


def _known_groups(
    snapshot: Snapshot, asked: Mapping[str, Collection[str]]
) -> dict[str, Collection[str]]:
    """By user, the groups as they were at the latest request or grant, or as the hub says now."""
    waiting = {entry.request.user: entry.request.groups for entry in snapshot.queue}
    granted = {lease.user: lease.groups for lease in snapshot.leases}
    return {**waiting, **granted, **asked}


def _used(
    ledger: Ledger, snapshot: Snapshot, rules: Mapping[str, Rule]
) -> tuple[dict[str, float], dict[str, float]]:
    """Device-seconds of today, and since the event began, of those whom such a quota limits."""
    policy: Policy = snapshot.policy
    now = snapshot.now
    daily = [user for user, rule in rules.items() if rule.device_hours_per_day is not None]
    in_all = [user for user, rule in rules.items() if rule.device_hours is not None]
    since = policy.event_start or EPOCH
    return (
        ledger.device_seconds_of(daily, day_start(now), now) if daily else {},
        ledger.device_seconds_of(in_all, since, now) if in_all else {},
    )


def _quota(leases: Sequence[Lease], rule: Rule, today: float | None, event: float | None) -> Json:
    return {
        "devices": share(sum(len(each.device_uuids) for each in leases), rule.max_devices),
        "servers": share(len(leases), rule.max_servers),
        "hours_today": None if today is None else hours(today, rule.device_hours_per_day),
        "hours": None if event is None else hours(event, rule.device_hours),
    }


def _servers(
    leases: Iterable[Lease],
    known: Servers,
    verdicts: Mapping[tuple[str, str], Verdict],
    prefix: str,
) -> list[Json]:
    """Those with a lease, and those that are known otherwise, by name."""
    rows = {}
    live = {(lease.user, lease.server): lease for lease in leases}
    for key in sorted({*known, *live}):
        lease = live.get(key)
        rows[key] = {
            "server": key[1],
            "lease": lease.id if lease is not None else None,
            "state": lease.state.value if lease is not None else None,
            "devices": len(lease.device_uuids) if lease is not None else 0,
            "expires_at": iso(lease.expires_at) if lease is not None else None,
            "revocation": revocation_view(lease.revocation) if lease is not None else None,
            "doctor": verdict_view(verdicts.get(key), lease, prefix),
        }
    return list(rows.values())


def use_by_day(ledger: Ledger, user: str, days: int, now: datetime) -> dict[str, float]:
    """Device-seconds of the last days, today's so far the last. Raises LedgerUnavailable."""
    first = now.date() - timedelta(days - 1)
    found = {(first + timedelta(number)).isoformat(): 0.0 for number in range(days)}
    for each in ledger.usage_of(user, first, now.date(), now):
        if not each.group:
            found[each.day.isoformat()] += each.seconds
    return found


def volumes_view(service: Service, user: str, current: Collection[tuple[str, int]]) -> Json | None:
    """What each volume takes; None before the first measurement.

    `current` are the generations in use, as (server, generation).
    """
    found = service.space.of(user)
    if found is None or service.space.measured_at is None:
        return None
    return {
        "measured_at": service.space.measured_at.isoformat(),
        "work": {"bytes": found.work},
        "environments": [
            {
                "server": server,
                "generation": generation,
                "bytes": size,
                "in_use": (server, generation) in current,
            }
            for (server, generation), size in sorted(found.environments.items())
        ],
    }
