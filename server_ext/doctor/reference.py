"""What the image was made with, to compare with.

Guarantees: a missing or broken file gives no facts of that kind and says why; never raises.
"""

from __future__ import annotations

import json
import re

from .checks.reading import normalised
from .facts import ProbeResult
from .settings import Settings

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")


def parse_lock(text: str) -> dict[str, str]:
    """name -> version of a requirements lock file."""
    found = {}
    for line in text.splitlines():
        pin = _PIN.match(line)
        if pin:
            found[normalised(pin[1])] = pin[2]
    return found


def read(settings: Settings) -> ProbeResult:
    """The facts "reference": {lock, versions, environment_prefix}. Reads files, so call it in a
    thread.
    """
    value: dict[str, object] = {}
    problems: list[str] = []
    try:
        value["lock"] = parse_lock((settings.image_root / "base.lock").read_text("utf-8"))
    except (OSError, ValueError) as error:
        problems.append(str(error))
    try:
        value["versions"] = json.loads((settings.image_root / "versions.json").read_text("utf-8"))
        # outside the image, nothing says which Python a kernel should have
        value["environment_prefix"] = str(settings.environment)
    except (OSError, ValueError) as error:
        problems.append(str(error))
    if problems:
        value["problems"] = problems
    return ProbeResult("reference", value=value)
