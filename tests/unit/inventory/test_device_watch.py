"""Inventory and XIDs together: out with a fatal XID, back by itself, over restarts."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

import pytest

from hub_ext.errors import InventoryUnavailable, LedgerUnavailable
from hub_ext.health import QUARANTINE, XidEvent
from hub_ext.inventory import (
    DeviceWatch,
    discover,
    out_of_use,
    practice_devices,
    with_known_faults,
)
from hub_ext.inventory.discovery import DetectedInventory, PracticeInventory
from hub_ext.inventory.nvml import NoDriver
from hub_ext.inventory.xid_watcher import XidWatcher
from hub_ext.models import Cordon, Device, DeviceRecord, DeviceState

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DEVICES = practice_devices(2)
FIRST, SECOND = (device.uuid for device in DEVICES)


class Memo(dict):
    """A Memory."""

    def remember(self, name: str, value: str) -> None:
        self[name] = value

    def recall(self, name: str) -> str | None:
        return self.get(name)


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def pass_(self, delta: timedelta) -> None:
        self.time += delta


class Told:
    """An inventory that a test tells what happens."""

    trouble = ""

    def __init__(self) -> None:
        self.devices: tuple[Device, ...] | Exception = DEVICES
        self.new: list[XidEvent] = []
        self.closed = False

    def scan(self) -> tuple[Device, ...]:
        if isinstance(self.devices, Exception):
            raise self.devices
        return self.devices

    def events(self, leave: Collection[str] = ()) -> tuple[XidEvent, ...]:
        self.left = leave
        events, self.new = tuple(self.new), []
        return events

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def world():
    """(inventory, memory, clock, a function that makes a watch of them)."""
    inventory, memory, clock = Told(), Memo(), Clock()
    return inventory, memory, clock, lambda: DeviceWatch(inventory, memory, now=clock)


def well(watch: DeviceWatch) -> list[bool]:
    return [device.healthy for device in watch.scan()]


def test_a_fatal_xid_keeps_a_device_out_for_its_time(world):
    inventory, _, clock, make = world
    watch = make()
    assert well(watch) == [True, True]
    inventory.new = [XidEvent(SECOND, 79, clock())]
    assert well(watch) == [True, False]
    clock.pass_(QUARANTINE - timedelta(seconds=1))
    inventory.new = [XidEvent(SECOND, 13, clock())]
    assert well(watch) == [True, False], "what a program causes does not prolong it"
    clock.pass_(timedelta(seconds=1))
    assert watch.scan() == DEVICES, "back by itself"


def test_the_time_begins_anew_with_each_fatal_xid(world):
    inventory, _, clock, make = world
    watch = make()
    for _ in range(3):
        inventory.new = [XidEvent(FIRST, 48, clock())]
        assert well(watch) == [False, True]
        clock.pass_(QUARANTINE - timedelta(seconds=1))
        assert well(watch) == [False, True]


def test_a_device_that_nvml_calls_ill_stays_out_when_the_time_is_over(world):
    inventory, _, clock, make = world
    watch = make()
    inventory.new = [XidEvent(FIRST, 79, clock())]
    ill = Device(FIRST, "A card", 1, healthy=False, reason="NVML says: GPU is lost")
    inventory.devices = (ill, DEVICES[1])
    assert "GPU is lost; Xid 79" in watch.scan()[0].reason
    clock.pass_(QUARANTINE)
    assert watch.scan() == inventory.devices
    inventory.devices = DEVICES
    assert watch.scan() == DEVICES


def test_an_xid_survives_a_restart_of_service_and_hub(world):
    inventory, memory, clock, make = world
    inventory.new = [XidEvent(FIRST, 79, clock())]
    assert well(make()) == [False, True]
    clock.pass_(timedelta(minutes=5))
    restarted = make()
    assert well(restarted) == [False, True]
    of_hub = with_known_faults(DEVICES, memory, clock())
    assert [device.healthy for device in of_hub] == [False, True]
    clock.pass_(timedelta(minutes=5))
    assert well(restarted) == [True, True]
    assert memory["xids"] == "", "nothing is left to remember"
    assert with_known_faults(DEVICES, memory, clock()) == DEVICES


def test_the_memory_is_written_only_when_something_happened(world):
    inventory, memory, clock, make = world
    writes = []
    memory.remember = lambda name, value: writes.append(name) or memory.update({name: value})
    watch = make()
    for _ in range(5):
        watch.scan()
    assert writes == []
    inventory.new = [XidEvent(FIRST, 79, clock())]
    for _ in range(5):
        watch.scan()
    assert writes == ["xids"]


def test_a_memory_that_makes_no_sense_is_no_fault(world, caplog):
    _, memory, clock, make = world
    memory["xids"] = "{"
    assert well(make()) == [True, True]
    assert "is not known" in caplog.text
    assert with_known_faults(DEVICES, memory, clock()) == DEVICES


def test_an_xid_is_not_lost_while_the_memory_or_the_inventory_is_away(world):
    inventory, memory, clock, make = world
    watch = make()
    watch.scan()
    inventory.new = [XidEvent(FIRST, 79, clock())]
    inventory.devices = InventoryUnavailable("NVML hangs")
    with pytest.raises(InventoryUnavailable):
        watch.scan()
    inventory.devices = DEVICES

    def full(name: str, value: str) -> None:
        raise LedgerUnavailable("the disk is full")

    memory.remember = full
    with pytest.raises(LedgerUnavailable):
        watch.scan()
    del memory.remember
    assert well(watch) == [False, True]
    assert well(make()) == [False, True], "it was kept as soon as that was possible"


def test_an_xid_of_an_unnamed_card_keeps_all_out(world, caplog):
    inventory, _, clock, make = world
    inventory.new = [XidEvent("", 79, clock())]
    assert well(make()) == [False, False]
    assert "does not name" in caplog.text


def test_each_xid_is_a_line_in_the_log(world, caplog):
    inventory, _, clock, make = world
    inventory.new = [XidEvent(FIRST, xid, clock()) for xid in (79, 4711, 63, 31)]
    with caplog.at_level("INFO", logger="gpucamp.inventory"):
        make().scan()
    lines = [(record.levelname, record.message.split(" ", 1)[1][:8]) for record in caplog.records]
    assert lines == [
        ("ERROR", "Xid 79 ("),
        ("ERROR", "Xid 4711"),
        ("WARNING", "Xid 63 ("),
        ("INFO", "Xid 31 ("),
    ]


def test_a_recorded_remap_is_advice_only(world):
    inventory, memory, clock, make = world
    inventory.new = [XidEvent(FIRST, 63, clock())]
    assert well(make()) == [True, True]
    assert "xids" not in memory


def test_devices_that_an_admin_works_on_are_left_alone(world):
    inventory, memory, clock, _ = world

    def record(device: Device, *leases: str, cordon: Cordon = Cordon.CORDONED) -> DeviceRecord:
        return DeviceRecord(device, DeviceState.HEALTHY, START, lease_ids=leases, cordon=cordon)

    records = [
        record(DEVICES[0]),
        record(DEVICES[1], "held", cordon=Cordon.DRAINING),
        record(Device("GPU-in-use", "A card", 1), cordon=Cordon.NONE),
    ]
    watch = DeviceWatch(inventory, memory, now=clock, leave=lambda: out_of_use(records))
    watch.scan()
    assert inventory.left == {FIRST}


def test_closing_ends_what_watches(world):
    inventory, _, _, make = world
    make().close()
    assert inventory.closed


# -- with the stand-in NVML and real processes


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "not within 60 s"
        time.sleep(0.05)


@pytest.fixture
def real(nvml, practice_file):
    """Makes a watch over the stand-in, with the real probe and the real watch for XIDs."""
    watches: list[DeviceWatch] = []

    def make(memory: Memo, clock: Clock) -> tuple[DeviceWatch, XidWatcher]:
        xids = XidWatcher(pauses=[0.1])
        inventory = nvml(practice_file.path, memory=memory, xids=xids)
        watches.append(DeviceWatch(inventory, memory, now=clock))
        return watches[-1], xids

    yield make
    for watch in watches:
        watch.close()


MIG = {"uuid": "GPU-m", "mig_devices": [{"uuid": "MIG-1"}, {"uuid": "MIG-2"}]}


def states(watch: DeviceWatch) -> dict[str, bool]:
    return {device.uuid: device.healthy for device in watch.scan()}


def test_an_xid_of_a_card_keeps_its_instances_out_and_no_other(real, practice_file):
    cards = [{"uuid": "GPU-a"}, MIG]
    practice_file(*cards)
    clock = Clock()
    watch, xids = real(Memo(), clock)
    assert set(states(watch).values()) == {True}
    until(lambda: xids._told)
    clock.time = datetime.now(UTC)
    practice_file(*cards, events=[{"uuid": "GPU-m", "xid": 95}, {"uuid": "GPU-a", "xid": 31}])
    until(lambda: states(watch) == {"GPU-a": True, "MIG-1": False, "MIG-2": False})
    assert "Xid 95 (uncontained ECC error)" in watch.scan()[1].reason
    clock.time = datetime.now(UTC) + QUARANTINE
    assert set(states(watch).values()) == {True}


def test_a_card_falls_off_the_bus_and_comes_back(real, practice_file):
    """What happens on a real host, one after the other: an XID, a lost card, a reboot."""
    cards = [{"uuid": "GPU-a"}, {"uuid": "GPU-b"}]
    practice_file(*cards)
    clock, memory = Clock(), Memo()
    watch, xids = real(memory, clock)
    watch.scan()
    until(lambda: watch.scan() and xids._told)
    clock.time = datetime.now(UTC)
    lost = [cards[0], cards[1] | {"lost": True}]
    practice_file(*lost, events=[{"uuid": "GPU-b", "xid": 79}])
    until(lambda: "Xid 79" in watch.scan()[1].reason)
    assert "GPU is lost" in watch.scan()[1].reason

    watch.close()  # the service restarts; NVML has nothing but an index for the lost card
    clock.time += timedelta(hours=1)
    restarted, _ = real(memory, clock)
    first, second = restarted.scan()
    assert (first.healthy, second.uuid, second.healthy) == (True, "GPU-b", False)
    assert "GPU is lost" in second.reason and "Xid" not in second.reason

    practice_file(*cards)
    assert set(states(restarted).values()) == {True}


def test_a_card_is_not_kept_open_while_an_admin_works_on_it(nvml, practice_file):
    cards = [{"uuid": "GPU-a"}, MIG]
    practice_file(*cards)
    xids, leave = XidWatcher(pauses=[0.1]), {"MIG-1"}
    inventory = nvml(practice_file.path, xids=xids)
    watch = DeviceWatch(inventory, Memo(), leave=lambda: leave)
    watch.scan()
    until(lambda: xids._told)
    assert xids._told == {"GPU-a", "GPU-m"}, "somebody may use the other instance"
    leave.add("MIG-2")
    until(lambda: watch.scan() and xids._told == {"GPU-a"})
    practice_file(*cards, events=[{"uuid": "GPU-m", "xid": 79}, {"uuid": "GPU-a", "xid": 62}])
    until(lambda: set(states(watch).values()) == {True, False})
    assert states(watch) == {"GPU-a": False, "MIG-1": True, "MIG-2": True}
    leave.clear()
    until(lambda: watch.scan() and xids._told == {"GPU-a", "GPU-m"})


def test_the_watch_tells_why_xids_are_not_seen(real, practice_file):
    practice_file({"uuid": "GPU-a"}, faults={"nvmlEventSetCreate": 999})
    watch, _ = real(Memo(), Clock())
    watch.scan()
    until(lambda: "Unknown Error" in watch.trouble)
    assert states(watch) == {"GPU-a": True}, "the inventory goes on"


# -- which inventory's events


def test_a_host_without_a_card_does_not_watch_nvml(tmp_path):
    class NoCard(Told):
        def events(self, leave: Collection[str] = ()) -> tuple[XidEvent, ...]:
            raise AssertionError("nothing is to be watched")

    nvml = NoCard()
    nvml.devices = NoDriver("none")
    nvml.trouble = "not watched"
    inventory = DetectedInventory(nvml, PracticeInventory(2), tmp_path)
    inventory.scan()
    assert (inventory.events(), inventory.trouble) == ((), "")
    inventory.close()
    assert nvml.closed


def test_a_host_with_a_card_watches_it(tmp_path):
    nvml = Told()
    nvml.new = [XidEvent("GPU-a", 79, START)]
    nvml.trouble = "not watched"
    inventory = DetectedInventory(nvml, PracticeInventory(2), tmp_path)
    inventory.scan()
    assert (len(inventory.events()), inventory.trouble) == (1, "not watched")


def test_practice_watches_its_state_file(tmp_path, monkeypatch):
    file = tmp_path / "state.json"
    monkeypatch.setenv("GPUCAMP_PRACTICE_STATE", str(file))
    clock = Clock()
    clock.time = datetime.now(UTC)
    watch = DeviceWatch(discover(2, kind="practice"), Memo(), now=clock)
    assert well(watch) == [True, True]
    file.write_text(f'{{"{FIRST}": {{"xids": [79]}}}}')
    assert well(watch) == [False, True]
    watch.close()
