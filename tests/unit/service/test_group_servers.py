"""Starts and stops of whole groups: looked at first, a result each, through kills and failures."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import requests
from service_server import person, running_service
from service_world import (
    FakeEngine,
    FakeHub,
    HubDownForAWhile,
    HubFailsToStart,
    HubHangs,
    HubLetsWait,
    HubLosesReplies,
    HubNeverStops,
    HubRefusesToStop,
    World,
    check_invariants,
    now,
)
from test_reset_workflow import QUICK

from hub_ext import scopes
from hub_ext.errors import Conflict, HubUnavailable, LedgerUnavailable
from hub_ext.models import (
    GroupAction,
    GroupOperationState,
    MemberState,
    NoticeKind,
    OperationKind,
    Request,
)
from hub_ext.service import group_servers
from hub_ext.service.group_operations import UNEXPECTED, GroupOperations
from hub_ext.service.group_servers import GroupServers, Limits
from hub_ext.service.reset import ResetWorkflow

START, STOP = GroupAction.START, GroupAction.STOP
CLASS = tuple(f"pupil-{n}" for n in range(7))
FAST = Limits(poll=0.01, start=2, stop=2, retry=0.01, stop_again=0.05)


@pytest.fixture
def school(world: World) -> World:
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


@pytest.mark.parametrize("action", [START, STOP])
async def test_lost_replies_and_a_hub_that_is_away_for_a_while(school, action):
    class Both(HubLosesReplies, HubDownForAWhile):
        pass

    hub = Both(school)
    hub.silent = 10
    _resets, groups = parts(school, hub)
    found = await begin(groups, action)
    await groups.settled()
    assert {state for state, _note in results(school, found).values()} == {
        MemberState.DONE,
        MemberState.SKIPPED,
    }
    assert running(school) == ({"ada", *CLASS} if action is START else set())
    assert len(school.started_with) == (7 if action is START else 0), "nobody is started twice"


async def test_a_hub_that_stays_away_ends_what_began_and_nothing_else(school):
    class Away(FakeHub):
        gone = False

        async def server(self, user, server):
            if self.gone:
                raise HubUnavailable("no answer")
            return await super().server(user, server)

        async def stop(self, user, server) -> None:
            self.gone = True
            raise HubUnavailable("no answer")

    hub = Away(school)
    school.run_server("pupil-0", gpus=0)
    _resets, groups = parts(school, hub, at_once=1, limits=Limits(poll=0.01, stop=0.1, retry=0.01))
    found = await begin(groups, STOP, ("ada", "pupil-0"))
    await until(lambda: results(school, found)["ada"][0] is MemberState.FAILED)
    await asyncio.sleep(0.3)  # longer than a stop may take
    assert results(school, found) == {
        "ada": (MemberState.FAILED, group_servers.HUB_SILENT),
        "pupil-0": (MemberState.PENDING, ""),
    }
    hub.gone = False
    await until(lambda: results(school, found)["pupil-0"][0] is not MemberState.PENDING)
    await groups.close()


async def test_a_ledger_that_is_away_for_a_while(school, monkeypatch):
    silent = 4
    real = type(school.ledger).begin_group_member

    def fails(self, *args):
        nonlocal silent
        if silent:
            silent -= 1
            raise LedgerUnavailable("locked")
        return real(self, *args)

    monkeypatch.setattr(type(school.ledger), "begin_group_member", fails)
    _resets, groups = parts(school)
    found = await begin(groups, START)
    await groups.settled()
    assert silent == 0
    assert running(school) == {"ada", *CLASS}
    assert {state for state, _note in results(school, found).values()} == {
        MemberState.DONE,
        MemberState.SKIPPED,
    }


async def test_a_bug_is_a_result(school):
    class Broken(FakeHub):
        async def start(self, user, server, user_options) -> None:
            raise RuntimeError("a bug")

    _resets, groups = parts(school, Broken(school))
    found = await begin(groups, START, ("pupil-0",))
    await groups.settled()
    assert results(school, found) == {"pupil-0": (MemberState.FAILED, UNEXPECTED)}


async def test_who_is_reset_meanwhile_is_waited_for(school):
    resets, groups = parts(school, HubHangs(school))
    await resets.begin(OperationKind.RESET, "ada", "", requested_by="ada")
    found = await begin(groups, STOP)
    await until(lambda: results(school, found)["pupil-6"][0] is MemberState.SKIPPED)
    assert results(school, found)["ada"][0] is MemberState.PENDING
    await groups.close()
    await resets.close()
    resets, groups = parts(school)
    await resets.resume()
    await groups.resume()
    await groups.settled()
    assert results(school, found)["ada"] == (MemberState.DONE, "")
    assert running(school) == set()
    await resets.settled()


async def test_after_a_cancel_nobody_else_is_begun_and_what_had_begun_ends(school):
    slow = asyncio.Event()

    class Slow(FakeHub):
        async def start(self, user, server, user_options) -> None:
            await slow.wait()
            await super().start(user, server, user_options)

    _resets, groups = parts(school, Slow(school), at_once=1)
    found = await begin(groups, START, CLASS)
    await until(lambda: results(school, found)["pupil-0"][0] is MemberState.UNDER_WAY)
    with pytest.raises(Conflict, match="being started"):
        await begin(groups, STOP)
    assert (await begin(groups, START, ("ada",))).id == found.id
    await groups.cancel(START, "class-1", "kim")
    slow.set()
    await groups.settled()
    assert running(school) == {"ada", "pupil-0"}
    assert results(school, found) == {
        "pupil-0": (MemberState.DONE, ""),
        **dict.fromkeys(CLASS[1:], (MemberState.PENDING, "")),
    }
    assert school.ledger.group_operation(found.id).state is GroupOperationState.CANCELLED


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 12, 15, 18])
@pytest.mark.parametrize("action", [START, STOP])
async def test_a_service_that_is_killed_goes_on(school, action, after):
    calls = 0

    class Killed(BaseException):
        pass

    class Dies(FakeHub):
        async def die(self) -> None:
            nonlocal calls
            calls += 1
            if calls > after:
                raise Killed

        async def server(self, user: str, server: str):
            await self.die()
            return await super().server(user, server)

        async def start(self, user, server, user_options) -> None:
            await super().start(user, server, user_options)
            await self.die()  # it was done, and nobody heard of it

        async def stop(self, user, server) -> None:
            await super().stop(user, server)
            await self.die()

    if action is STOP:
        for user in CLASS:
            school.run_server(user, gpus=0)
    resets, groups = parts(school, Dies(school))
    found = await begin(groups, action)
    await until(lambda: calls > after or not school.ledger.groups_under_way())
    await groups.close()
    await resets.close()
    resets, groups = parts(school)
    await groups.resume()
    await groups.settled()
    assert school.ledger.group_operation(found.id).state is GroupOperationState.DONE
    assert running(school) == ({"ada", *CLASS} if action is START else set())
    assert {state for state, _note in results(school, found).values()} <= {
        MemberState.DONE,
        MemberState.SKIPPED,
    }
    assert len(school.started_with) == (7 if action is START else 0)
    check_invariants(school)


async def test_what_a_cancelled_one_had_begun_goes_on_after_a_kill(school):
    _resets, groups = parts(school, HubHangs(school), at_once=1)
    found = await begin(groups, STOP)
    await until(lambda: results(school, found)["ada"][0] is MemberState.UNDER_WAY)
    await groups.cancel(STOP, "class-1", "kim")
    await groups.close()
    _resets, groups = parts(school)
    await groups.resume()
    await groups.settled()
    assert results(school, found)["ada"] == (MemberState.DONE, "")
    assert school.ledger.unfinished_group_operations() == ()


# -- announced stops


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


# -- over REST

TEACHER = (scopes.ACCESS_SERVICE, f"{scopes.SERVERS_MANAGE}!group=class-1")


@pytest.fixture
def rest(school):
    school.users["eve"] = ("class-2",)
    with running_service(school) as ask:
        ask.tokens["teacher"] = person("tea", *TEACHER)
        yield ask


def wait_for(rest, action: str):
    for _ in range(600):
        view = rest("GET", f"api/v1/groups/class-1/{action}", "teacher").json()[action]
        if not view["under_way"]:
            return view
    raise AssertionError(view)


def counts(view) -> dict[str, int]:
    return {state: number for state, number in view["counts"].items() if number}


def test_a_teacher_starts_and_stops_the_class_they_teach(rest, school):
    assert rest("GET", "api/v1/groups/class-1/start", "teacher").json() == {"start": None}
    answer = rest("POST", "api/v1/groups/class-1/start", "teacher", json={"reason": "hello"})
    assert answer.status_code == 202
    view = wait_for(rest, "start")
    assert counts(view) == {"done": 7, "skipped": 1}
    assert view["members"][0] == {
        "user": "ada",
        "state": "skipped",
        "operation": None,
        "message": "The server runs already.",
    }
    assert (view["requested_by"], view["reason"], view["due"]) == ("tea", "hello", None)
    answer = rest("POST", "api/v1/groups/class-1/stop", "teacher", json={"reason": "bye"})
    assert answer.status_code == 202 and answer.json()["stop"]["due"] is not None
    assert rest("GET", "api/v1/groups", "admin-token").json()["groups"][0]["under_way"] == "stop"
    refused = rest("POST", "api/v1/groups/class-1/start", "teacher", json={"reason": "hello"})
    assert refused.status_code == 409 and "being stopped" in refused.json()["detail"]
    assert rest("POST", "api/v1/groups/class-1/stop/cancel", "teacher", json={}).ok
    assert counts(wait_for(rest, "stop")) == {"left": 8}
    at_once = {"reason": "bye", "minutes": 0}
    assert rest("POST", "api/v1/groups/class-1/stop", "teacher", json=at_once).ok
    assert counts(wait_for(rest, "stop")) == {"done": 8}
    assert running(school) == set()
    chinese = rest(
        "GET", "api/v1/groups/class-1/start", "teacher", headers={"Accept-Language": "zh-CN"}
    )
    assert chinese.json()["start"]["members"][0]["message"] == "服务器已在运行。"


def test_the_result_of_who_waits_follows_the_line(school):
    school.stop_server("ada", "")
    hub = HubLetsWait(school)
    with running_service(school, hub=hub) as rest:
        rest.tokens["teacher"] = person("tea", *TEACHER)
        rest("POST", "api/v1/groups/class-1/start", "teacher", json={"reason": "hello"})
        assert counts(wait_for(rest, "start")) == {"queued": 8}
        for user in ("ada", "pupil-0"):
            school.ledger.withdraw(user, "")
        school.run_server("ada")  # its turn came
        view = wait_for(rest, "start")
        assert counts(view) == {"queued": 7, "done": 1}
        assert [m["message"] for m in view["members"] if m["message"]] == [
            "It does not wait in line any more."
        ]


@pytest.mark.parametrize("action", ["start", "stop"])
@pytest.mark.parametrize(
    ("token", "group", "status"),
    [
        ("teacher", "class-2", 404),  # of somebody else
        ("teacher", "none", 404),
        ("admin-token", "none", 404),
        ("ada-token", "class-1", 403),
        ("ada-server-token", "class-1", 403),
        ("stranger-token", "class-1", 403),
        (None, "class-1", 401),
    ],
)
def test_who_may_not_start_and_stop_a_group(rest, school, action, token, group, status):
    path = f"api/v1/groups/{group}/{action}"
    assert rest("POST", path, token, json={"reason": "why not"}).status_code == status
    assert rest("POST", path + "/cancel", token, json={}).status_code == (
        409 if token == "admin-token" else status
    )
    assert rest("GET", path, token).status_code == status
    assert school.ledger.group_operation_of("class-1") is None
    assert running(school) == {"ada"}


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("start", {}),
        ("start", {"reason": "x", "minutes": 1}),
        ("stop", {"reason": " "}),
        ("stop", {"reason": "x", "minutes": -1}),
        ("stop", {"reason": "x", "minutes": 1441}),
        ("stop", {"reason": "x", "minutes": True}),
    ],
)
def test_what_is_no_such_request(rest, school, action, body):
    answer = rest("POST", f"api/v1/groups/class-1/{action}", "teacher", json=body)
    assert answer.status_code == 400
    assert school.ledger.group_operation_of("class-1") is None


def test_a_page_of_elsewhere_starts_nobody(rest, school):
    url = rest.url + "api/v1/groups/class-1/start"

    rest.visitor = rest.tokens["teacher"]
    session = requests.Session()
    assert session.get(rest.url + "groups", timeout=10).url.startswith(rest.url)
    answer = session.post(url, json={"reason": "x"}, timeout=10)
    assert answer.status_code == 403
    assert school.ledger.group_operation_of("class-1") is None
