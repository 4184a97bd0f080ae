"""A class as whoever teaches it sees it: a card for each server, those in need first.

Guarantees: JSON-ready values; nobody is told whom the caller may not see; what is not known is
null. Those of a group who have no server are there, too, as stopped. Totals are of all, whatever
is asked for; only of what is shown are cards made.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ..attention import urgency
from ..errors import GpucampError, NotFound
from ..fair_queue import line_up
from ..i18n import _
from ..models import DeviceState, Key, OperationStep, Snapshot
from ..scopes import ENVIRONMENT_READ
from .auth import Caller, Resource
from .class_cards import STATES, Known, Member, card_of, device_of, member_of
from .hub_api import HubGroup
from .lease_views import Json

if TYPE_CHECKING:
    from .parts import Service

HELP = "help"  # beside STATES: whoever is kept from working
CALLS = "calls"  # whoever raised a hand or waits: what the screen of the room shows
EVERYBODY = 1_000_000
# for so long it is told that a reset has failed, as long as an examination is remembered
LATELY = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of a class is asked for.

    group: its people, None for all whom the caller may see; state: one of STATES, HELP or CALLS, ""
    for any; search: a part of the user's or the server's name; page: from 1 on, `limit` cards each.
    """

    group: str | None = None
    state: str = ""
    search: str = ""
    page: int = 1
    limit: int = EVERYBODY

    def admits(self, member: Member) -> bool:
        """Whether a server is among what is asked for."""
        if self.search.casefold() not in "/".join(member.key).casefold():
            return False
        if self.state == HELP:
            return member.urgent
        if self.state == CALLS:
            return member.facts.hand_since is not None or member.facts.waits_since is not None
        return self.state in ("", member.state)


async def class_view(service: Service, caller: Caller, wanted: Wanted) -> Json:
    """The servers of a group, or of all whom the caller may see.

    A page after the last is the last. Raises NotFound for a group that is not theirs,
    LedgerUnavailable; HubUnavailable and HubRefused only where a group is asked for.
    """
    chosen = await _chosen(service, caller, wanted.group)
    known = await asyncio.to_thread(_read, service)
    people = frozenset(chosen.users) if chosen is not None else None
    members = [
        member_of(service, known, key, groups)
        for key, groups in _groups(known, chosen).items()
        if _is_shown(caller, people, key, groups)
    ]
    members.sort(key=lambda each: urgency(each.facts, known.snapshot.now))
    found = [each for each in members if wanted.admits(each)]
    pages = max(1, -(-len(found) // wanted.limit))
    page = min(wanted.page, pages)
    # a shared device is on several cards
    device = functools.cache(functools.partial(device_of, service, known.snapshot))
    shown = found[(page - 1) * wanted.limit : page * wanted.limit]
    return {
        "group": wanted.group,
        "groups": await _names(service, caller),
        "counts": _counts(members),
        "devices": _devices(known.snapshot),
        "waiting": len(known.line),
        "matching": len(found),
        "page": page,
        "pages": pages,
        "servers": [card_of(service, caller, known, each, device) for each in shown],
    }


def _groups(known: Known, chosen: HubGroup | None) -> dict[Key, Collection[str]]:
    """Whoever has, waits for, or lacks something, with the groups of the user."""
    found: dict[Key, Collection[str]] = {
        **{
            key: () for key, each in known.operations.items() if each.step is not OperationStep.DONE
        },
        **{key: hand.groups for key, hand in known.hands.items()},
        **{key: entry.request.groups for key, entry in known.entries.items()},
        **{key: lease.groups for key, lease in known.leases.items()},
    }
    if chosen is not None:
        present = {user for user, _server in found}
        found |= {(user, ""): (chosen.name,) for user in chosen.users if user not in present}
    return found


def _is_shown(
    caller: Caller, people: frozenset[str] | None, key: Key, groups: Collection[str]
) -> bool:
    if people is not None:
        return key[0] in people
    return caller.may(ENVIRONMENT_READ, Resource(*key), groups)


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


def _read(service: Service) -> Known:
    ledger = service.ledger
    snapshot = ledger.snapshot(service.now())
    return Known(
        snapshot,
        ledger.verdicts(),
        {(hand.user, hand.server): hand for hand in ledger.hands()},
        ledger.all_failed_starts(),
        ledger.ddp_runs(),
        {(each.entry.request.user, each.entry.request.server): each for each in line_up(snapshot)},
        {(each.user, each.server): each for each in snapshot.leases},
        {
            (each.request.user, each.request.server): each
            for each in snapshot.queue
            if each.request.gpus
        },
        {each.device.uuid: each.state for each in snapshot.devices},
        ledger.late_operations(snapshot.now - LATELY),
    )


def _counts(members: Sequence[Member]) -> Json:
    """How many are in which state; `help`: are kept from working; `hands`: are raised."""
    states = Counter(each.state for each in members)
    return {
        "servers": len(members),
        **{state: states[state] for state in STATES},
        "help": sum(each.urgent for each in members),
        "hands": sum(each.facts.hand_since is not None for each in members),
    }


def _devices(snapshot: Snapshot) -> Json:
    """Of all devices, whoever has them: what everybody can see on the start form, too."""
    healthy = [each for each in snapshot.devices if each.state is DeviceState.HEALTHY]
    return {
        "total": len(snapshot.devices),
        "healthy": len(healthy),
        "free": sum(each.is_free for each in healthy),
    }
