"""A class in which there is something to see."""

from __future__ import annotations

from datetime import timedelta

from service_server import RunningService
from service_world import World, now

from hub_ext.ddp_runs import DdpRun, RunState
from hub_ext.models import Device, Request
from hub_ext.verdicts import Verdict


def fill(world: World) -> None:
    """A class in which there is something to see."""
    names = ("ada", "bob", "cleo", "dan", "eve", "finn", "gus", "hana")
    world.users |= {name: ("class-1",) for name in names} | {"kim": ("class-2",)}
    world.stop_server("ada", "")
    ledger = world.ledger
    ledger.begin_run("run", now())
    world.run_server("ada", groups=("class-1",), term=timedelta(hours=2))
    world.run_server("bob", groups=("class-1",), term=timedelta(minutes=9))
    for name in ("cleo", "dan"):
        world.run_server(name, gpus=0, groups=("class-1",))
    for name in ("eve", "finn"):
        ledger.enqueue(Request(name, "", 1, groups=("class-1",)), now(), waiter="run")
    lease = ledger.lease_of("cleo", "").id
    ledger.keep_verdict(Verdict("cleo", "", now(), (("GC102", "blocker"),), lease_id=lease))
    for _ in range(2):
        ledger.add_failed_start("gus", "", 1, now())
    for name, number, state, hangs in (
        ("ada", 1, RunState.RUNNING, False),
        ("bob", 2, RunState.FAILED, False),
        ("cleo", 3, RunState.RUNNING, True),
    ):
        held = ledger.lease_of(name, "").id
        run, at = f"20260131-120000-{number:06x}", now() - timedelta(minutes=number)
        rank = None if state is RunState.RUNNING and not hangs else 1
        ledger.keep_ddp_run(DdpRun(name, "", run, state, 2, at, rank, hangs, held))
    ledger.raise_hand("dan", "", "torch does not see my GPU", ("class-1",), now())


def samples(service: RunningService) -> None:
    """Ten minutes of two devices."""
    for step in range(120):
        at = now() - timedelta(seconds=5 * (120 - step))
        service.service.monitor.samples.add(
            [
                Device(
                    record.device.uuid,
                    record.device.name,
                    record.device.memory_bytes,
                    utilization_percent=(step * (3 + number)) % 97 if step % 40 > 4 else None,
                )
                for number, record in enumerate(service.world.ledger.devices())
            ],
            at,
        )
