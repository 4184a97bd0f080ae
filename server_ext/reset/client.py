"""What a reset asks of the service.

Guarantee: the address that a browser is sent to is below the service's own path.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..service_client import ServiceClient


async def environment(client: ServiceClient) -> dict[str, Any]:
    """The environment: generation, can_undo, lease, operation. Raises domain errors."""
    return (await client.call("GET", "")).body


async def reset(client: ServiceClient, *, undo: bool, generation: int | None, reason: str) -> str:
    """Begin a reset or its undo; the path of the page that shows how it goes. generation: the one
    to bring back, None for the one left last; reason: what others are told, "" for none.
    """
    wish: dict[str, object] = {} if generation is None else {"generation": generation}
    if reason:
        wish["reason"] = reason
    answer = (await client.call("POST", "/undo-reset" if undo else "/reset", wish)).body
    progress = answer.get("progress_url")
    if isinstance(progress, str) and _is_below(client.page, progress):
        return progress
    operation = answer.get("operation")
    number = operation.get("id") if isinstance(operation, dict) else None
    if not isinstance(number, (str, int)):
        raise client.nonsense()
    return f"{client.page}operations/{quote(str(number), safe='')}"


def _is_below(page: str, path: str) -> bool:
    return (
        path.startswith(page)
        and not path.startswith("//")
        and ".." not in path
        and "\\" not in path
        and path.isprintable()
    )
