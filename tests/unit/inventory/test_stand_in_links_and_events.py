"""The stand-in NVML's links between devices and its events, as nvidia-ml-py sees them."""

from __future__ import annotations

import json
import textwrap

import pytest

ERROR_OF = """
    def error_of(call, *arguments):
        try:
            return call(*arguments)
        except n.NVMLError as error:
            return f"error {error.value}"
"""
LINKS = (
    ERROR_OF
    + """
    n.nvmlInit()
    cards = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
    pairs = [(a, b) for i, a in enumerate(cards) for b in cards[:i]]
    def far(card, link):
        if not error_of(n.nvmlDeviceGetNvLinkState, card, link) == 1:
            return None
        return [n.nvmlDeviceGetNvLinkRemoteDeviceType(card, link),
                n.nvmlDeviceGetNvLinkRemotePciInfo(card, link).busId[9:11]]
    show({
        "levels": [error_of(n.nvmlDeviceGetTopologyCommonAncestor, a, b) for a, b in pairs],
        "p2p": [error_of(n.nvmlDeviceGetP2PStatus, a, b, 2) for a, b in pairs],
        "nodes": [error_of(n.nvmlDeviceGetNumaNodeId, card) for card in cards],
        "masks": [list(m) if not isinstance(m := error_of(n.nvmlDeviceGetMemoryAffinity, c, 1, 0), str)
                  else m for c in cards],
        "nvlinks": [[far(card, link) for link in range(4)] for card in cards],
        "states": [error_of(n.nvmlDeviceGetNvLinkState, card, 3) for card in cards],
    })
"""  # noqa: E501 - a program
)


def test_links_are_those_of_the_file(in_python, practice_file):
    path = practice_file(
        {"uuid": "GPU-a", "numa_node": 0},
        {"uuid": "GPU-b", "numa_node": 0, "nvswitch_links": 1},
        {"uuid": "GPU-c", "numa_node": 1, "nvswitch_links": 2},
        links=[
            {"between": ["GPU-b", "GPU-a"], "level": 10, "nvlinks": 2},
            {"between": ["GPU-a", "GPU-away"], "level": 0, "nvlinks": 9},
        ],
    )
    assert in_python(LINKS, GPUCAMP_PRACTICE_FILE=path) == {
        "levels": [10, 50, 50],
        "p2p": [0, 5, 0],
        "nodes": [0, 0, 1],
        "masks": [[1], [1], [2]],
        "nvlinks": [
            [[0, "02"], [0, "02"], None, None],
            [[0, "01"], [0, "01"], [2, "C0"], None],
            [[2, "C0"], [2, "C0"], None, None],
        ],
        "states": [0, 0, 0],
    }


def test_cards_without_nvlink_or_numa_node_say_so(in_python, practice_file):
    path = practice_file({"uuid": "GPU-a"}, {"uuid": "GPU-b"})
    assert in_python(LINKS, GPUCAMP_PRACTICE_FILE=path) == {
        "levels": [40],
        "p2p": [5],
        "nodes": ["error 3"] * 2,
        "masks": ["error 3"] * 2,
        "nvlinks": [[None] * 4] * 2,
        "states": ["error 3"] * 2,
    }


def test_what_is_linked_to_itself_or_endlessly_stays_within_bounds(in_python, practice_file):
    path = practice_file(
        {"uuid": "GPU-a", "numa_node": 10**17},
        {"uuid": "GPU-b", "nvswitch_links": 10**17},
        links=[
            {"between": ["GPU-a", "GPU-a"], "nvlinks": 5},
            {"between": ["GPU-a", "GPU-b"], "nvlinks": 10**17},
            {"between": "GPU-a"},
            7,
        ]
        + [{"between": ["GPU-a", "GPU-b"]}] * 500,
    )
    found = in_python(LINKS, GPUCAMP_PRACTICE_FILE=path)
    assert found["nvlinks"] == [[[0, "02"]] * 4, [[0, "01"]] * 4]


def test_practice_devices_of_the_environment_are_pairs_on_two_nodes(in_python):
    uuid = "GPU-5ca1ab1e-0000-4000-8000-{:012x}"
    visible = ",".join(uuid.format(number) for number in (2, 3, 4))
    found = in_python(LINKS, NVIDIA_VISIBLE_DEVICES=visible)
    assert (found["nodes"], found["p2p"]) == ([0, 0, 1], [0, 5, 5])


def test_a_lost_card_is_counted_and_answers_nothing(in_python, practice_file):
    path = practice_file(
        {"uuid": "GPU-a"}, {"uuid": "GPU-b", "lost": True, "mig_devices": [{"uuid": "MIG-b"}]}
    )
    code = """
    n.nvmlInit()
    show([n.nvmlDeviceGetCount(), error_of(n.nvmlDeviceGetHandleByIndex, 1),
          error_of(n.nvmlDeviceGetHandleByUUID, b"MIG-b"),
          n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByIndex(0))])
    """
    found = in_python(ERROR_OF + code, GPUCAMP_PRACTICE_FILE=path)
    assert found == [2, "error 15", "error 15", "GPU-a"]


WATCH = (
    ERROR_OF
    + """
    import os
    n.nvmlInit()
    sets = n.nvmlEventSetCreate(), n.nvmlEventSetCreate()
    for index, event_set in ((0, sets[0]), (0, sets[1]), (1, sets[1])):
        card = n.nvmlDeviceGetHandleByIndex(index)
        n.nvmlDeviceRegisterEvents(card, n.nvmlEventTypeXidCriticalError, event_set)
    def wait(event_set, ms=100):
        event = error_of(n.nvmlEventSetWait_v2, event_set, ms)
        return event if isinstance(event, str) else [
            n.nvmlDeviceGetUUID(event.device), event.eventType, event.eventData, event.gpuInstanceId]
    seen = [wait(sets[0])]
    os.replace(NEXT, FILE)
    seen += [wait(sets[0]), wait(sets[0]), wait(sets[1]), wait(sets[1]), wait(sets[1])]
    n.nvmlEventSetFree(sets[0])
    show(seen)
"""  # noqa: E501 - a program
)


def test_each_event_is_given_once_to_each_set_that_asked_for_it(in_python, practice_file, tmp_path):
    devices = [{"uuid": uuid} for uuid in ("GPU-a", "GPU-b", "GPU-c")]
    before = [{"uuid": "GPU-a", "xid": 13}]
    path = practice_file(*devices, events=before)
    later = tmp_path / "later.json"
    appended = [
        {"uuid": "GPU-c", "xid": 79},  # nobody registered it
        {"uuid": "GPU-a", "type": 2},  # nor this type
        {"uuid": "GPU-b", "xid": 48},
        {"error": 999},
    ]
    later.write_text(json.dumps({"devices": devices, "events": before + appended}))
    code = textwrap.dedent(WATCH).replace("NEXT", repr(str(later))).replace("FILE", repr(str(path)))
    event = ["GPU-b", 8, 48, 0xFFFFFFFF]
    assert in_python(code, GPUCAMP_PRACTICE_FILE=path) == [
        "error 10",
        "error 999",
        "error 10",
        event,
        "error 999",
        "error 10",
    ]


@pytest.mark.parametrize("code", [3, 15])
def test_a_card_may_refuse_to_be_registered(in_python, practice_file, code):
    path = practice_file({"uuid": "GPU-a", "faults": {"nvmlDeviceRegisterEvents": code}})
    script = """
    n.nvmlInit()
    card = n.nvmlDeviceGetHandleByIndex(0)
    show([error_of(n.nvmlDeviceRegisterEvents, card, 8, n.nvmlEventSetCreate()),
          n.nvmlDeviceGetSupportedEventTypes(card)])
    """
    found = in_python(ERROR_OF + script, GPUCAMP_PRACTICE_FILE=path)
    assert found == [f"error {code}", 10]
