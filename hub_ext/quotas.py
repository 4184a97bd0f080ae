"""What the policy leaves a user: devices, servers, device-hours, and the term of a lease. Pure.

What this module guarantees: what other servers of the user have, hold or wait for counts, and what
the server that is being started had before does not; a refusal names the limit, what is used of it,
and what would be accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from .errors import BadRequest
from .i18n import _, ngettext
from .models import Key, Request, Snapshot
from .placement import suits
from .usage import Allowance, QuotaUse, tightest

SHORTEST_TERM = timedelta(minutes=1)  # with less left of a quota nothing is started


@dataclass(frozen=True, slots=True)
class Standing:
    """What a user has on their other servers. `devices` includes what they wait for."""

    servers: int
    devices: int


def standing(user: str, but: Key, snapshot: Snapshot) -> Standing:
    """What the user has and waits for, the server `but` left out."""
    others: dict[Key, int] = {}
    for lease in snapshot.leases:
        if lease.user == user:
            others[(user, lease.server)] = len(lease.device_uuids)
    for entry in snapshot.queue:
        if entry.request.user == user:
            others[(user, entry.request.server)] = entry.request.gpus
    others.pop(but, None)
    return Standing(len(others), sum(others.values()))


def check_quotas(wish: Request, key: Key, snapshot: Snapshot, use: QuotaUse) -> None:
    """Raise BadRequest if the policy does not allow this user that much."""
    rule = snapshot.policy.rule_for(wish.groups)
    have = standing(wish.user, key, snapshot)
    if rule.max_servers is not None and have.servers >= rule.max_servers:
        words = ngettext(
            "You may have %(most)d server at a time, and %(have)d of yours run or wait already. "
            "Stop one first.",
            "You may have %(most)d servers at a time, and %(have)d of yours run or wait already. "
            "Stop one first.",
            rule.max_servers,
        )
        raise BadRequest(words % {"most": rule.max_servers, "have": have.servers})
    if not wish.gpus:
        return
    if rule.max_devices is not None and have.devices + wish.gpus > rule.max_devices:
        raise BadRequest(_too_many_devices(rule.max_devices, have.devices))
    for name, most in _group_limits(wish, snapshot):
        if wish.gpus > most:
            words = _(
                "The group %(group)s may have %(most)d GPUs at a time, all its members together. "
                "Ask for at most %(most)d."
            )
            raise BadRequest(words % {"group": name, "most": most})
    left = allowance(wish, snapshot, use)
    if left is not None and left.time < SHORTEST_TERM:
        raise BadRequest(used_up(left))


def term_of(wish: Request, snapshot: Snapshot, use: QuotaUse) -> timedelta | None:
    """How long its lease lasts: the policy's term, or what is left of device-hours if less."""
    if not wish.gpus:
        return None
    hours = snapshot.policy.rule_for(wish.groups).lease_hours
    left = allowance(wish, snapshot, use)
    terms = [timedelta(hours=hours)] if hours is not None else []
    if left is not None:
        terms.append(left.time)
    return min(terms, default=None)


def allowance(wish: Request, snapshot: Snapshot, use: QuotaUse) -> Allowance | None:
    """The limit of device-hours that would end this request's lease first; None: there is none."""
    return tightest(
        snapshot.policy, wish.user, wish.groups, use, _weight(wish, snapshot), snapshot.now
    )


def used_up(left: Allowance) -> str:
    """That nothing is left of this limit, and when there will be."""
    numbers = {
        "limit": f"{left.limit_hours:g}",
        "used": f"{left.used_hours:.1f}",
        "group": left.group,
    }
    if left.group and left.daily:
        words = _(
            "The group %(group)s has used %(used)s of its %(limit)s device-hours for today; there "
            "are new ones at midnight UTC. Until then ask for 0 GPUs."
        )
    elif left.group:
        words = _(
            "The group %(group)s has used %(used)s of its %(limit)s device-hours. Ask for 0 GPUs, "
            "or ask your instructor for more."
        )
    elif left.daily:
        words = _(
            "You have used %(used)s of your %(limit)s device-hours for today; there are new ones "
            "at midnight UTC. Until then ask for 0 GPUs."
        )
    else:
        words = _(
            "You have used %(used)s of your %(limit)s device-hours. Ask for 0 GPUs, or ask your "
            "instructor for more."
        )
    return words % numbers


def most_devices(user: str, groups: tuple[str, ...], but: Key, snapshot: Snapshot) -> int | None:
    """How many devices the quotas leave for one server now; None: they set no number."""
    rule = snapshot.policy.rule_for(groups)
    numbers = [most for _name, most in _group_limits(Request(user, "", 1, groups=groups), snapshot)]
    if rule.max_devices is not None:
        numbers.append(max(0, rule.max_devices - standing(user, but, snapshot).devices))
    return min(numbers, default=None)


def _too_many_devices(most: int, have: int) -> str:
    if most == 0:
        return _("You may have no GPU here. Ask for 0 GPUs.")
    words = ngettext(
        "You may have %(most)d GPU at a time over all your servers",
        "You may have %(most)d GPUs at a time over all your servers",
        most,
    ) % {"most": most}
    if not have:
        return words + _(": ask for at most %(left)d.") % {"left": most}
    return words + _(
        ", and others of yours have or wait for %(have)d: ask for at most %(left)d."
    ) % {"have": have, "left": max(0, most - have)}


def _group_limits(wish: Request, snapshot: Snapshot) -> Iterator[tuple[str, int]]:
    for name in wish.groups:
        limit = snapshot.policy.group_limits.get(name)
        if limit is not None and limit.max_devices is not None:
            yield name, limit.max_devices


def _weight(wish: Request, snapshot: Snapshot) -> float:
    """As how many devices the request counts: a share as its part of the one it may get."""
    if not wish.share:
        return float(wish.gpus)
    slots = [
        each.device.slots for each in snapshot.devices if suits(each.device, wish, snapshot.policy)
    ]
    return wish.gpus / max(min(slots, default=1), 1)
