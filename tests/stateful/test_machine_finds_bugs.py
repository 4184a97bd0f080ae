"""The machine of test_lease_machine.py can fail: bugs put in on purpose, each of which it finds.

Each is one careless line away, or one that systems of this kind have had. They are put into the
real modules, and the machine runs, round after round from the same seeds on, until it fails.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from datetime import datetime

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Connection, select
from test_lease_machine import WANTED_STEPS, LeaseMachine, machine_settings

from hub_ext import lifecycle, terms
from hub_ext.engine import Presence
from hub_ext.ledger import Ledger, accounting, leases, slots, waiting
from hub_ext.ledger.tables import lease
from hub_ext.models import Device, DeviceChange, LeaseState, QueueEntry
from hub_ext.service import monitor, revival

# the hardest to find took 600 to 5,000 steps when this was written
MOST_STEPS = 3 * WANTED_STEPS


def an_engine_that_does_not_answer_has_no_containers(patch: pytest.MonkeyPatch) -> None:
    plan = monitor.plan
    patch.setattr(
        monitor, "plan", lambda seen, found, *rest, **more: plan(seen, found or (), *rest, **more)
    )


def a_stop_that_nobody_confirmed_counts(patch: pytest.MonkeyPatch) -> None:
    """As stock DockerSpawner: what does not answer is taken for stopped."""

    async def remove(self: lifecycle.Lifecycle) -> None:
        state = await self.state()
        if state.presence is Presence.RUNNING:
            await self._do(self.side.engine.remove(state.id))

    patch.setattr(lifecycle.Lifecycle, "_remove_container", remove)


def what_a_lease_used_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounting, "write", lambda *_all, **_more: None)


def time_is_proof_enough(patch: pytest.MonkeyPatch) -> None:
    """A hold that is over frees its devices, whatever the container does."""

    def expired(connection: Connection, now: datetime) -> tuple[str, ...]:
        over = select(lease.c.id).where(
            lease.c.state == LeaseState.HELD.value, lease.c.hold_until <= now
        )
        return tuple(connection.execute(over).scalars())

    patch.setattr(leases, "expired", expired)


def an_inventory_that_finds_nothing_frees_all(patch: pytest.MonkeyPatch) -> None:
    record = Ledger.record_inventory

    def record_inventory(
        self: Ledger, devices: Iterable[Device], now: datetime
    ) -> tuple[DeviceChange, ...]:
        found = tuple(devices)
        for each in () if found else self.leases():
            self.end(each.id, "its device is gone", now)
        return record(self, found, now)

    patch.setattr(Ledger, "record_inventory", record_inventory)


def nobody_is_started_again(patch: pytest.MonkeyPatch) -> None:
    """Who waited when the hub was killed waits for nothing."""

    async def no_orphans(_self: revival.Revival) -> list[QueueEntry]:
        return []

    patch.setattr(revival.Revival, "_orphans", no_orphans)


def what_was_revoked_goes_on_like_any_other(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(terms, "_is_due", lambda *_all: False)


def a_place_is_kept_for_who_is_gone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(waiting, "_release", lambda *_all: None)


def a_device_in_use_is_divided(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(slots, "holders", lambda *_all: ())


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    an_engine_that_does_not_answer_has_no_containers,
    a_stop_that_nobody_confirmed_counts,
    what_a_lease_used_is_forgotten,
    time_is_proof_enough,
    an_inventory_that_finds_nothing_frees_all,
    nobody_is_started_again,
    what_was_revoked_goes_on_like_any_other,
    a_place_is_kept_for_who_is_gone,
    a_device_in_use_is_divided,
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_it_finds(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch):
    bug(monkeypatch)
    before = LeaseMachine.executed.total()
    quick = settings(machine_settings(20), phases=[Phase.generate], database=None, print_blob=False)
    with pytest.raises(AssertionError):
        for seed in itertools.count(1):
            # what hypothesis.seed() sets, which takes functions only
            monkeypatch.setattr(LeaseMachine, "_hypothesis_internal_use_seed", seed, raising=False)
            run_state_machine_as_test(LeaseMachine, settings=quick)
            if LeaseMachine.executed.total() - before > MOST_STEPS:
                break
