"""Places in the line that an admin gives, and takes away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub_ext.errors import NotFound
from hub_ext.fair_queue import line_up
from hub_ext.models import NoticeKind, QueueMove, Request
from hub_ext.queue_moves import moved

MINUTE = timedelta(minutes=1)
USERS = ("ann", "bob", "cyd", "dan")


@pytest.fixture
def line(ledger, make_devices, now):
    """Four wait for one device that another has."""
    ledger.record_inventory(make_devices(1), now)
    ledger.acquire(Request("eve", "", 1), lambda s: ["GPU-0"], now)
    for user in USERS:
        ledger.enqueue(Request(user, "", 1), now)
    return ledger


def order(ledger, now) -> str:
    return "".join(p.entry.request.user[0] for p in line_up(ledger.snapshot(now)))


def move(ledger, user, position, now, reason="the demo"):
    def place(seen, entry):
        line = [each.entry for each in line_up(seen)]
        return position, moved(line, entry.sequence, position)

    ledger.move_in_queue(user, "", place, reason, now, actor="root")


def actions(ledger):
    """What was done to the line beside joining it."""
    found = [line.action for line in ledger.audit_trail() if line.action.startswith("queue")]
    return [each for each in found if each != "queue.join"]


def test_a_move_is_kept_with_who_and_why(line, now):
    move(line, "cyd", 1, now)
    assert order(line, now) == "cabd"
    entry = line.queue()[2]
    assert entry.move == QueueMove(now, "root", "the demo")
    assert line.snapshot(now).queue[2] == entry
    last = line.audit_trail()[-1]
    assert (last.actor, last.action) == ("root", "queue.move")
    assert "cyd" in last.detail + getattr(last, "user", "")


def test_the_same_move_again_changes_nothing(line, now):
    move(line, "cyd", 2, now)
    before = line.queue()
    move(line, "cyd", 2, now + MINUTE, "again")
    assert (line.queue(), actions(line)) == (before, ["queue.move"])
    move(line, "cyd", 1, now)
    assert order(line, now) == "cabd"
    assert [entry.boost for entry in line.queue()][1] == 0, "bob keeps no place any more"


def test_a_move_goes_with_the_entry(line, now):
    move(line, "dan", 2, now)
    assert order(line, now) == "adbc"
    assert [bool(entry.boost) for entry in line.queue()] == [True, False, False, True]
    # who asks again keeps it
    line.enqueue(Request("dan", "", 1), now + MINUTE)
    assert order(line, now) == "adbc"
    line.withdraw("dan", "")
    assert not any(entry.boost for entry in line.queue()), "nobody is left to keep a place for"
    line.enqueue(Request("dan", "", 1), now + MINUTE)
    assert order(line, now) == "abcd"


def test_a_grant_takes_the_move_with_it(line, now):
    move(line, "dan", 2, now)
    holder = line.lease_of("eve", "")
    line.end(holder.id, "stopped", now)
    assert line.acquire(Request("dan", "", 1), lambda s: ["GPU-0"], now) is not None
    assert not any(entry.boost for entry in line.queue())


def test_a_move_is_taken_back(line, now):
    move(line, "dan", 2, now)
    move(line, "cyd", 1, now)
    assert order(line, now) == "cadb"
    line.undo_move_in_queue("dan", "", now, actor="kim")
    assert order(line, now) == "cabd"
    before = line.queue()
    line.undo_move_in_queue("dan", "", now, actor="kim")
    assert line.queue() == before
    line.undo_move_in_queue("cyd", "", now, actor="kim")
    assert order(line, now) == "abcd"
    assert actions(line) == ["queue.move"] * 2 + ["queue.undo_move"] * 2


def test_who_is_taken_out_is_told_and_out(line, now):
    sequence = line.queue()[1].sequence
    line.cancel_waiting("bob", "", "the exam", now, actor="kim")
    assert order(line, now) == "acd"
    (notice,) = line.notices("bob", "")
    assert notice.kind is NoticeKind.QUEUE_CANCELLED
    assert notice.detail == {"by": "kim", "reason": "the exam", "occasion": str(sequence)}
    assert actions(line) == ["queue.cancel"]


def test_who_does_not_wait_is_neither_moved_nor_taken_out(line, now):
    for change in (
        lambda: move(line, "eve", 1, now),
        lambda: line.undo_move_in_queue("eve", "", now, actor="kim"),
        lambda: line.cancel_waiting("eve", "", "x", now, actor="kim"),
    ):
        with pytest.raises(NotFound, match="does not wait"):
            change()
    assert actions(line) == []
