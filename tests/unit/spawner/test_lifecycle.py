"""The order of calls of one server, with a real ledger and an Engine that can be made to fail."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from one_server import FakeContainer, Place, now, soon

from hub_ext import hub_side, spawn_metrics
from hub_ext.container_args import HUB_LABEL, LEASE_LABEL
from hub_ext.engine import Presence
from hub_ext.errors import (
    Conflict,
    EngineRefused,
    EngineUnavailable,
    QueueTimeout,
    TakenOutOfLine,
)
from hub_ext.fair_queue import line_up
from hub_ext.models import LeaseState, OperationKind, OperationStep, QueueEntry, Request
from hub_ext.queue_moves import moved


async def test_a_start_and_a_stop(place: Place) -> None:
    life = place.life()
    await place.start(life, gpus=2)
    (lease,) = place.ledger.leases()
    assert (lease.state, lease.container_id) == (LeaseState.RUNNING, "id1")
    # few round trips: a start must not be slow
    assert place.engine.calls == ["state", "create", "start", "state"]
    await life.stop(5, 1)
    place.check()
    assert place.ledger.leases() == (lease,)  # until the tear-down
    await life.tear_down("stopped")
    place.nothing_left()
    await life.tear_down("again")
    (ended,) = place.ledger.leases(include_ended=True)
    assert ended.end_reason == "stopped"


async def test_cancelled_at_any_moment_nothing_is_left(place: Place) -> None:
    for step in range(40):
        life = place.life()
        start = asyncio.ensure_future(place.start(life))
        await asyncio.sleep(step * 0.001)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await life.tear_down("cancelled")
        place.nothing_left()


async def test_cancelled_while_waiting(place: Place) -> None:
    await place.start(place.life("bob"), gpus=2, user="bob")
    life = place.life()
    waiting = asyncio.ensure_future(place.start(life))
    await soon(lambda: len(place.ledger.queue()) == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await life.tear_down("cancelled")
    assert place.ledger.queue() == ()
    assert [lease.user for lease in place.ledger.leases()] == ["bob"]


async def test_waiting_goes_on_when_a_lease_ends_and_tells_each_place(place: Place) -> None:
    first = place.life("first")
    await place.start(first, gpus=2, user="first")
    told: list[tuple[int, int]] = []

    async def wait(user: str) -> None:
        await place.life(user).acquire(
            Request(user, "", 2), limit=5, tell=lambda p, n, _: told.append((p.position, n))
        )

    ada = asyncio.ensure_future(wait("ada"))
    await soon(lambda: told == [(1, 1)])
    bob = asyncio.ensure_future(wait("bob"))
    await soon(lambda: (2, 2) in told)
    await first.stop(0, 1)
    await first.tear_down("stopped")
    await ada
    await soon(lambda: told[-1] == (1, 1))
    bob.cancel()
    await asyncio.gather(bob, return_exceptions=True)


async def test_who_is_taken_out_of_the_line_does_not_wait_on_and_hears_why(place: Place) -> None:
    await place.start(place.life("bob"), gpus=2, user="bob")
    life = place.life()
    told: list[int] = []
    waiting = asyncio.ensure_future(
        life.acquire(Request("ada", "", 1), limit=60, tell=lambda p, *_: told.append(p.position))
    )
    await soon(lambda: told == [1])
    place.ledger.cancel_waiting("ada", "", "the room is closed", now(), actor="kim")
    with pytest.raises(TakenOutOfLine) as caught:
        await waiting
    assert (caught.value.by, caught.value.reason) == ("kim", "the room is closed")
    await life.tear_down("taken out")
    assert place.ledger.queue() == ()
    # the next start waits as ever, though its user has not read the notice
    again = place.life()
    waiting = asyncio.ensure_future(
        again.acquire(Request("ada", "", 1), limit=60, tell=lambda p, *_: told.append(p.position))
    )
    await soon(lambda: told == [1, 1])
    place.ledger.withdraw("ada", "")  # whoever did that said nothing
    with pytest.raises(TakenOutOfLine) as caught:
        await waiting
    assert (caught.value.by, caught.value.reason) == ("", "")
    await again.tear_down("taken out")


async def test_who_is_taken_out_before_they_saw_their_place_does_not_wait_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An admin acts between the place's being taken and the first look at the line."""
    await place.start(place.life("bob"), gpus=2, user="bob")
    life = place.life()
    join = place.ledger.enqueue

    def joined_and_taken_out(*args: Any, **kwargs: Any) -> QueueEntry:
        entry = join(*args, **kwargs)
        place.ledger.cancel_waiting("ada", "", "the room is closed", now(), actor="kim")
        return entry

    monkeypatch.setattr(place.ledger, "enqueue", joined_and_taken_out)
    with pytest.raises(TakenOutOfLine) as caught:
        await life.acquire(Request("ada", "", 1), limit=60, tell=lambda *_: None)
    assert (caught.value.by, caught.value.reason) == ("kim", "the room is closed")
    await life.tear_down("taken out")


async def test_who_is_moved_sees_it_at_once(place: Place) -> None:
    await place.start(place.life("bob"), gpus=2, user="bob")
    told: dict[str, Any] = {}

    def wait(user: str) -> asyncio.Future[Any]:
        def tell(seen: Any, *_: Any) -> None:
            told[user] = (seen.position, seen.entry.move and seen.entry.move.reason)

        life = place.life(user)
        return asyncio.ensure_future(life.acquire(Request(user, "", 2), limit=60, tell=tell))

    first, second = wait("ada"), None
    await soon(lambda: told.get("ada") == (1, None))
    second = wait("kim")
    await soon(lambda: told.get("kim") == (2, None))
    place.ledger.move_in_queue(
        "kim",
        "",
        lambda seen, mine: (1, moved([p.entry for p in line_up(seen)], mine.sequence, 1)),
        "the demo",
        now(),
        actor="root",
    )
    await soon(lambda: told == {"ada": (2, None), "kim": (1, "the demo")})
    for each in (first, second):
        each.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_the_limit_of_waiting(place: Place) -> None:
    await place.start(place.life("bob"), gpus=2, user="bob")
    life = place.life()
    with pytest.raises(QueueTimeout):
        await life.acquire(Request("ada", "", 1), limit=0.2, tell=lambda *_: None)
    await life.tear_down("timeout")
    assert place.ledger.queue() == ()


async def test_the_limit_counts_from_when_the_place_was_taken(place: Place) -> None:
    """Nobody is started by surprise the morning after a hub was stopped."""
    await place.start(place.life("bob"), gpus=2, user="bob")
    place.ledger.enqueue(Request("ada", "", 1), now() - timedelta(hours=9), waiter="yesterday")
    life = place.life()
    with pytest.raises(QueueTimeout):
        await life.acquire(Request("ada", "", 1), limit=3600, tell=lambda *_: None)
    await life.tear_down("timeout")
    assert place.ledger.queue() == ()


@pytest.mark.parametrize("call", ["create", "start"])
async def test_a_lost_reply_makes_no_second_container(place: Place, call: str) -> None:
    place.engine.lose_reply_of = call
    await place.start(place.life())
    place.check()
    assert len(place.engine.containers) == 1


async def test_an_engine_that_went_away_keeps_the_lease(place: Place) -> None:
    life = place.life()
    await place.start(life)
    place.engine.away = True
    with pytest.raises(EngineUnavailable):
        await life.stop(5, 0)
    await life.tear_down("stopped")
    await asyncio.sleep(0.2)
    assert len(place.ledger.leases()) == 1
    place.engine.away = False
    await soon(lambda: place.ledger.leases() == ())
    place.nothing_left()


async def test_the_next_start_takes_over_a_pending_clean_up(place: Place) -> None:
    life = place.life()
    await place.start(life)
    place.engine.away = True
    await life.tear_down("stopped")
    place.engine.away = False
    await place.start(place.life())
    await asyncio.sleep(0.2)
    place.check()
    (container,) = place.engine.containers.values()
    assert container.running


async def test_engine_away_at_the_start_leases_nothing(place: Place) -> None:
    place.engine.away = True
    with pytest.raises(EngineUnavailable):
        await place.start(place.life())
    assert place.ledger.leases(include_ended=True) == ()


async def test_leftovers_of_a_start_are_removed_first(place: Place) -> None:
    await place.start(place.life(), gpus=2)  # a hub that died: nobody tears it down
    await place.start(place.life(), gpus=2)
    place.check()
    first, second = place.ledger.leases(include_ended=True)
    assert (first.state, second.state) == (LeaseState.ENDED, LeaseState.RUNNING)


async def test_a_name_taken_in_between_is_freed(place: Place) -> None:
    life = place.life()
    await life.make_room()
    lease = await life.acquire(Request("ada", "", 1), limit=1, tell=lambda *_: None)
    place.engine.containers["x"] = FakeContainer("x", "gpucamp-ada", {}, running=True)
    labels = {HUB_LABEL: place.side.hub_id, LEASE_LABEL: lease.id}
    await life.run(lambda _limits: {"Labels": labels})
    place.check()
    assert "x" not in place.engine.containers


async def test_a_running_container_of_another_hub_is_not_touched(place: Place) -> None:
    other = FakeContainer("x", "gpucamp-ada", {HUB_LABEL: "another"}, running=True)
    place.engine.containers["x"] = other
    life = place.life()
    with pytest.raises(Conflict, match="another hub"):
        await place.start(life)
    assert (await life.state()).presence is Presence.GONE  # not ours
    await life.stop(5, 0)
    await life.tear_down("conflict")
    assert place.engine.containers == {"x": other} and other.running
    assert place.ledger.leases(include_ended=True) == ()


@pytest.mark.parametrize("learnt_by_another", [False, True])
async def test_an_engine_that_cannot_raise_limits_starts_without(
    place: Place, learnt_by_another: bool
) -> None:
    words = "OCI runtime create failed: error setting rlimit type 8: operation not permitted"
    place.engine.refuse["start"] = EngineRefused(words)
    asked: list[bool] = []
    life = place.life()
    await life.make_room()
    lease = await life.acquire(Request("ada", "", 1), limit=1, tell=lambda *_: None)

    def request(limits: bool) -> dict[str, Any]:
        asked.append(limits)
        if learnt_by_another:  # a start at the same time was refused a moment before this one
            place.side.ulimits_refused = True
        return {"Labels": {HUB_LABEL: place.side.hub_id, LEASE_LABEL: lease.id}}

    await life.run(request)
    assert asked == [True, False]
    assert len(place.engine.containers) == 1
    await life.stop(0, 0)
    await life.tear_down("stopped")
    place.nothing_left()


async def test_a_held_lease_is_kept_and_taken_up(place: Place) -> None:
    life = place.life()
    await place.start(life, gpus=2)
    (lease,) = place.ledger.leases()
    place.ledger.hold(lease.id, now() + timedelta(minutes=1), now())
    await life.stop(0, 0)
    await life.tear_down("stopped for a reset")
    (held,) = place.ledger.leases()
    assert held.state is LeaseState.HELD and held.gone_at is not None
    await place.start(place.life(), gpus=2)
    (again,) = place.ledger.leases()
    assert (again.id, again.state) == (lease.id, LeaseState.RUNNING)


async def test_adoption_after_a_hub_was_killed(place: Place) -> None:
    first = place.life()
    await first.make_room()
    lease = await first.acquire(Request("ada", "", 1), limit=1, tell=lambda *_: None)
    labels = {HUB_LABEL: place.side.hub_id, LEASE_LABEL: lease.id}
    await first.run(lambda _limits: {"Labels": labels})  # killed before mark_running
    later = place.life()
    state = await later.state()
    assert state.presence is Presence.RUNNING
    await later.adopt(state)
    (running,) = place.ledger.leases()
    assert (running.state, running.container_id) == (LeaseState.RUNNING, state.id)
    await later.stop(0, 0)
    await later.tear_down("stopped")
    place.nothing_left()


async def in_line(place: Place, user: str) -> asyncio.Task[Any]:
    """A start that waits, and is not granted."""
    waiting = asyncio.ensure_future(place.start(place.life(user), user=user))
    await soon(lambda: user in [entry.request.user for entry in place.ledger.queue()])
    return waiting


async def leave(waiting: asyncio.Task[Any]) -> None:
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_the_clean_up_after_another_process_leaves_the_queue_alone(place: Place) -> None:
    """JupyterHub stops, at its start, each server that was starting when it was killed."""
    await place.start(place.life("bob"), gpus=2, user="bob")
    place.ledger.enqueue(Request("ada", "", 1), now(), waiter="an earlier run")
    await place.life("ada").tear_down("the hub was restarted")
    assert [entry.request.user for entry in place.ledger.queue()] == ["ada"]


async def test_a_start_again_after_a_restart_has_its_old_place(place: Place) -> None:
    await place.start(place.life("bob"), gpus=2, user="bob")
    for user in ("ada", "cleo"):
        place.ledger.enqueue(Request(user, "", 1), now(), waiter="an earlier run")
    place.side.run = "this run"
    place.ledger.begin_run("this run", now())
    cleo = await in_line(place, "cleo")
    ada = await in_line(place, "ada")
    await soon(lambda: {entry.waiter for entry in place.ledger.queue()} == {"this run"})
    assert [entry.request.user for entry in place.ledger.queue()] == ["ada", "cleo"]
    assert place.side.waiting == {("ada", ""), ("cleo", "")}
    for waiting in (ada, cleo):
        await leave(waiting)


@pytest.mark.parametrize("step", [OperationStep.STOPPING, OperationStep.STARTING])
async def test_the_stop_of_a_reset_keeps_the_place_and_a_persons_stop_does_not(
    place: Place, step: OperationStep
) -> None:
    await place.start(place.life("bob"), gpus=2, user="bob")
    life = place.life("ada")
    waiting = asyncio.ensure_future(place.start(life))
    await soon(lambda: len(place.ledger.queue()) == 1)
    operation = place.ledger.begin_operation(
        OperationKind.RESET,
        "ada",
        "",
        requested_by="ada",
        start_after=True,
        user_options={},
        now=now(),
    )
    for each in (OperationStep.STOPPING, step):
        place.ledger.advance_operation(operation.id, each, now())
    await leave(waiting)
    await life.tear_down("stopped")
    assert len(place.ledger.queue()) == (1 if step is OperationStep.STOPPING else 0)
    assert place.side.waiting == set()


async def test_many_wait_and_one_of_them_is_worked_out_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many wait, a look at the ledger decides once for all of them."""
    await place.start(place.life("bob"), gpus=2, user="bob")
    waiting = [await in_line(place, f"user{number}") for number in range(10)]
    decided: list[int] = []
    real = hub_side.decide
    monkeypatch.setattr(
        hub_side, "decide", lambda seen: (decided.append(len(seen.queue)), real(seen))[1]
    )
    place.side.line.ring()
    await soon(lambda: len(decided) >= 1)
    await asyncio.sleep(0.15)
    assert len(decided) <= 5  # one a look, not one a waiter
    for each in waiting:
        await leave(each)


def stage_counts() -> dict[tuple[str, str], float]:
    """How many of each stage ended in each way, as the hub's metrics say."""
    return {
        (sample.labels["stage"], sample.labels["ending"]): sample.value
        for family in spawn_metrics.STAGE_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    }


async def test_the_stages_in_the_engine_are_counted(place: Place) -> None:
    before = stage_counts()
    await place.start(place.life(), gpus=1)
    after = stage_counts()
    changed = {key for key, count in after.items() if count != before[key]}
    assert changed == {(stage, "succeeded") for stage in ("slot", "create", "start")}


async def test_a_create_that_is_refused_counts_as_failed(place: Place) -> None:
    before = stage_counts()

    async def refuse(*_args: object, **_named: object) -> str:
        raise EngineRefused("no")

    place.engine.create = refuse
    with pytest.raises(EngineRefused):
        await place.start(place.life(), gpus=1)
    after = stage_counts()
    changed = {key for key, count in after.items() if count != before[key]}
    assert changed == {("slot", "succeeded"), ("create", "failed")}
