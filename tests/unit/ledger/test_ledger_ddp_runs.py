"""DDP runs in the ledger: what is kept of what servers tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.ddp_runs import MOST_ALIVE, DdpRun, RunState, after, failed, hanging, in_order
from hub_ext.models import Request

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def lease(ledger, make_devices, now):
    ledger.record_inventory(make_devices(2), now)
    return ledger.acquire(Request("ada", "", 1), lambda s: ["GPU-0"], now)


def of(number: int, state: str = "running", at: datetime = NOW, **more) -> DdpRun:
    return DdpRun(
        "ada", "", f"20260131-120000-{number:06x}", RunState(state), 2, at, lease_id="l", **more
    )


def test_what_was_told_comes_back_as_it_was(ledger, lease, now):
    assert ledger.ddp_runs() == {}
    first = replace(of(1, at=now), lease_id=lease.id)
    assert ledger.keep_ddp_run(first)
    assert not ledger.keep_ddp_run(first)
    assert ledger.ddp_runs() == {("ada", ""): (first,)}
    hangs = replace(first, hangs=True, rank=1, at=now + SECOND)
    assert ledger.keep_ddp_run(hangs)
    assert ledger.ddp_runs() == {("ada", ""): (hangs,)}
    over = replace(first, state=RunState.FAILED, rank=0, at=now + 2 * SECOND)
    assert ledger.keep_ddp_run(over)
    for late in (first, hangs, replace(over, state=RunState.SUCCEEDED)):
        assert not ledger.keep_ddp_run(late)
    assert ledger.ddp_runs() == {("ada", ""): (over,)}
    lines = [line for line in ledger.audit_trail(lease.id) if line.action == "ddp.run"]
    assert [(line.user, line.server, line.detail) for line in lines] == [
        ("ada", "", f"{first.run} running"),
        ("ada", "", f"{first.run} hangs"),
        ("ada", "", f"{first.run} failed"),
    ]


def test_it_is_gone_with_the_lease(ledger, lease, now):
    ledger.keep_ddp_run(replace(of(1, at=now), lease_id=lease.id))
    ledger.end(lease.id, "stopped", now)
    assert ledger.ddp_runs() == {}
    again = ledger.acquire(Request("ada", "", 1), lambda s: ["GPU-0"], now)
    assert ledger.ddp_runs() == {}
    second = replace(of(2, at=now), lease_id=again.id)
    ledger.keep_ddp_run(second)
    assert ledger.ddp_runs() == {("ada", ""): (second,)}


def test_rows_of_leases_that_ended_go_with_the_history(ledger, lease, now):
    from hub_ext.ledger.tables import ddp_run  # noqa: PLC0415 - only here

    ledger.keep_ddp_run(replace(of(1, at=now), lease_id=lease.id))
    ledger.prune(now)
    assert len(ledger.ddp_runs()) == 1
    ledger.end(lease.id, "stopped", now)
    ledger.prune(now)
    with ledger._database.read() as connection:
        assert connection.execute(ddp_run.select()).all() == []


# -- the decision

runs = st.builds(
    lambda number, state, hangs, at: of(
        number, state, NOW + at * SECOND, hangs=hangs and state == "running"
    ),
    st.integers(0, 20),
    st.sampled_from(RunState),
    st.booleans(),
    st.integers(0, 100),
)


@given(st.lists(runs, max_size=60))
def test_little_is_kept_and_what_is_over_never_changes(told):
    kept: tuple[DdpRun, ...] = ()
    for each in told:
        before = {run.run: run for run in kept}
        found = after(kept, each)
        if found is None:
            known = before[each.run]
            assert not known.alive or replace(each, at=known.at) == known
            continue
        kept = found
        assert kept == in_order(kept)
        assert sum(run.alive for run in kept) <= MOST_ALIVE
        assert sum(not run.alive for run in kept) <= 1
        assert len({run.run for run in kept}) == len(kept)
        for run in kept:
            assert run == each or run == before[run.run]


def test_those_of_an_earlier_lease_go():
    assert after([replace(of(1), lease_id="earlier")], of(2)) == (of(2),)


def test_who_hangs_comes_first_and_who_ended_last():
    order = in_order([of(1, "failed", NOW + 9 * SECOND), of(2), of(3, hangs=True), of(4)])
    assert [int(each.run[-6:], 16) for each in order] == [3, 4, 2, 1]
    assert hanging(order) == order[0]
    assert failed(order) is None, "something was launched since"
    assert failed(order[-1:]) == order[-1]
    assert failed([of(1, "stopped")]) is None and failed(()) is None
    assert hanging([of(1)]) is None
