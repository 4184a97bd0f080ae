"""Reconcile the ledger with the Docker Engine: leases + containers -> actions. Pure.

Guarantees:
- An Engine that did not answer (`containers=None`) leads to no action at all: unknown is not gone.
- A lease with a container, running or not, is never ended.
- A lease whose server has a reset under way, or whose hold has not run out, is never ended.
- A granted lease may lack a container only for a while (its spawner is between commit and
  create); a running one only for a moment (two looks in a row must agree).
- A container of this hub is removed only if no live lease names it and it is not brand new (its
  lease may have been committed after the leases were read).
- Applying a plan twice changes nothing more; planning again after it gives an empty plan.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .models import Lease, LeaseState


@dataclass(frozen=True, slots=True)
class ContainerFact:
    """A container of this hub as the Engine listed it; the labels are ours."""

    id: str
    lease_id: str
    user: str
    server: str
    running: bool
    created_at: datetime
    generation: int = 0
    image: str = ""


@dataclass(frozen=True, slots=True)
class EndLease:
    """The container of this lease is gone, or was never made."""

    lease_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptContainer:
    """The hub died between starting this container and saying so: the lease is running."""

    lease_id: str
    container_id: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """No live lease stands behind this container, so it must not keep its devices."""

    container_id: str
    lease_id: str
    reason: str


Action = EndLease | AdoptContainer | RemoveContainer


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each oddity may last before it is acted upon."""

    granted_without_container: timedelta = timedelta(seconds=180)
    running_without_container: timedelta = timedelta(seconds=4)
    container_without_lease: timedelta = timedelta(seconds=60)
    granted_with_container: timedelta = timedelta(seconds=180)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and since when each lease has been odd (pass it to the next look)."""

    actions: tuple[Action, ...] = ()
    odd_since: Mapping[str, datetime] = field(default_factory=dict)


def plan(
    leases: Sequence[Lease],
    containers: Sequence[ContainerFact] | None,
    now: datetime,
    *,
    odd_since: Mapping[str, datetime],
    resetting: Collection[tuple[str, str]] = (),
    patience: Patience | None = None,
) -> Plan:
    """Decide what to do about the differences between ledger and Engine.

    `leases` are those not ended, read before `containers` were listed. `containers` are all of
    this hub, stopped ones too, or None if the Engine did not answer. `odd_since` is that of the
    last plan. `resetting` are the (user, server) pairs with an unfinished reset or undo.
    """
    if containers is None:
        return Plan(odd_since=dict(odd_since))
    limits = patience or Patience()
    by_lease = {container.lease_id: container for container in containers if container.lease_id}
    actions: list[Action] = []
    still_odd: dict[str, datetime] = {}
    for lease in leases:
        if lease.state is LeaseState.ENDED:
            continue
        container = by_lease.get(lease.id)
        since = min(odd_since.get(_oddity(lease, container), now), now)
        action, odd = _judge(lease, container, now, since, resetting, limits)
        if action is not None:
            actions.append(action)
        if odd:
            still_odd[_oddity(lease, container)] = since
    live = {lease.id for lease in leases if lease.state is not LeaseState.ENDED}
    for container in containers:
        if not container.lease_id or container.lease_id in live:
            continue
        if now - container.created_at >= limits.container_without_lease:
            reason = f"no live lease {container.lease_id}"
            actions.append(RemoveContainer(container.id, container.lease_id, reason))
    return Plan(tuple(actions), still_odd)


def _oddity(lease: Lease, container: ContainerFact | None) -> str:
    """A lease that changed its state (a held one taken over) starts a new count."""
    return f"{lease.id} {lease.state} {'with' if container else 'without'}"


def _judge(
    lease: Lease,
    container: ContainerFact | None,
    now: datetime,
    since: datetime,
    resetting: Collection[tuple[str, str]],
    limits: Patience,
) -> tuple[Action | None, bool]:
    """The action for one lease, and whether it is odd and worth remembering."""
    if container is not None:
        if lease.state is not LeaseState.GRANTED or not container.running:
            return None, False
        if now - since < limits.granted_with_container:
            return None, True
        return AdoptContainer(lease.id, container.id), True
    if (lease.user, lease.server) in resetting:
        return None, False
    if lease.hold_until is not None and lease.hold_until > now:
        return None, False
    if lease.state is LeaseState.HELD:
        return EndLease(lease.id, "the hold ran out"), True
    if lease.state is LeaseState.GRANTED:
        if now - since < limits.granted_without_container:
            return None, True
        return EndLease(lease.id, "no container was made for it"), True
    if now - since < limits.running_without_container:
        return None, True
    return EndLease(lease.id, "its container is gone"), True
