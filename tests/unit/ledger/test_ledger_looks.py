"""What a ledger tells that has looked before is what one tells that looks for the first time."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from sqlalchemy import text

from hub_ext.ledger import Ledger, kept_rows
from hub_ext.models import Cordon, Device, Request
from hub_ext.policy import Policy

HOUR = timedelta(hours=1)


def test_looks_agree_whoever_changed_what(ledger, ledger_url, open_ledger, now, monkeypatch):
    """Two processes change things in turn, with some changes that are taken back."""
    monkeypatch.setattr(kept_rows, "MOST_NAMED", 2)  # so that both ways are gone
    other = open_ledger(ledger_url)
    choose = random.Random(1)  # noqa: S311 - the same story each time
    found = [Device(f"GPU-{number}", "A100", 1024) for number in range(6)]
    ledger.record_inventory(found, now)
    for step in range(70):
        now += timedelta(minutes=7)
        by = choose.choice((ledger, other))
        user = f"u{choose.randrange(8)}"
        leases = by.leases()
        what = choose.randrange(9)
        if what < 2:
            by.enqueue(
                Request(user, "", choose.randrange(1, 4), groups=("camp",)), now, waiter="run"
            )
        elif what == 2:
            by.withdraw(user, "")
        elif what < 5:
            free = [each.device.uuid for each in by.devices() if each.is_free][:2]
            if free and by.lease_of(user, "") is None:
                wanted = Request(user, "", len(free), term=HOUR)
                by.acquire(wanted, lambda _seen, free=free: free, now)
        elif what == 5 and leases:
            by.end(choose.choice(leases).id, "stopped", now)
        elif what == 6:
            by.record_inventory(found[: choose.randrange(4, 7)], now)
        elif what == 7 and leases:
            held = choose.choice(leases)
            by.hold(held.id, now + HOUR, now)
            by.mark_gone(held.id, now)
            with pytest.raises(ZeroDivisionError):  # it would be replaced: taken back
                by.acquire(Request(held.user, "", 9), lambda seen: [len(seen.queue) / 0], now)
        elif what == 8:
            cordon = choose.choice((Cordon.CORDONED, Cordon.NONE))
            by.cordon(f"GPU-{choose.randrange(4)}", cordon, "", now, actor="admin")
        if step == 35:
            by.set_policy(Policy(half_life=HOUR))
        first_look = Ledger(ledger_url)
        fresh = first_look.snapshot(now)
        first_look.close()
        assert ledger.snapshot(now) == fresh == other.snapshot(now), (step, what)


def test_what_did_not_change_is_the_very_same(ledger, make_devices, now):
    ledger.record_inventory(make_devices(3), now)
    entries = [ledger.enqueue(Request(f"u{n}", "", 1), now) for n in range(3)]
    lease = ledger.acquire(Request("ann", "", 1), lambda seen: ["GPU-1"], now)
    assert lease is not None
    first = ledger.snapshot(now)
    ledger.withdraw("u1", "")
    ledger.end(lease.id, "stopped", now)
    second = ledger.snapshot(now)
    assert [entry.sequence for entry in second.queue] == [
        entries[0].sequence,
        entries[2].sequence,
    ]
    assert (second.queue[0], second.queue[1]) == (first.queue[0], first.queue[2])
    assert second.queue[0] is first.queue[0]
    assert second.queue[1] is first.queue[2]
    assert second.devices[0] is first.devices[0]
    assert second.devices[1] is not first.devices[1]
    assert second.devices[1].device is first.devices[1].device
    ledger.remember("a memo", "changes nothing here")
    third = ledger.snapshot(now)
    assert (third.queue, third.devices) == (second.queue, second.devices)
    assert third.queue is second.queue
    assert third.devices is second.devices


def test_a_version_of_an_earlier_release_is_not_relied_on(ledger, make_devices, now):
    """Its service may go on for a while beside a new hub, and write one version for all tables."""
    ledger.record_inventory(make_devices(1), now)
    ledger.snapshot(now)
    for version in ("00c0ffee00c0ffee00c0ffee00c0ffee", "12345678", ""):
        with ledger._database.engine.begin() as connection:
            connection.execute(
                text("UPDATE fact SET value = :version WHERE name = 'lock'"), {"version": version}
            )
            connection.execute(text("UPDATE device SET reason = :now"), {"now": version})
        assert ledger.snapshot(now).devices[0].reason == version
