"""One hub per ledger; a dead one locks nobody out."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub_ext import hub_claim, hub_side
from hub_ext.engine import EngineClient
from hub_ext.errors import InventoryUnavailable, LedgerInUse
from hub_ext.hub_claim import HubClaim
from hub_ext.inventory import practice_devices
from hub_ext.ledger import Ledger
from hub_ext.models import Device, Request

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def url(tmp_path: Path) -> str:
    made = f"sqlite:///{tmp_path}/ledger.sqlite"
    Ledger(made).migrate()
    return made


def other_process(url: str, then: str) -> subprocess.Popen[str]:
    """A process that claims the ledger, says so, and does what `then` says."""
    code = (
        "import sys, time, os, signal\n"
        "from hub_ext.hub_claim import HubClaim\n"
        "from hub_ext.ledger import Ledger\n"
        f"HubClaim(Ledger({url!r})).take()\n"
        "print('claimed', flush=True)\n" + then
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "claimed\n"
    return process


def test_a_second_hub_is_refused_while_the_first_lives(url: str) -> None:
    first = other_process(url, "time.sleep(60)")
    try:
        with pytest.raises(LedgerInUse, match="works with this ledger"):
            HubClaim(Ledger(url)).take()
    finally:
        first.kill()
        first.wait()
    HubClaim(Ledger(url)).take()  # killed: its claim is known to be dead


def test_a_hub_that_ends_gives_it_back(url: str) -> None:
    first = other_process(url, "sys.exit(0)")
    first.wait(20)
    Ledger(url).claim("anyone", datetime.now(UTC), timedelta(seconds=1))


@pytest.mark.parametrize(
    "owner",
    [
        "another:boot:4026531836:1:1",  # another machine
        "somebody",
        "",
        f"{os.uname().nodename}::::",
    ],
)
def test_a_claim_that_may_be_alive_is_respected(url: str, owner: str) -> None:
    Ledger(url).claim(owner, datetime.now(UTC), timedelta(minutes=1))
    with pytest.raises(LedgerInUse):
        HubClaim(Ledger(url)).take()


def test_a_process_with_the_id_of_a_dead_one_is_not_taken_for_it(url: str) -> None:
    host, boot, namespace = hub_claim._here()
    owner = f"{host}:{boot}:{namespace}:{os.getpid()}:1"  # this id, started at another time
    Ledger(url).claim(owner, datetime.now(UTC), timedelta(minutes=1))
    HubClaim(Ledger(url)).take()


def test_opening_keeps_the_line_of_a_dead_hub_and_records_devices(url: str) -> None:
    ledger = Ledger(url)
    ledger.begin_run("dead", datetime.now(UTC))
    ledger.enqueue(Request("ghost", "", 1), datetime.now(UTC), waiter="dead")
    side = hub_side.open_hub_side(url, EngineClient, lambda: practice_devices(2))
    (entry,) = ledger.queue()
    assert entry.waiter == "dead" != side.run == ledger.snapshot().run
    assert len(ledger.devices()) == 2
    assert hub_side.open_hub_side(url, EngineClient, lambda: ()) is side  # once per process
    assert len(ledger.devices()) == 2


def test_devices_that_cannot_be_seen_now(url: str) -> None:
    def away() -> tuple[Device, ...]:
        raise InventoryUnavailable("the driver is away")

    with pytest.raises(InventoryUnavailable):
        hub_side.open_hub_side(url, EngineClient, away)  # none is known: do not pretend
    Ledger(url).record_inventory(practice_devices(1), datetime.now(UTC))
    hub_side.open_hub_side(url, EngineClient, away)
    assert [each.state for each in Ledger(url).devices()] == ["healthy"]
