"""Whoever reads the trail up to a number has missed nothing, however many write at that time."""

from __future__ import annotations

import threading
import time
from itertools import cycle

import pytest
from sqlalchemy import insert, text

from hub_ext.ledger import audit, postgres
from hub_ext.models import Cordon

WRITERS = 4
CHANGES = 25


class Follower(threading.Thread):
    """Goes on after the last number that it got, as the event feed does."""

    def __init__(self, ledger):
        super().__init__(daemon=True)
        self.ledger, self.last = ledger, ledger.audit_after(None, 1).latest
        self.numbers: list[int] = []
        self.over = threading.Event()

    def run(self):
        while True:
            over = self.over.is_set()  # asked before the last look, not after it
            found = self.ledger.audit_after(self.last, 7)
            assert not found.gap
            self.numbers += [entry.number for entry in found.entries]
            if found.entries:
                self.last = found.entries[-1].number
            elif over:
                return


@pytest.fixture
def slow_writes(monkeypatch):
    """Lines that are there a while before their transaction ends: time for others to overtake."""
    write, milliseconds = audit.write, cycle((0, 4, 1, 5, 2, 0, 3))

    def slowly(*args, **kwargs):
        write(*args, **kwargs)
        time.sleep(next(milliseconds) / 1000)

    monkeypatch.setattr(audit, "write", slowly)


def follow_while_many_write(ledger_url, open_ledger, make_devices, now):
    """The numbers that a follower got, and those that there are."""
    first = open_ledger(ledger_url)
    first.record_inventory(make_devices(WRITERS), now)
    follower = Follower(open_ledger(ledger_url))
    start = follower.last

    def change(ledger, device):
        for count in range(CHANGES):
            ledger.cordon(device, Cordon.CORDONED, f"{device} {count}", now, actor="root")

    # each with connections and a lock of its own, as in processes of their own
    writers = [
        threading.Thread(target=change, args=(open_ledger(ledger_url), f"GPU-{number}"))
        for number in range(WRITERS)
    ]
    follower.start()
    for each in writers:
        each.start()
    for each in writers:
        each.join(120)
    follower.over.set()
    follower.join(60)
    assert not follower.is_alive()
    return follower.numbers, [e.number for e in first.audit_trail() if e.number > start]


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("slow_writes")
def test_a_follower_misses_no_line_and_gets_each_once(ledger_url, open_ledger, make_devices, now):
    told, there = follow_while_many_write(ledger_url, open_ledger, make_devices, now)
    assert told == there
    assert len(there) >= WRITERS * CHANGES


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("slow_writes")
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_without_the_lock_lines_would_be_missed(
    ledger_url, open_ledger, make_devices, now, monkeypatch
):
    """So the test above can fail. Of SQLite, BEGIN IMMEDIATE is all there is."""
    number_only = text("SELECT pg_current_xact_id()::text")
    monkeypatch.setattr(
        postgres, "lock_for_write", lambda connection: str(connection.scalar(number_only))
    )
    for _attempt in range(5):
        told, there = follow_while_many_write(ledger_url, open_ledger, make_devices, now)
        if told != there:
            return
    pytest.fail("no line was overtaken")


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_later_line_waits_for_the_one_before(ledger_url, open_ledger, make_devices, now):
    """One case, step by step: a write that has its number holds up the next, which sees it."""
    one, other = open_ledger(ledger_url), open_ledger(ledger_url)
    one.record_inventory(make_devices(2), now)
    start = one.audit_after(None, 1).latest
    written = threading.Event()

    def write():
        other.cordon("GPU-1", Cordon.CORDONED, "second", now, actor="root")
        written.set()

    with one._database.write() as connection:
        connection.execute(
            insert(audit.audit_entry).values(
                at=now, actor="root", action="cordon", lease_id="", detail="first",
                user_name="", server_name="", device_uuid="GPU-0", group_name="", reason="first",
            )
        )  # fmt: skip
        thread = threading.Thread(target=write)
        thread.start()
        assert not written.wait(1)
        assert one.audit_after(start, 9).entries == ()
    thread.join(60)
    assert written.is_set()
    assert [entry.reason for entry in one.audit_after(start, 9).entries] == ["first", "second"]
