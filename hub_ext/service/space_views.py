"""What a user's volumes take, as JSON-ready values.

Guarantees: what was not measured yet is null, never 0; whoever may read a server's view learns of
no other user's volumes.
"""

from __future__ import annotations

from collections.abc import Collection

from ..policy import Policy
from ..space import level, limit_bytes
from .lease_views import Json, iso
from .space_watch import SpaceWatch


def space_view(
    watch: SpaceWatch, user: str, policy: Policy, groups: Collection[str] | None
) -> Json:
    """Bytes that a user's environments and work take, and their limits. groups: None where nobody
    can say them: then the limits of everyone are told.
    """
    rule = policy.rule_for(groups or ())
    found = watch.of(user)
    environments = found.environments_bytes if found is not None else None
    work = found.work if found is not None else None
    return {
        "measured_at": iso(watch.measured_at),
        "environments": _use(environments, limit_bytes(rule.environments_gib)),
        "work": _use(work, limit_bytes(rule.work_gib)),
    }


def _use(used: int | None, limit: int | None) -> Json:
    return {
        "bytes": used,
        "limit_bytes": limit,
        "level": level(used, limit).value if used is not None else None,
    }
