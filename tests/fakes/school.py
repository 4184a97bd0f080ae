"""A class of eight, and what is done about all of them at once: for tests of group operations."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from service_server import RunningService, person, running_service
from service_world import FakeEngine, FakeHub, World, now

from hub_ext import scopes
from hub_ext.models import GroupAction, MemberState
from hub_ext.service.group_operations import GroupOperations
from hub_ext.service.group_servers import GroupServers, Limits
from hub_ext.service.reset import Limits as ResetLimits
from hub_ext.service.reset import ResetWorkflow

START, STOP = GroupAction.START, GroupAction.STOP
CLASS = tuple(f"pupil-{n}" for n in range(7))
QUICK = ResetLimits(
    poll=0.005, stop=5.0, start=5.0, leftover=0.05, retry=0.005, stop_again=0.05, starts=2, tidy=0
)
FAST = Limits(poll=0.01, start=2, stop=2, retry=0.01, stop_again=0.05)


def make_school(world: World) -> World:
    """ada and seven pupils in class-1; ada's server runs, and the others want no GPU."""
    world.users |= {user: ("class-1",) for user in ("ada", *CLASS)}
    return world


class Clock:
    """Now, and ahead of it by so much."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self):
        return now() + self.ahead


def parts(
    world: World, hub=None, at_once: int = 3, limits: Limits = FAST, clock=now
) -> tuple[ResetWorkflow, GroupOperations]:
    hub = hub or FakeHub(world)
    resets = ResetWorkflow(world.ledger, hub, FakeEngine(world), limits=QUICK)
    servers = GroupServers(world.ledger, hub, limits=limits, now=clock)
    return resets, GroupOperations(
        world.ledger, resets, servers, at_once=at_once, poll=0.01, retry=0.01, now=clock
    )


async def begin(groups: GroupOperations, action: GroupAction, users=("ada", *CLASS), minutes=0):
    return await groups.begin(
        action, "class-1", users, requested_by="kim", reason="noon", minutes=minutes
    )


def results(world: World, found) -> dict[str, tuple[MemberState, str]]:
    members = world.ledger.group_operation(found.id).members
    return {member.user: (member.state, member.note) for member in members}


def running(world: World) -> set[str]:
    return {user for (user, _server), found in world.servers.items() if found.ready}


def trail(world: World, *actions: str) -> list[tuple[str, str, str, str]]:
    entries = reversed(world.ledger.audit_trail(limit=500))
    return [(e.action, e.user, e.group, e.reason) for e in entries if e.action in actions]


async def until(condition) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


# -- over REST


@contextmanager
def school_service(
    school: World, scope: str, hub: FakeHub | None = None
) -> Iterator[RunningService]:
    """The service, with "teacher" as the token of whoever holds the scope for class-1 only."""
    school.users["eve"] = ("class-2",)
    with running_service(school, hub=hub) as ask:
        ask.tokens["teacher"] = person("tea", scopes.ACCESS_SERVICE, f"{scope}!group=class-1")
        yield ask


def wait_for(rest: RunningService, action: str) -> dict[str, Any]:
    """What came of the last operation, once it is over."""
    deadline = time.monotonic() + 60
    while True:
        view: dict[str, Any] = rest("GET", f"api/v1/groups/class-1/{action}", "teacher").json()[
            action
        ]
        if not view["under_way"]:
            return view
        assert time.monotonic() < deadline, view
        time.sleep(0.02)


def counts(view: dict[str, Any]) -> dict[str, int]:
    """How many members are in which state, without those that nobody is in."""
    return {state: number for state, number in view["counts"].items() if number}
