"""Into how many slots a device is divided: by the configuration, by an admin, and after both."""

from __future__ import annotations

import pytest

from hub_ext.errors import Conflict, NotFound
from hub_ext.ledger.slots import SlotHolder
from hub_ext.models import Request
from hub_ext.policy import Policy, Pool

SHARE = Request("ann", "", 1, share=True)
HALVES = Policy(pools=(Pool("halves", ("GPU-0",), slots=2),))


@pytest.fixture
def pool(ledger, make_devices, now):
    """GPU-0 is shared by two, GPU-1 exclusive."""
    ledger.set_policy(HALVES)
    ledger.record_inventory(make_devices(2), now)
    return ledger


def modes(ledger) -> list[tuple[bool, int]]:
    return [(each.device.shared, each.device.slots) for each in ledger.devices()]


def divide(ledger, slots, now, uuid="GPU-0"):
    ledger.divide(uuid, slots, "the workshop", now, actor="root")


def said(ledger) -> list[str]:
    return [line.detail for line in ledger.audit_trail() if line.action == "device.slots"]


def test_an_admins_word_holds_at_once_and_after_inventories(pool, make_devices, now):
    divide(pool, 4, now)
    divide(pool, 3, now, "GPU-1")
    assert modes(pool) == [(True, 4), (True, 3)]
    pool.set_policy(HALVES)  # the hub starts again
    pool.record_inventory(make_devices(2), now)
    assert modes(pool) == [(True, 4), (True, 3)]
    divide(pool, 1, now)
    pool.record_inventory(make_devices(2), now)
    assert modes(pool) == [(False, 1), (True, 3)]
    line = pool.audit_trail()[-1]
    assert (line.actor, line.action) == ("root", "device.slots")
    assert line.detail.startswith("GPU-0") or getattr(line, "device", "") == "GPU-0"


def test_it_is_as_configured_again(pool, make_devices, now):
    for slots in (None, 2):
        divide(pool, 4, now)
        divide(pool, slots, now)
        assert modes(pool)[0] == (True, 2)
    changes = len(said(pool))
    divide(pool, None, now)
    divide(pool, 2, now)
    assert len(said(pool)) == changes == 4, "what is so already changes nothing"


def test_a_later_configuration_counts(pool, make_devices, now):
    divide(pool, 4, now)
    pool.set_policy(Policy(pools=(Pool("halves", ("GPU-0",), slots=3),)))
    pool.record_inventory(make_devices(2), now)
    assert modes(pool)[0] == (True, 3)
    assert "no longer 4" in said(pool)[-1]
    pool.set_policy(HALVES)  # and the word does not come back
    pool.record_inventory(make_devices(2), now)
    assert modes(pool)[0] == (True, 2)


def test_nobody_who_holds_a_device_is_touched(pool, make_devices, now):
    lease = pool.acquire(SHARE, lambda s: ["GPU-0"], now)
    other = pool.acquire(Request("bob", "", 1), lambda s: ["GPU-1"], now)
    assert pool.slot_holders("GPU-0") == (SlotHolder(0, lease.id),)
    for uuid in ("GPU-0", "GPU-1"):
        with pytest.raises(Conflict, match="Somebody holds this device"):
            divide(pool, 4, now, uuid)
    assert modes(pool) == [(True, 2), (False, 1)] and said(pool) == []
    divide(pool, 2, now)  # it is so already
    pool.end(other.id, "stopped", now)
    divide(pool, 4, now, "GPU-1")
    assert modes(pool)[1] == (True, 4)


def test_a_word_that_ends_waits_until_an_exclusive_device_is_free(pool, make_devices, now):
    divide(pool, 4, now, "GPU-1")
    lease = pool.acquire(SHARE, lambda s: ["GPU-1"], now)
    pool.set_policy(Policy(pools=(Pool("halves", ("GPU-0", "GPU-1"), slots=2),)))
    pool.record_inventory(make_devices(2), now)
    pool.set_policy(HALVES)
    pool.record_inventory(make_devices(2), now)
    assert modes(pool)[1][0] is True, "in use"
    pool.end(lease.id, "stopped", now)
    pool.record_inventory(make_devices(2), now)
    assert modes(pool)[1] == (False, 1)


def test_slots_are_granted_and_counted(pool, now):
    divide(pool, 3, now, "GPU-1")
    leases = [
        pool.acquire(Request(user, "", 1, share=True), lambda s: ["GPU-1"], now)
        for user in ("ann", "bob", "cyd")
    ]
    assert [each.slot for each in pool.slot_holders("GPU-1")] == [0, 1, 2]
    with pytest.raises(ValueError, match="not free"):
        pool.acquire(Request("dan", "", 1, share=True), lambda s: ["GPU-1"], now)
    for lease in leases:
        pool.end(lease.id, "stopped", now)
    divide(pool, None, now, "GPU-1")
    assert pool.acquire(Request("dan", "", 1), lambda s: ["GPU-1"], now) is not None


def test_a_device_that_never_was(pool, now):
    with pytest.raises(NotFound):
        divide(pool, 2, now, "GPU-9")
    assert pool.slot_holders("GPU-9") == ()
