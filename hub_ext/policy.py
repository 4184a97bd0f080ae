"""What the admin allows: pools, sharing, terms, quotas, the queue's order. Pure.

What this module guarantees: a Policy is consistent whatever it was made from (policy_settings.py
refuses the rest before the hub starts); it goes to JSON and back unchanged (json_values.py does
it), which is how it reaches the ledger and, by it, the service; what holds for a user depends on
their groups only.

Where several groups of a user set the same limit, the most generous one holds; where none does, the
default.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

ALL_DEVICES = "*"


@dataclass(frozen=True, slots=True)
class Pool:
    """Devices with a purpose. A device in no pool is exclusive, and for all.

    `devices` are UUIDs, or ("*",): all that no other pool names. `slots` above 1 make them shared
    by that many leases at a time. `groups` are those who may have them; () is everyone.
    """

    name: str
    devices: tuple[str, ...] = (ALL_DEVICES,)
    slots: int = 1
    groups: tuple[str, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether its devices are given in slots, without protection of memory."""
        return self.slots > 1

    def admits(self, groups: Collection[str]) -> bool:
        """Whether a user of these groups may have its devices."""
        return not self.groups or not set(self.groups).isdisjoint(groups)


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits of one user.

    None: not limited. In a group's rule: not said, so the default holds, unless the field's name is
    among `lifted`. `Policy.rule_for` lifts nothing.
    """

    priority: int | None = None  # 0 to 10; higher goes first in the queue
    lease_hours: float | None = None
    max_devices: int | None = None  # at once, over all servers
    max_servers: int | None = None  # at once
    device_hours_per_day: float | None = None  # of a UTC day
    device_hours: float | None = None  # since Policy.event_start
    environments_gib: float | None = None  # all generations of all servers together
    work_gib: float | None = None
    lifted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """Limits of all members of a group together. None: not limited."""

    max_devices: int | None = None  # at once; more wait
    device_hours_per_day: float | None = None
    device_hours: float | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything together. The defaults are those of an installation that sets nothing."""

    pools: tuple[Pool, ...] = ()
    default: Rule = field(default_factory=lambda: Rule(priority=0, lease_hours=8.0))
    rules: Mapping[str, Rule] = field(default_factory=dict)  # by group
    group_limits: Mapping[str, GroupLimits] = field(default_factory=dict)
    event_start: datetime | None = None  # None: since the ledger was made
    half_life: timedelta = timedelta(hours=6)  # after it, usage counts half in the queue's order
    aging: timedelta = timedelta(minutes=60)  # after it, waiting is worth one more priority
    extension: timedelta = timedelta(hours=1)  # what a user adds at once
    auto_extend: bool = True  # a lease whose term is over goes on until somebody waits for it
    warnings: tuple[timedelta, ...] = (
        timedelta(minutes=30),
        timedelta(minutes=10),
        timedelta(minutes=5),
    )  # before the end, longest first
    idle_after: timedelta | None = None  # None: idle devices are not taken back
    idle_answer: timedelta = timedelta(minutes=10)  # how long a user has to answer
    idle_utilization_percent: int = 3  # at most this counts as idle

    def pool_of(self, uuid: str) -> Pool | None:
        """The pool that a device belongs to: one that names it, else one of all devices."""
        for pool in self.pools:
            if uuid in pool.devices:
                return pool
        return next((pool for pool in self.pools if ALL_DEVICES in pool.devices), None)

    def pool(self, name: str) -> Pool | None:
        """The pool of this name; a device keeps its pool's name when the policy drops the pool."""
        return next((pool for pool in self.pools if pool.name == name), None)

    def admits(self, pool_name: str, groups: Collection[str]) -> bool:
        """Whether a user of these groups may have a device of this pool ("": of none)."""
        pool = self.pool(pool_name)
        return pool is None or pool.admits(groups)

    def rule_for(self, groups: Collection[str]) -> Rule:
        """What holds for a user of these groups."""
        said = [rule for name, rule in self.rules.items() if name in groups]
        if not said and not self.default.lifted:
            return self.default
        lifted = frozenset[str]().union(*(rule.lifted for rule in said))
        chosen: dict[str, Any] = {}
        for each in fields(Rule):
            if each.name == "lifted":
                continue
            values = [v for rule in said if (v := getattr(rule, each.name)) is not None]
            most = max(values) if values else getattr(self.default, each.name)
            chosen[each.name] = None if each.name in lifted else most
        return Rule(**chosen)
