"""Readers of single settings: a value as an admin wrote it -> a value of its type. Pure.

What this module guarantees: no value raises; whatever is not right is noted as a Problem, which
names the setting, what is wrong and what to write instead, and the reader still returns something
of its type, so that one look finds everything.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

Path = tuple[str | int, ...]  # of a setting: ("GpuPolicy", "pools", "class", "slots")

UNLIMITED = "unlimited"
MOST_HOURS = 366 * 24.0
MOST_MINUTES = MOST_HOURS * 60
LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Problem:
    """One setting that cannot stay as it is; both sentences are for the admin."""

    path: Path
    wrong: str
    instead: str


def said(path: Path) -> str:
    """A setting's path as it stands in a configuration file."""
    keys = "".join(f"[{part}]" if isinstance(part, int) else f'["{part}"]' for part in path[2:])
    return ".".join(("c", *map(str, path[:2]))) + keys


def closest(name: str, names: Sequence[str]) -> str:
    """`; did you mean "…"?` if one of the names is nearly it, else ""."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'; did you mean "{near[0]}"?' if near else ""


class Readers:
    """One look at all settings, with the problems that it finds."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def note(self, path: Path, wrong: str, instead: str) -> None:
        """Something to mend."""
        self.problems.append(Problem(path, wrong, instead))

    # -- numbers; `or_else` says what else may be written, where the caller has looked for it

    def whole(
        self, path: Path, value: object, least: int, most: int, what: str, or_else: str = ""
    ) -> int:
        """A whole number."""
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.note(
            path,
            f"{shown(value)} is no number of {what}",
            f"write a whole number from {least} to {most}" + (f", or {or_else}" if or_else else ""),
        )
        return least

    def amount(
        self, path: Path, value: object, least: float, most: float, what: str, or_else: str = ""
    ) -> float:
        """A number that may have a fraction."""
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and least <= value <= most
        ):
            return float(value)
        self.note(
            path,
            f"{shown(value)} is no number of {what}",
            f"write a number from {least:g} to {most:g}" + (f", or {or_else}" if or_else else ""),
        )
        return 1.0

    def hours(self, path: Path, value: object) -> timedelta:
        """A number of hours, from a minute on."""
        return timedelta(hours=self.amount(path, value, 1 / 60, MOST_HOURS, "hours"))

    def minutes(self, path: Path, value: object, or_else: str = "") -> timedelta:
        """A number of minutes."""
        return timedelta(minutes=self.amount(path, value, 0.1, MOST_MINUTES, "minutes", or_else))

    def switch(self, path: Path, value: object) -> bool:
        """True or False."""
        if isinstance(value, bool):
            return value
        self.note(path, f"{shown(value)} is neither yes nor no", "write True or False")
        return False

    def warnings(self, path: Path, value: object) -> tuple[timedelta, ...]:
        """Numbers of minutes, longest first."""
        if not isinstance(value, list | tuple) or len(value) > 10:
            self.note(
                path,
                f"{shown(value)} is no list of at most ten numbers of minutes",
                "write a list such as [30, 10, 5]; [] for no warning",
            )
            return ()
        read = [self.minutes((*path, place), each) for place, each in enumerate(value)]
        return tuple(sorted(set(read), reverse=True))

    def moment(self, path: Path, value: object) -> datetime | None:
        """A date or time; None where nothing is written."""
        if value is None or value == "":
            return None
        if found := _moment(value):
            return found
        self.note(
            path,
            f"{shown(value)} is no date, nor a time with its time zone",
            'write a date such as "2026-11-24" or a time such as "2026-11-24T09:00+01:00"',
        )
        return None

    # -- names

    def name(self, path: Path, value: object, what: str) -> bool:
        """Whether this can name something; `what` it would name."""
        if (
            isinstance(value, str)
            and value.strip() == value != ""
            and len(value) <= LONGEST_NAME
            and value.isprintable()
        ):
            return True
        self.note(
            path, f"{shown(value)} is no name of a {what}", f"write the name of a {what} in quotes"
        )
        return False

    def groups(self, path: Path, value: object) -> tuple[str, ...]:
        """Names of groups, each once; () is everyone."""
        if value is None:
            return ()
        if not isinstance(value, list | tuple | set | frozenset):
            self.note(
                path,
                f"{shown(value)} is no list of groups",
                'write a list such as ["class-a", "class-b"]; [] for everyone',
            )
            return ()
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        good = [
            each for place, each in enumerate(items) if self.name((*path, place), each, "group")
        ]
        return tuple(dict.fromkeys(good))

    def entries(
        self, path: Path, value: object, what: str, example: str
    ) -> list[tuple[Path, str, Mapping[str, object]]]:
        """The named entries of a dict of dicts."""
        if not isinstance(value, Mapping):
            self.note(
                path,
                f"{shown(value)} names no {what}",
                f"write {example}",
            )
            return []
        found = []
        for name, content in value.items():
            inner = (*path, str(name))
            if not self.name(inner, name, what):
                continue
            if not isinstance(content, Mapping):
                self.note(inner, f"{shown(content)} does not say what holds", f"write {example}")
                continue
            found.append((inner, str(name), content))
        return found

    def only(self, path: Path, content: Mapping[str, object], keys: Sequence[str]) -> None:
        """Note every key that is none of these."""
        for key in content:
            if key not in keys:
                near = closest(str(key), keys)
                self.note((*path, str(key)), f"there is no {shown(key)} here{near}", _one_of(keys))


def _moment(value: object) -> datetime | None:
    """A date, from its start in UTC, or a time that has a time zone; None for anything else."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            value = found.replace(tzinfo=UTC) if len(value) <= 10 else found
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    return None


def is_unlimited(value: object) -> bool:
    """Whether this is one of the ways to write that there is no limit."""
    return value is None or value == UNLIMITED or value == math.inf


def _one_of(keys: Sequence[str]) -> str:
    return "write one of " + ", ".join(f'"{key}"' for key in keys)


def shown(value: object) -> str:
    """A value as it was written, if it is short."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
