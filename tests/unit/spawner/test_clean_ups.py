"""Clean-ups that an Engine's silence left behind, over restarts of the hub and the next starts."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from one_server import Place, now, soon

from hub_ext import lifecycle
from hub_ext.clean_ups import CleanUp, CleanUps
from hub_ext.container_args import HUB_LABEL, LEASE_LABEL
from hub_ext.hub_side import HubSide
from hub_ext.models import LeaseState


async def restarted(place: Place) -> Place:
    """The same ledger and Engine in a new process of the hub; the old one's tasks are gone."""
    for task in place.side.clean_ups.values():
        task.cancel()
    side = HubSide(place.ledger, place.side.claim, place.side.engine)
    lifecycle.resume_clean_ups(side)
    return Place(side, place.engine)


async def test_a_clean_up_goes_on_after_a_restart_of_the_hub(place: Place) -> None:
    """JupyterHub holds the server for stopped, so nobody else would look at it again."""
    await place.start(place.life())
    place.engine.away = True
    await place.life().tear_down("stopped")
    after = await restarted(place)
    await asyncio.sleep(0.2)
    assert len(after.ledger.leases()) == 1  # the Engine does not say that it is gone
    after.engine.away = False
    await soon(lambda: after.ledger.leases() == ())
    after.nothing_left()
    (ended,) = after.ledger.leases(include_ended=True)
    assert ended.end_reason == "stopped"
    await soon(lambda: after.side.written_clean_ups.all() == ())
    assert (await restarted(after)).side.clean_ups == {}


async def test_a_clean_up_of_before_a_restart_does_not_hit_the_next_start(place: Place) -> None:
    await place.start(place.life())
    place.engine.away = True
    await place.life().tear_down("stopped")
    after = await restarted(place)
    after.engine.away = False
    await after.start(after.life())
    await asyncio.sleep(0.2)
    after.check()
    (container,) = after.engine.containers.values()
    assert container.running
    assert after.side.written_clean_ups.all() == ()


async def test_a_clean_up_is_not_written_down_after_the_next_start_has_done_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset's start takes up the same lease: a note of it would end the server that runs."""
    await place.start(place.life())
    (lease,) = place.ledger.leases()
    place.ledger.hold(lease.id, now() + timedelta(minutes=1), now())
    asked, go_on = threading.Event(), threading.Event()
    real = place.ledger.lease_of

    def slow(user: str, server: str) -> Any:
        found = real(user, server)
        if not asked.is_set():
            asked.set()
            go_on.wait(20)
        return found

    place.engine.away = True
    monkeypatch.setattr(place.ledger, "lease_of", slow)
    stopping = asyncio.ensure_future(place.life().tear_down("stopped for a reset"))
    await asyncio.to_thread(asked.wait, 20)
    place.engine.away = False
    await place.start(place.life())
    go_on.set()
    await stopping
    (again,) = place.ledger.leases()
    assert (again.id, again.state) == (lease.id, LeaseState.RUNNING)
    assert place.side.written_clean_ups.all() == ()


async def test_a_clean_up_by_name_spares_a_container_of_another_lease(place: Place) -> None:
    await place.start(place.life())
    (lease,) = place.ledger.leases()
    place.ledger.end(lease.id, "by hand", now())
    await place.start(place.life("bob"), user="bob")
    left = CleanUp("ada", "", "gpucamp-bob", place.ledger.leases()[0].id, "stopped")
    place.engine.find("gpucamp-bob").labels = {HUB_LABEL: place.side.hub_id, LEASE_LABEL: "else"}
    place.life("bob").resume(left)
    await soon(lambda: place.ledger.leases() == ())
    assert place.engine.find("gpucamp-bob") is not None


def test_written_clean_ups_that_cannot_be_read_are_passed_over(place: Place) -> None:
    place.ledger.remember("clean-ups", '[{"user": 1}]')
    assert CleanUps(place.ledger).all() == ()
