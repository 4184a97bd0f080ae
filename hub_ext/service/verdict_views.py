"""GPU doctor's last verdicts, as JSON-ready values, and how one that a server sent is read.

Guarantees: only what has the form of verdicts.py is kept; a time in the future counts as now, so
that a wrong clock cannot hold later verdicts off.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest
from ..i18n import _
from ..models import Lease
from ..verdicts import SEVERITIES, Verdict, Word, in_order
from .lease_views import Json, iso, revocation_view
from .space_views import space_view

if TYPE_CHECKING:
    from .parts import Service

MOST_FINDINGS = 200
MOST_CHECKS = 10_000
MOST_SECONDS = 24 * 3600.0
CODE = re.compile(r"GC[0-9]{3}", re.ASCII)
KERNEL = re.compile(r"[A-Za-z0-9._-]{0,100}", re.ASCII)
VERSION = re.compile(r"[0-9A-Za-z.+-]{0,40}", re.ASCII)
LEASE = re.compile(r"[0-9a-z]{0,32}", re.ASCII)

_ORDER = tuple(Word)


def verdict_view(found: Verdict | None, lease: Lease | None, prefix: str) -> Json | None:
    """A verdict; `lease` is the one that the server has now, `prefix` that of the service."""
    if found is None:
        return None
    return {
        "at": found.at.isoformat(),
        "verdict": found.word.value,
        "findings": [
            {"code": code, "severity": severity, "docs_url": docs_url(code, prefix)}
            for code, severity in found.findings
        ],
        "kernel": found.kernel,
        "seconds": found.seconds,
        "checks_passed": found.passed,
        "checks_unexamined": found.unexamined,
        "version": found.version,
        "current": lease is not None and lease.id == found.lease_id,
    }


def docs_url(code: str, prefix: str) -> str:
    """Where the service has the page of a code."""
    return f"{prefix}findings/{code}"


async def servers_view(service: Service, wanted: Callable[[Lease], bool]) -> list[Json]:
    """Servers with a lease that is wanted, those in need first. LedgerUnavailable."""
    ledger = service.ledger
    snapshot, known = await asyncio.to_thread(
        lambda: (ledger.snapshot(service.now()), ledger.verdicts())
    )
    rows = [
        {
            "user": lease.user,
            "server": lease.server,
            "lease": lease.id,
            "state": lease.state.value,
            "devices": len(lease.device_uuids),
            "granted_at": lease.granted_at.isoformat(),
            "expires_at": iso(lease.expires_at),
            "revocation": revocation_view(lease.revocation),
            "space": space_view(service.space, lease.user, snapshot.policy, lease.groups),
            "doctor": verdict_view(known.get((lease.user, lease.server)), lease, service.prefix),
        }
        for lease in snapshot.leases
        if wanted(lease)
    ]
    return sorted(rows, key=urgency)


def urgency(row: Json) -> tuple[int, str, str]:
    """What was found since the server started counts; then what nobody looked at."""
    doctor = row["doctor"]
    word = Word(doctor["verdict"]) if doctor and doctor["current"] else None
    if word in (None, Word.HEALTHY):
        return len(_ORDER) + (word is Word.HEALTHY), row["user"], row["server"]
    return _ORDER.index(word), row["user"], row["server"]


# -- reading


def verdict_of(user: str, server: str, given: Mapping[str, Any], now: datetime) -> Verdict:
    """The verdict of fields that FIELDS checked."""
    return Verdict(
        user=user,
        server=server,
        at=min(given["at"], now),
        findings=in_order(given["findings"]),
        kernel=given.get("kernel", ""),
        seconds=given.get("seconds", 0.0),
        passed=given.get("checks_passed", 0),
        unexamined=given.get("checks_unexamined", 0),
        version=given.get("version", ""),
        lease_id=given.get("lease", ""),
    )


def moment(name: str, value: object) -> datetime:
    """Checks a time with its offset from UTC."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadRequest(
        _("{name} must be a time with its offset, such as 2026-01-31T12:00:00Z.").format(name=name)
    )


def found_codes(name: str, value: object) -> tuple[tuple[str, Any], ...]:
    """Checks a list of {"code", "severity"}."""
    if isinstance(value, list) and len(value) <= MOST_FINDINGS:
        pairs = [
            (each["code"], each["severity"])
            for each in value
            if isinstance(each, dict)
            and set(each) == {"code", "severity"}
            and isinstance(each["code"], str)
            and CODE.fullmatch(each["code"])
            and each["severity"] in SEVERITIES
        ]
        if len(pairs) == len(value):
            return tuple(pairs)
    raise BadRequest(
        _(
            "{name} must be a list of at most {most} findings, each a code such as GC101 and a "
            "severity: {severities}."
        ).format(name=name, most=MOST_FINDINGS, severities=", ".join(SEVERITIES))
    )


def duration(name: str, value: object) -> float:
    """Checks seconds."""
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= MOST_SECONDS
    ):
        return round(float(value), 3)
    raise BadRequest(
        _("{name} must be a number from 0 to {most}.").format(name=name, most=int(MOST_SECONDS))
    )


def of_form(pattern: re.Pattern[str]) -> Callable[[str, object], str]:
    """Checks a name of this form."""

    def check(name: str, value: object) -> str:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        raise BadRequest(
            _("{name} must match {pattern}.").format(name=name, pattern=pattern.pattern)
        )

    return check
