"""Resets of whole groups: at a bounded rate, a result each, through kills, cancels and failures."""

from __future__ import annotations

import asyncio

import pytest
from school import CLASS, counts, parts, school_service, until, wait_for
from service_world import (
    FakeHub,
    HubDownForAWhile,
    HubHangs,
    World,
    check_invariants,
)

from hub_ext import scopes
from hub_ext.models import GroupAction, GroupOperationState, OperationKind, OperationStep
from hub_ext.service.group_operations import GroupOperations
from hub_ext.service.group_servers import USER_GONE


async def begin(groups: GroupOperations, users=("ada", *CLASS)):
    return await groups.begin(
        GroupAction.RESET, "class-1", users, requested_by="kim", reason="the exam begins"
    )


def generations(world: World) -> set[int]:
    return {world.ledger.environment(user, "").generation for user in ("ada", *CLASS)}


async def test_everyone_is_reset_once_and_told_why(school):
    _resets, groups = parts(school)
    found = await begin(groups)
    await groups.settled()
    after = school.ledger.group_operation(found.id)
    assert after.state is GroupOperationState.DONE
    assert {member.operation.step for member in after.members} == {OperationStep.DONE}
    assert generations(school) == {2}
    assert [c.generation for c in school.containers] == [2], "only who ran is started again"
    assert [each.detail["reason"] for each in school.ledger.notices("ada")] == ["the exam begins"]
    check_invariants(school)


async def test_no_more_are_under_way_than_may_be(school):
    for user in CLASS:
        school.run_server(user, gpus=0)
    most = 0

    class Counts(FakeHub):
        async def stop(self, user: str, server: str) -> None:
            nonlocal most
            most = max(most, len(self.world.ledger.unfinished_operations()))
            await asyncio.sleep(0.02)
            await super().stop(user, server)

    _resets, groups = parts(school, Counts(school), at_once=3)
    await begin(groups)
    await groups.begin(GroupAction.RESET, "class-2", ("bob",), requested_by="kim", reason="too")
    await groups.settled()
    assert generations(school) == {2}
    assert 1 < most <= 3, most


async def test_a_member_who_is_gone_does_not_hold_the_others_up(school):
    _resets, groups = parts(school)
    found = await begin(groups, ("aaron", *CLASS, "zoe"))
    await groups.settled()
    after = school.ledger.group_operation(found.id)
    assert after.state is GroupOperationState.DONE
    assert {m.user: m.note for m in after.members if m.note} == {
        "aaron": USER_GONE,
        "zoe": USER_GONE,
    }


async def test_who_resets_by_themselves_is_waited_for(school):
    hub = HubHangs(school)  # ada's own reset stands still
    resets, groups = parts(school, hub, at_once=1)
    own = await resets.begin(OperationKind.RESET, "ada", "", requested_by="ada")
    found = await begin(groups)
    await until(lambda: {school.ledger.environment(u, "").generation for u in CLASS} == {2})
    members = {m.user: m for m in school.ledger.group_operation(found.id).members}
    assert members["ada"].operation is None
    await groups.close()
    await resets.close()
    resets, groups = parts(school)
    await resets.resume()
    await groups.resume()
    await groups.settled()
    assert school.ledger.operation(own.id).step is OperationStep.DONE
    assert school.ledger.group_operation(found.id).state is GroupOperationState.DONE
    assert school.ledger.environment("ada", "").generation == 3


async def test_a_hub_that_is_away_is_waited_for(school):
    hub = HubDownForAWhile(school)
    hub.silent = 10
    _resets, groups = parts(school, hub)
    await begin(groups)
    await groups.settled()
    assert generations(school) == {2}


async def test_after_a_cancel_nobody_else_is_begun(school):
    hub = HubHangs(school)
    resets, groups = parts(school, hub, at_once=1)
    found = await begin(groups)  # ada comes first, and stands still
    await until(lambda: school.ledger.unfinished_operations())
    await groups.cancel(GroupAction.RESET, "class-1", "kim")
    await groups.settled()
    await resets.close()
    after = school.ledger.group_operation(found.id)
    assert after.state is GroupOperationState.CANCELLED
    assert [member.user for member in after.members if member.operation] == ["ada"]
    assert generations(school) == {1}


@pytest.mark.parametrize("after", [0, 1, 2, 5, 9, 12, 15])
async def test_a_service_that_is_killed_goes_on_and_resets_nobody_twice(school, after):
    calls = 0

    class Killed(BaseException):
        pass

    class Dies(FakeHub):
        async def server(self, user: str, server: str):
            nonlocal calls
            calls += 1
            if calls > after:
                raise Killed
            return await super().server(user, server)

    resets, groups = parts(school, Dies(school))
    found = await begin(groups)
    await until(lambda: calls > after)
    await groups.close()
    await resets.close()
    resets, groups = parts(school)
    await resets.resume()
    await groups.resume()
    await groups.settled()
    assert school.ledger.group_operation(found.id).state is GroupOperationState.DONE
    assert generations(school) == {2}
    check_invariants(school)


# -- over REST


@pytest.fixture
def rest(school):
    with school_service(school, scopes.ENVIRONMENT_RESET) as ask:
        yield ask


def test_a_teacher_resets_the_class_they_teach(rest, school):
    assert rest("GET", "api/v1/groups", "teacher").json() == {
        "groups": [{"name": "class-1", "users": 8, "under_way": None}],
        "next": None,
    }
    assert rest("GET", "api/v1/groups/class-1/reset", "teacher").json() == {"reset": None}
    answer = rest("POST", "api/v1/groups/class-1/reset", "teacher", json={"reason": "exam"})
    assert answer.status_code == 202
    again = rest("POST", "api/v1/groups/class-1/reset", "admin-token", json={"reason": "other"})
    view = wait_for(rest, "reset")
    assert again.status_code == 202
    assert (view["state"], counts(view)) == ("done", {"done": 8})
    assert view["requested_by"] == "tea"
    assert school.ledger.environment("eve", "").generation == 1


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [
        ("teacher", "api/v1/groups/class-2/reset", 404),  # of somebody else
        ("teacher", "api/v1/groups/none/reset", 404),
        ("admin-token", "api/v1/groups/none/reset", 404),
        (
            "ada-token",
            "api/v1/groups/class-1/reset",
            404,
        ),  # a pupil's own right is not for the class
        ("ada-server-token", "api/v1/groups/class-1/reset", 404),
        ("stranger-token", "api/v1/groups/class-1/reset", 403),
        (None, "api/v1/groups/class-1/reset", 401),
    ],
)
def test_who_may_not_reset_a_group(rest, school, token, path, status):
    answer = rest("POST", path, token, json={"reason": "why not"})
    assert answer.status_code == status
    assert school.ledger.group_operation_of("class-1") is None
    assert school.ledger.group_operation_of("none") is None


@pytest.mark.parametrize("body", [{}, {"reason": " "}, {"reason": "a\nb"}, {"reason": 1}, {"x": 1}])
def test_a_class_is_told_why(rest, school, body):
    answer = rest("POST", "api/v1/groups/class-1/reset", "teacher", json=body)
    assert answer.status_code == 400
    assert school.ledger.group_operation_of("class-1") is None


def test_there_must_be_something_to_cancel(rest):
    answer = rest("POST", "api/v1/groups/class-1/reset/cancel", "teacher", json={})
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "No reset of this group is under way.",
    )
