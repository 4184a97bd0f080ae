"""Who used how much, for people and spreadsheets. Pure.

Guarantees: every device-second is counted once, unless by group: who is in two groups counts for
both. A spreadsheet takes no cell for a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from operator import attrgetter

from ..models import Usage

DIMENSIONS = ("day", "user", "group", "device")
_PARTS: dict[str, Callable[[Usage], str]] = {
    "day": lambda row: row.day.isoformat(),
    "user": attrgetter("user"),
    "group": attrgetter("group"),
    "device": attrgetter("device_uuid"),
}
# where Chinese and Japanese is read, the wide forms count as well
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def first_day(last: date, days: int) -> date:
    """The first of so many days, or of all days there are."""
    return last - min(timedelta(days - 1), last - date.min)


def summed(rows: Iterable[Usage], by: Sequence[str]) -> list[dict[str, object]]:
    """Device-seconds for each combination of the dimensions in `by`, in their order."""
    of_groups = "group" in by
    parts = [_PARTS[name] for name in by]
    sums: dict[tuple[str, ...], float] = {}
    for row in rows:
        if bool(row.group) is of_groups:
            key = tuple([part(row) for part in parts])
            sums[key] = sums.get(key, 0.0) + row.seconds
    found = []
    for key, seconds in sorted(sums.items()):
        values: dict[str, object] = dict(zip(by, key, strict=True))
        values["device_seconds"] = round(seconds, 3)
        found.append(values)
    return found


def as_csv(rows: Iterable[dict[str, object]], by: Sequence[str]) -> str:
    """The same as a spreadsheet reads it, with device-hours."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*by, "device_hours"])
    for row in rows:
        hours = float(str(row["device_seconds"])) / 3600
        writer.writerow([*(_cell(str(row[name])) for name in by), f"{hours:.4f}"])
    return out.getvalue()


def _cell(value: str) -> str:
    return "'" + value if value.startswith(_FORMULA) else value
