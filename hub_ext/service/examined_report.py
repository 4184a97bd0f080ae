"""The report that `gpucamp-doctor --json` printed in a container, as it is passed on. Pure.

Guarantees: whatever was printed (a user's process may have had its hands in it), what comes out has
this form, is bounded, and can be sent as JSON; what looks like a password is masked; how bad it is
follows from the findings; links lead to the service's own pages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..errors import BadRequest
from ..verdicts import SEVERITIES, Verdict, in_order, worst
from .lease_views import Json
from .verdict_views import CODE, KERNEL, MOST_FINDINGS, docs_url, duration, moment

LONGEST = 2000  # characters of a text
MOST_LINES = 50  # of evidence
MOST_CHECKS = 500
MOST_ITEMS = 5000  # of a list among the facts
DEEPEST = 12

# in the command line of a process, say
_SECRET = re.compile(
    r"""((?:token|secret|passwo?r?d|api[_-]?key)["']?(?:\s*[=:]\s*|\s+))\S+|(://[^\s/@:]*:)[^\s/@]+@""",
    re.IGNORECASE,
)
_NAME = re.compile(r"[a-z0-9_]{1,80}", re.ASCII)


class NoReport(ValueError):
    """What was printed is no report."""


def read_report(printed: bytes, prefix: str) -> Json:
    """Raises NoReport. `prefix` is that of the service."""
    try:
        value = json.loads(printed.decode("utf-8", "replace"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise NoReport(f"it is no JSON: {type(error).__name__}") from error
    if not isinstance(value, dict) or not isinstance(value.get("findings"), list):
        raise NoReport("it has no findings")
    try:
        at = moment("started_at", value.get("started_at"))
        seconds = duration("seconds", value.get("seconds"))
    except BadRequest as error:
        raise NoReport(str(error)) from error
    findings = [_finding(each, prefix) for each in value["findings"][:MOST_FINDINGS]]
    facts = value.get("facts")
    return {
        "started_at": at.isoformat(),
        "seconds": seconds,
        "kernel": _text(value.get("kernel"), 200),
        "verdict": worst(each["severity"] for each in findings).value,
        "findings": sorted(findings, key=lambda each: SEVERITIES.index(each["severity"])),
        "checks_passed": _names(value.get("checks_passed")),
        "checks_skipped": _names(value.get("checks_skipped")),
        "checks_unexamined": _names(value.get("checks_unexamined")),
        "facts": _plain(facts, DEEPEST) if isinstance(facts, dict) else {},
    }


def verdict_in(
    report: Mapping[str, Any], user: str, server: str, lease: str, now: datetime
) -> Verdict:
    """What the service keeps of a report that read_report gave."""
    kernel = str(report["kernel"])
    return Verdict(
        user=user,
        server=server,
        at=min(datetime.fromisoformat(report["started_at"]), now),
        findings=in_order((each["code"], each["severity"]) for each in report["findings"]),
        kernel=kernel if KERNEL.fullmatch(kernel) else "",
        seconds=report["seconds"],
        passed=len(report["checks_passed"]),
        unexamined=len(report["checks_unexamined"]),
        lease_id=lease,
    )


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _finding(value: object, prefix: str) -> Json:
    if not isinstance(value, dict):
        raise NoReport("a finding is no object")
    code, severity = value.get("code"), value.get("severity")
    if not isinstance(code, str) or not CODE.fullmatch(code) or severity not in SEVERITIES:
        raise NoReport("a finding has no code or severity")
    evidence = value.get("evidence")
    lines = evidence[:MOST_LINES] if isinstance(evidence, list) else []
    return {
        "code": code,
        "severity": severity,
        "layer": _text(value.get("layer"), 40),
        "who": "instructor" if value.get("who") == "instructor" else "you",
        "title": _text(value.get("title")),
        "evidence": [_text(line) for line in lines],
        "fix": _text(value.get("fix")),
        "command": _text(value.get("command")),
        "docs_url": docs_url(code, prefix),
    }


def _names(value: object) -> list[str]:
    names = value[:MOST_CHECKS] if isinstance(value, list) else []
    return [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]


def _text(value: object, longest: int = LONGEST) -> str:
    return _SECRET.sub(_masked, tidy(value[:longest])) if isinstance(value, str) else ""


def _masked(found: re.Match[str]) -> str:
    return f"{found[1]}***" if found[1] else f"{found[2]}***@"


def tidy(text: str) -> str:
    """Without characters that steer a terminal, or that UTF-8 does not have."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _plain(value: object, depth: int) -> Any:
    """Facts are passed on as they are, but bounded."""
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return None
    if isinstance(value, list):
        return [_plain(each, depth - 1) for each in value[:MOST_ITEMS]]
    if isinstance(value, dict):
        some = list(value.items())[:MOST_ITEMS]
        return {_text(str(key), 200): _plain(each, depth - 1) for key, each in some}
    return None
