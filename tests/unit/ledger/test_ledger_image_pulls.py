"""Pulls of images, as the ledger keeps them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub_ext.errors import Conflict, NotFound
from hub_ext.images import PullState

A, B, C = (f"registry.example/camp@sha256:{letter * 64}" for letter in "abc")
HOUR = timedelta(hours=1)


def actions(ledger) -> list[tuple[str, str, str]]:
    found = [each for each in ledger.audit_trail() if each.action.startswith("image.")]
    return [(each.actor, each.action, each.detail) for each in found]


def test_one_of_an_image_is_under_way_at_a_time(ledger, now):
    first = ledger.begin_image_pull(A, "for Monday", now, actor="root")
    assert (first.state, first.requested_by, first.reason) == (
        PullState.RUNNING,
        "root",
        "for Monday",
    )
    assert ledger.begin_image_pull(A, "again", now + HOUR, actor="kim") == first
    assert actions(ledger) == [("root", "image.pull", A)]
    done = ledger.end_image_pull(first.id, PullState.DONE, now=now + HOUR)
    assert (done.state, done.ended_at) == (PullState.DONE, now + HOUR)
    second = ledger.begin_image_pull(A, "", now + 2 * HOUR, actor="kim")
    assert second.id != first.id
    assert ledger.image_pull_of(A) == second


def test_at_most_two_are(ledger, now):
    first = ledger.begin_image_pull(A, "", now, actor="root")
    ledger.begin_image_pull(B, "", now, actor="root")
    with pytest.raises(Conflict):
        ledger.begin_image_pull(C, "", now, actor="root")
    assert ledger.image_pull_of(C) is None
    assert ledger.begin_image_pull(A, "", now, actor="root") == first
    ledger.end_image_pull(first.id, PullState.FAILED, "no space", now)
    ledger.begin_image_pull(C, "", now, actor="root")


def test_how_one_ended_is_said_once(ledger, now):
    found = ledger.begin_image_pull(A, "", now, actor="root")
    cancelled = ledger.end_image_pull(found.id, PullState.CANCELLED, now=now, actor="kim")
    assert ledger.end_image_pull(found.id, PullState.DONE, now=now + HOUR) == cancelled
    assert actions(ledger)[1:] == [("kim", "image.pull_end", f"cancelled {A}")]
    with pytest.raises(NotFound):
        ledger.end_image_pull("none", PullState.DONE, now=now)


def test_what_was_under_way_is_cut_off(ledger, now):
    ended = ledger.begin_image_pull(A, "", now, actor="root")
    ledger.end_image_pull(ended.id, PullState.DONE, now=now)
    left = ledger.begin_image_pull(B, "", now, actor="root")
    (cut,) = ledger.cut_off_image_pulls(now + HOUR)
    assert (cut.id, cut.state, cut.ended_at) == (left.id, PullState.CUT_OFF, now + HOUR)
    assert ledger.cut_off_image_pulls(now + HOUR) == ()
    assert ledger.image_pull_of(A).state is PullState.DONE


def test_the_last_of_each_image_is_told_for_a_while(ledger, now):
    for hours, image in enumerate((A, A, B)):
        found = ledger.begin_image_pull(image, str(hours), now + hours * HOUR, actor="root")
        ledger.end_image_pull(found.id, PullState.DONE, now=now + hours * HOUR)
    running = ledger.begin_image_pull(C, "", now - 99 * HOUR, actor="root")
    assert [(each.image, each.reason) for each in ledger.image_pulls(now)] == [
        (A, "1"),
        (B, "2"),
        (C, ""),
    ]
    assert [each.image for each in ledger.image_pulls(now + 2 * HOUR)] == [B, C]
    ledger.prune(now + 99 * HOUR)
    assert ledger.image_pulls(now - 999 * HOUR) == (running,)
