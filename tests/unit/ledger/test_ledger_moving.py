"""A ledger moves from one database to another with all that is in it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_databases import KINDS, new_database, new_ledger
from resets import reset

from hub_ext.ddp_runs import DdpRun, RunState
from hub_ext.errors import Conflict
from hub_ext.ledger.moving import move
from hub_ext.models import GroupAction, NoticeKind, Request
from hub_ext.policy import Policy, Pool
from hub_ext.verdicts import Verdict

ROOT = Path(__file__).parents[3]
HOUR = timedelta(hours=1)


@pytest.fixture
def full(ledger, make_devices, now):
    """A ledger with something in each table."""
    ledger.set_policy(Policy(pools=(Pool("half", ("GPU-1",), slots=2),)))
    ledger.record_inventory(make_devices(2), now)
    ended = ledger.acquire(Request("ann", "", 1, groups=("red",)), lambda s: ["GPU-0"], now)
    ledger.end(ended.id, "stopped", now + HOUR)
    ledger.acquire(Request("ann", "", 1, term=HOUR), lambda s: ["GPU-0"], now)
    ledger.acquire(Request("bob", "x", 1, share=True), lambda s: ["GPU-1"], now)
    ledger.enqueue(Request("cyd", "größer", 1, term=HOUR), now, user_options={"gpus": 1})
    ledger.notify("ann", "", NoticeKind.LEASE_EXPIRED, {"a": "b"}, now)
    reset(ledger, "ann", "", now)
    ledger.add_failed_start("ann", "", 2, now)
    ledger.raise_hand("ada", "", "torch?", ("class-1",), now)
    ledger.begin_group_operation(
        GroupAction.RESET, "red", ("ann", "bob"), requested_by="kim", reason="why", now=now
    )
    ledger.keep_verdict(Verdict("ann", "", now, findings=(("GC404", "degraded"),), passed=3))
    ledger.begin_request("user:ann", "key", "digest", now)
    (held, *_) = ledger.leases()
    run = DdpRun(held.user, held.server, "r", RunState.FAILED, 2, now, 1, lease_id=held.id)
    ledger.keep_ddp_run(run)
    ledger.begin_image_pull("new", "why", now, actor="kim")
    ledger.pin_image("old", "new", "why", now, actor="kim")
    ledger.hub_id()
    return ledger


def content(ledger, now):
    return (
        ledger.snapshot(now + HOUR),
        ledger.leases(include_ended=True),
        ledger.audit_trail(),
        ledger.notices("ann"),
        ledger.usage(now.date(), now.date(), now + HOUR),
        ledger.environment("ann", ""),
        ledger.operation_of("ann", ""),
        ledger.group_operation_of("red"),
        ledger.failed_starts("ann", ""),
        ledger.hub_id(),
        ledger.verdicts(),
        ledger.ddp_runs(),
        ledger.image_pin("old"),
        ledger.image_pulls(now),
    )


@pytest.fixture(params=KINDS)
def empty_url(request, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    with new_database(request.param, folder) as url:
        yield url


def test_everything_comes_along(full, ledger_url, empty_url, open_ledger, now):
    before = content(full, now)
    counts = move(ledger_url, empty_url)
    assert counts["lease"] == 3
    assert all(counts.values()), "something of each table"
    moved = open_ledger(empty_url)
    assert content(moved, now) == before == content(full, now)
    last = max(entry.sequence for entry in moved.queue())
    assert moved.enqueue(Request("dan", "", 1), now).sequence > last
    assert moved.notify("ann", "", NoticeKind.LEASE_EXPIRED, {}, now).id > before[3][-1].id
    moved.close()


def test_a_ledger_at_work_is_not_moved(full, ledger_url, empty_url, open_ledger):
    full.claim("hub-1", datetime.now(UTC), HOUR)
    with pytest.raises(Conflict, match="hub-1 works with.*Stop it first"):
        move(ledger_url, empty_url)
    full.release_claim("hub-1")
    assert move(ledger_url, empty_url)["lease"] == 3


def test_nothing_is_moved_over_a_ledger_in_use(full, ledger_url, kind, tmp_path, open_ledger, now):
    folder = tmp_path / "used"
    folder.mkdir()
    with new_ledger(kind, folder) as used:
        other = open_ledger(used)
        other.enqueue(Request("zoe", "", 1), now)
        with pytest.raises(Conflict, match="audit_entry has rows.*empty database"):
            move(ledger_url, used)
        assert [entry.request.user for entry in other.queue()] == ["zoe"]
        assert other.leases() == ()
        other.close()


def run(*arguments: str, url: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"GPUCAMP_LEDGER_URL": url, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "hub_ext.ledger", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        env=environ,
        timeout=50,
    )


def test_the_command(full, kind, ledger_url, empty_url):
    if kind == "sqlite":
        done = run(ledger_url.removeprefix("sqlite:///"), url=empty_url)
    else:
        done = run("-", url=empty_url, stdin=ledger_url + "\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 of lease" in done.stdout
    again = run("-", url=empty_url, stdin=ledger_url)
    assert again.returncode == 1
    assert "is in use already" in again.stderr
    assert "Traceback" not in again.stderr


@pytest.mark.parametrize(
    ("arguments", "url", "says"),
    [
        ((), "sqlite:////x", "give SOURCE"),
        (("a",), "", "Set GPUCAMP_LEDGER_URL"),
        (("/nowhere/a.sqlite",), "sqlite:////x", "no file /nowhere"),
        (("-",), "sqlite:////x", "URL is not one"),
    ],
)
def test_the_command_says_what_it_needs(arguments, url, says):
    done = run(*arguments, url=url)
    assert done.returncode in (1, 2)
    assert says in done.stderr
