"""Which variables of an environment no probe may see."""

from __future__ import annotations

import re
from collections.abc import Mapping

SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|API_KEY|CREDENTIAL", re.IGNORECASE)


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a probe: no probe needs a token."""
    return {name: value for name, value in environ.items() if not SECRET.search(name)}
