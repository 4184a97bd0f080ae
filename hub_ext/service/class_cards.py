"""One server of a class, as whoever teaches it sees it: its facts, and its card.

Guarantees: JSON-ready values; what is not known is null; the facts are cheap, so that a class of
hundreds can be put in order and counted before cards are made of those that are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import ddp_runs
from ..attention import Facts, Need, needs
from ..ddp_runs import DdpRun
from ..fair_queue import Place
from ..hands import Hand
from ..models import (
    FINAL_STEPS,
    DeviceState,
    Key,
    Lease,
    LeaseState,
    Operation,
    OperationStep,
    QueueEntry,
    Snapshot,
)
from ..scopes import (
    ACCESS_SERVERS,
    ENVIRONMENT_EXAMINE,
    ENVIRONMENT_MESSAGE,
    ENVIRONMENT_RESET,
    HAND,
    LEASE_EXTEND,
    LEASES_MANAGE,
)
from ..space import Level
from ..verdicts import Verdict
from .api_doctor import examination_view
from .auth import Caller, Resource
from .hand_views import hand_view
from .lease_views import Json, iso, place_view, revocation_view
from .space_views import space_view
from .verdict_views import verdict_view
from .views import operation_brief

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
STATES = ("running", "starting", "resetting", "waiting", "stopped")
_OF_LEASE = {
    LeaseState.GRANTED: "starting",
    LeaseState.RUNNING: "running",
    LeaseState.HELD: "resetting",
}
_ACTIONS = {
    "open": ACCESS_SERVERS,
    "reset": ENVIRONMENT_RESET,
    "examine": ENVIRONMENT_EXAMINE,
    "extend": LEASE_EXTEND,
    "lower_hand": HAND,
    "write": ENVIRONMENT_MESSAGE,
}


@dataclass(frozen=True, slots=True)
class Known:
    """All that the cards are made of, read once."""

    snapshot: Snapshot
    verdicts: Mapping[Key, Verdict]
    hands: Mapping[Key, Hand]
    failed_starts: Mapping[Key, int]
    runs: Mapping[Key, tuple[DdpRun, ...]]
    line: Mapping[Key, Place]
    leases: Mapping[Key, Lease]
    entries: Mapping[Key, QueueEntry]
    device_states: Mapping[str, DeviceState]
    operations: Mapping[Key, Operation]  # under way, or ended a short while ago


@dataclass(frozen=True, slots=True)
class Member:
    """One server of the class; groups: of its user, as far as they are known."""

    key: Key
    groups: Collection[str]
    state: str
    facts: Facts
    needs: tuple[Need, ...]

    @property
    def urgent(self) -> bool:
        """Whether something keeps its user from working."""
        return not URGENT.isdisjoint(self.needs)


def member_of(service: Service, known: Known, key: Key, groups: Collection[str]) -> Member:
    """What there is to know for the order of the class."""
    user, server = key
    snapshot, lease, entry = known.snapshot, known.leases.get(key), known.entries.get(key)
    verdict, hand = known.verdicts.get(key), known.hands.get(key)
    space = space_view(service.space, user, snapshot.policy, groups)
    runs = known.runs.get(key, ())
    hangs, failed = ddp_runs.hanging(runs), ddp_runs.failed(runs)
    is_current = verdict is not None and lease is not None and verdict.lease_id == lease.id
    held = lease.device_uuids if lease is not None else ()
    facts = Facts(
        user,
        server,
        hand_since=hand.raised_at if hand is not None else None,
        verdict=verdict.word if verdict is not None and is_current else None,
        failed_starts=known.failed_starts.get(key, 0),
        devices_ill=sum(known.device_states.get(uuid) is not DeviceState.HEALTHY for uuid in held),
        disk=_fullest(space["work"]["level"], space["environments"]["level"]),
        run_hangs_since=hangs.at if hangs is not None else None,
        run_failed_at=failed.at if failed is not None else None,
        reclaim_at=lease.reclaim_at if lease is not None else None,
        expires_at=lease.expires_at if lease is not None else None,
        waits_since=entry.enqueued_at if entry is not None else None,
        idle_since=lease.idle_since if lease is not None else None,
    )
    operation = known.operations.get(key)
    if operation is not None and operation.step not in FINAL_STEPS and entry is None:
        state = "resetting"
    elif lease is not None:
        state = _OF_LEASE[lease.state]
    else:
        state = "waiting" if entry is not None else "stopped"
    return Member(key, groups, state, facts, needs(facts, snapshot.now))


def card_of(
    service: Service,
    caller: Caller,
    known: Known,
    member: Member,
    device: Callable[[str], Json],
) -> Json:
    """The card; `device` gives the view of each of its devices."""
    user, server = member.key
    facts, snapshot = member.facts, known.snapshot
    lease, entry = known.leases.get(member.key), known.entries.get(member.key)
    resource = Resource(user, server)
    return {
        "user": user,
        "server": server,
        "state": member.state,
        "needs": [need.value for need in member.needs],
        "urgent": member.urgent,
        "hand": hand_view(known.hands.get(member.key)),
        "operation": _operation(known.operations.get(member.key)),
        "examination": _examination(service, member.key)
        if caller.may(ENVIRONMENT_EXAMINE, resource, member.groups)
        else None,
        "doctor": verdict_view(known.verdicts.get(member.key), lease, service.prefix),
        "failed_starts": facts.failed_starts,
        "ddp_runs": [_run(each) for each in known.runs.get(member.key, ())],
        "devices": [device(uuid) for uuid in lease.device_uuids] if lease is not None else [],
        "lease": lease.id if lease is not None else None,
        "granted_at": iso(lease.granted_at) if lease is not None else None,
        "expires_at": iso(facts.expires_at),
        "revocation": revocation_view(lease.revocation) if lease is not None else None,
        "reclaim_at": iso(facts.reclaim_at),
        "idle_since": iso(facts.idle_since),
        "queue": place_view(known.line.get(member.key), len(known.line), entry)
        if entry is not None
        else None,
        "space": space_view(service.space, user, snapshot.policy, member.groups),
        "may": {
            **{
                name: caller.may(scope, resource, member.groups) for name, scope in _ACTIONS.items()
            },
            # a lease without devices has no end, and nothing that others could have
            "manage_lease": lease is not None
            and bool(lease.device_uuids)
            and caller.may(LEASES_MANAGE, resource, member.groups),
        },
    }


def _operation(found: Operation | None) -> Json | None:
    """A reset or undo that is under way, or has failed."""
    if found is None or found.step is OperationStep.DONE:
        return None
    return operation_brief(found)


def _examination(service: Service, key: Key) -> Json | None:
    """The last examination from outside, without its report."""
    view = examination_view(service.examinations.of(*key))
    return {name: view[name] for name in view if name != "report"} if view is not None else None


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


def device_of(service: Service, snapshot: Snapshot, uuid: str) -> Json:
    """A device at work, with what it did over the last ten minutes."""
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
