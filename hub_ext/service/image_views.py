"""What is told about images, as JSON-ready values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..images import ImagePull
from .images import KnownImage
from .lease_views import Json

if TYPE_CHECKING:
    from .parts import Service


async def images_view(service: Service) -> list[Json]:
    """All, by name. Raises EngineUnavailable, EngineRefused, LedgerUnavailable."""
    return [image_view(service, each) for each in await service.images.known()]


def image_view(service: Service, image: KnownImage) -> Json:
    """An image and the servers that run it."""
    fact, pin = image.fact, image.pin
    running = [
        each
        for each in service.monitor.health.containers
        if each.running and fact is not None and each.image_id == fact.id
    ]
    return {
        "image": image.name,
        "id": fact.id if fact is not None else None,
        "tags": sorted(fact.tags) if fact is not None else [],
        "size_bytes": fact.size if fact is not None else None,
        "created_at": fact.created_at.isoformat() if fact and fact.created_at else None,
        "present": fact is not None,
        "for_servers": image.for_servers,
        "configured": image.configured,
        "in_force": image.in_force,
        "pin": None
        if pin is None
        else {"at": pin.pinned_at.isoformat(), "by": pin.pinned_by, "reason": pin.reason},
        "servers": [
            {"user": each.user, "server": each.server}
            for each in sorted(running, key=lambda each: (each.user, each.server))
        ],
        "pull": pull_view(service, image.pull) if image.pull is not None else None,
    }


def pull_view(service: Service, pull: ImagePull) -> Json:
    """A pull, and how far it is if it is under way and the Engine has said so."""
    progress = service.images.pulls.progress(pull.id)
    return {
        "state": pull.state.value,
        "requested_by": pull.requested_by,
        "requested_at": pull.requested_at.isoformat(),
        "reason": pull.reason,
        "ended_at": pull.ended_at.isoformat() if pull.ended_at is not None else None,
        "error": pull.error or None,
        "progress": None
        if progress is None
        else {
            "layers_done": progress.layers_done,
            "layers": progress.layers,
            "bytes_done": progress.bytes_done,
            "bytes_total": progress.bytes_total,
        },
    }
