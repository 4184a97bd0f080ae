"""Threads and processes that contend for devices: exactly as many leases as there are devices.

On each database, and also where a process is killed while it grants.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_databases import KINDS, new_database, new_ledger

from hub_ext.errors import LedgerInUse
from hub_ext.ledger import Ledger
from hub_ext.models import Device, Lease, LeaseState, Request, Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEVICES = [Device(f"GPU-{number}", "", 1) for number in range(4)]


def first_free(snapshot: Snapshot) -> Sequence[str] | None:
    free = [record.device.uuid for record in snapshot.devices if record.is_free]
    return free[:1] or None


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The database that a test's ledger is kept in."""
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path) -> Iterator[str]:
    with new_ledger(kind, tmp_path) as made:
        yield made


@pytest.fixture
def ledger(url: str):
    opened = Ledger(url)
    opened.record_inventory(DEVICES, NOW)
    yield opened
    opened.close()


def together(count: int, work: Callable[[int], object]) -> list[object]:
    """Run `work` in `count` threads that begin at the same moment."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(begin, range(count)))


def check(ledger: Ledger, leases: int) -> None:
    held = [uuid for lease in ledger.leases() for uuid in lease.device_uuids]
    assert len(held) == len(set(held)) == leases
    assert sorted(i for r in ledger.devices() for i in r.lease_ids) == sorted(
        lease.id for lease in ledger.leases()
    )


def test_twenty_threads_four_devices(ledger):
    def spawn(number: int) -> Lease | None:
        request = Request(f"user-{number}", "", 1)
        ledger.enqueue(request, NOW)
        return ledger.acquire(request, first_free, NOW)

    granted = [lease for lease in together(20, spawn) if lease]
    assert len(granted) == 4
    check(ledger, 4)
    assert len(ledger.queue()) == 16
    assert not {e.request.user for e in ledger.queue()} & {lease.user for lease in granted}


def test_twenty_starts_of_one_server_make_one_lease(ledger):
    from hub_ext.errors import Conflict

    def spawn(_number: int) -> Lease | None:
        try:
            return ledger.acquire(Request("ann", "", 1), first_free, NOW)
        except Conflict:
            return None

    assert len([lease for lease in together(20, spawn) if lease]) == 1
    check(ledger, 1)


def test_grants_and_ends_at_once_lose_no_device(ledger):
    def work(number: int) -> int:
        done = 0
        for _ in range(6):
            lease = ledger.acquire(Request(f"user-{number}", "", 1), first_free, NOW)
            if lease:
                ledger.mark_running(lease.id, "c", NOW)
                ledger.end(lease.id, "stopped", NOW)
                done += 1
            ledger.record_inventory(reversed(DEVICES), NOW)
            ledger.snapshot(NOW)
        return done

    assert sum(int(str(n)) for n in together(8, work)) > 0
    check(ledger, 0)
    states = {lease.state for lease in ledger.leases(include_ended=True)}
    assert states == {LeaseState.ENDED}


def spawn_in_process(url: str, first_user: int, ready, answers) -> None:
    ledger = Ledger(url)
    ledger.migrate()
    ready.wait(60)

    def spawn(number: int) -> str | None:
        request = Request(f"user-{first_user + number}", "", 1)
        ledger.enqueue(request, NOW)
        lease = ledger.acquire(request, first_free, NOW)
        return lease.device_uuids[0] if lease else None

    answers.put([uuid for uuid in together(10, spawn) if uuid])
    ledger.close()


def claim_in_process(url: str, owner: int, ready, answers) -> None:
    ledger = Ledger(url)
    ledger.migrate()
    ready.wait(60)
    try:
        ledger.claim(f"hub-{owner}", NOW, timedelta(minutes=1))
        answers.put(owner)
    except LedgerInUse:
        answers.put(None)
    ledger.close()


def in_processes(work: Callable[..., None], url: str, numbers: list[int]) -> list:
    """Run `work` in processes that begin at the same moment; what each put into its queue."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(len(numbers)), context.Queue()
    processes = [context.Process(target=work, args=(url, n, ready, answers)) for n in numbers]
    for process in processes:
        process.start()
    try:
        return [answers.get(timeout=90) for _ in processes]
    finally:
        for process in processes:
            process.join(10)
            process.kill()


def test_two_processes_four_devices(ledger, url):
    answers = in_processes(spawn_in_process, url, [0, 100])
    assert sorted(answers[0] + answers[1]) == [device.uuid for device in DEVICES]
    check(ledger, 4)
    assert len(ledger.queue()) == 16


def test_two_hubs_one_claim_on_a_new_ledger(kind, tmp_path):
    """The tables are made by all of them at once, too."""
    with new_database(kind, tmp_path) as url:
        answers = in_processes(claim_in_process, url, [1, 2, 3])
        assert sum(owner is not None for owner in answers) == 1


def grant_for_ever(url: str, begun) -> None:
    """Take a hold's place, and stay inside the transaction that grants."""
    ledger = Ledger(url)

    def choose(snapshot: Snapshot) -> Sequence[str]:
        if not [lease for lease in snapshot.leases if lease.user == "ann"]:
            begun.set()
            time.sleep(600)
        return []

    ledger.acquire(Request("ann", "", 2), choose, NOW)


def test_a_process_killed_while_it_grants_leaves_nothing_half_done(ledger, url):
    """Its hold was replaced inside the transaction; what was begun must not be seen."""
    held = ledger.acquire(Request("ann", "", 1), lambda s: ["GPU-0"], NOW)
    ledger.hold(held.id, NOW + timedelta(hours=1), NOW)
    ledger.mark_gone(held.id, NOW)
    ledger.enqueue(Request("bob", "", 1), NOW)
    before = (ledger.snapshot(NOW), ledger.audit_trail())
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=grant_for_ever, args=(url, begun))
    process.start()
    assert begun.wait(60)
    assert ledger.snapshot(NOW) == before[0], "nobody sees what is not committed"
    process.kill()
    process.join(30)
    assert (ledger.snapshot(NOW), ledger.audit_trail()) == before
    lease = ledger.acquire(Request("bob", "", 1), first_free, NOW)
    assert lease.device_uuids == ("GPU-1",), "and the lock died with the process"
    check(ledger, 2)


def test_a_stopped_process_does_not_keep_readers_waiting(ledger, url):
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    process = context.Process(target=grant_for_ever, args=(url, begun))
    process.start()
    try:
        assert begun.wait(60)
        assert len(ledger.devices()) == len(DEVICES)
        assert ledger.snapshot(NOW).queue == ()
    finally:
        process.kill()
        process.join(30)
