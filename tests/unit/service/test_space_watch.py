"""What volumes take is told, and old generations are given up, whatever fails or is killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from resets import reset, undo
from service_world import FakeEngine, FakeHub, World, make_ledger, now

from hub_ext.errors import Conflict, EngineRefused, EngineUnavailable
from hub_ext.models import NoticeKind, OperationKind
from hub_ext.policy import Policy, Rule
from hub_ext.service.space_views import space_view
from hub_ext.service.space_watch import SpaceWatch
from hub_ext.space import GIB, VolumeFact

LIMITED = Policy(default=Rule(environments_gib=10, work_gib=10))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """ada has reset twice: generation 3 is in use, 2 and 1 are kept; 4, 3 and 2 GiB."""
    ledger = make_ledger(tmp_path)
    ledger.set_policy(LIMITED)
    world = World(ledger)
    for _ in range(2):
        reset(ledger, "ada", "", now())
    world.volumes = [
        VolumeFact("ada", 4 * GIB, ("", 3)),
        VolumeFact("ada", 3 * GIB, ("", 2)),
        VolumeFact("ada", 2 * GIB, ("", 1)),
        VolumeFact("ada", 5 * GIB, None),
    ]
    yield world
    ledger.close()


def begin(world: World, kind: OperationKind = OperationKind.RESET) -> str:
    return world.ledger.begin_operation(
        kind, "ada", "", requested_by="ada", start_after=False, user_options={}, now=now()
    ).id


def grow(world: World, environment: tuple[str, int] | None, size: int) -> None:
    world.volumes = [
        replace(each, size=size) if each.environment == environment else each
        for each in world.volumes
    ]


def watch_of(world: World, engine: Any = None) -> SpaceWatch:
    return SpaceWatch(world.ledger, FakeHub(world), engine or FakeEngine(world))


def kept(world: World) -> list[int]:
    return [each.generation for each in world.ledger.environment("ada", "").kept]


def told(world: World, server: str = "") -> list[tuple[NoticeKind, str]]:
    return [(each.kind, each.detail["what"]) for each in world.ledger.notices("ada", server)]


async def test_below_the_limit_everything_stays(world: World) -> None:
    watch = watch_of(world)
    assert space_view(watch, "ada", LIMITED, ()) == {
        "measured_at": None,
        "environments": {"bytes": None, "limit_bytes": 10 * GIB, "level": None},
        "work": {"bytes": None, "limit_bytes": 10 * GIB, "level": None},
    }
    grow(world, ("", 3), 2 * GIB)
    await watch.round()
    assert kept(world) == [2, 1] and not world.removed_environments and not told(world)
    view = space_view(watch, "ada", LIMITED, ())
    assert view["measured_at"] is not None
    assert view["environments"] == {
        "bytes": 7 * GIB,
        "limit_bytes": 10 * GIB,
        "level": "fine",
    }
    assert view["work"]["bytes"] == 5 * GIB
    assert space_view(watch, "bob", LIMITED, ())["work"]["bytes"] == 0


async def test_the_oldest_go_first_and_no_more_than_needed(world: World) -> None:
    grow(world, ("", 3), 6 * GIB)  # 11 in all
    watch = watch_of(world)
    await watch.round()
    assert world.removed_environments == [("ada", "", 1)]
    assert kept(world) == [2]
    with pytest.raises(Conflict):
        undo(world.ledger, "ada", "", now(), 1)
    # 9 of 10: nearly full
    assert told(world) == [(NoticeKind.SPACE_SHORT, "environments")]
    assert space_view(watch, "ada", LIMITED, ())["environments"]["bytes"] == 9 * GIB


async def test_what_is_in_use_and_work_are_never_given_up(world: World) -> None:
    grow(world, ("", 3), 50 * GIB)
    grow(world, None, 50 * GIB)
    await watch_of(world).round()
    assert sorted(world.removed_environments) == [("ada", "", 1), ("ada", "", 2)]
    assert kept(world) == []
    assert [each.environment for each in world.volumes] == [("", 3), None]
    assert told(world) == [
        (NoticeKind.SPACE_FULL, "environments"),
        (NoticeKind.SPACE_FULL, "work"),
    ]


async def test_without_a_limit_nothing_is_asked_and_nothing_goes(world: World) -> None:
    world.ledger.set_policy(Policy())
    grow(world, ("", 3), 500 * GIB)
    await watch_of(world, Deaf(world)).round()
    assert kept(world) == [2, 1] and not told(world)


async def test_a_group_has_a_limit_of_its_own(world: World) -> None:
    lifted = Rule(lifted=frozenset({"environments_gib", "work_gib"}))
    world.ledger.set_policy(replace(LIMITED, rules={"projects": lifted}))
    world.users["ada"] = ("projects",)
    grow(world, ("", 3), 50 * GIB)
    await watch_of(world).round()
    assert kept(world) == [2, 1] and not told(world)


async def test_told_once_until_it_is_well_again(world: World) -> None:
    watch = watch_of(world)
    grow(world, ("", 3), 2 * GIB)
    grow(world, None, 9 * GIB)
    await watch.round()
    await watch.round()
    assert told(world) == [(NoticeKind.SPACE_SHORT, "work")]
    last = world.ledger.notices("ada", "")[-1]
    world.ledger.read_notices("ada", "", last.id, last.at)
    await watch.round()
    assert not told(world)
    grow(world, None, 10 * GIB)
    await watch.round()
    assert told(world) == [(NoticeKind.SPACE_FULL, "work")]
    grow(world, None, GIB)
    await watch.round()
    grow(world, None, 9 * GIB)
    await watch.round()
    assert told(world)[-1] == (NoticeKind.SPACE_SHORT, "work")
    # a service that was restarted says nothing twice that was not read
    before = told(world)
    await watch_of(world).round()
    assert told(world) == before


async def test_who_has_named_servers_is_told_there(world: World) -> None:
    world.run_server("ada", "second")
    grow(world, ("", 3), 2 * GIB)
    grow(world, None, 9 * GIB)
    await watch_of(world).round()
    assert told(world, "second") == [(NoticeKind.SPACE_SHORT, "work")] and not told(world)


async def test_nothing_is_given_up_during_a_reset(world: World) -> None:
    grow(world, ("", 3), 50 * GIB)
    operation = begin(world, OperationKind.UNDO)
    watch = watch_of(world)
    await watch.round()
    assert kept(world) == [2, 1]
    world.ledger.switch_environment(operation, now())
    assert world.ledger.environment("ada", "").generation == 2


class Deaf(FakeEngine):
    """Does not delete volumes: a container has them, or the Engine is away."""

    error: Exception = EngineRefused("volume is in use", 409)

    async def remove_environment(self, user: str, server: str, generation: int) -> None:
        raise self.error


@pytest.mark.parametrize("error", [EngineRefused("in use", 409), EngineUnavailable("away")])
async def test_a_volume_that_stays_is_deleted_later(world: World, error: Exception) -> None:
    grow(world, ("", 3), 6 * GIB)
    engine = Deaf(world)
    engine.error = error
    watch = watch_of(world, engine)
    await watch.round()
    # nobody can go back to it, and it still counts
    assert kept(world) == [2]
    assert space_view(watch, "ada", LIMITED, ())["environments"]["bytes"] == 11 * GIB
    assert world.ledger.expired_generations("ada", "") == (1,)
    await watch_of(world).round()
    assert world.removed_environments == [("ada", "", 1)] and kept(world) == [2]
    assert world.ledger.expired_generations("ada", "") == ()


async def test_a_measurement_that_fails_leaves_the_last_one(world: World) -> None:
    class Busy(FakeEngine):
        async def volumes(self) -> Any:
            raise EngineRefused("a disk usage operation is already running", 409)

    watch = watch_of(world)
    await watch.round()
    before = space_view(watch, "ada", LIMITED, ())
    watch._engine = Busy(world)
    with pytest.raises(EngineRefused):
        await watch.round()
    assert space_view(watch, "ada", LIMITED, ()) == before


async def test_an_account_that_is_gone_is_left_to_the_admin(world: World) -> None:
    world.volumes.append(VolumeFact("zoe", 50 * GIB, ("", 1)))
    grow(world, None, 9 * GIB)
    await watch_of(world).round()
    assert not world.removed_environments and told(world)


@pytest.mark.parametrize("after", range(12))
async def test_cancelled_anywhere_the_next_round_goes_on(world: World, after: int) -> None:
    grow(world, ("", 3), 6 * GIB)
    first = asyncio.create_task(watch_of(world).round())
    for _ in range(after):
        await asyncio.sleep(0.002)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await watch_of(world).round()
    assert kept(world) == [2]
    assert [each.environment for each in world.volumes] == [("", 3), ("", 2), None]
