"""What JupyterLab is told of the service's view of this server. Pure.

Guarantees: the result has every field whatever the service said (of another version, say), each of
its kind or its safe default; times are ISO 8601 with their zone; what is not listed here goes no
further.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Json = dict[str, Any]

MAXIMUM_NOTICES = 20
NOTHING: Json = {
    "lease": None,
    "queue": None,
    "notices": [],
    "quota": None,
    "warn_minutes": [],
    "hand": None,
}


def reduce(view: Mapping[str, Any]) -> Json:
    """lease, queue, notices, quota, warn_minutes (longest first) and hand of a server's view."""
    lease, queue, quota, hand = (view.get(name) for name in ("lease", "queue", "quota", "hand"))
    return {
        "lease": _lease(lease) if isinstance(lease, Mapping) and _text(lease, "id") else None,
        "queue": dict(queue) if isinstance(queue, Mapping) else None,
        "notices": [_notice(one) for one in _objects(view, "notices") if _number(one, "id")][
            :MAXIMUM_NOTICES
        ],
        "quota": dict(quota) if isinstance(quota, Mapping) else None,
        "warn_minutes": _minutes(view.get("warn_minutes")),
        "hand": _hand(hand) if isinstance(hand, Mapping) and _time(hand, "raised_at") else None,
    }


def for_others(view: Json) -> Json:
    """What of it someone may know to whom its user has shared the server."""
    lease = view["lease"]
    hidden = {"can_extend": False, "extend_refusal": None}
    return {
        **view,
        "lease": None if lease is None else {**lease, **hidden},
        "notices": [],
        "quota": None,
        "hand": None,
    }


def _hand(hand: Mapping[str, Any]) -> Json:
    return {"raised_at": _time(hand, "raised_at"), "text": _text(hand, "text")}


def _lease(lease: Mapping[str, Any]) -> Json:
    return {
        "id": _text(lease, "id"),
        "state": _text(lease, "state"),
        "expires_at": _time(lease, "expires_at"),
        "extensions": _number(lease, "extensions"),
        "can_extend": lease.get("can_extend") is True,
        "extend_refusal": _text(lease, "extend_refusal") or None,
        "shared": lease.get("shared") is True,
        "idle_since": _time(lease, "idle_since"),
        "reclaim_at": _time(lease, "reclaim_at"),
        "devices": [_device(one) for one in _objects(lease, "devices")],
    }


def _device(device: Mapping[str, Any]) -> Json:
    return {
        "uuid": _text(device, "uuid"),
        "name": _text(device, "name"),
        "simulated": device.get("simulated") is True,
        "mig": device.get("mig") is True,
        "state": _text(device, "state") or "healthy",
        "reason": _text(device, "reason"),
        "cordon": _text(device, "cordon"),
    }


def _notice(notice: Mapping[str, Any]) -> Json:
    return {
        "id": _number(notice, "id"),
        "at": _time(notice, "at"),
        "kind": _text(notice, "kind"),
        "text": _text(notice, "text"),
    }


def _objects(parent: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = parent.get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(parent: Mapping[str, Any], name: str) -> str:
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def _number(parent: Mapping[str, Any], name: str) -> int:
    value = parent.get(name)
    return value if type(value) is int and value > 0 else 0


def _time(parent: Mapping[str, Any], name: str) -> str | None:
    try:
        time = datetime.fromisoformat(_text(parent, name))
    except ValueError:
        return None
    return time.isoformat() if time.tzinfo is not None else None


def _minutes(value: object) -> list[float]:
    if not isinstance(value, list):
        return []
    known = {one for one in value if type(one) in (int, float) and 0 < one < float("inf")}
    return sorted(known, reverse=True)
