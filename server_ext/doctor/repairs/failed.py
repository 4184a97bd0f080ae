"""A repair that was not done."""

from __future__ import annotations

from ...errors import ServiceUnavailable


class RepairFailed(ServiceUnavailable):
    """It was not mended; the text says why."""
