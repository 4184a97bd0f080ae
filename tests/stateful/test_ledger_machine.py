"""The ledger against a model of it: whatever happens in whatever order, these hold after each step.

- a slot of a device has at most one lease that has not ended, and its holders are the live leases;
- an ended lease holds nothing, and stays ended;
- nothing is freed but by `end`, by a hold that expired with its container gone, or by a server that
  takes up its hold with fewer or other devices;
- the queue is in order of arrival;
- a server has at most one live lease;
- a restart changes nothing;
- each change of a lease is in the audit trail.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from hub_ext.errors import Conflict
from hub_ext.ledger import Ledger
from hub_ext.models import Device, DeviceState, LeaseState, Request

UUIDS = [f"GPU-{number}" for number in range(4)]
SLOTS = {"GPU-0": 1, "GPU-1": 1, "GPU-2": 1, "GPU-3": 1}
SERVERS = st.tuples(st.sampled_from(["ann", "bob", "cyd"]), st.sampled_from(["", "two"]))
STATES = LeaseState


@dataclass
class Expected:
    """A lease as the model knows it."""

    server: tuple[str, str]
    devices: tuple[str, ...]
    state: LeaseState = STATES.GRANTED
    hold_until: datetime | None = None
    gone: bool = False
    changes: Counter[str] = field(default_factory=Counter)


@functools.cache
def empty_ledger() -> Path:
    """The file of a new ledger, for copies: migrating takes longer than most runs."""
    folder = tempfile.TemporaryDirectory(prefix="ledger-")
    atexit.register(folder.cleanup)
    ledger = Ledger(f"sqlite:///{folder.name}/ledger.sqlite")
    ledger.migrate()
    ledger.close()
    return Path(folder.name) / "ledger.sqlite"


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        # in memory where there is such a folder: what a disk does is not the matter here
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-", dir=memory))
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.leases: dict[str, Expected] = {}
        self.queue: list[tuple[str, str]] = []
        self.waiting_for: dict[tuple[str, str], int] = {}
        self.known: dict[str, DeviceState] = {}

    @initialize()
    def begin(self) -> None:
        shutil.copy(empty_ledger(), self.folder / "ledger.sqlite")
        self.open()
        self.all_devices_are_well()

    def open(self) -> None:
        self.ledger = Ledger(f"sqlite:///{self.folder / 'ledger.sqlite'}")

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
        shutil.rmtree(self.folder)

    # -- what the model knows

    def live(self) -> dict[str, Expected]:
        return {i: lease for i, lease in self.leases.items() if lease.state is not STATES.ENDED}

    def live_of(self, server: tuple[str, str]) -> tuple[str, Expected] | None:
        found = [(i, lease) for i, lease in self.live().items() if lease.server == server]
        assert len(found) <= 1
        return found[0] if found else None

    def free_devices(self, without: str = "") -> list[str]:
        """Healthy devices with a slot to spare, the lease `without` left out of account."""
        held = Counter(
            uuid for i, lease in self.live().items() if i != without for uuid in lease.devices
        )
        return [
            uuid
            for uuid, state in sorted(self.known.items())
            if state is DeviceState.HEALTHY and held[uuid] < SLOTS[uuid]
        ]

    def expire(self) -> list[Expected]:
        """What acquire and snapshot do first; the leases that end."""
        ended = []
        for lease in self.live().values():
            if (
                lease.state is STATES.HELD
                and lease.gone
                and lease.hold_until is not None
                and lease.hold_until <= self.now
            ):
                self.end_in_model(lease)
                ended.append(lease)
        return ended

    @staticmethod
    def end_in_model(lease: Expected) -> None:
        lease.state = STATES.ENDED
        lease.changes["end"] += 1

    # -- what happens

    @rule(seconds=st.integers(1, 90))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(found=st.lists(st.sampled_from(UUIDS), unique=True), sick=st.sets(st.sampled_from(UUIDS)))
    def inventory(self, found: list[str], sick: set[str]) -> None:
        """Any subset in any order, the empty one included."""
        self.ledger.record_inventory(
            [Device(uuid, uuid, 1, healthy=uuid not in sick, reason="sick") for uuid in found],
            self.now,
        )
        for uuid in self.known:
            self.known[uuid] = DeviceState.MISSING
        for uuid in found:
            self.known[uuid] = DeviceState.QUARANTINED if uuid in sick else DeviceState.HEALTHY

    @rule()
    def all_devices_are_well(self) -> None:
        self.inventory(list(UUIDS), set())

    @rule(server=SERVERS, gpus=st.integers(0, 3))
    def enqueue(self, server: tuple[str, str], gpus: int) -> None:
        self.ledger.enqueue(Request(*server, gpus), self.now)
        if server not in self.queue:
            self.queue.append(server)
        self.waiting_for[server] = gpus

    @rule(server=SERVERS, gpus=st.integers(0, 2), data=st.data())
    def spawn(self, server: tuple[str, str], gpus: int, data: st.DataObject) -> None:
        """The common case: the server gets its devices if there are enough, and runs."""
        self.enqueue(server=server, gpus=gpus)
        self.acquire(server=server, gpus=gpus, data=data, willing=True)
        found = self.live_of(server)
        if found is not None and found[1].state is STATES.GRANTED:
            self.ledger.mark_running(found[0], "c1", self.now)
            found[1].state = STATES.RUNNING
            found[1].changes["run"] += 1

    @rule(server=SERVERS)
    def withdraw(self, server: tuple[str, str]) -> None:
        self.ledger.withdraw(*server)
        if server in self.queue:
            self.queue.remove(server)

    @rule(server=SERVERS, gpus=st.integers(0, 3), data=st.data(), willing=st.booleans())
    def acquire(
        self, server: tuple[str, str], gpus: int, data: st.DataObject, willing: bool
    ) -> None:
        """A policy that takes any free devices, or lets wait even though there are some."""
        expired = self.expire()
        asked: list[bool] = []

        def choose(snapshot):
            asked.append(True)
            assert [(e.request.user, e.request.server) for e in snapshot.queue] == self.queue
            free = self.free_devices(without=taken_up[0] if taken_up else "")
            if len(free) < gpus or not willing:
                return None
            return data.draw(st.permutations(free))[:gpus]

        taken_up = self.live_of(server)
        request = Request(*server, gpus)
        if taken_up is not None:
            lease_id, lease = taken_up
            healthy = all(self.known[u] is DeviceState.HEALTHY for u in lease.devices)
            fits = healthy and (
                len(lease.devices) == gpus or (len(lease.devices) > gpus and lease.gone)
            )
            if lease.state is not STATES.HELD or (not fits and not lease.gone):
                with pytest.raises(Conflict):
                    self.ledger.acquire(request, choose, self.now)
                assert not asked
                for other in expired:  # a refusal changes nothing: the next call ends them
                    other.state = STATES.HELD
                    other.changes["end"] -= 1
                return
            if fits:
                granted = self.ledger.acquire(request, choose, self.now)
                assert not asked
                assert granted is not None and granted.id == lease_id
                assert granted.device_uuids == lease.devices[:gpus]
                lease.devices = lease.devices[:gpus]
                lease.state, lease.hold_until, lease.gone = STATES.GRANTED, None, False
                lease.changes["take up"] += 1
                self.leave_queue(server)
                return
        granted = self.ledger.acquire(request, choose, self.now)
        assert asked == [True]
        if granted is None:
            return
        if taken_up is not None:
            self.end_in_model(taken_up[1])
        assert granted.id not in self.leases
        assert len(granted.device_uuids) == gpus
        self.leases[granted.id] = Expected(server, granted.device_uuids)
        self.leases[granted.id].changes["grant"] += 1
        self.leave_queue(server)

    @precondition(lambda self: self.held())
    @rule(gpus=st.integers(0, 3), data=st.data(), willing=st.booleans())
    def start_again(self, gpus: int, data: st.DataObject, willing: bool) -> None:
        """A server with a hold, which chance alone seldom finds."""
        server = data.draw(st.sampled_from([lease.server for lease in self.held()]))
        self.acquire(server=server, gpus=gpus, data=data, willing=willing)

    def held(self) -> list[Expected]:
        return [lease for lease in self.leases.values() if lease.state is STATES.HELD]

    def leave_queue(self, server: tuple[str, str]) -> None:
        if server in self.queue:
            self.queue.remove(server)

    def some_lease(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(list(self.leases)))

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), container=st.sampled_from(["c1", "c2"]))
    def mark_running(self, data: st.DataObject, container: str) -> None:
        lease_id = self.some_lease(data)
        lease = self.leases[lease_id]
        if lease.state is STATES.ENDED:
            with pytest.raises(Conflict):
                self.ledger.mark_running(lease_id, container, self.now)
            return
        before = self.ledger.lease(lease_id)
        self.ledger.mark_running(lease_id, container, self.now)
        if (before.state, before.container_id) != (STATES.RUNNING, container):
            lease.changes["run"] += 1
        lease.state, lease.hold_until, lease.gone = STATES.RUNNING, None, False

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), seconds=st.integers(-10, 60))
    def hold(self, data: st.DataObject, seconds: int) -> None:
        lease_id = self.some_lease(data)
        lease = self.leases[lease_id]
        until = self.now + timedelta(seconds=seconds)
        if lease.state is STATES.ENDED:
            with pytest.raises(Conflict):
                self.ledger.hold(lease_id, until, self.now)
            return
        self.ledger.hold(lease_id, until, self.now)
        lease.state, lease.hold_until = STATES.HELD, until
        lease.changes["hold"] += 1

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def mark_gone(self, data: st.DataObject) -> None:
        lease_id = self.some_lease(data)
        lease = self.leases[lease_id]
        self.ledger.mark_gone(lease_id, self.now)
        if lease.state is STATES.HELD and not lease.gone:
            lease.gone = True
            lease.changes["container gone"] += 1

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def reset(self, data: st.DataObject) -> None:
        """What a reset does before its server starts again."""
        lease_id = data.draw(st.sampled_from(list(self.live())))
        self.ledger.hold(lease_id, self.now + timedelta(seconds=60), self.now)
        lease = self.leases[lease_id]
        lease.state, lease.hold_until = STATES.HELD, self.now + timedelta(seconds=60)
        lease.changes["hold"] += 1
        self.ledger.mark_gone(lease_id, self.now)
        lease.changes["container gone"] += not lease.gone
        lease.gone = True

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        lease_id = self.some_lease(data)
        lease = self.leases[lease_id]
        self.ledger.end(lease_id, "stopped", self.now)
        if lease.state is not STATES.ENDED:
            self.end_in_model(lease)

    @rule()
    def snapshot(self) -> None:
        self.expire()
        snapshot = self.ledger.snapshot(self.now)
        assert {lease.id for lease in snapshot.leases} == set(self.live())

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.open()
        self.ledger.migrate()

    # -- what always holds

    @invariant()
    def slots_are_exclusive(self) -> None:
        if not hasattr(self, "ledger"):
            return
        with self.ledger._database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT slot.device_uuid, slot.slot, lease.id, lease.state FROM slot"
                " LEFT JOIN lease ON lease.id = slot.lease_id"
            ).all()
        assert len({(uuid, number) for uuid, number, _, _ in rows}) == len(rows)
        assert all(0 <= number < SLOTS[uuid] for uuid, number, _, _ in rows)
        assert "ended" not in {state for *_, state in rows}
        held = Counter((uuid, lease_id) for uuid, _, lease_id, _ in rows)
        assert held == Counter(
            (uuid, lease_id) for lease_id, lease in self.live().items() for uuid in lease.devices
        )

    @invariant()
    def the_ledger_is_as_expected(self) -> None:
        if not hasattr(self, "ledger"):
            return
        stored = {lease.id: lease for lease in self.ledger.leases(include_ended=True)}
        assert stored.keys() == self.leases.keys()
        for lease_id, lease in self.leases.items():
            found = stored[lease_id]
            assert (found.user, found.server) == lease.server
            assert found.state is lease.state
            assert found.device_uuids == lease.devices
            assert (found.ended_at is not None) == (lease.state is STATES.ENDED)
            if lease.state is not STATES.ENDED:
                assert found.hold_until == lease.hold_until
                assert (found.gone_at is not None) == lease.gone
        live = [lease.server for lease in self.live().values()]
        assert len(set(live)) == len(live)
        assert {(lease.user, lease.server) for lease in self.ledger.leases()} == set(live)

    @invariant()
    def the_queue_is_in_order_of_arrival(self) -> None:
        if not hasattr(self, "ledger"):
            return
        queue = self.ledger.queue()
        assert [(e.request.user, e.request.server) for e in queue] == self.queue
        assert [e.request.gpus for e in queue] == [self.waiting_for[s] for s in self.queue]
        assert [e.sequence for e in queue] == sorted(e.sequence for e in queue)

    @invariant()
    def devices_are_as_found(self) -> None:
        if not hasattr(self, "ledger"):
            return
        records = self.ledger.devices()
        assert {r.device.uuid: r.state for r in records} == self.known
        for record in records:
            holders = {i for i, le in self.live().items() if record.device.uuid in le.devices}
            assert set(record.lease_ids) == holders
            assert record.device.slots == SLOTS[record.device.uuid]

    @invariant()
    def the_trail_tells_each_change(self) -> None:
        if not hasattr(self, "ledger"):
            return
        told: dict[str, Counter[str]] = {lease_id: Counter() for lease_id in self.leases}
        for entry in self.ledger.audit_trail():
            if entry.lease_id:
                told[entry.lease_id][entry.action] += 1
        assert told == {lease_id: lease.changes for lease_id, lease in self.leases.items()}


LedgerMachine.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 2,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestLedger = pytest.mark.timeout(300)(LedgerMachine.TestCase)
