"""Starts that waited when the hub ended: begun again, in order, once; or given up with a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from service_world import (
    FakeHub,
    HubDownForAWhile,
    HubFailsToStart,
    HubLetsWait,
    World,
    make_ledger,
    now,
)

from hub_ext.errors import Conflict, HubUnavailable
from hub_ext.models import NoticeKind, Request
from hub_ext.service.hub_api import HubServer
from hub_ext.service.revival import Revival

STOPPED = HubServer(True, False, "", "")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """ada, then bob, then kim waited under a hub that is gone; a new one has begun its run."""
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    ledger.begin_run("old run", now())
    for gpus, user in enumerate(("ada", "bob", "kim"), start=1):
        ledger.enqueue(
            Request(user, "", gpus), now(), waiter="old run", user_options={"gpus": gpus}
        )
        world.servers[user, ""] = STOPPED
    ledger.begin_run(HubLetsWait.run, now())
    yield world
    ledger.close()


def waiting(world: World) -> list[tuple[str, str]]:
    return [(entry.request.user, entry.waiter) for entry in world.ledger.queue()]


def told(world: World, user: str) -> list[tuple[NoticeKind, str]]:
    return [(each.kind, each.detail["reason"]) for each in world.ledger.notices(user, "")]


async def test_all_are_started_again_in_their_order_with_their_options(world):
    revival = Revival(world.ledger, HubLetsWait(world))
    await revival.round()
    new = HubLetsWait.run
    assert waiting(world) == [("ada", new), ("bob", new), ("kim", new)]
    assert world.started_with == [{"gpus": 1}, {"gpus": 2}, {"gpus": 3}]
    await revival.round()
    assert len(world.started_with) == 3


async def test_a_hub_that_is_not_ready_is_asked_again(world):
    hub = type("NotReady", (HubDownForAWhile, HubLetsWait), {})(world)
    hub.silent = 4
    revival = Revival(world.ledger, hub)
    await revival.round()
    assert world.started_with == [] and len(waiting(world)) == 3
    await revival.round()
    await revival.round()
    assert len(world.started_with) == 3
    assert told(world, "ada") == told(world, "bob") == told(world, "kim") == []


async def test_a_start_that_is_refused_is_given_up_and_its_user_told(world):
    revival = Revival(world.ledger, HubFailsToStart(world))
    await revival.round()
    await revival.round()
    assert waiting(world) == []
    assert told(world, "ada") == [(NoticeKind.START_LOST, "The image is gone")]


async def test_a_user_whom_the_hub_does_not_know_waits_no_more(world):
    del world.users["bob"]
    await Revival(world.ledger, HubLetsWait(world)).round()
    assert [user for user, _ in waiting(world)] == ["ada", "kim"]


async def test_whoever_started_again_by_hand_is_left_alone(world):
    world.servers["ada", ""] = replace(STOPPED, stopped=False, pending="spawn")
    world.servers["bob", ""] = replace(STOPPED, stopped=False, pending="stop")
    await Revival(world.ledger, HubLetsWait(world)).round()
    assert world.started_with == [{"gpus": 3}]
    assert waiting(world)[:2] == [("ada", "old run"), ("bob", "old run")]
    assert told(world, "ada") == []


async def test_whoever_is_faster_than_the_service_is_left_alone(world):
    """The hub says no because it is starting already."""

    class Faster(HubFailsToStart):
        async def start(self, user, server, user_options):
            self.world.servers[user, server] = replace(STOPPED, stopped=False, pending="spawn")
            await super().start(user, server, user_options)

    await Revival(world.ledger, Faster(world)).round()
    assert len(waiting(world)) == 3
    assert told(world, "ada") == []


async def test_an_entry_whose_server_runs_is_dropped_in_silence(world):
    world.servers["ada", ""] = replace(STOPPED, stopped=False, ready=True)
    await Revival(world.ledger, HubLetsWait(world)).round()
    assert [user for user, _ in waiting(world)] == ["bob", "kim"]
    assert told(world, "ada") == []


async def test_whoever_left_the_line_meanwhile_is_not_started(world):
    class LeavesMeanwhile(HubLetsWait):
        async def server(self, user, server):
            self.world.ledger.withdraw("bob", "")
            return await super().server(user, server)

    await Revival(world.ledger, LeavesMeanwhile(world)).round()
    assert world.started_with == [{"gpus": 1}, {"gpus": 3}]


async def test_a_reply_that_is_lost_starts_nobody_twice(world):
    class LosesReplies(HubLetsWait):
        async def start(self, user, server, user_options):
            await super().start(user, server, user_options)
            raise HubUnavailable("the reply was lost")

    revival = Revival(world.ledger, LosesReplies(world))
    await revival.round()
    await revival.round()
    assert len(world.started_with) == 3
    assert told(world, "ada") == []


async def test_a_service_that_is_killed_after_the_notice_tells_once(world, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_args):
        raise Killed

    revival = Revival(world.ledger, HubFailsToStart(world))
    with monkeypatch.context() as patched:
        patched.setattr(world.ledger, "withdraw", kill)
        await revival.round()
    assert len(waiting(world)) == 3
    await Revival(world.ledger, HubFailsToStart(world)).round()
    assert waiting(world) == []
    assert told(world, "kim") == [(NoticeKind.START_LOST, "The image is gone")]


async def test_those_of_the_present_run_are_none_of_its_business(world):
    for user in ("ada", "bob", "kim"):
        world.ledger.enqueue(Request(user, "", 1), now(), waiter=HubLetsWait.run)
    await Revival(world.ledger, HubLetsWait(world)).round()
    assert world.started_with == []


async def test_many_are_started_together(world):
    """Each start that waits in line takes the hub 10 s to answer."""
    at_once, most = 0, 0

    class Slow(HubLetsWait):
        async def start(self, user, server, user_options):
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.05)
            at_once -= 1
            await super().start(user, server, user_options)

    await Revival(world.ledger, Slow(world)).round()
    assert most == 3


# -- leaving the line


async def test_an_interrupted_start_leaves_the_line(world):
    hub = HubLetsWait(world)
    revival = Revival(world.ledger, hub)
    await revival.leave("bob", "")
    await revival.round()
    assert [user for user, _ in waiting(world)] == ["ada", "kim"]


async def test_a_start_that_waits_is_ended(world):
    hub = HubLetsWait(world)
    revival = Revival(world.ledger, hub)
    await revival.round()
    await revival.leave("bob", "")
    assert [user for user, _ in waiting(world)] == ["ada", "kim"]
    assert world.servers["bob", ""].stopped


async def test_leaving_while_it_is_started_again_ends_that_start(world):
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(HubLetsWait):
        async def start(self, user, server, user_options):
            begun.set()
            await go_on.wait()
            await super().start(user, server, user_options)

    revival = Revival(world.ledger, Slow(world))
    round_ = asyncio.create_task(revival.round())
    await begun.wait()
    leaving = asyncio.create_task(revival.leave("ada", ""))
    await asyncio.sleep(0.05)
    go_on.set()
    await asyncio.gather(round_, leaving)
    assert world.servers["ada", ""].stopped
    assert [user for user, _ in waiting(world)] == ["bob", "kim"]


async def test_who_is_taken_out_while_it_is_started_again_does_not_come_back(world):
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(HubLetsWait):
        async def start(self, user, server, user_options):
            begun.set()
            await go_on.wait()
            await super().start(user, server, user_options)

    revival = Revival(world.ledger, Slow(world))
    round_ = asyncio.create_task(revival.round())
    await begun.wait()
    taking_out = asyncio.create_task(revival.cancel("ada", "", "the exam", "kim"))
    await asyncio.sleep(0.05)
    go_on.set()
    await asyncio.gather(round_, taking_out)
    assert [user for user, _ in waiting(world)] == ["bob", "kim"]
    assert world.ledger.notices("ada", "")[-1].kind is NoticeKind.QUEUE_CANCELLED


async def test_whoever_has_a_lease_does_not_wait(world):
    world.ledger.withdraw("ada", "")
    world.run_server("ada")
    with pytest.raises(Conflict):
        await Revival(world.ledger, FakeHub(world)).leave("ada", "")
    assert world.servers["ada", ""].ready


async def test_a_hub_that_does_not_answer_keeps_the_place(world):
    hub = HubDownForAWhile(world)
    hub.silent = 1
    revival = Revival(world.ledger, hub)
    with pytest.raises(HubUnavailable):
        await revival.leave("ada", "")
    assert len(waiting(world)) == 3


async def test_an_entry_that_the_hub_dropped_is_gone_for_the_service_too(world):
    world.ledger.drop_orphans(now() + timedelta(seconds=1), now() + timedelta(seconds=1))
    await Revival(world.ledger, HubLetsWait(world)).round()
    assert world.started_with == []
    assert [notice.kind for notice in world.ledger.notices("ada", "")] == [NoticeKind.START_LOST]
