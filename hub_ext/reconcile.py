"""Reconcile the ledger with the Docker Engine: leases + containers -> actions. Pure.

Guarantees:
- An Engine that did not answer (`containers=None`) leads to no action at all: unknown is not gone.
- A lease with a container, running or not, is never ended.
- A lease whose server has a reset under way, or that is held, is never ended here (the ledger
  ends a hold that has run out, once the container is known to be gone).
- A granted lease may lack a container for a while (its spawner is between commit and create), a
  running one for a moment: each oddity must be seen at two looks that far apart.
- A container of this hub is removed only if no live lease stood behind it at two such looks.
- Applying a plan twice changes nothing more than applying it once.
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
    generation: int = 0
    image: str = ""


@dataclass(frozen=True, slots=True)
class EndLease:
    """The container of this lease is gone, or was never made."""

    lease_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class MarkGone:
    """The container of this held lease is gone, so its hold may run out."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class AdoptContainer:
    """This container runs under this lease, and nobody has said so: the lease is running."""

    lease_id: str
    container_id: str


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """No live lease stands behind this container, so it must not keep its devices."""

    container_id: str
    lease_id: str


Action = EndLease | MarkGone | AdoptContainer | RemoveContainer


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each oddity may last before it is acted upon."""

    granted_without_container: timedelta = timedelta(seconds=180)
    granted_with_container: timedelta = timedelta(seconds=180)
    running_without_container: timedelta = timedelta(seconds=4)
    container_without_lease: timedelta = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and since when each oddity lasts (pass it to the next look)."""

    actions: tuple[Action, ...] = ()
    odd_since: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Oddity:
    name: str
    patience: timedelta
    action: Action


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

    `leases` are those that have not ended, read before `containers` were listed. `containers` are
    all of this hub, stopped ones too, or None if the Engine did not answer. `odd_since` is that
    of the last plan. `resetting` are the (user, server) with an unfinished reset or undo.
    """
    if containers is None:
        return Plan(odd_since=dict(odd_since))
    limits = patience or Patience()
    live = [lease for lease in leases if lease.state is not LeaseState.ENDED]
    by_lease = {container.lease_id: container for container in containers if container.lease_id}
    found = [
        *(_odd_lease(lease, by_lease.get(lease.id), now, resetting, limits) for lease in live),
        *_orphans(containers, {lease.id for lease in live}, limits),
    ]
    actions: list[Action] = []
    since: dict[str, datetime] = {}
    for oddity in found:
        if oddity is None:
            continue
        # min: a clock that went back must not make an oddity younger than now
        began = min(odd_since.get(oddity.name, now), now)
        since[oddity.name] = began
        if now - began >= oddity.patience:
            actions.append(oddity.action)
    return Plan(tuple(actions), since)


def _odd_lease(
    lease: Lease,
    container: ContainerFact | None,
    now: datetime,
    resetting: Collection[tuple[str, str]],
    limits: Patience,
) -> _Oddity | None:
    """What is odd about a live lease, if anything.

    The state is part of the name: a held lease that was taken up starts a new count.
    """
    name = f"{lease.id} {lease.state.value}"
    if (lease.user, lease.server) in resetting:
        return None
    if container is None:
        if lease.state is LeaseState.HELD:
            if lease.gone_at is not None:
                return None
            return _Oddity(f"{name}, gone", timedelta(0), MarkGone(lease.id))
        if lease.state is LeaseState.GRANTED:
            return _Oddity(
                f"{name}, no container",
                limits.granted_without_container,
                EndLease(lease.id, "no container was made for it"),
            )
        return _Oddity(
            f"{name}, no container",
            limits.running_without_container,
            EndLease(lease.id, "its container is gone"),
        )
    if not container.running or lease.state is LeaseState.RUNNING:
        return None
    adopt = AdoptContainer(lease.id, container.id)
    if lease.state is LeaseState.GRANTED:
        return _Oddity(f"{name}, container runs", limits.granted_with_container, adopt)
    if lease.hold_until is not None and lease.hold_until > now:
        return None
    return _Oddity(f"{name}, hold over, container runs", timedelta(0), adopt)


def _orphans(
    containers: Sequence[ContainerFact], live: Collection[str], limits: Patience
) -> list[_Oddity]:
    return [
        _Oddity(
            f"container {container.id}",
            limits.container_without_lease,
            RemoveContainer(container.id, container.lease_id),
        )
        for container in containers
        if container.lease_id and container.lease_id not in live
    ]
