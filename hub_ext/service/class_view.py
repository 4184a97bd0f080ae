"""A class as whoever teaches it sees it: a card for each server, those in need first.

Guarantees: JSON-ready values; nobody is told whom the caller may not see; what is not known is
null. Those of a group who have no server are there, too, as stopped.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import ddp_runs
from ..attention import Facts, Need, needs, urgency
from ..ddp_runs import DdpRun
from ..errors import GpucampError, NotFound
from ..fair_queue import Place, line_up
from ..hands import Hand
from ..i18n import _
from ..models import DeviceState, Key, Lease, LeaseState, QueueEntry, Snapshot
from ..scopes import (
    ENVIRONMENT_EXAMINE,
    ENVIRONMENT_MESSAGE,
    ENVIRONMENT_READ,
    ENVIRONMENT_RESET,
    HAND,
    LEASE_EXTEND,
)
from ..space import Level
from ..verdicts import Verdict, Word
from .auth import Caller, Resource
from .hand_views import hand_view
from .hub_api import HubGroup
from .lease_views import Json, iso, place_view
from .space_views import space_view
from .verdict_views import verdict_view

if TYPE_CHECKING:
    from .parts import Service

# what keeps somebody from working: these are counted as needing help
URGENT = frozenset(
    {
        Need.HAND,
        Need.BLOCKED,
        Need.START_FAILS,
        Need.DEVICE_ILL,
        Need.DISK_FULL,
        Need.RUN_HANGS,
        Need.RECLAIM,
    }
)
_STATES = {
    LeaseState.GRANTED: "starting",
    LeaseState.RUNNING: "running",
    LeaseState.HELD: "resetting",
}
_ACTIONS = {
    "reset": ENVIRONMENT_RESET,
    "examine": ENVIRONMENT_EXAMINE,
    "extend": LEASE_EXTEND,
    "lower_hand": HAND,
    "write": ENVIRONMENT_MESSAGE,
}


@dataclass(frozen=True, slots=True)
class _Known:
    """All that the cards are made of, read once."""

    snapshot: Snapshot
    verdicts: Mapping[Key, Verdict]
    hands: Mapping[Key, Hand]
    failed_starts: Mapping[Key, int]
    runs: Mapping[Key, tuple[DdpRun, ...]]
    line: Mapping[Key, Place]


async def class_view(service: Service, caller: Caller, group: str | None) -> Json:
    """The servers of a group, or of all whom the caller may see (None).

    Raises NotFound for a group that is not theirs, LedgerUnavailable; HubUnavailable and HubRefused
    only where a group is asked for.
    """
    chosen = await _chosen(service, caller, group)
    known = await asyncio.to_thread(_read, service)
    leases = {(each.user, each.server): each for each in known.snapshot.leases}
    entries = {
        (each.request.user, each.request.server): each
        for each in known.snapshot.queue
        if each.request.gpus
    }
    groups: dict[Key, Collection[str]] = {
        **{key: hand.groups for key, hand in known.hands.items()},
        **{key: entry.request.groups for key, entry in entries.items()},
        **{key: lease.groups for key, lease in leases.items()},
    }
    if chosen is not None:
        present = {user for user, _server in groups}
        groups |= {(user, ""): (chosen.name,) for user in chosen.users if user not in present}
    people = set(chosen.users) if chosen is not None else None
    # a shared device is on several cards
    device_of = functools.cache(functools.partial(_device, service, known.snapshot))
    found = [
        _card(service, caller, known, device_of, key, of, leases.get(key), entries.get(key))
        for key, of in groups.items()
        if (
            key[0] in people
            if people is not None
            else caller.may(ENVIRONMENT_READ, Resource(*key), of)
        )
    ]
    found.sort(key=lambda pair: urgency(pair[0], known.snapshot.now))
    cards = [card for _facts, card in found]
    return {
        "group": group,
        "groups": await _names(service, caller),
        "counts": _counts(cards),
        "devices": _devices(known.snapshot),
        "waiting": len(known.line),
        "servers": cards,
    }


async def _chosen(service: Service, caller: Caller, group: str | None) -> HubGroup | None:
    if group is None:
        return None
    for each in await service.roster.groups():
        if each.name == group and caller.may_for_group(ENVIRONMENT_READ, group):
            return each
    raise NotFound(_("There is no such group."))


async def _names(service: Service, caller: Caller) -> list[str]:
    """The groups that can be chosen; none while the hub is away."""
    try:
        found = await service.roster.groups()
    except GpucampError:
        return []
    return [each.name for each in found if caller.may_for_group(ENVIRONMENT_READ, each.name)]


def _read(service: Service) -> _Known:
    ledger = service.ledger
    snapshot = ledger.snapshot(service.now())
    return _Known(
        snapshot,
        ledger.verdicts(),
        {(hand.user, hand.server): hand for hand in ledger.hands()},
        ledger.all_failed_starts(),
        ledger.ddp_runs(),
        {(each.entry.request.user, each.entry.request.server): each for each in line_up(snapshot)},
    )


def _card(
    service: Service,
    caller: Caller,
    known: _Known,
    device_of: Callable[[str], Json],
    key: Key,
    groups: Collection[str],
    lease: Lease | None,
    entry: QueueEntry | None,
) -> tuple[Facts, Json]:
    user, server = key
    snapshot, verdict, hand = known.snapshot, known.verdicts.get(key), known.hands.get(key)
    doctor = verdict_view(verdict, lease, service.prefix)
    space = space_view(service.space, user, snapshot.policy, groups)
    devices = [device_of(uuid) for uuid in lease.device_uuids] if lease is not None else []
    runs = known.runs.get(key, ())
    hangs, failed = ddp_runs.hanging(runs), ddp_runs.failed(runs)
    facts = Facts(
        user,
        server,
        hand_since=hand.raised_at if hand is not None else None,
        verdict=Word(doctor["verdict"]) if doctor is not None and doctor["current"] else None,
        failed_starts=known.failed_starts.get(key, 0),
        devices_ill=sum(each["state"] != DeviceState.HEALTHY.value for each in devices),
        disk=_fullest(space["work"]["level"], space["environments"]["level"]),
        run_hangs_since=hangs.at if hangs is not None else None,
        run_failed_at=failed.at if failed is not None else None,
        reclaim_at=lease.reclaim_at if lease is not None else None,
        expires_at=lease.expires_at if lease is not None else None,
        waits_since=entry.enqueued_at if entry is not None else None,
        idle_since=lease.idle_since if lease is not None else None,
    )
    if lease is not None:
        state = _STATES[lease.state]
    else:
        state = "waiting" if entry is not None else "stopped"
    found = needs(facts, snapshot.now)
    return facts, {
        "user": user,
        "server": server,
        "state": state,
        "needs": [need.value for need in found],
        "urgent": not URGENT.isdisjoint(found),
        "hand": hand_view(hand),
        "doctor": doctor,
        "failed_starts": facts.failed_starts,
        "ddp_runs": [_run(each) for each in runs],
        "devices": devices,
        "granted_at": iso(lease.granted_at) if lease is not None else None,
        "expires_at": iso(facts.expires_at),
        "reclaim_at": iso(facts.reclaim_at),
        "idle_since": iso(facts.idle_since),
        "queue": place_view(known.line.get(key), len(known.line), entry)
        if entry is not None
        else None,
        "space": space,
        "may": {
            name: caller.may(scope, Resource(user, server), groups)
            for name, scope in _ACTIONS.items()
        },
    }


def _run(run: DdpRun) -> Json:
    """A DDP run; `since`: when it came to be so."""
    return {
        "run": run.run,
        "state": run.state.value,
        "hangs": run.hangs,
        "ranks": run.ranks,
        "rank": run.rank,
        "since": run.at.isoformat(),
    }


def _device(service: Service, snapshot: Snapshot, uuid: str) -> Json:
    record = next((each for each in snapshot.devices if each.device.uuid == uuid), None)
    series = service.samples.series(uuid, snapshot.now)
    latest = service.samples.latest(uuid, snapshot.now)
    return {
        "uuid": uuid,
        "name": record.device.name if record is not None else uuid,
        "simulated": record is not None and record.device.simulated,
        "state": (record.state if record is not None else DeviceState.MISSING).value,
        "utilization_percent": latest.utilization_percent if latest else None,
        "memory_used_bytes": latest.memory_used_bytes if latest else None,
        "memory_bytes": record.device.memory_bytes if record is not None else 0,
        "history": {
            "until": series.until.isoformat(),
            "step_seconds": series.step_seconds,
            "utilization_percent": list(series.utilization_percent),
            "memory_used_bytes": list(series.memory_used_bytes),
        },
    }


def _fullest(*levels: str | None) -> Level | None:
    found = [Level(each) for each in levels if each is not None]
    return max(found, key=tuple(Level).index, default=None)


def _counts(cards: Iterable[Json]) -> Json:
    """How many are in which state; `help`: are kept from working; `hands`: are raised."""
    cards = list(cards)
    states = Counter(card["state"] for card in cards)
    return {
        "servers": len(cards),
        **{state: states[state] for state in ("running", "starting", "resetting", "waiting")},
        "stopped": states["stopped"],
        "help": sum(card["urgent"] for card in cards),
        "hands": sum(card["hand"] is not None for card in cards),
    }


def _devices(snapshot: Snapshot) -> Json:
    """Of all devices, whoever has them: what everybody can see on the start form, too."""
    healthy = [each for each in snapshot.devices if each.state is DeviceState.HEALTHY]
    return {
        "total": len(snapshot.devices),
        "healthy": len(healthy),
        "free": sum(each.is_free for each in healthy),
    }
