"""Metrics of what is done about whole groups, and of pulls of images."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from school import CLASS, START, STOP, begin, parts
from service_server import RunningService, running_service
from service_world import EnginePullsSlowly, FakeEngine, HubFailsToStart, HubLetsWait, World, now
from test_service_metrics import scrape, until, value

from hub_ext.errors import EngineUnavailable, LedgerUnavailable
from hub_ext.images import PullState
from hub_ext.models import GroupAction, MemberState
from hub_ext.service import counters
from hub_ext.service.group_servers import Outcome
from hub_ext.service.image_pulls import ImagePulls

IMAGE = f"registry.example/camp@sha256:{'1' * 64}"


def results() -> dict[tuple[str, str], float]:
    (family,) = counters.GROUP_RESULTS.collect()
    return {
        (each.labels["action"], each.labels["result"]): each.value
        for each in family.samples
        if each.name.endswith("_total")
    }


def since(before: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    return {of: count - before[of] for of, count in results().items() if count != before[of]}


# -- groups


async def test_each_member_is_counted_once_by_their_result(school: World) -> None:
    before = results()
    _resets, groups = parts(school)
    await begin(groups, START)
    await groups.settled()
    assert since(before) == {("start", "done"): 7, ("start", "skipped"): 1}
    await begin(groups, STOP, ("ada", "nobody"))
    await groups.settled()
    assert since(before) == {
        ("start", "done"): 7,
        ("start", "skipped"): 1,
        ("stop", "done"): 1,
        ("stop", "failed"): 1,
    }


async def test_who_waits_in_line_or_fails_is_counted_so(school: World) -> None:
    before = results()
    _resets, groups = parts(school, HubLetsWait(school))
    await begin(groups, START, CLASS[:2])
    await groups.settled()
    _resets, groups = parts(school, HubFailsToStart(school))
    await begin(groups, START, CLASS[2:5])
    await groups.settled()
    assert since(before) == {("start", "queued"): 2, ("start", "failed"): 3}


async def test_resets_of_a_group_are_counted_with_the_group_and_single_ones_are_not(
    school: World,
) -> None:
    before = results()
    resets, groups = parts(school)
    await begin(groups, GroupAction.RESET, ("ada", *CLASS[:2], "nobody"))
    await groups.settled()
    await resets.settled()
    assert since(before) == {("reset", "done"): 3, ("reset", "failed"): 1}


async def test_a_ledger_that_is_away_counts_nobody_twice(school: World, monkeypatch) -> None:
    before = results()
    _resets, groups = parts(school)
    real, lost = school.ledger.end_group_member, set()

    def reply_is_lost(operation_id, user, *arguments):
        changed = real(operation_id, user, *arguments)
        if user in CLASS[:3] and user not in lost:
            lost.add(user)
            raise LedgerUnavailable("locked")
        return changed

    monkeypatch.setattr(school.ledger, "end_group_member", reply_is_lost)
    await begin(groups, STOP)
    await groups.settled()
    assert lost == set(CLASS[:3])
    assert since(before) == {("stop", "done"): 1, ("stop", "skipped"): 7}


async def test_who_has_a_result_is_not_counted_again(school: World) -> None:
    """A look at the ledger may be older than the result."""
    before = results()
    _resets, groups = parts(school)
    found = await begin(groups, STOP)
    await groups.settled()
    await groups._end(found, "ada", Outcome(MemberState.DONE))
    assert since(before) == {("stop", "done"): 1, ("stop", "skipped"): 7}


def test_what_is_under_way_is_told(school: World) -> None:
    ledger = school.ledger
    with running_service(school) as ask:
        assert value(scrape(ask), "gpucamp_group_operations_in_progress", action="start") == 0
        found = ledger.begin_group_operation(
            START, "class-1", CLASS[:5], requested_by="kim", reason="noon", now=now()
        )
        ledger.begin_group_operation(
            GroupAction.RESET, "class-2", CLASS[5:], requested_by="kim", reason="x", now=now()
        )
        ledger.begin_group_member(found.id, CLASS[0], now())
        ledger.end_group_member(found.id, CLASS[1], MemberState.SKIPPED, "", now())
        told = scrape(ask)
        for action, groups, members in (("start", 1, 4), ("stop", 0, 0), ("reset", 1, 2)):
            labels = {"action": action}
            assert value(told, "gpucamp_group_operations_in_progress", **labels) == groups
            assert value(told, "gpucamp_group_members_in_progress", **labels) == members
        ledger.cancel_group_operation(START, "class-1", now(), actor="kim")
        told = scrape(ask)
        assert value(told, "gpucamp_group_operations_in_progress", action="start") == 0
        assert value(told, "gpucamp_group_members_in_progress", action="start") == 0


async def test_a_member_whose_reset_is_over_has_a_result(school: World) -> None:
    _resets, groups = parts(school)
    await begin(groups, GroupAction.RESET, CLASS[:2])
    await groups.settled()
    # as if one more were left
    school.ledger.begin_group_operation(
        GroupAction.RESET, "class-1", CLASS, requested_by="kim", reason="x", now=now()
    )
    assert school.ledger.figures(now()).members == {GroupAction.RESET: 7}


# -- pulls


def pulls() -> dict[str, float]:
    (family,) = counters.PULL_SECONDS.collect()
    return {
        each.labels["ending"]: each.value for each in family.samples if each.name.endswith("_count")
    }


def more(before: dict[str, float]) -> dict[str, float]:
    return {of: count - before[of] for of, count in pulls().items() if count != before[of]}


def ask_for(ask: RunningService, *verbs: str) -> int:
    path = "/".join(("api/v1/images", quote(IMAGE, safe=""), *verbs))
    return int(ask("POST", path, "admin-token", json={}).status_code)


def test_pulls_are_counted_by_their_ending_and_told_while_they_last(world: World) -> None:
    engine = EnginePullsSlowly(world)
    before = pulls()
    with running_service(world, engine=engine) as ask:

        def under_way() -> float:
            return value(scrape(ask), "gpucamp_image_pulls_in_progress")

        assert ask_for(ask, "pull") == ask_for(ask, "pull") == 202
        assert under_way() == 1
        assert ask_for(ask, "pull", "cancel") == 200
        assert ask_for(ask, "pull", "cancel") == 409
        assert under_way() == 0
        engine.released, engine.failure = True, EngineUnavailable("gone")
        ask_for(ask, "pull")
        until(lambda: not under_way())
        engine.failure = None
        ask_for(ask, "pull")
        until(lambda: not under_way())
        until(lambda: len(more(before)) == 3)
    assert more(before) == {"cancelled": 1, "failed": 1, "succeeded": 1}


def test_a_pull_that_an_earlier_service_left_is_counted_as_cut_off(world: World) -> None:
    world.ledger.begin_image_pull(IMAGE, "", now(), actor="root")
    before = pulls()
    with running_service(world):
        until(lambda: more(before) == {"cut_off": 1})


async def test_a_pull_is_counted_once_though_the_reply_is_lost(world: World, monkeypatch) -> None:
    before, seconds = pulls(), 90
    times = iter(
        datetime(2026, 11, 28, tzinfo=UTC) + timedelta(seconds=seconds * n) for n in (0, 1)
    )
    made = ImagePulls(world.ledger, FakeEngine(world), retry=0.01, now=lambda: next(times))
    real, lost = world.ledger.end_image_pull, []

    def reply_is_lost(*arguments):
        ended = real(*arguments)
        if not lost:
            lost.append(ended)
            raise LedgerUnavailable("locked")
        return ended

    monkeypatch.setattr(world.ledger, "end_image_pull", reply_is_lost)
    await made.begin(IMAGE, "", by="root")
    await made.settled()
    assert lost[0].state is PullState.DONE
    assert more(before) == {"succeeded": 1}


async def test_a_pull_that_ends_as_it_is_cancelled_is_counted_once(world: World) -> None:
    engine = EnginePullsSlowly(world)
    before = pulls()
    made = ImagePulls(world.ledger, engine)
    await made.begin(IMAGE, "", by="root")
    await asyncio.gather(*(made.cancel(IMAGE, by="root") for _ in range(3)), return_exceptions=True)
    await made.settled()
    assert more(before) == {"cancelled": 1}
