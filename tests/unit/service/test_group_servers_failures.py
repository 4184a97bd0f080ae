"""Starts and stops of whole groups: through lost replies, bugs, cancels and kills."""

from __future__ import annotations

import asyncio

import pytest
from school import CLASS, START, STOP, begin, parts, results, running, until
from service_world import FakeHub, HubDownForAWhile, HubHangs, HubLosesReplies, check_invariants

from hub_ext.errors import Conflict, HubUnavailable, LedgerUnavailable
from hub_ext.models import GroupOperationState, MemberState, OperationKind
from hub_ext.service import group_servers
from hub_ext.service.group_operations import UNEXPECTED
from hub_ext.service.group_servers import Limits


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
