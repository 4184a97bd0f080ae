"""Starts and stops of whole groups: looked at first, announced, a result each."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from school import CLASS, START, STOP, Clock, begin, parts, results, running, trail, until
from service_world import (
    FakeHub,
    HubFailsToStart,
    HubLetsWait,
    HubNeverStops,
    HubRefusesToStop,
    check_invariants,
    now,
)

from hub_ext.models import GroupOperationState, MemberState, NoticeKind, Request
from hub_ext.service import group_servers
from hub_ext.service.group_servers import Limits


async def test_everyone_is_started_and_who_runs_is_left_alone(school):
    _resets, groups = parts(school)
    found = await begin(groups, START)
    await groups.settled()
    assert running(school) == {"ada", *CLASS}
    assert results(school, found) == {
        "ada": (MemberState.SKIPPED, group_servers.RUNS_ALREADY),
        **dict.fromkeys(CLASS, (MemberState.DONE, "")),
    }
    assert school.ledger.group_operation(found.id).state is GroupOperationState.DONE
    asked = trail(school, "group_start.ask")
    assert sorted(asked) == [("group_start.ask", user, "class-1", "noon") for user in CLASS]
    check_invariants(school)


async def test_each_starts_with_what_its_user_asked_for_last(school):
    school.run_server("pupil-1", gpus=1)
    school.stop_server("pupil-1", "")
    _resets, groups = parts(school)
    await begin(groups, START, ("pupil-0", "pupil-1"))
    await groups.settled()
    assert sorted(school.started_with, key=str) == [{"gpus": 1}, {}] or sorted(
        school.started_with, key=str
    ) == [{}, {"gpus": 1}]


async def test_everyone_is_stopped_and_reads_why(school):
    for user in CLASS[:3]:
        school.run_server(user, gpus=0)
    school.run_server("ada", "second", gpus=0)
    _resets, groups = parts(school)
    found = await begin(groups, STOP)
    await groups.settled()
    assert running(school) == {"ada"}, "a named server is left alone"
    assert [key for key, each in school.servers.items() if each.ready] == [("ada", "second")]
    assert results(school, found) == {
        **dict.fromkeys(("ada", *CLASS[:3]), (MemberState.DONE, "")),
        **dict.fromkeys(CLASS[3:], (MemberState.SKIPPED, group_servers.DOES_NOT_RUN)),
    }
    (notice,) = school.ledger.notices("ada")
    assert notice.kind is NoticeKind.STOPPED_WITH_GROUP
    assert notice.detail == {"by": "kim", "reason": "noon"}
    assert school.ledger.notices("pupil-3") == ()
    check_invariants(school)


@pytest.mark.parametrize("action", [START, STOP])
async def test_no_more_are_under_way_than_may_be(school, action):
    under_way = most = 0

    class Counts(FakeHub):
        async def busy(self) -> None:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.02)
            under_way -= 1

        async def start(self, user, server, user_options) -> None:
            await self.busy()
            await super().start(user, server, user_options)

        async def stop(self, user, server) -> None:
            await self.busy()
            await super().stop(user, server)

    if action is STOP:
        for user in CLASS:
            school.run_server(user, gpus=0)
    _resets, groups = parts(school, Counts(school), at_once=3)
    await begin(groups, action)
    await groups.begin(action, "class-2", ("bob",), requested_by="kim", reason="too")
    await groups.settled()
    assert 1 < most <= 3, most


async def test_who_waits_in_line_is_not_waited_for(school):
    school.stop_server("ada", "")
    _resets, groups = parts(school, HubLetsWait(school))
    found = await begin(groups, START)
    await groups.settled()
    assert set(results(school, found).values()) == {(MemberState.QUEUED, "")}
    assert school.ledger.group_operation(found.id).state is GroupOperationState.DONE
    assert {e.request.user for e in school.ledger.queue()} == {"ada", *CLASS}
    again = await begin(groups, START, ("ada",))
    await groups.settled()
    assert results(school, again) == {"ada": (MemberState.SKIPPED, group_servers.STARTS_ALREADY)}


async def test_a_stop_takes_who_waits_out_of_the_line(school):
    school.stop_server("ada", "")
    hub = HubLetsWait(school)
    _resets, groups = parts(school, hub)
    await begin(groups, START, CLASS)
    await groups.settled()
    # the hub was restarted, and has not started it again
    school.ledger.enqueue(Request("ada", "", 1), now(), waiter="an earlier run", user_options={})
    found = await begin(groups, STOP)
    await groups.settled()
    assert school.ledger.queue() == ()
    assert set(results(school, found).values()) == {(MemberState.DONE, "")}


async def test_a_start_that_fails_has_the_hubs_reason_and_is_not_tried_again(school):
    hub = HubFailsToStart(school)
    hub.failures = 1
    _resets, groups = parts(school, hub, at_once=1)
    found = await begin(groups, START, ("nobody", *CLASS))
    await groups.settled()
    assert results(school, found) == {
        "nobody": (MemberState.FAILED, group_servers.USER_GONE),
        "pupil-0": (MemberState.FAILED, "The image is gone"),
        **dict.fromkeys(CLASS[1:], (MemberState.DONE, "")),
    }


async def test_a_start_that_never_ends_and_one_that_ended(school):
    class Starts(FakeHub):
        async def start(self, user, server, user_options) -> None:
            if user == "pupil-0":
                await HubLetsWait.start(self, user, server, user_options)  # type: ignore[arg-type]
                school.ledger.withdraw(user, server)

        run = "run"

    _resets, groups = parts(school, Starts(school), limits=Limits(poll=0.01, start=0.1))
    found = await begin(groups, START, CLASS[:2])
    await groups.settled()
    assert results(school, found) == {
        "pupil-0": (MemberState.FAILED, group_servers.STILL_STARTING),
        "pupil-1": (MemberState.FAILED, group_servers.DID_NOT_START),
    }


@pytest.mark.parametrize(
    ("hub", "note"),
    [
        (HubNeverStops, group_servers.DOES_NOT_STOP),
        (HubRefusesToStop, "The server is pending"),
    ],
)
async def test_a_stop_that_does_not_come(school, hub, note):
    _resets, groups = parts(
        school, hub(school), limits=Limits(poll=0.01, stop=0.1, stop_again=0.02)
    )
    found = await begin(groups, STOP, ("ada",))
    await groups.settled()
    assert results(school, found) == {"ada": (MemberState.FAILED, note)}
    assert school.ledger.notices("ada") == ()


async def test_a_stop_is_announced_once_and_nobody_is_stopped_before(school):
    clock = Clock()
    _resets, groups = parts(school, clock=clock)
    found = await begin(groups, STOP, minutes=5)
    await until(lambda: school.ledger.notices("ada"))
    school.run_server("pupil-1", gpus=0)  # after the announcement
    await until(lambda: school.ledger.notices("pupil-1"))
    await groups.close()
    _resets, groups = parts(school, clock=clock)
    await groups.resume()
    await asyncio.sleep(0.2)
    (told,) = school.ledger.notices("ada")
    assert told.kind is NoticeKind.STOP_ANNOUNCED
    assert told.detail == {
        "by": "kim",
        "reason": "noon",
        "until": found.due.isoformat(),
        "occasion": found.id,
    }
    assert running(school) == {"ada", "pupil-1"}
    clock.ahead = timedelta(minutes=5)
    await groups.settled()
    assert running(school) == set()
    assert [each.kind for each in school.ledger.notices("ada")] == [NoticeKind.STOPPED_WITH_GROUP]


async def test_a_stop_that_is_cancelled_is_not_announced_any_more(school):
    _resets, groups = parts(school)
    school.ledger.notify("ada", "", NoticeKind.MESSAGE, {"by": "kim", "text": "hi"}, now())
    await begin(groups, STOP, minutes=5)
    await until(lambda: len(school.ledger.notices("ada")) == 2)
    await groups.cancel(STOP, "class-1", "kim")
    assert [each.kind for each in school.ledger.notices("ada")] == [NoticeKind.MESSAGE]
    await groups.close()
    assert running(school) == {"ada"}
