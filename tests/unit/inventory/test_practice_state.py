"""The file that makes things happen to practice devices."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.inventory import practice_devices
from hub_ext.inventory.practice import NVLINKS, practice_uuid
from hub_ext.inventory.practice_state import Change, PracticeState, parse
from hub_ext.models import DeviceDetail, DeviceProcess, Link

DEVICES = practice_devices(3)
FIRST, SECOND, THIRD = (device.uuid for device in DEVICES)


@pytest.fixture
def state(tmp_path):
    """(a state, a function that writes its file)."""
    file = tmp_path / "state.json"
    moment = [1_000_000_000]

    def write(content: object) -> None:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        moment[0] += 1
        os.utime(file, (moment[0], moment[0]))

    return PracticeState(file), write


def test_without_a_file_nothing_happens(state):
    assert PracticeState(None).apply(DEVICES) == DEVICES
    assert PracticeState(None).events() == ()
    assert state[0].apply(DEVICES) == DEVICES


def test_a_device_is_as_the_file_says_until_that_changes(state):
    practice, write = state
    write(
        {
            FIRST: {"reason": "a test", "utilization_percent": 0, "compute_processes": 2},
            SECOND: {"missing": True},
            "GPU-other": {"missing": True},
        }
    )
    assert practice.apply(DEVICES) == (
        replace(
            DEVICES[0],
            healthy=False,
            reason="a test",
            utilization_percent=0,
            compute_processes=2,
        ),
        DEVICES[2],
    )
    write({FIRST: {"utilization_percent": None}})
    assert practice.apply(DEVICES) == DEVICES


def test_each_xid_is_reported_once(state):
    practice, write = state

    def after(content: object) -> list[tuple[str, int]]:
        write(content)
        practice.apply(DEVICES)
        practice.apply(DEVICES)
        return [(event.card, event.xid) for event in practice.events()]

    assert after({FIRST: {"xids": [13, 79]}}) == [(FIRST, 13), (FIRST, 79)]
    assert after({FIRST: {"xids": [13, 79], "reason": "ill"}}) == []
    assert after({FIRST: {"xids": [13, 79, 79]}, SECOND: {"xids": [48]}}) == [
        (FIRST, 79),
        (SECOND, 48),
    ]
    assert after({SECOND: {"xids": [62]}}) == [(SECOND, 62)], "another list is a new one"
    assert after({FIRST: {"xids": [13]}}) == [(FIRST, 13)]
    assert practice.events() == ()


def test_an_xid_has_the_time_of_the_file_so_a_restart_does_not_renew_it(state, tmp_path):
    practice, write = state
    write({FIRST: {"xids": [79]}})
    practice.apply(DEVICES)
    again = PracticeState(tmp_path / "state.json")
    again.apply(DEVICES)
    assert again.events() == practice.events()


def test_processes_are_looked_up_as_with_a_card(state):
    """Their memory is the file's; the PID of this test is a real one."""
    practice, write = state
    running = [{"pid": os.getpid(), "memory": 2**30}, {"pid": 2**22 + 1, "memory": 5}]
    write({FIRST: {"processes": running, "persistence": False}, SECOND: {"persistence": True}})
    first, second, third = practice.apply(DEVICES)
    mine, gone = first.detail.processes
    assert first.detail == DeviceDetail((mine, gone), 2**30 + 5, False)
    assert (mine.pid, mine.memory_bytes) == (os.getpid(), 2**30)
    assert mine.pids and mine.pids[0] == os.getpid()
    assert gone == DeviceProcess(2**22 + 1, 5), "no PID is as high"
    assert second.detail == DeviceDetail(persistence=True)
    assert third.detail is None


BAD = [
    "{",
    "[]",
    "null",
    '"x"',
    "\x00",
    {FIRST: []},
    {FIRST: {"colour": "red"}},
    {FIRST: {"reason": None}},
    {FIRST: {"missing": 1}},
    {FIRST: {"xids": 79}},
    {FIRST: {"xids": ["79"]}},
    {FIRST: {"xids": [-1]}},
    {FIRST: {"utilization_percent": 101}},
    {FIRST: {"utilization_percent": "idle"}},
    {FIRST: {"compute_processes": True}},
    {FIRST: {"compute_processes": -1}},
    {FIRST: {"persistence": 1}},
    {FIRST: {"processes": 7}},
    {FIRST: {"processes": [7]}},
    {FIRST: {"processes": [{"pid": 7}]}},
    {FIRST: {"processes": [{"pid": "7", "memory": 1}]}},
    {FIRST: {"processes": [{"pid": 7, "memory": -1}]}},
]


@pytest.mark.parametrize("content", BAD)
def test_bad_content_is_logged_once_and_the_last_good_state_stays(state, content, caplog):
    practice, write = state
    write({SECOND: {"reason": "a test"}})
    before = practice.apply(DEVICES)
    write(content)
    for _ in range(3):
        assert practice.apply(DEVICES) == before
    (line,) = caplog.messages
    assert "state.json is not used" in line and "stays" in line
    write({})
    assert practice.apply(DEVICES) == DEVICES


def test_a_file_that_cannot_be_read_keeps_the_last_good_state(state, tmp_path, caplog):
    practice, write = state
    write({SECOND: {"missing": True}})
    before = practice.apply(DEVICES)
    (tmp_path / "state.json").unlink()
    (tmp_path / "state.json").mkdir()
    assert practice.apply(DEVICES) == before
    (tmp_path / "state.json").rmdir()
    assert practice.apply(DEVICES) == DEVICES, "no file: nothing happens"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_content_is_taken_or_refused(content):
    try:
        changes = parse(json.dumps(content))
    except ValueError:
        return
    assert all(isinstance(change, Change) for change in changes.values())


# -- the topology of practice devices


def test_practice_devices_are_pairs_four_to_a_node_on_two_nodes():
    devices = practice_devices(9)
    assert [device.numa_node for device in devices] == [0, 0, 0, 0, 1, 1, 1, 1, 0]
    for number, device in enumerate(devices[:8]):
        pair = practice_uuid(number ^ 1)
        assert device.links[0] == (pair, Link.NVLINK + NVLINKS - 1), "best first"
        assert {score for _, score in device.links[1:]} == {Link.SAME_NODE}
        assert {uuid for uuid, _ in device.links} == {
            practice_uuid(other) for other in range(number // 4 * 4, number // 4 * 4 + 4)
        } - {device.uuid}
    assert devices[8].links == ()


def test_links_are_mutual_and_name_devices_that_are_there():
    for count in (1, 2, 3, 7, 256):
        devices = {device.uuid: dict(device.links) for device in practice_devices(count)}
        for uuid, links in devices.items():
            for peer, score in links.items():
                assert devices[peer][uuid] == score


def test_what_practice_devices_do_is_unknown():
    for device in practice_devices(2):
        assert (device.compute_processes, device.utilization_percent) == (None, None)


def test_the_state_file_is_documented():
    text = (Path(__file__).parents[3] / "images" / "practice" / "README.md").read_text()
    assert "GPUCAMP_PRACTICE_STATE" in text
    for name in Change.__dataclass_fields__:
        assert f'"{name}"' in text
