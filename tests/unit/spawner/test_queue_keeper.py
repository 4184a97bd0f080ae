"""The queue over a restart of the hub: places are kept for whoever comes back, and only so long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub_ext.ledger import Ledger
from hub_ext.models import NoticeKind, OperationKind, OperationStep, Request
from hub_ext.queue_keeper import ORPHAN_SECONDS, QueueKeeper

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    made.migrate()
    return made


def in_line(ledger: Ledger) -> list[str]:
    return [entry.request.user for entry in ledger.queue()]


def wait(ledger: Ledger, user: str, run: str) -> None:
    ledger.enqueue(Request(user, "", 1), NOW, waiter=run, user_options={"gpus": 1})


def test_an_orphan_is_dropped_after_two_minutes_and_its_user_told(ledger: Ledger) -> None:
    ledger.begin_run("first", NOW)
    for user in ("ada", "bob", "cleo"):
        wait(ledger, user, "first")
    ledger.begin_run("second", NOW)
    keeper = QueueKeeper(ledger, "second")
    keeper.look(after(ORPHAN_SECONDS - 1))
    assert in_line(ledger) == ["ada", "bob", "cleo"]
    keeper.waiting.add(("bob", ""))
    wait(ledger, "bob", "second")  # started again, in its old place
    assert in_line(ledger) == ["ada", "bob", "cleo"]
    keeper.look(after(ORPHAN_SECONDS))
    assert in_line(ledger) == ["bob"]
    for user in ("ada", "cleo"):
        (notice,) = ledger.notices(user)
        assert notice.kind is NoticeKind.START_LOST
    assert ledger.notices("bob") == ()


def test_a_place_that_nobody_stands_in_is_dropped_at_the_second_look(ledger: Ledger) -> None:
    ledger.begin_run("run", NOW)
    keeper = QueueKeeper(ledger, "run")
    for user in ("ada", "bob"):
        wait(ledger, user, "run")
    keeper.waiting.add(("ada", ""))
    keeper.look(NOW)
    assert in_line(ledger) == ["ada", "bob"]  # it may be on its way in or out
    keeper.look(NOW)
    keeper.look(NOW)
    assert in_line(ledger) == ["ada"]


def test_a_place_is_kept_while_a_reset_is_under_way(ledger: Ledger) -> None:
    ledger.begin_run("run", NOW)
    keeper = QueueKeeper(ledger, "run")
    wait(ledger, "ada", "run")
    operation = ledger.begin_operation(
        OperationKind.RESET,
        "ada",
        "",
        requested_by="ada",
        start_after=True,
        user_options={},
        now=NOW,
    )
    for _look in range(3):
        keeper.look(NOW)
    assert in_line(ledger) == ["ada"]
    ledger.advance_operation(operation.id, OperationStep.FAILED, NOW)
    keeper.look(NOW)
    keeper.look(NOW)
    assert in_line(ledger) == []
