"""What the probe finds of a card beyond its health: links, NUMA node, use; and lost cards."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest

from hub_ext.models import Device, DeviceDetail, DeviceProcess, Link


class Memo(dict):
    """A Memory that a test can look into."""

    def remember(self, name: str, value: str) -> None:
        self[name] = value

    def recall(self, name: str) -> str | None:
        return self.get(name)


def uuids(devices: tuple[Device, ...]) -> list[str]:
    return [device.uuid for device in devices]


# -- links


def test_the_links_of_a_machine_with_bridges_are_scored(nvml, practice_file):
    """Two bridged pairs on two nodes, and one card on a board with another."""
    file = practice_file(
        {"uuid": "GPU-a", "numa_node": 0},
        {"uuid": "GPU-b", "numa_node": 0},
        {"uuid": "GPU-c", "numa_node": 1},
        {"uuid": "GPU-d", "numa_node": 1},
        links=[
            {"between": ["GPU-a", "GPU-b"], "level": 10, "nvlinks": 4},
            {"between": ["GPU-a", "GPU-c"], "level": 50},
            {"between": ["GPU-b", "GPU-d"], "level": 20},
            {"between": ["GPU-c", "GPU-d"], "level": 0},
            {"between": ["GPU-b", "GPU-c"], "level": 30},
        ],
    )
    a, b, c, d = nvml(file).scan()
    assert [each.numa_node for each in (a, b, c, d)] == [0, 0, 1, 1]
    assert a.links == (("GPU-b", Link.NVLINK + 3), ("GPU-c", 0), ("GPU-d", 0))
    assert b.links == (
        ("GPU-a", Link.NVLINK + 3),
        ("GPU-d", Link.SWITCHES),
        ("GPU-c", Link.HOST_BRIDGE),
    )
    assert dict(c.links) == {"GPU-d": Link.BOARD, "GPU-b": Link.HOST_BRIDGE, "GPU-a": 0}
    for device in (a, b, c, d):
        scores = [score for _, score in device.links]
        assert scores == sorted(scores, reverse=True), "best first"


def test_cards_on_an_nvswitch_are_all_linked(nvml, practice_file):
    switched = [{"uuid": f"GPU-{n}", "nvswitch_links": 18, "numa_node": n // 2} for n in range(4)]
    devices = nvml(practice_file(*switched, {"uuid": "GPU-alone", "numa_node": 0})).scan()
    for device in devices[:4]:
        peers = dict(device.links)
        assert {score for uuid, score in peers.items() if uuid != "GPU-alone"} == {Link.NVLINK + 17}
    assert max(dict(devices[4].links).values()) == Link.SAME_NODE


def test_a_driver_that_does_not_tell_the_kind_of_the_far_end_is_understood(nvml, practice_file):
    old = {"faults": {"nvmlDeviceGetNvLinkRemoteDeviceType": 13}}
    file = practice_file(
        {"uuid": "GPU-a", "nvswitch_links": 6} | old,
        {"uuid": "GPU-b", "nvswitch_links": 6} | old,
        {"uuid": "GPU-c"} | old,
        links=[{"between": ["GPU-b", "GPU-c"], "nvlinks": 2}],
    )
    a, b, c = nvml(file).scan()
    assert dict(a.links)["GPU-b"] == Link.NVLINK + 5
    assert dict(b.links)["GPU-c"] == Link.NVLINK + 1
    assert dict(a.links)["GPU-c"] == Link.SAME_NODE


@pytest.mark.parametrize(("status", "score"), [(0, Link.NVLINK), (4, Link.ONE_SWITCH)])
def test_nvlinks_over_which_no_traffic_goes_do_not_count(nvml, practice_file, status, score):
    """As on a host whose fabric manager does not run."""
    file = practice_file(
        {"uuid": "GPU-a"},
        {"uuid": "GPU-b"},
        links=[{"between": ["GPU-a", "GPU-b"], "level": 10, "nvlinks": 1, "p2p": status}],
    )
    assert dict(nvml(file).scan()[0].links) == {"GPU-b": score}


@pytest.mark.parametrize("code", [3, 13, 999])
def test_topology_that_is_not_told_falls_back_to_numa_nodes(nvml, practice_file, code):
    silent = {"nvmlDeviceGetTopologyCommonAncestor": code, "nvmlDeviceGetP2PStatus": code}
    silent |= {"nvmlDeviceGetNvLinkState": code, "nvmlDeviceGetPciInfo": code}
    file = practice_file(
        {"uuid": "GPU-a", "numa_node": 1},
        {"uuid": "GPU-b", "numa_node": 1},
        {"uuid": "GPU-c", "numa_node": 0},
        {"uuid": "GPU-d"},
        faults=silent,
    )
    a, b, c, d = nvml(file).scan()
    assert (a.links, c.links, d.links) == (
        (("GPU-b", Link.SAME_NODE), ("GPU-c", Link.OTHER_SOCKET)),
        (("GPU-a", Link.OTHER_SOCKET), ("GPU-b", Link.OTHER_SOCKET)),
        (),
    )
    assert all(each.healthy for each in (a, b, c, d)), "it is no illness"


@pytest.mark.parametrize("code", [3, 13, 999])
def test_a_numa_node_may_be_told_by_either_call_or_none(nvml, practice_file, code):
    device = {"uuid": "GPU-a", "numa_node": 1}
    affinity, node = "nvmlDeviceGetMemoryAffinity", "nvmlDeviceGetNumaNodeId"
    either = nvml(practice_file(device | {"faults": {affinity: code}})).scan()
    neither = nvml(practice_file(device | {"faults": {affinity: code, node: code}})).scan()
    assert [each.numa_node for each in either + neither] == [1, None]


PROBE_THAT_COUNTS = """
import sys, pathlib, pynvml
from hub_ext.inventory import nvml_probe
original = pynvml.nvmlDeviceGetTopologyCommonAncestor
def counting(one, other):
    with open({file!r}, "a") as file:
        file.write("x")
    return original(one, other)
pynvml.nvmlDeviceGetTopologyCommonAncestor = counting
nvml_probe.main()
"""


def test_pairs_are_asked_about_once_while_the_cards_are_the_same(nvml, practice_file, tmp_path):
    asked = tmp_path / "asked"
    asked.touch()
    program = [sys.executable, "-c", PROBE_THAT_COUNTS.format(file=str(asked))]
    cards = [{"uuid": f"GPU-{n}"} for n in range(4)]
    inventory = nvml(practice_file(*cards), probe=program)
    first = inventory.scan()
    assert len(asked.read_text()) == 6
    assert inventory.scan() == first, "the links are kept"
    practice_file(*reversed(cards))
    assert {each.uuid: each.links for each in inventory.scan()} == {
        each.uuid: each.links for each in first
    }
    assert len(asked.read_text()) == 6, "the order does not matter"
    practice_file(*cards[:3])
    inventory.scan()
    assert len(asked.read_text()) == 6 + 3


# -- MIG and use


def test_mig_instances_know_their_card_and_have_no_links(nvml, practice_file):
    parts = [{"uuid": "MIG-1", "processes": [{"pid": 1}, {"pid": 2}]}, {"uuid": "MIG-2"}]
    file = practice_file(
        {"uuid": "GPU-a", "numa_node": 1, "mig_devices": parts, "processes": [{"pid": 9}]},
        {"uuid": "GPU-b", "numa_node": 0},
    )
    one, two, whole = nvml(file).scan()
    assert [each.parent for each in (one, two, whole)] == ["GPU-a", "GPU-a", ""]
    assert (one.is_mig, whole.is_mig) == (True, False)
    assert [each.numa_node for each in (one, two, whole)] == [1, 1, 0]
    assert one.links == whole.links == ()
    assert (one.compute_processes, one.utilization_percent) == (2, None)
    assert (two.compute_processes, two.utilization_percent) == (0, 0), "without a process it idles"


@pytest.mark.parametrize("ill", [{"recovery_action": 2}, {"remapped_rows": {"pending": 1}}])
def test_the_illness_of_a_card_is_that_of_its_instances(nvml, practice_file, ill):
    parts = [{"uuid": "MIG-1"}, {"uuid": "MIG-2"}]
    devices = nvml(practice_file({"uuid": "GPU-a", "mig_devices": parts} | ill)).scan()
    assert [each.healthy for each in devices] == [False, False]


def test_processes_and_utilization_are_told(nvml, practice_file):
    file = practice_file({"uuid": "GPU-a", "utilization": 97, "processes": [{"pid": 7}]})
    (device,) = nvml(file).scan()
    assert (device.compute_processes, device.utilization_percent) == (1, 97)


@pytest.mark.parametrize("code", [3, 4, 13, 7, 999])
def test_use_that_is_not_told_is_unknown_and_no_illness(nvml, practice_file, code):
    faults = {"nvmlDeviceGetComputeRunningProcesses": code, "nvmlDeviceGetUtilizationRates": code}
    (device,) = nvml(practice_file({"uuid": "GPU-a", "faults": faults})).scan()
    assert device.healthy
    assert (device.compute_processes, device.utilization_percent) == (None, None)


def test_who_holds_memory_is_told_with_what_proc_says_of_them(nvml, practice_file):
    """The process is a real one, its memory is the stand-in's."""
    file = practice_file(
        {
            "uuid": "GPU-a",
            "memory_used": 3 * 2**30,
            "processes": [{"pid": os.getpid(), "memory": 2**30}, {"pid": 2**22 + 1, "memory": 5}],
            "persistence_mode": 0,
            "compute_mode": 3,
        }
    )
    (device,) = nvml(file).scan()
    mine, gone = device.detail.processes
    assert device.detail == DeviceDetail((mine, gone), 3 * 2**30, False, "exclusive_process")
    assert (mine.pid, mine.memory_bytes) == (os.getpid(), 2**30)
    assert mine.pids and mine.pids[0] == os.getpid()
    assert gone == DeviceProcess(2**22 + 1, 5), "no PID is as high"


def test_the_processes_of_an_instance_are_its_own(nvml, practice_file):
    parts = [{"uuid": "MIG-1", "processes": [{"pid": 7, "memory": 5}]}, {"uuid": "MIG-2"}]
    one, two = nvml(practice_file({"uuid": "GPU-a", "mig_devices": parts})).scan()
    assert [(each.pid, each.memory_bytes) for each in one.detail.processes] == [(7, 5)]
    assert two.detail.processes == ()


@pytest.mark.parametrize("code", [3, 4, 13, 7, 999])
def test_details_that_are_not_told_are_unknown_and_no_illness(nvml, practice_file, code):
    faults = {"nvmlDeviceGetComputeRunningProcesses": code, "nvmlDeviceGetPersistenceMode": code}
    (device,) = nvml(practice_file({"uuid": "GPU-a", "faults": faults})).scan()
    assert device.healthy
    assert device.detail == DeviceDetail(None, 0, None, "default")


@pytest.mark.parametrize("code", [15, 16])
@pytest.mark.parametrize(
    "call", ["nvmlDeviceGetUtilizationRates", "nvmlDeviceGetComputeRunningProcesses"]
)
def test_a_lost_card_is_ill_whichever_call_says_so(nvml, practice_file, call, code):
    (device,) = nvml(practice_file({"uuid": "GPU-a", "faults": {call: code}})).scan()
    assert not device.healthy


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (1, "reset of the GPU"),
        (2, "reboot of the host"),
        (3, "drain peer-to-peer"),
        (4, "drain the GPU and reset it"),
        (5, "IMEX"),
        (6, "PCIe bus"),
        (7, "whole system"),
        (8, "recovery action 8"),
    ],
)
def test_every_recovery_action_has_words(nvml, practice_file, action, words):
    (device,) = nvml(practice_file({"uuid": "GPU-a", "recovery_action": action})).scan()
    assert (device.healthy, words in device.reason) == (False, True)


# -- cards that can no longer be read


def test_a_card_that_is_lost_stays_known_with_the_reason(nvml, practice_file, caplog):
    cards = [{"uuid": "GPU-a", "numa_node": 0}, {"uuid": "GPU-b", "name": "A card", "numa_node": 1}]
    inventory = nvml(practice_file(*cards))
    a, b = inventory.scan()
    practice_file(cards[0], cards[1] | {"lost": True})
    still, lost = inventory.scan()
    assert lost == replace(
        b,
        healthy=False,
        reason="NVML cannot read the card: GPU is lost; the host may need a reboot",
        compute_processes=None,
        utilization_percent=None,
        detail=None,
    )
    assert still.healthy
    assert not [line for line in caplog.messages if "cannot read GPU" in line], "it is known"
    practice_file(*cards)
    assert inventory.scan() == (a, b), "it comes back by itself"


@pytest.mark.parametrize("call", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID"])
def test_a_card_that_cannot_be_read_is_known_after_a_restart(nvml, practice_file, call):
    memory = Memo()
    nvml(practice_file({"uuid": "GPU-a"}, {"uuid": "GPU-b"}), memory=memory).scan()
    file = practice_file({"uuid": "GPU-a"}, {"uuid": "GPU-b", "faults": {call: 999}})
    _, device = nvml(file, memory=memory).scan()
    assert (device.uuid, device.healthy, "Unknown Error" in device.reason) == ("GPU-b", False, True)


def test_a_card_is_known_by_its_bus_id_when_indices_moved(nvml, practice_file):
    no_uuid = {"faults": {"nvmlDeviceGetUUID": 15}}
    inventory = nvml(practice_file(*({"uuid": f"GPU-{n}", "minor": n} for n in range(3))))
    inventory.scan()
    practice_file(  # GPU-0 has left, so that GPU-2 has the index of GPU-1 now
        {"uuid": "GPU-1", "minor": 1}, {"uuid": "GPU-2", "minor": 2} | no_uuid
    )
    one, two = inventory.scan()
    assert (one.uuid, one.healthy, two.uuid, two.healthy) == ("GPU-1", True, "GPU-2", False)


def test_a_device_that_is_seen_elsewhere_is_not_made_up(nvml, practice_file):
    inventory = nvml(practice_file({"uuid": "GPU-a"}, {"uuid": "GPU-b"}))
    inventory.scan()
    practice_file(
        {"uuid": "GPU-b", "minor": 1}, {"uuid": "GPU-x", "lost": True}
    )  # index 1 was GPU-b's
    assert [(each.uuid, each.healthy) for each in inventory.scan()] == [("GPU-b", True)]


def test_instances_of_a_lost_card_stay_known(nvml, practice_file):
    card = {"uuid": "GPU-a", "mig_devices": [{"uuid": "MIG-1"}, {"uuid": "MIG-2"}]}
    inventory = nvml(practice_file(card))
    inventory.scan()
    practice_file(card | {"lost": True})
    assert [(each.uuid, each.healthy) for each in inventory.scan()] == [
        ("MIG-1", False),
        ("MIG-2", False),
    ]
    card["mig_devices"][1]["lost"] = True
    practice_file(card)
    assert [(each.uuid, each.healthy, each.parent) for each in inventory.scan()] == [
        ("MIG-1", True, "GPU-a"),
        ("MIG-2", False, "GPU-a"),
    ], "one instance alone"


@pytest.mark.parametrize(
    "kept", ["{", "7", '[{"index": 0}]', '[{"index":0,"bus_id":"","devices":[7]}]']
)
def test_a_memory_that_makes_no_sense_is_made_anew(nvml, practice_file, kept, caplog):
    memory = Memo(cards=kept)
    inventory = nvml(practice_file({"uuid": "GPU-a"}), memory=memory)
    assert uuids(inventory.scan()) == ["GPU-a"]
    assert "is not known" in caplog.text
    assert json.loads(memory["cards"])[0]["devices"][0]["uuid"] == "GPU-a"


def test_the_memory_is_written_only_when_cards_change(nvml, practice_file):
    class Counting(Memo):
        writes = 0

        def remember(self, name: str, value: str) -> None:
            self.writes += 1
            super().remember(name, value)

    memory = Counting()
    inventory = nvml(practice_file({"uuid": "GPU-a"}), memory=memory)
    for utilization in range(3):
        practice_file({"uuid": "GPU-a", "utilization": utilization})
        inventory.scan()
    assert memory.writes == 1
