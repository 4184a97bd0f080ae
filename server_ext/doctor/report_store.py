"""The last report on disk.

Guarantees: a reader sees an old report or a new one, never half of one; saving never fails an
examination (the error is returned as text); the file holds texts in English and what is needed to
show them in another language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import json_file, regular_file
from .checks import CATALOGUE
from .findings import Finding, Gettext
from .repairs.steps import translated

LARGEST = 8 * 2**20


def save(path: Path, report: Mapping[str, Any]) -> str:
    """Writes the report; returns "" or why it could not. Blocks: call it in a thread."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        json_file.write(path, report)
    except OSError as error:
        return str(error)
    return ""


def load(path: Path) -> dict[str, Any] | None:
    """The last report, or None when there is none that can be read. Blocks: call it in a thread."""
    text = regular_file.read(path, LARGEST)
    try:
        value = None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("findings"), list) else None


def localised(report: Mapping[str, Any], gettext: Gettext, docs_url: str) -> dict[str, Any]:
    """The report with its findings in another language; a finding of an unknown code stays as it
    is.
    """
    findings = []
    for entry in report["findings"]:
        code = CATALOGUE.get(str(entry.get("code"))) if isinstance(entry, dict) else None
        evidence, params = (entry.get(key) for key in ("evidence", "params")) if code else ((), {})
        if code is None or not isinstance(evidence, list) or not isinstance(params, dict):
            findings.append(entry)
            continue
        strings = {str(key): str(value) for key, value in params.items()}
        who = entry.get("who")
        finding = Finding(
            code,
            tuple(str(item) for item in evidence),
            strings,
            # whoever could mend it then: it may depend on facts that are not looked at again
            who=who if who in ("you", "instructor") else None,
        )
        findings.append(
            {
                **finding.describe(gettext, docs_url),
                # as it was offered then, too
                "command": str(entry.get("command") or ""),
                "repair": translated(entry.get("repair"), gettext),
            }
        )
    return {**report, "findings": findings}
