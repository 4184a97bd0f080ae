"""What the service tells about servers and operations, as JSON-ready values.

Guarantees: a hub or an Engine that does not answer makes single values unknown (null), never an
error; no secret and no other user's data is in a server's view.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from ..errors import HubRefused, HubUnavailable, NotFound
from ..i18n import _
from ..models import FINAL_STEPS, KeptGeneration, Operation, OperationStep
from .hand_views import hand_view
from .hub_api import HubServer
from .lease_views import Json, lease_facts, term_views
from .space_views import space_view
from .verdict_views import verdict_view
from .wording import expiry_text, failure_message, failure_text, split_error, step_text

if TYPE_CHECKING:
    from .parts import Service


def server_url(base_url: str, user: str, server: str) -> str:
    """The address of a user's server below the hub's base URL."""
    url = f"{base_url}user/{quote(user)}/"
    return f"{url}{quote(server)}/" if server else url


def server_path(user: str, server: str) -> str:
    """The path of a server's resource below this service's prefix."""
    path = f"users/{quote(user, safe='')}"
    return f"{path}/servers/{quote(server, safe='')}" if server else f"{path}/server"


async def server_view(service: Service, user: str, server: str) -> Json:
    """A server's environment, latest operation, lease, notices, verdict, and its user's hand.

    Raises NotFound for an unknown user, or a named server that was never made. The default server
    of a user always is, if only stopped.
    """
    ledger = service.ledger
    found: HubServer | None = None
    state = "stopped"
    try:
        found = await service.hub.server(user, server)
        if found is not None:
            state = _state(found)
        elif server:
            raise NotFound(_("There is no such server."))
    except (HubUnavailable, HubRefused):
        state = "unknown"
    environment, failed_starts, operation, verdict, hand, image = await asyncio.to_thread(
        lambda: (
            ledger.environment(user, server),
            ledger.failed_starts(user, server),
            ledger.operation_of(user, server),
            ledger.verdict(user, server),
            ledger.hand(user),
            ledger.image_in_force(service.image),
        )
    )
    facts = await lease_facts(service, user, server)
    container = next(
        (c for c in service.monitor.health.containers if (c.user, c.server) == (user, server)), None
    )
    return {
        "user": user,
        "server": server,
        "running": None if state == "unknown" else state == "running",
        "state": state,
        "url": server_url(service.hub_base_url, user, server),
        "image": container.image if container is not None else image,
        "generation": environment.generation,
        "newest": environment.newest,
        "can_undo": bool(environment.kept),
        "undo": [kept_view(each) for each in environment.kept],
        "failed_starts": failed_starts,
        "operation": operation_brief(operation) if operation is not None else None,
        "hand": hand_view(hand),
        "doctor": verdict_view(verdict, facts.lease, service.prefix),
        "space": space_view(service.space, user, facts.snapshot.policy, facts.groups),
        **term_views(facts, user),
    }


def _state(found: HubServer) -> str:
    if found.pending == "spawn":
        return "starting"
    if found.pending == "stop":
        return "stopping"
    if found.ready:
        return "running"
    return "stopped" if found.stopped else "starting"


def kept_view(kept: KeptGeneration) -> Json:
    """A generation that an undo can go back to."""
    return {
        "generation": kept.generation,
        "left_at": kept.left_at.isoformat(),
        "resets_left": kept.resets_left,
        "expires": expiry_text(kept.resets_left),
    }


def operation_brief(operation: Operation) -> Json:
    """An operation within a server's view."""
    return {
        "id": operation.id,
        "kind": operation.kind.value,
        "step": operation.step.value,
        "error": failure_message(operation.error) if operation.error else None,
        "generation": operation.generation,
        "reason": operation.reason,
        "requested_by": operation.requested_by,
        "requested_at": operation.requested_at.isoformat(),
    }


def operation_view(operation: Operation, base_url: str) -> Json:
    """An operation with the steps that a person watches."""
    code = split_error(operation.error)[0] if operation.error else None
    return {
        **operation_brief(operation),
        "user": operation.user,
        "server": operation.server,
        "steps": _steps(operation),
        "error_code": code.value if code is not None else None,
        "done": operation.step in FINAL_STEPS,
        "switched": _switched(operation),
        "start_after": operation.start_after,
        "server_url": server_url(base_url, operation.user, operation.server),
    }


def _switched(operation: Operation) -> bool:
    """Whether the environment has changed already."""
    if operation.step is OperationStep.FAILED:
        return failure_text(split_error(operation.error)[0]).at is OperationStep.STARTING
    return operation.step in (OperationStep.STARTING, OperationStep.DONE)


def _steps(operation: Operation) -> list[Json]:
    """Each step with its state: done, current, failed or waiting."""
    shown: tuple[OperationStep, ...]
    if operation.start_after:
        shown = (OperationStep.STOPPING, OperationStep.SWITCHING, OperationStep.STARTING)
    else:
        shown = (OperationStep.SWITCHING,)
    order = list(OperationStep)
    at = operation.step
    failed_at: OperationStep | None = None
    if at is OperationStep.FAILED:
        failed_at = failure_text(split_error(operation.error)[0]).at or shown[0]
        at = failed_at
    elif at is OperationStep.REQUESTED:
        at = shown[0]
    if at not in shown and at is not OperationStep.DONE:
        at = shown[0]
    steps: list[Json] = []
    for step in shown:
        if order.index(step) < order.index(at):
            state = "done"
        elif step is at:
            state = "failed" if failed_at is not None else "current"
        else:
            state = "waiting"
        steps.append({"step": step.value, "state": state, "text": step_text(step, operation.kind)})
    return steps
