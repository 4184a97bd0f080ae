"""Inventories and the queue."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub_ext.models import Device, DeviceState, Request

MINUTE = timedelta(minutes=1)


def states(ledger):
    return {r.device.uuid: r.state.value for r in ledger.devices()}


def test_an_inventory_is_stored_with_all_that_it_says(ledger, now):
    device = Device(
        "GPU-a",
        "NVIDIA A100",
        2**40,
        True,
        driver_version="570.1",
        cuda_version="12.8",
        parent="GPU-card",
        numa_node=1,
        links=(("GPU-b", 100), ("GPU-c", 10)),
    )
    ledger.record_inventory([device], now)
    (record,) = ledger.devices()
    assert record.device == device
    assert (record.state, record.last_seen, record.lease_ids) == (DeviceState.HEALTHY, now, ())
    assert record.is_free


def test_a_device_that_is_not_found_is_missing_and_comes_back(ledger, make_devices, now):
    devices = make_devices(2)
    ledger.record_inventory(devices, now)
    ledger.record_inventory(devices[:1], now + MINUTE)
    assert states(ledger) == {"GPU-0": "healthy", "GPU-1": "missing"}
    missing = ledger.devices()[1]
    assert missing.last_seen == now
    assert "last inventory" in missing.reason
    assert not missing.is_free
    ledger.record_inventory(reversed(devices), now + 2 * MINUTE)
    assert states(ledger) == {"GPU-0": "healthy", "GPU-1": "healthy"}
    assert ledger.devices()[1].reason == ""


def test_an_unhealthy_device_is_quarantined_and_recovers(ledger, now):
    ledger.record_inventory([Device("GPU-a", "", 1, healthy=False, reason="Xid 79")], now)
    (record,) = ledger.devices()
    assert (record.state, record.reason) == (DeviceState.QUARANTINED, "Xid 79")
    assert not record.device.healthy
    assert not record.is_free
    ledger.record_inventory([Device("GPU-a", "", 1)], now)
    (record,) = ledger.devices()
    assert (record.state, record.reason) == (DeviceState.HEALTHY, "")
    assert [e.detail for e in ledger.audit_trail()] == [
        "GPU-a is quarantined: Xid 79",
        "GPU-a is healthy",
    ]


@pytest.mark.parametrize("later", [[], [Device("GPU-0", "", 1, healthy=False, reason="lost")]])
def test_no_inventory_frees_a_lease(ledger, make_devices, now, later):
    ledger.record_inventory(make_devices(2), now)
    lease = ledger.acquire(Request("ann", "", 2), lambda s: ["GPU-0", "GPU-1"], now)
    ledger.record_inventory(later, now)
    assert ledger.lease_of("ann", "") == lease
    assert [r.lease_ids for r in ledger.devices()] == [(lease.id,), (lease.id,)]


def test_an_inventory_that_changes_nothing_leaves_no_trail(ledger, make_devices, now):
    ledger.record_inventory(make_devices(2), now)
    trail = ledger.audit_trail()
    ledger.record_inventory(make_devices(2), now + MINUTE)
    assert ledger.audit_trail() == trail
    assert {r.last_seen for r in ledger.devices()} == {now + MINUTE}


def test_a_uuid_may_not_occur_twice(ledger, make_devices, now):
    with pytest.raises(ValueError, match="GPU-0 twice"):
        ledger.record_inventory(make_devices(1) * 2, now)
    assert ledger.devices() == ()


def test_the_queue_is_in_order_of_arrival(ledger, now):
    names = ["zoe", "ann", "mia"]
    for name in names:
        ledger.enqueue(Request(name, "", 1), now)
    assert [entry.request.user for entry in ledger.queue()] == names
    assert {entry.enqueued_at for entry in ledger.queue()} == {now}


def test_a_server_that_waits_keeps_its_place(ledger, now):
    first = ledger.enqueue(Request("ann", "", 1), now)
    ledger.enqueue(Request("bob", "", 1), now)
    again = ledger.enqueue(Request("ann", "", 2), now + MINUTE)
    assert (again.sequence, again.enqueued_at) == (first.sequence, now)
    assert [entry.request for entry in ledger.queue()] == [
        Request("ann", "", 2),
        Request("bob", "", 1),
    ]


def test_servers_of_one_user_wait_apart(ledger, now):
    ledger.enqueue(Request("ann", "", 1), now)
    ledger.enqueue(Request("ann", "second", 1), now)
    ledger.withdraw("ann", "")
    assert [entry.request.server for entry in ledger.queue()] == ["second"]
    ledger.withdraw("ann", "")
    assert len(ledger.queue()) == 1


def test_who_leaves_and_returns_is_last(ledger, now):
    ledger.enqueue(Request("ann", "", 1), now)
    last = ledger.enqueue(Request("bob", "", 1), now)
    ledger.withdraw("bob", "")
    assert ledger.enqueue(Request("bob", "", 1), now).sequence > last.sequence
