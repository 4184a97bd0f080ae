"""One device, and who holds GPU memory: over REST and on the pages, for those who may see all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from service_world import UUIDS, now
from test_host_view import BOBS, GIB, MINE, STRANGE, contained, process, simulated

from hub_ext.models import Device, DeviceDetail, DeviceProcess
from hub_ext.reconcile import ContainerFact
from hub_ext.service.device_memory import by_container, by_holder, processes_of

PAGE = f"devices/{UUIDS[0]}"
STATE = {
    UUIDS[0]: {
        "processes": [
            {"pid": 100, "memory": 3 * GIB},
            {"pid": 101, "memory": GIB},
            {"pid": 102, "memory": 2 * GIB},
        ],
        "xids": [79, 13],
    }
}


def test_memory_by_user_and_process(world, tmp_path):
    contained(world, "ada", MINE)
    world.run_server("bob")
    contained(world, "bob", BOBS)
    process(tmp_path / "proc", 100, MINE, 7)
    process(tmp_path / "proc", 101, BOBS, 7)
    process(tmp_path / "proc", 102, STRANGE, 1)
    with simulated(world, tmp_path, STATE) as ask:
        rows = ask("GET", "api/v1/memory", "admin-token").json()["processes"]
        assert [(row["user"], row["pid"], row["pid_in_container"]) for row in rows] == [
            ("ada", 100, 7),
            ("bob", 101, 7),
            (None, 102, None),
        ]
        first = ask("GET", "api/v1/memory?limit=2", "admin-token").json()
        rest = ask("GET", f"api/v1/memory?limit=2&cursor={first['next']}", "admin-token").json()
        assert first["processes"] + rest["processes"] == rows and rest["next"] is None
        adas = ask("GET", "api/v1/memory?user=ada", "admin-token").json()["processes"]
        assert [row["memory_bytes"] for row in adas] == [3 * GIB]
        of = f"api/v1/memory?device={UUIDS[1]}"
        assert ask("GET", of, "admin-token").json()["processes"] == []
        whole = ask("GET", f"api/v1/devices/{UUIDS[0]}", "admin-token").json()["device"]
        assert whole["processes"] == rows
        told = {each["xid"]: each["counts"] for each in whole["xids"]}
        assert told == {79: True, 13: False}
        other = ask("GET", f"api/v1/devices/{UUIDS[1]}", "admin-token").json()["device"]
        assert other["processes"] is None and other["xids"] == []
        for path in (PAGE, "devices"):
            page = ask("GET", path, "admin-token").text
            assert "PID 100" in page and "(7 in its container)" in page and "3.0 GiB" in page
            assert "nobody here" in page
        page = ask("GET", PAGE, "admin-token").text
        assert "fallen off the bus" in page and "keeps the device out" in page


def test_it_is_for_those_who_may_see_all_devices(ask):
    for path in ("api/v1/memory", PAGE):
        assert ask("GET", path, "ada-token").status_code == 403
        assert ask("GET", path, "instructor-token").status_code == 403
        assert ask("GET", path, "admin-token").status_code == 200
    assert ask("GET", "api/v1/memory", None).status_code == 401
    assert ask("GET", "devices/GPU-none", "admin-token").status_code == 404
    assert ask("GET", PAGE + "?days=8", "admin-token").status_code == 400
    assert ask("GET", "api/v1/memory?pid=1", "admin-token").status_code == 400


def test_who_may_see_devices_but_no_leases_does_not_see_who_had_it(ask, world):
    world.run_server("bob")
    world.stop_server("bob", "")
    world.stop_server("ada", "")
    ask.tokens["watcher"] = {
        "kind": "service",
        "name": "watch",
        "scopes": ["access:services", "custom:gpucamp:devices:read"],
    }
    page = ask("GET", PAGE, "watcher")
    assert page.status_code == 200 and "ada" not in page.text
    assert "Who had it" in ask("GET", PAGE, "admin-token").text


def test_the_page_tells_health_and_leases(ask, world):
    page = ask("GET", PAGE, "admin-token").text
    assert "not known: the driver does not say" in page, "nobody asked it here"
    assert "in use" in page and "/users/ada/server" in page
    world.ledger.record_inventory(
        [
            Device(UUIDS[0], "A100", 40 * GIB, healthy=False, reason="NVML cannot read the card"),
        ],
        now(),
    )
    world.stop_server("ada", "")
    page = ask("GET", PAGE + "?days=1", "admin-token").text
    assert 'class="health-quarantined"' in page and "NVML cannot read the card" in page
    assert "stopped" in page
    chinese = ask("GET", PAGE, "admin-token", headers={"Accept-Language": "zh-CN"}).text
    assert "健康" in chinese and "NVML 无法读取" in chinese


def test_slots_of_a_shared_device_are_listed(ask, world):
    world.stop_server("ada", "")
    world.ledger.divide(UUIDS[0], 3, "", now(), actor="root")
    page = ask("GET", PAGE, "admin-token").text
    assert page.count('<li><span class="muted">free</span></li>') == 3


def test_a_process_is_nobodys_unless_a_container_is_named(world):
    lease = replace(world.ledger.lease_of("ada", ""), container_id=MINE)
    label = ContainerFact(MINE, "old", "bob", "", True, 1, "image")
    servers = by_container([lease], [label])
    assert servers == {MINE: ("ada", "")}, "the ledger's word counts more than a label's"
    device = Device(
        "GPU-a",
        "A100",
        GIB,
        detail=DeviceDetail(
            processes=(
                DeviceProcess(9, None, (STRANGE,), (9, 1)),
                DeviceProcess(5, GIB, (MINE,), (5, 2)),
                DeviceProcess(4, None, (MINE,), ()),
            )
        ),
    )
    shares = by_holder(processes_of(device, servers) or ())
    assert [(share.server, share.memory_bytes) for share in shares] == [
        (("ada", ""), GIB),
        (None, None),
    ]
    assert [each["pid"] for each in shares[0].processes] == [4, 5]
    assert processes_of(replace(device, detail=None), servers) is None
    assert processes_of(None, servers) is None


def test_a_clock_that_was_set_back_breaks_no_page(ask, world):
    world.ledger.record_inventory([], now() + timedelta(hours=2))
    assert ask("GET", PAGE, "admin-token").status_code == 200
