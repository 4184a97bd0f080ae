"""Settings as an admin writes them -> a Policy, or everything that is wrong with them. Pure.

What this module guarantees: a Policy that comes with no problem is consistent (no device in two
pools, at most one pool of all other devices, every number in its bounds); every problem is found in
one go and names the setting, what is wrong and what to write instead; no value raises.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

from .models import Device
from .policy import ALL_DEVICES, GroupLimits, Policy, Pool, Rule

Path = tuple[str | int, ...]  # of a setting: ("GpuPolicy", "pools", "class", "slots")
Reader = Callable[[Path, object], object]

UNLIMITED = "unlimited"
TOP_PRIORITY = 10
MOST_SLOTS = 64
MOST_HOURS = 366 * 24.0
MOST_MINUTES = MOST_HOURS * 60
MOST_AMOUNT = 1e9  # device-hours
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot stay as it is; both sentences are for the admin."""

    path: Path
    wrong: str
    instead: str


def read_policy(
    values: Mapping[str, object], known: Sequence[Device] | None
) -> tuple[Policy, tuple[Problem, ...]]:
    """The policy that these values of GpuPolicy's traits mean, and what is wrong with them.

    `known` are the devices that this host has, or had; None if nobody can say, so that no UUID is
    called unknown. With problems the policy is of no use.
    """
    return _Reading(known).policy(values)


def said(path: Path) -> str:
    """A setting's path as it stands in a configuration file."""
    keys = "".join(f"[{part}]" if isinstance(part, int) else f'["{part}"]' for part in path[2:])
    return ".".join(("c", *map(str, path[:2]))) + keys


def closest(name: str, names: Sequence[str]) -> str:
    """`; did you mean "…"?` if one of the names is nearly it, else ""."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


class _Reading:
    """One look at all settings; a reader notes what is wrong and returns something of its type."""

    def __init__(self, known: Sequence[Device] | None) -> None:
        self._known = known
        self._problems: list[Problem] = []

    def policy(self, values: Mapping[str, object]) -> tuple[Policy, tuple[Problem, ...]]:
        def of(name: str, reader: Callable[[Path, object], object]) -> object:
            return reader(("GpuPolicy", name), values[name])

        rule = {
            field: of(trait, RULE_READERS[field](self, _NO_LIMIT)) for field, trait in DEFAULT_RULE
        }
        read: dict[str, object] = {
            "pools": of("pools", self._pools),
            "default": Rule(**rule),  # type: ignore[arg-type]
            "rules": of("group_rules", self._rules),
            "group_limits": of("group_limits", self._group_limits),
            "event_start": of("event_start", self._event_start),
            "half_life": of("half_life_hours", self._hours),
            "aging": of("aging_minutes", self._minutes),
            "extension": of("extension_minutes", self._minutes),
            "auto_extend": of("auto_extend", self._switch),
            "warnings": of("warning_minutes", self._warnings),
            "idle_after": of("idle_minutes", self._minutes_or_never),
            "idle_answer": of("idle_answer_minutes", self._minutes),
            "idle_utilization_percent": of(
                "idle_utilization_percent", self.whole(0, 100, "percent")
            ),
        }
        return Policy(**read), tuple(self._problems)  # type: ignore[arg-type]

    def note(self, path: Path, wrong: str, instead: str) -> None:
        self._problems.append(Problem(path, wrong, instead))

    # -- numbers; None is what stands for "no limit" in a Rule of its own

    def whole(self, least: int, most: int, what: str, *, none: str = "") -> Reader:
        """A whole number; with `none`, None stands for that."""

        def read(path: Path, value: object) -> object:
            if none and _is_unlimited(value):
                return None
            if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
                return value
            self.note(
                path,
                f"{_shown(value)} is no number of {what}",
                f"write a whole number from {least} to {most}" + (f", or {none}" if none else ""),
            )
            return least

        return read

    def amount(self, least: float, most: float, what: str, *, none: str = "") -> Reader:
        """A number that may have a fraction; with `none`, None stands for that."""

        def read(path: Path, value: object) -> object:
            if none and _is_unlimited(value):
                return None
            if _is_number(value) and least <= float(value) <= most:  # type: ignore[arg-type]
                return float(value)  # type: ignore[arg-type]
            self.note(
                path,
                f"{_shown(value)} is no number of {what}",
                f"write a number from {least:g} to {most:g}" + (f", or {none}" if none else ""),
            )
            return 1.0

        return read

    def _hours(self, path: Path, value: object) -> timedelta:
        hours = self.amount(1 / 60, MOST_HOURS, "hours")(path, value)
        return timedelta(hours=hours)  # type: ignore[arg-type]

    def _minutes(self, path: Path, value: object) -> timedelta:
        minutes = self.amount(0.1, MOST_MINUTES, "minutes")(path, value)
        return timedelta(minutes=minutes)  # type: ignore[arg-type]

    def _minutes_or_never(self, path: Path, value: object) -> timedelta | None:
        minutes = self.amount(
            0.1, MOST_MINUTES, "minutes", none="None: idle devices are not taken back"
        )(path, value)
        return None if minutes is None else timedelta(minutes=minutes)  # type: ignore[arg-type]

    def _switch(self, path: Path, value: object) -> bool:
        if isinstance(value, bool):
            return value
        self.note(path, f"{_shown(value)} is neither yes nor no", "write True or False")
        return False

    def _warnings(self, path: Path, value: object) -> tuple[timedelta, ...]:
        if not isinstance(value, list | tuple) or len(value) > 10:
            self.note(
                path,
                f"{_shown(value)} is no list of at most ten numbers of minutes",
                "write a list such as [30, 10, 5]; [] for no warning",
            )
            return ()
        read = [self._minutes((*path, place), each) for place, each in enumerate(value)]
        return tuple(sorted(set(read), reverse=True))

    def _event_start(self, path: Path, value: object) -> datetime | None:
        if value is None or value == "":
            return None
        moment: datetime | None = None
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, date):
            moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
        elif isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                moment = None
            if moment is not None and len(value) <= 10:
                moment = moment.replace(tzinfo=UTC)
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
        self.note(
            path,
            f"{_shown(value)} is no date, nor a time with its time zone",
            'write a date such as "2026-11-24" or a time such as "2026-11-24T09:00+01:00"',
        )
        return None

    # -- names

    def _name(self, path: Path, value: object, what: str) -> bool:
        if (
            isinstance(value, str)
            and value.strip() == value != ""
            and len(value) <= LONGEST_NAME
            and value.isprintable()
        ):
            return True
        self.note(
            path, f"{_shown(value)} is no name of a {what}", f"write the name of a {what} in quotes"
        )
        return False

    def _groups(self, path: Path, value: object) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list | tuple | set | frozenset):
            self.note(
                path,
                f"{_shown(value)} is no list of groups",
                'write a list such as ["class-a", "class-b"]; [] for everyone',
            )
            return ()
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        good = [
            each for place, each in enumerate(items) if self._name((*path, place), each, "group")
        ]
        return tuple(dict.fromkeys(good))

    def _entries(
        self, path: Path, value: object, what: str, example: str
    ) -> list[tuple[Path, str, Mapping[str, object]]]:
        """The named entries of a dict of dicts."""
        if not isinstance(value, Mapping):
            self.note(
                path,
                f"{_shown(value)} names no {what}",
                f"write {example}",
            )
            return []
        found = []
        for name, content in value.items():
            inner = (*path, str(name))
            if not self._name(inner, name, what):
                continue
            if not isinstance(content, Mapping):
                self.note(inner, f"{_shown(content)} does not say what holds", f"write {example}")
                continue
            found.append((inner, str(name), content))
        return found

    def _only(self, path: Path, content: Mapping[str, object], keys: Sequence[str]) -> None:
        for key in content:
            if key not in keys:
                near = closest(str(key), keys)
                self.note((*path, str(key)), f"there is no {_shown(key)} here{near}", _one_of(keys))

    # -- pools

    def _pools(self, path: Path, value: object) -> tuple[Pool, ...]:
        example = '{"class": {"devices": "*", "slots": 4, "groups": ["class-a"]}}'
        pools: list[Pool] = []
        owner: dict[str, str] = {}
        for inner, name, content in self._entries(path, value, "pool", example):
            self._only(inner, content, ("devices", "slots", "groups"))
            slots = self.whole(1, MOST_SLOTS, "leases that share a device")(
                (*inner, "slots"), content.get("slots", 1)
            )
            pools.append(
                Pool(
                    name,
                    devices=self._devices(inner, name, content, owner),
                    slots=slots,  # type: ignore[arg-type]
                    groups=self._groups((*inner, "groups"), content.get("groups", ())),
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
        if not self._name(path, value, "device"):
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
            f"this host has no device {_shown(value)}{closest(str(value), uuids)}",
            f"write one of {listed}" if uuids else 'write "*", since no device is known yet',
        )
        return False

    # -- groups

    def _rules(self, path: Path, value: object) -> Mapping[str, Rule]:
        example = '{"instructors": {"priority": 5, "lease_hours": 24}}'
        return {
            name: Rule(**self._fields(inner, content, Rule, lifts=True))  # type: ignore[arg-type]
            for inner, name, content in self._entries(path, value, "group", example)
        }

    def _group_limits(self, path: Path, value: object) -> Mapping[str, GroupLimits]:
        example = '{"class-a": {"max_devices": 4, "device_hours_per_day": 40}}'
        return {
            name: GroupLimits(**self._fields(inner, content, GroupLimits))  # type: ignore[arg-type]
            for inner, name, content in self._entries(path, value, "group", example)
        }

    def _fields(
        self, path: Path, content: Mapping[str, object], cls: type, *, lifts: bool = False
    ) -> dict[str, object]:
        """The values of a Rule or GroupLimits; with `lifts`, "unlimited" becomes math.inf."""
        names = [each.name for each in fields(cls)]
        none = f'"{UNLIMITED}"' if lifts else _NO_LIMIT
        self._only(path, content, names)
        read: dict[str, object] = {}
        for name in names:
            value = content.get(name)
            if value is None:
                continue
            if lifts and name != "priority" and _is_unlimited(value):
                read[name] = math.inf
            else:
                read[name] = RULE_READERS[name](self, none)((*path, name), value)
        return read


_NO_LIMIT = "None for no limit"

# of a Rule and of GroupLimits, with what lifts the limit there
RULE_READERS: dict[str, Callable[[_Reading, str], Reader]] = {
    "priority": lambda r, _none: r.whole(0, TOP_PRIORITY, "a priority"),
    "lease_hours": lambda r, none: r.amount(0.1, MOST_HOURS, "hours", none=none),
    "max_devices": lambda r, none: r.whole(0, 100_000, "devices", none=none),
    "max_servers": lambda r, none: r.whole(1, 100_000, "servers", none=none),
    "device_hours_per_day": lambda r, none: r.amount(0, MOST_AMOUNT, "device-hours", none=none),
    "device_hours": lambda r, none: r.amount(0, MOST_AMOUNT, "device-hours", none=none),
}

# (field of Rule, trait that sets it for everyone)
DEFAULT_RULE = (
    ("priority", "priority"),
    ("lease_hours", "lease_hours"),
    ("max_devices", "max_devices_per_user"),
    ("max_servers", "max_servers_per_user"),
    ("device_hours_per_day", "device_hours_per_day"),
    ("device_hours", "device_hours"),
)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -1e15 < value < 1e15  # False for NaN, too


def _is_unlimited(value: object) -> bool:
    return value is None or value == UNLIMITED or value == math.inf


def _one_of(keys: Sequence[str]) -> str:
    return "write one of " + ", ".join(f'"{key}"' for key in keys)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
