"""Reconcile the ledger with the Docker Engine: leases + containers -> actions. Pure.

Guarantees:
- An Engine that did not answer (`containers=None`) leads to no action at all: unknown is not gone.
- A lease with a container, running or not, is never ended.
- A lease whose server has a reset under way, or that is held, is never ended here (the ledger
  ends a hold that has run out, once the container is known to be gone).
- A granted lease may lack a container for a while (its spawner is between commit and create), a
  running one for a moment: each oddity must be seen at two looks that far apart.
- A container of this hub is removed only if, at two such looks, no live lease stood behind it, or
  it had stopped and nobody took care of it, or its lease had another one, or a hub had written down
  that its server is stopped and has not come to it. Its lease ends at a later look, when it is
  gone. One without our label, or of another hub, is not looked at.
- Applying a plan twice changes nothing more than applying it once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
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
    image_id: str = ""


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
    """Nobody needs this container, so it must not keep its devices.

    `lease_lives`: its lease has not ended, but the container has, is not the lease's own, or is to
    be removed.
    """

    container_id: str
    lease_id: str
    lease_lives: bool = False


Action = EndLease | MarkGone | AdoptContainer | RemoveContainer


@dataclass(frozen=True, slots=True)
class Patience:
    """How long each oddity may last before it is acted upon."""

    granted_without_container: timedelta = timedelta(seconds=180)
    granted_with_container: timedelta = timedelta(seconds=180)
    running_without_container: timedelta = timedelta(seconds=4)
    container_without_lease: timedelta = timedelta(seconds=60)
    container_stopped: timedelta = timedelta(seconds=120)  # the hub comes first: it keeps the log
    second_container: timedelta = timedelta(seconds=60)
    to_be_removed: timedelta = timedelta(seconds=60)  # the hub, if it lives, tries every 3 s


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
    to_be_removed: Collection[str] = (),
    patience: Patience | None = None,
) -> Plan:
    """Decide what to do about the differences between ledger and Engine.

    `leases` are those that have not ended, read before `containers` were listed. `containers` are
    all of this hub, stopped ones too, or None if the Engine did not answer. `odd_since` is that
    of the last plan. `resetting` are the (user, server) with an unfinished reset or undo;
    `to_be_removed` the leases whose container a hub wants gone (clean_ups.py).
    """
    if containers is None:
        return Plan(odd_since=dict(odd_since))
    limits = patience or Patience()
    live = [lease for lease in leases if lease.state is not LeaseState.ENDED]
    by_lease: dict[str, list[ContainerFact]] = {}
    for container in containers:
        if container.lease_id:
            by_lease.setdefault(container.lease_id, []).append(container)
    found: list[_Oddity] = []
    for lease in live:
        if (lease.user, lease.server) not in resetting:
            its = by_lease.get(lease.id, ())
            if its and lease.id in to_be_removed and lease.state is not LeaseState.HELD:
                found += _left_by_a_hub(lease, its, limits)
            else:
                found += _oddities(lease, its, now, limits)
    found += _orphans(containers, {lease.id for lease in live}, limits)
    actions: list[Action] = []
    since: dict[str, datetime] = {}
    for oddity in found:
        # min: a clock that went back must not make an oddity younger than now
        began = min(odd_since.get(oddity.name, now), now)
        since[oddity.name] = began
        if now - began >= oddity.patience:
            actions.append(oddity.action)
    return Plan(tuple(actions), since)


def _oddities(
    lease: Lease, containers: Sequence[ContainerFact], now: datetime, limits: Patience
) -> Iterator[_Oddity]:
    """What is odd about a live lease and its containers.

    The state is part of the name: a held lease that was taken up starts a new count.
    """
    name = f"{lease.id} {lease.state.value}"
    if not containers:
        yield from _without_container(lease, name, limits)
        return
    own = _own(lease, containers)
    for other in containers if own is not None else ():
        if other is not own:
            yield _Oddity(
                f"{name}, second container {other.id}",
                limits.second_container,
                RemoveContainer(other.id, lease.id, lease_lives=True),
            )
    running = [each for each in containers if each.running and own in (None, each)]
    hold_over = lease.hold_until is None or lease.hold_until <= now
    if running:
        adopt = AdoptContainer(lease.id, min(each.id for each in running))
        if lease.state is LeaseState.HELD:
            if hold_over:
                yield _Oddity(f"{name}, hold over, container runs", timedelta(0), adopt)
        elif lease.state is LeaseState.GRANTED or own is None:
            yield _Oddity(f"{name}, container runs", limits.granted_with_container, adopt)
    elif lease.state is not LeaseState.HELD or hold_over:
        patience = limits.container_stopped
        if lease.state is LeaseState.GRANTED:  # created, and about to be started
            patience = limits.granted_with_container
        for each in containers if own is None else (own,):
            yield _Oddity(
                f"{name}, stopped {each.id}",
                patience,
                RemoveContainer(each.id, lease.id, lease_lives=True),
            )


def _left_by_a_hub(
    lease: Lease, containers: Sequence[ContainerFact], limits: Patience
) -> Iterator[_Oddity]:
    for each in containers:
        yield _Oddity(
            f"{lease.id} {lease.state.value}, to be removed {each.id}",
            limits.to_be_removed,
            RemoveContainer(each.id, lease.id, lease_lives=True),
        )


def _without_container(lease: Lease, name: str, limits: Patience) -> Iterator[_Oddity]:
    if lease.state is LeaseState.HELD:
        if lease.gone_at is None:
            yield _Oddity(f"{name}, gone", timedelta(0), MarkGone(lease.id))
    elif lease.state is LeaseState.GRANTED:
        yield _Oddity(
            f"{name}, no container",
            limits.granted_without_container,
            EndLease(lease.id, "no container was made for it"),
        )
    else:
        yield _Oddity(
            f"{name}, no container",
            limits.running_without_container,
            EndLease(lease.id, "its container is gone"),
        )


def _own(lease: Lease, containers: Sequence[ContainerFact]) -> ContainerFact | None:
    """The container that a lease keeps: the one it names, or else the only one (that runs).

    None if that cannot be told: then all are as good, until one is adopted.
    """
    named = [each for each in containers if each.id == lease.container_id]
    running = [each for each in containers if each.running]
    for candidates in (named, containers, running):
        if len(candidates) == 1:
            return candidates[0]
    return None


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
