"""What happens to leases when devices or NVML fail: nothing is freed, all is told, all comes back.

Monitor, ledger, probe and watch for XIDs are the real ones; NVML is the stand-in.
"""

from __future__ import annotations

import asyncio
import functools
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub_ext.inventory import DeviceWatch, with_known_faults
from hub_ext.inventory.xid_watcher import XidWatcher
from hub_ext.ledger import Ledger
from hub_ext.models import DeviceState, LeaseState, NoticeKind, Request, Snapshot
from hub_ext.service.monitor import Monitor

CARDS = [{"uuid": f"GPU-{name}", "name": f"Card {name}"} for name in "abc"]
HANG = 600


@functools.cache
def empty_ledger() -> bytes:
    """The file of a ledger; migrated once, copied for every test."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.sqlite"
        ledger = Ledger(f"sqlite:///{file}")
        ledger.migrate()
        ledger.close()
        return file.read_bytes()


class Host:
    """A host with cards, its ledger, and the service that looks after them."""

    def __init__(self, folder: Path, write: Callable[..., Path], nvml: Callable[..., Any]) -> None:
        self.write = write
        self._nvml = nvml
        file = folder / "ledger.sqlite"
        file.write_bytes(empty_ledger())
        self.ledger = Ledger(f"sqlite:///{file}", actor="test")
        self.shift = timedelta()
        self.write(*CARDS)
        self.start_service()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def start_service(self, timeout: float = 30.0, **limits: float) -> None:
        self.xids = XidWatcher(pauses=[0.1])
        inventory = self._nvml(self.write.path, memory=self.ledger, xids=self.xids, timeout=timeout)
        self.watch = DeviceWatch(inventory, self.ledger, now=self.now)
        self.monitor = Monitor(
            self.ledger,
            engine=None,  # type: ignore[arg-type]  # no reconciling here
            scan=self.watch.scan,
            xid_trouble=lambda: self.watch.trouble,
            now=self.now,
            **limits,
        )

    async def restart_service(self, **limits: float) -> None:
        await self.stop_service()
        self.start_service(**limits)

    async def stop_service(self) -> None:
        await self.monitor.close()
        self.watch.close()

    async def look(self) -> dict[str, DeviceState]:
        await self.monitor.take_inventory()
        return self.states()

    def states(self) -> dict[str, DeviceState]:
        return {record.device.uuid: record.state for record in self.ledger.devices()}

    def reason(self, uuid: str) -> str:
        return next(each.reason for each in self.ledger.devices() if each.device.uuid == uuid)

    def lease(self, user: str, *uuids: str) -> None:
        def choose(_snapshot: Snapshot) -> Sequence[str]:
            return uuids

        lease = self.ledger.acquire(Request(user, "", len(uuids)), choose, self.now())
        assert lease is not None
        self.ledger.mark_running(lease.id, f"container of {user}", self.now())

    def holders(self) -> dict[str, tuple[str, ...]]:
        return {
            lease.user: lease.device_uuids
            for lease in self.ledger.leases()
            if lease.state is LeaseState.RUNNING
        }

    def told(self, user: str) -> list[NoticeKind]:
        return [notice.kind for notice in self.ledger.notices(user)]


@pytest.fixture
async def host(tmp_path, practice_file, nvml):
    host = Host(tmp_path, practice_file, nvml)
    assert set((await host.look()).values()) == {DeviceState.HEALTHY}
    host.lease("ada", "GPU-a", "GPU-b")
    yield host
    await host.stop_service()
    host.ledger.close()


HELD = {"ada": ("GPU-a", "GPU-b")}
WELL = dict.fromkeys(("GPU-a", "GPU-b", "GPU-c"), DeviceState.HEALTHY)


# -- fault 9: after a restart the inventory is empty or in another order


async def test_an_empty_inventory_after_a_restart_frees_nothing(host):
    host.write()
    await host.restart_service()
    assert set((await host.look()).values()) == {DeviceState.MISSING}
    assert host.holders() == HELD
    host.write(*CARDS)
    assert await host.look() == WELL
    assert host.holders() == HELD
    assert host.told("ada").count(NoticeKind.DEVICE_QUARANTINED) == 2
    assert host.told("ada").count(NoticeKind.DEVICE_BACK) == 2


async def test_another_order_after_a_restart_changes_nothing(host):
    host.write(*reversed(CARDS))
    await host.restart_service()
    assert await host.look() == WELL
    assert host.holders() == HELD
    assert host.told("ada") == []


async def test_other_cards_after_a_restart_take_nobodys_lease(host):
    host.write({"uuid": "GPU-new"}, CARDS[1])
    await host.restart_service()
    assert await host.look() == {
        "GPU-a": DeviceState.MISSING,
        "GPU-b": DeviceState.HEALTHY,
        "GPU-c": DeviceState.MISSING,
        "GPU-new": DeviceState.HEALTHY,
    }
    assert host.holders() == HELD


# -- fault 10: a GPU vanishes and returns


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ({"lost": True}, DeviceState.QUARANTINED, "GPU is lost"),
        ({"faults": {"nvmlDeviceGetHandleByIndex": 999}}, DeviceState.QUARANTINED, "Unknown Error"),
        ({"faults": {"nvmlDeviceGetUUID": 15}}, DeviceState.QUARANTINED, "GPU is lost"),
        ({"faults": {"nvmlDeviceGetMemoryInfo": 15}}, DeviceState.QUARANTINED, "GPU is lost"),
        ({"recovery_action": 1}, DeviceState.QUARANTINED, "reset of the GPU"),
        ({"remapped_rows": {"pending": 1}}, DeviceState.QUARANTINED, "remapped"),
        ({"retired_pages_pending": 1}, DeviceState.QUARANTINED, "retired"),
        ({"compute_mode": 2}, DeviceState.QUARANTINED, "Prohibited"),
        (None, DeviceState.MISSING, "not found"),
    ],
)
async def test_a_device_that_fails_is_out_until_it_is_well(host, fault, state, words):
    a, b, c = CARDS
    host.write(a, *([b | fault] if fault else []), c)
    assert await host.look() == WELL | {"GPU-b": state}
    assert words in host.reason("GPU-b")
    assert host.holders() == HELD, "its lease stays"
    (notice,) = host.ledger.notices("ada")
    assert notice.kind is NoticeKind.DEVICE_QUARANTINED
    assert notice.detail["device"] == "GPU-b" and words in notice.detail["reason"]
    with pytest.raises(ValueError):
        host.lease("bob", "GPU-b")
    host.write(*CARDS)
    assert await host.look() == WELL
    assert host.told("ada") == [NoticeKind.DEVICE_QUARANTINED, NoticeKind.DEVICE_BACK]


async def test_a_fatal_xid_quarantines_over_restarts_of_service_and_hub(host):
    async def until(true: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not true():
            assert time.monotonic() < end, "not within 60 s"
            await host.look()

    await until(lambda: host.xids._told)
    host.write(*CARDS, events=[{"uuid": "GPU-a", "xid": 31}, {"uuid": "GPU-b", "xid": 48}])
    await until(lambda: host.states() != WELL)
    assert host.states() == WELL | {"GPU-b": DeviceState.QUARANTINED}
    assert "Xid 48 (double-bit ECC error)" in host.reason("GPU-b")
    assert (host.holders(), host.told("ada")) == (HELD, [NoticeKind.DEVICE_QUARANTINED])

    await host.restart_service()
    assert await host.look() == WELL | {"GPU-b": DeviceState.QUARANTINED}
    # a hub that starts looks for devices itself
    found = with_known_faults(host.watch._inventory.scan(), host.ledger, host.now())
    host.ledger.record_inventory(found, host.now())
    assert host.states() == WELL | {"GPU-b": DeviceState.QUARANTINED}

    host.shift = timedelta(minutes=10)
    assert await host.look() == WELL, "back by itself"
    assert host.told("ada") == [NoticeKind.DEVICE_QUARANTINED, NoticeKind.DEVICE_BACK]


async def test_what_devices_do_is_seen_while_scans_succeed(host):
    host.write(CARDS[0] | {"utilization": 90, "processes": [{"pid": 1}]}, *CARDS[1:])
    await host.look()
    seen = host.monitor.seen()["GPU-a"]
    assert (seen.utilization_percent, seen.compute_processes) == (90, 1)
    host.write(faults={"nvmlInit": 9})
    await host.look()
    assert host.monitor.seen() == {}, "unknown is not idle"


# -- fault 20: NVML hangs, the driver is away, "Unknown Error"


@pytest.mark.parametrize(
    ("faults", "words", "restarted"),
    [
        ({"nvmlInit": 9}, "modprobe nvidia", False),
        ({"nvmlInit": 9}, "modprobe nvidia", True),
        ({"nvmlInit": 18}, "reboot the host", False),
        ({"nvmlInit": 999}, "dmesg", True),
        ({"nvmlDeviceGetCount": 999}, "Unknown Error", False),
    ],
)
async def test_nvml_that_fails_is_told_and_changes_nothing(host, faults, words, restarted):
    if restarted:
        await host.restart_service()
    host.write(*CARDS, faults=faults)
    assert await host.look() == WELL
    assert words in host.monitor.health.inventory_error
    assert host.holders() == HELD
    host.write(*CARDS)
    assert await host.look() == WELL
    assert host.monitor.health.inventory_error == ""


@pytest.mark.parametrize(
    "call",
    ["nvmlInit", "nvmlDeviceGetHandleByIndex", "nvmlShutdown"],
)
async def test_nvml_that_hangs_is_told_within_seconds_and_the_service_lives(host, call):
    limit = 4.0
    await host.restart_service(timeout=limit)
    hang = {call: {"sleep": HANG}}
    if call == "nvmlDeviceGetHandleByIndex":
        host.write(CARDS[0] | {"faults": hang}, *CARDS[1:])
    else:
        host.write(*CARDS, faults=hang)
    beats = []

    async def beat() -> None:
        while True:
            beats.append(time.monotonic())
            await asyncio.sleep(0.05)

    beating = asyncio.create_task(beat())
    begin = time.monotonic()
    assert await host.look() == WELL
    took = time.monotonic() - begin
    beating.cancel()
    assert "hangs" in host.monitor.health.inventory_error
    assert took < limit + 5
    assert max(b - a for a, b in zip(beats, beats[1:], strict=False)) < limit, "never blocked"
    assert host.holders() == HELD
    await recovered(host)


async def recovered(host: Host) -> None:
    """NVML answers again."""
    host.write(*CARDS)
    end = time.monotonic() + 60
    while host.monitor.health.inventory_error:
        assert time.monotonic() < end, host.monitor.health.inventory_error
        await host.look()
    assert host.states() == WELL


async def test_a_scan_that_ignores_its_own_limit_is_told_by_the_monitor(host):
    """As if the process that asks NVML could not even be started in time."""
    await host.restart_service(timeout=30.0, scan_timeout=1.0)
    host.write(*CARDS, faults={"nvmlInit": {"sleep": 8}})
    begin = time.monotonic()
    assert await host.look() == WELL
    assert time.monotonic() - begin < 1 + 5
    assert "has not answered for 1 s" in host.monitor.health.inventory_error
    assert host.holders() == HELD
    await recovered(host)
