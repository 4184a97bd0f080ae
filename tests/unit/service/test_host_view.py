"""What the host says of a server's devices: who may ask, and what nobody learns of others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from service_server import RunningService, expand, person, running_service
from service_world import UUIDS, World, now

from hub_ext import scopes
from hub_ext.health import ANY_CARD, XidEvent, XidFault
from hub_ext.host_facts import HostState, Nodes
from hub_ext.i18n import set_language
from hub_ext.inventory import DeviceWatch
from hub_ext.inventory.discovery import PracticeInventory
from hub_ext.inventory.practice_state import PracticeState
from hub_ext.models import (
    Device,
    DeviceDetail,
    DeviceProcess,
    DeviceRecord,
    DeviceState,
    Lease,
    LeaseState,
)
from hub_ext.reconcile import ContainerFact
from hub_ext.service.host_view import HostFacts, describe

BASE = "api/v1/users/ada/server/host-view"
GIB = 2**30
MINE, BOBS, STRANGE = "a" * 64, "b" * 64, "c" * 64
NOW = now()
UUID = "GPU-a"


def contained(world: World, user: str, container: str, server: str = "") -> None:
    """Give the container of a server an id as the Engine's are."""
    lease = world.ledger.lease_of(user, server)
    known = next(c for c in world.containers if (c.user, c.server) == (user, server))
    world.containers.remove(known)
    world.containers.append(replace(known, id=container))
    world.ledger.mark_running(lease.id, container, now())


def process(proc: Path, pid: int, container: str, inside: int) -> None:
    """Adds a process in a container to a stand-in for the host's /proc."""
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "cgroup").write_text(f"0::/system.slice/docker-{container}.scope\n")
    (folder / "status").write_text(f"NSpid:\t{pid}\t{inside}\n")
    (folder / "stat").write_text(f"{pid} (python) S " + "0 " * 18 + "1 0\n")


@contextmanager
def simulated(world: World, folder: Path, state: Any) -> Iterator[RunningService]:
    """The service with practice devices to which things happen."""
    (folder / "state.json").write_text(json.dumps(state))
    practice = PracticeInventory(2, PracticeState(folder / "state.json", folder / "proc"))
    watch = DeviceWatch(practice, world.ledger)
    with running_service(world, watch=watch) as ask:
        until(lambda: ask.service.monitor.looked_at is not None)
        yield ask


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- who may


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("nonsense", 401),
        ("stranger-token", 403),
        ("resetter-token", 403),
        ("bob-token", 404),
        ("bob-server-token", 404),
        ("other-class-token", 404),
        ("ada-second-server-token", 404),
        ("ada-token", 200),
        ("ada-server-token", 200),
        ("class-token", 200),
        ("instructor-token", 200),
        ("admin-token", 200),
    ],
)
def test_it_is_for_its_user_and_those_who_teach_them(ask, token, status):
    def of(name: str, names: list[str], server: str = "") -> dict[str, Any]:
        return {"kind": "user", "name": name, "scopes": expand(names, name, server)}

    ask.world.users["ada"] = ("class-1",)
    ask.tokens.update(
        {
            "resetter-token": of(
                "ada", [scopes.ACCESS_SERVICE, f"{scopes.ENVIRONMENT_RESET}!user"]
            ),
            "class-token": person("kim", f"{scopes.ENVIRONMENT_READ}!group=class-1"),
            "other-class-token": person("kim", f"{scopes.ENVIRONMENT_READ}!group=class-2"),
            "bob-server-token": of("bob", list(scopes.SERVER_TOKEN_SCOPES)),
            "ada-second-server-token": of("ada", list(scopes.SERVER_TOKEN_SCOPES), "second"),
        }
    )
    assert ask("GET", BASE, token).status_code == status


def test_a_server_that_never_was_is_not_found(ask):
    assert ask("GET", "api/v1/users/ada/servers/none/host-view").status_code == 404
    assert ask("GET", "api/v1/users/nobody/server/host-view", "admin-token").status_code == 404


def test_a_server_without_a_lease_has_no_devices(ask, world):
    world.stop_server("ada", "")
    view = ask("GET", BASE).json()
    assert (view["lease"], view["devices"]) == (None, [])
    ask.hub_down = True
    assert ask("GET", BASE).json()["devices"] == []


def test_what_no_inventory_told_is_unknown(ask):
    """Here some other process records the devices."""
    view = ask("GET", BASE, "ada-server-token").json()
    (device,) = view["devices"]
    assert view["looked_at"] is None
    unknown = ("holders", "persistence", "compute_mode", "memory_used_bytes")
    assert [device[name] for name in unknown] == [None] * 4
    assert (device["uuid"], device["state"], device["xids"]) == (UUIDS[0], "healthy", [])


# -- what is told, from a file of practice devices to the answer


def test_who_holds_memory_is_told_of_oneself_by_pid_and_of_others_without_names(world, tmp_path):
    world.run_server("bob")
    contained(world, "ada", MINE)
    contained(world, "bob", BOBS)
    process(tmp_path / "proc", 4711, MINE, 23)
    process(tmp_path / "proc", 4712, BOBS, 770099)
    process(tmp_path / "proc", 4713, STRANGE, 770098)
    running = [{"pid": 4711 + n, "memory": (n + 1) * GIB} for n in range(4)]  # 4714 is gone
    state = {UUIDS[0]: {"processes": running, "persistence": False}}
    with simulated(world, tmp_path, state) as ask:
        answer = ask("GET", BASE, "ada-server-token")
        theirs = ask("GET", "api/v1/users/bob/server/host-view", "bob-token").json()
    (device,) = answer.json()["devices"]
    assert device["holders"] == [
        {"holder": "own", "processes": 1, "pid": 23, "memory_bytes": GIB},
        {"holder": "another_user", "processes": 1, "pid": None, "memory_bytes": 2 * GIB},
        {"holder": "unknown", "processes": 2, "pid": None, "memory_bytes": 7 * GIB},
    ]
    assert (device["memory_used_bytes"], device["persistence"]) == (10 * GIB, False)
    assert not [word for word in ("bob", BOBS, "770099", "770098") if word in answer.text]
    assert theirs["devices"][0]["holders"] is None, "the file says nothing of bob's device"


def test_an_illness_is_told_in_english_and_in_the_readers_language(world, tmp_path):
    with simulated(world, tmp_path, {UUIDS[0]: {"xids": [31, 79]}}) as ask:
        until(lambda: ask("GET", BASE).json()["devices"][0]["state"] == "quarantined")
        headers = {"Accept-Language": "zh-CN"}
        (device,) = ask("GET", BASE, headers=headers).json()["devices"]
    assert device["reason"].startswith("Xid 79 (GPU has fallen off the bus). Reboot the host")
    assert device["reason_text"] != device["reason"]
    assert "Xid 79" in device["reason_text"] and "off the bus" not in device["reason_text"]
    assert "off the bus" not in device["xids"][-1]["text"]
    # the file is as old as it is, but ada's lease is older
    assert [each["xid"] for each in device["xids"]] == [31, 79]


# -- the decisions


def lease(user: str = "ada", server: str = "", container: str = MINE, **more: Any) -> Lease:
    return Lease(
        f"lease of {user}/{server}",
        user,
        server,
        LeaseState.RUNNING,
        (UUID,),
        NOW,
        container_id=container,
        **more,
    )


def record(**more: Any) -> DeviceRecord:
    device = Device(UUID, "A100", 40 * GIB, driver_version="570.1", cuda_version="12.8")
    return DeviceRecord(replace(device, **more), DeviceState.HEALTHY, NOW)


def seen(*processes: DeviceProcess) -> dict[str, Device]:
    detail = DeviceDetail(processes, GIB, True, "default")
    return {UUID: replace(record().device, detail=detail)}


def device_of(facts: HostFacts) -> dict[str, Any]:
    set_language("en")
    (device,) = describe(facts, ("ada", ""))["devices"]
    return device


def test_the_whole_answer():
    facts = HostFacts([lease()], [record()], seen(), NOW)
    set_language("en")
    assert describe(facts, ("ada", "")) == {
        "user": "ada",
        "server": "",
        "lease": "lease of ada/",
        "looked_at": NOW.isoformat(),
        "host": {"toolkit_version": None, "persistenced": None},
        "nodes": None,
        "devices": [
            {
                "uuid": UUID,
                "name": "A100",
                "simulated": False,
                "mig": False,
                "shared": False,
                "state": "healthy",
                "reason": "",
                "reason_text": "",
                "cordon": "",
                "driver_version": "570.1",
                "cuda_version": "12.8",
                "persistence": True,
                "compute_mode": "default",
                "memory_bytes": 40 * GIB,
                "memory_used_bytes": GIB,
                "xids": [],
                "holders": [],
            }
        ],
    }


def test_what_the_host_has_and_the_container_lost_is_told():
    nodes = Nodes(("nvidia0", "nvidiactl"), ("nvidia-uvm",))
    host = HostState("1.17.8", False)
    view = describe(HostFacts([lease()], [record()], host=host, nodes=nodes), ("ada", ""))
    assert view["host"] == {"toolkit_version": "1.17.8", "persistenced": False}
    assert view["nodes"] == {"present": ["nvidia0", "nvidiactl"], "missing": ["nvidia-uvm"]}


class LookedAt:
    """Stands in for a look at the host; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def state(self) -> HostState:
        return HostState("1.17.8", True)

    async def nodes(self, container: str, cards: int) -> Nodes:
        self.asked.append((container, cards))
        return Nodes((), ("nvidia*",))


def test_only_a_card_has_nodes_to_lose(ask, world):
    """Practice devices have none, nor has a server without a GPU."""
    look = LookedAt()
    ask.service = replace(ask.service, host=look)
    ask.application.settings["service"] = ask.service
    view = ask("GET", BASE).json()
    assert (view["nodes"], look.asked) == (None, [])
    assert view["host"] == {"toolkit_version": "1.17.8", "persistenced": True}
    real = [Device(uuid, "A100", 40 * GIB) for uuid in UUIDS]
    world.ledger.record_inventory(real, now())
    view = ask("GET", BASE).json()
    (container,) = world.containers
    assert look.asked == [(container.id, 1)]
    assert view["nodes"] == {"present": [], "missing": ["nvidia*"]}


def test_a_device_that_the_ledger_does_not_know_is_missing():
    device = device_of(HostFacts([lease()]))
    assert (device["state"], device["holders"]) == ("missing", None)


def test_a_container_without_a_lease_is_its_users_by_its_label():
    """It runs on after its lease has ended, and still holds memory."""
    fact = ContainerFact("x" * 64, "gone", "bob", "", True, 1, "image")
    processes = seen(DeviceProcess(7, 5, ("x" * 64,), (7, 1)))
    (holder,) = device_of(HostFacts([lease()], [record()], processes, NOW, [fact]))["holders"]
    assert holder["holder"] == "another_user"


def test_the_ledger_counts_more_than_a_label():
    fact = ContainerFact(MINE, "gone", "bob", "", True, 1, "image")
    processes = seen(DeviceProcess(7, 5, (MINE,), (7, 1)))
    (holder,) = device_of(HostFacts([lease()], [record()], processes, NOW, [fact]))["holders"]
    assert holder["holder"] == "own"


def test_a_lease_without_a_container_has_no_processes():
    processes = seen(DeviceProcess(7, 5), DeviceProcess(8, 6, (BOBS,)))
    (holder,) = device_of(HostFacts([lease(container="")], [record()], processes, NOW))["holders"]
    assert (holder["holder"], holder["processes"]) == ("unknown", 2)


def xids(facts: HostFacts) -> list[int]:
    return [each["xid"] for each in device_of(facts)["xids"]]


BEFORE, AFTER = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)
EVENTS = (
    XidEvent(UUID, 31, BEFORE),  # of somebody else's program
    XidEvent(UUID, 63, BEFORE),
    XidEvent(UUID, 13, AFTER),
    XidEvent("GPU-b", 48, AFTER),
    XidEvent(ANY_CARD, 119, AFTER),
)


def test_xids_of_programs_are_told_to_who_caused_them():
    facts = HostFacts([lease()], [record()], seen(), NOW, events=EVENTS)
    assert xids(facts) == [13, 119]
    assert xids(replace(facts, leases=[lease(shared=True)])) == [119]
    assert xids(replace(facts, records=[record(parent="GPU-b")])) == [48, 119]


def test_xids_from_before_a_restart_of_the_service_are_told_once():
    faults = {UUID: XidFault((79, 119), BEFORE), ANY_CARD: XidFault((48,), BEFORE)}
    facts = HostFacts([lease()], [record()], faults=faults, events=EVENTS)
    assert xids(facts) == [79, 48, 13, 119]


def test_many_xids_are_the_latest_ones():
    events = [XidEvent(UUID, 100 + n, NOW + timedelta(seconds=n)) for n in range(30)]
    assert xids(HostFacts([lease()], [record()], events=events)) == list(range(122, 130))
