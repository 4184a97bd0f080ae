"""Settings as an admin writes them -> a Policy, or everything that is wrong with them. Pure.

What this module guarantees: a Policy that comes with no problem is consistent (no device in two
pools, at most one pool of all other devices, every number in its bounds); every problem is found in
one go and names the setting, what is wrong and what to write instead; no value raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from .models import Device
from .policy import ALL_DEVICES, GroupLimits, Policy, Pool, Rule
from .setting_readers import (
    MOST_HOURS,
    UNLIMITED,
    Path,
    Problem,
    Readers,
    closest,
    is_unlimited,
    shown,
)

TOP_PRIORITY = 10
MOST_SLOTS = 64
MOST_AT_ONCE = 100_000  # devices or servers
MOST_DEVICE_HOURS = 1e9
LEAST_GIB, MOST_GIB = 0.1, 1e6


def read_policy(
    values: Mapping[str, object], known: Sequence[Device] | None
) -> tuple[Policy, tuple[Problem, ...]]:
    """The policy that these values of GpuPolicy's traits mean, and what is wrong with them.

    `known` are the devices that this host has, or had; None if nobody can say, so that no UUID is
    called unknown. With problems the policy is of no use.
    """
    reading = _Reading(known)
    return reading.policy(values), tuple(reading.problems)


@dataclass(frozen=True, slots=True)
class _Limits:
    """Where the limits of a Rule or GroupLimits stand."""

    values: Mapping[str, tuple[Path, object]]  # by the field's name
    or_else: str = "None for no limit"  # what lifts a limit there

    @classmethod
    def of(cls, path: Path, content: Mapping[str, object], **more: str) -> _Limits:
        return cls({name: ((*path, name), value) for name, value in content.items()}, **more)

    def at(self, name: str) -> tuple[Path, object]:
        """The path of a field and its value, None if it is missing."""
        return self.values.get(name, ((), None))

    def lifted(self) -> frozenset[str]:
        """The fields that say in so many words that there is no limit."""
        return frozenset(
            name
            for name, (_path, value) in self.values.items()
            if value is not None and is_unlimited(value)
        )


class _Reading(Readers):
    """One look at all settings of the policy."""

    def __init__(self, known: Sequence[Device] | None) -> None:
        super().__init__()
        self._known = known

    def policy(self, values: Mapping[str, object]) -> Policy:
        def at(trait: str) -> tuple[Path, object]:
            return ("GpuPolicy", trait), values[trait]

        default = _Limits({name: at(trait) for name, trait in DEFAULT_RULE.items()})
        return Policy(
            default=self._rule(default, self._priority(*at("priority"))),
            pools=self._pools(*at("pools")),
            rules=self._rules(*at("group_rules")),
            group_limits=self._group_limits(*at("group_limits")),
            event_start=self.moment(*at("event_start")),
            half_life=self.hours(*at("half_life_hours")),
            aging=self.minutes(*at("aging_minutes")),
            extension=self.minutes(*at("extension_minutes")),
            auto_extend=self.switch(*at("auto_extend")),
            warnings=self.warnings(*at("warning_minutes")),
            idle_after=self._minutes_or_never(*at("idle_minutes")),
            idle_answer=self.minutes(*at("idle_answer_minutes")),
            idle_utilization_percent=self.whole(*at("idle_utilization_percent"), 0, 100, "percent"),
        )

    def _minutes_or_never(self, path: Path, value: object) -> timedelta | None:
        if is_unlimited(value):
            return None
        return self.minutes(path, value, "None: idle devices are not taken back")

    # -- pools

    def _pools(self, path: Path, value: object) -> tuple[Pool, ...]:
        example = '{"class": {"devices": "*", "slots": 4, "groups": ["class-a"]}}'
        pools: list[Pool] = []
        owner: dict[str, str] = {}
        for inner, name, content in self.entries(path, value, "pool", example):
            self.only(inner, content, ("devices", "slots", "groups"))
            at = ((*inner, "slots"), content.get("slots", 1))
            slots = self.whole(*at, 1, MOST_SLOTS, "leases that share a device")
            pools.append(
                Pool(
                    name,
                    devices=self._devices(inner, name, content, owner),
                    slots=slots,
                    groups=self.groups((*inner, "groups"), content.get("groups", ())),
                )
            )
        return tuple(pools)

    def _devices(
        self, inner: Path, name: str, content: Mapping[str, object], owner: dict[str, str]
    ) -> tuple[str, ...]:
        """The devices of one pool; `owner` tells which pool has which device so far."""
        path = (*inner, "devices")
        value = content.get("devices")
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not items:
            self.note(
                path if "devices" in content else inner,
                f"the pool {name!r} says of no device that it belongs to it",
                'write "devices": ["GPU-…"] with the UUIDs that `nvidia-smi -L` prints, or '
                '"devices": "*" for all that no other pool names',
            )
            return ()
        if ALL_DEVICES in items and len(items) > 1:
            self.note(
                path, '"*" already means all other devices', 'write "*" alone, or only the UUIDs'
            )
            return ()
        good: list[str] = []
        for place, each in enumerate(items):
            where = path if isinstance(value, str) else (*path, place)
            if not self._device(where, each):
                continue
            uuid = str(each)
            other = owner.setdefault(uuid, name)
            if other != name or uuid in good:
                what = "pool of all other devices" if uuid == ALL_DEVICES else f"device {uuid}"
                wrong = (
                    f"there is a {what} already: {other!r}"
                    if uuid == ALL_DEVICES
                    else f"the {what} is in the pool {other!r} already"
                )
                self.note(where, wrong, "name it in one pool only, once")
                continue
            good.append(uuid)
        return tuple(good)

    def _device(self, path: Path, value: object) -> bool:
        if value == ALL_DEVICES:
            return True
        if not self.name(path, value, "device"):
            return False
        if self._known is None or any(each.uuid == value for each in self._known):
            return True
        instances = sorted(each.uuid for each in self._known if each.parent == value)
        if instances:
            self.note(
                path,
                f"the card {value} is split into MIG instances",
                "name its instances instead: " + ", ".join(instances),
            )
            return False
        uuids = sorted(each.uuid for each in self._known)
        listed = ", ".join(uuids[:8]) + (", …" if len(uuids) > 8 else "")
        self.note(
            path,
            f"this host has no device {shown(value)}{closest(str(value), uuids)}",
            f"write one of {listed}" if uuids else 'write "*", since no device is known yet',
        )
        return False

    # -- limits

    def _rules(self, path: Path, value: object) -> Mapping[str, Rule]:
        example = '{"instructors": {"priority": 5, "lease_hours": 24}}'
        rules = {}
        for inner, name, content in self.entries(path, value, "group", example):
            self.only(inner, content, tuple(DEFAULT_RULE))
            limits = _Limits.of(inner, content, or_else=f'"{UNLIMITED}"')
            place, given = limits.at("priority")
            rule = self._rule(limits, None if given is None else self._priority(place, given))
            rules[name] = replace(rule, lifted=limits.lifted())
        return rules

    def _rule(self, limits: _Limits, priority: int | None) -> Rule:
        return Rule(
            priority,
            lease_hours=self._amount(limits, "lease_hours", 0.1, MOST_HOURS, "hours"),
            max_devices=self._max_devices(limits),
            max_servers=self._whole(limits, "max_servers", 1, "servers"),
            device_hours_per_day=self._device_hours(limits, "device_hours_per_day"),
            device_hours=self._device_hours(limits, "device_hours"),
            environments_gib=self._gib(limits, "environments_gib"),
            work_gib=self._gib(limits, "work_gib"),
        )

    def _group_limits(self, path: Path, value: object) -> Mapping[str, GroupLimits]:
        example = '{"class-a": {"max_devices": 4, "device_hours_per_day": 40}}'
        found = {}
        for inner, name, content in self.entries(path, value, "group", example):
            self.only(inner, content, [each.name for each in fields(GroupLimits)])
            limits = _Limits.of(inner, content)
            found[name] = GroupLimits(
                max_devices=self._max_devices(limits),
                device_hours_per_day=self._device_hours(limits, "device_hours_per_day"),
                device_hours=self._device_hours(limits, "device_hours"),
            )
        return found

    def _priority(self, path: Path, value: object) -> int:
        return self.whole(path, value, 0, TOP_PRIORITY, "a priority")

    def _max_devices(self, limits: _Limits) -> int | None:
        return self._whole(limits, "max_devices", 0, "devices")

    def _device_hours(self, limits: _Limits, name: str) -> float | None:
        return self._amount(limits, name, 0, MOST_DEVICE_HOURS, "device-hours")

    def _gib(self, limits: _Limits, name: str) -> float | None:
        return self._amount(limits, name, LEAST_GIB, MOST_GIB, "GiB")

    def _whole(self, limits: _Limits, name: str, least: int, what: str) -> int | None:
        path, value = limits.at(name)
        if is_unlimited(value):
            return None
        return self.whole(path, value, least, MOST_AT_ONCE, what, limits.or_else)

    def _amount(
        self, limits: _Limits, name: str, least: float, most: float, what: str
    ) -> float | None:
        path, value = limits.at(name)
        if is_unlimited(value):
            return None
        return self.amount(path, value, least, most, what, limits.or_else)


# field of Rule -> trait that sets it for everyone
DEFAULT_RULE = {
    "priority": "priority",
    "lease_hours": "lease_hours",
    "max_devices": "max_devices_per_user",
    "max_servers": "max_servers_per_user",
    "device_hours_per_day": "device_hours_per_day",
    "device_hours": "device_hours",
    "environments_gib": "environments_gib",
    "work_gib": "work_gib",
}
