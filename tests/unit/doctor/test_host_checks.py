"""What the host says of the GPU: what is found, and what is nobody's fault."""

from __future__ import annotations

from typing import Any

import pytest
from bodies import GIB, NO_GPU, UUID, change, findings_of, outcomes_of, with_gpu
from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor import host_view
from server_ext.doctor.facts import Failure
from server_ext.doctor.report import verdict

AWAY = Failure("timeout", "the gpucamp service gave no answer within 2 s")
LAYER = {
    "host_answers",
    "host_calls_the_gpu_well",
    "memory_is_mine",
    "driver_stays_loaded",
    "driver_reported_no_errors",
    "container_keeps_its_nodes",
}


def holder(kind: str, gibibytes: float, processes: int = 1) -> dict[str, Any]:
    return {
        "holder": kind,
        "pid": None,
        "processes": processes,
        "memory_bytes": int(gibibytes * GIB),
    }


OWN = holder("own", 30)
XID = {"xid": 31, "at": "2026-11-26T10:00:00+00:00", "text": "Xid 31 (GPU memory page fault)."}

# changes of the device as the host has it -> the codes
CASES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set()),
    ({"state": "quarantined", "reason": "Xid 79"}, {"GC161"}),
    ({"state": "quarantined", "reason": "Xid 79", "xids": [XID]}, {"GC161"}),
    ({"state": "missing", "reason": "not found by the last inventory"}, {"GC162"}),
    ({"state": "of another version"}, set()),
    ({"holders": [OWN]}, set()),
    ({"holders": None}, set()),
    ({"holders": [OWN, holder("another_user", 2)]}, {"GC163"}),
    ({"holders": [holder("same_user", 0)]}, {"GC163"}),
    ({"holders": [holder("unknown", 0.2, 3)]}, set()),
    ({"holders": [holder("unknown", 0.25, 3)]}, {"GC164"}),
    ({"holders": [holder("another_user", 1), holder("unknown", 1)]}, {"GC163", "GC164"}),
    ({"shared": True, "holders": [OWN, holder("another_user", 20)]}, set()),
    ({"shared": True, "holders": [holder("another_user", 15), holder("unknown", 6)]}, {"GC165"}),
    ({"persistence": False}, {"GC166"}),
    ({"persistence": None}, set()),
    ({"xids": [XID]}, {"GC167"}),
]


@pytest.mark.parametrize(("said", "codes"), CASES)
def test_what_the_host_says(said: dict[str, Any], codes: set[str]) -> None:
    body = with_gpu()
    body["host"]["devices"][0] |= said
    assert set(findings_of(body)) == codes


def test_the_reason_and_the_memory_are_told() -> None:
    body = with_gpu()
    others = [holder("another_user", 2, 2), holder("same_user", 1)]
    body["host"]["devices"][0] |= {"state": "quarantined", "reason": "Xid 79", "holders": others}
    found = findings_of(body)
    assert found["GC161"].evidence == (f"NVIDIA A100-SXM4-40GB ({UUID})", "Xid 79")
    assert found["GC163"].params == {"memory": "3.0 GiB"}
    assert found["GC163"].evidence == (
        f"{UUID}: another_user: 2 processes, 2.0 GiB",
        f"{UUID}: same_user: 1 processes, 1.0 GiB",
    )


def test_nodes_that_the_container_lost_are_told_with_the_toolkits_version() -> None:
    body = with_gpu()
    answer = {
        "devices": body["host"]["devices"],
        "host": {"toolkit_version": "1.17.8", "persistenced": True},
        "nodes": {"present": ["nvidia0"], "missing": ["nvidiactl", "nvidia*", "../x", 5]},
    }
    change(body, "host", host_view.reduce(answer))
    found = findings_of(body)
    assert set(found) == {"GC169"}
    assert found["GC169"].params == {"nodes": "/dev/nvidiactl /dev/nvidia*"}
    assert found["GC169"].evidence[1] == "NVIDIA Container Toolkit 1.17.8"
    for nodes in (None, {"present": ["nvidia0"], "missing": []}, {"missing": "nvidia0"}, []):
        change(body, "host", host_view.reduce(answer | {"nodes": nodes}))
        assert findings_of(body) == {}, nodes


def test_whether_the_daemon_runs_is_told_where_it_matters() -> None:
    body = with_gpu()
    device = body["host"]["devices"][0] | {"persistence": False}
    answer = {"devices": [device], "host": {"persistenced": False}}
    change(body, "host", host_view.reduce(answer))
    assert findings_of(body)["GC166"].evidence[1] == "nvidia-persistenced does not run"


def test_each_device_is_looked_at() -> None:
    body = with_gpu()
    second = body["host"]["devices"][0] | {"uuid": "GPU-2", "persistence": False}
    body["host"]["devices"].append(second)
    assert findings_of(body)["GC166"].evidence == ("GPU-2: persistence mode off",)


def test_a_service_that_is_away_is_advice_and_its_checks_are_not_taken_for_passed() -> None:
    body = with_gpu() | {"host": AWAY}
    found = findings_of(body)
    assert set(found) == {"GC168"}, "and nothing is degraded by it"
    assert verdict(found.values()) == "advice"
    outcomes = {each.check.name: each for each in outcomes_of(body)}
    for name in LAYER - {"host_answers"}:
        assert outcomes[name].state == "unexamined"
        assert AWAY.detail in outcomes[name].reason


@pytest.mark.parametrize("host", [AWAY, {"asked": False}])
def test_without_a_gpu_nobody_needs_the_host(host: Any) -> None:
    body = NO_GPU | {"host": host}
    assert set(findings_of(body)) == {"GC101"}
    states = {each.check.name: each.state for each in outcomes_of(body)}
    assert {states[name] for name in LAYER} == {"passed"}


def test_where_no_hub_started_the_server_nothing_is_missed() -> None:
    assert findings_of(with_gpu() | {"host": {"asked": False}}) == {}


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["devices", "holders", "xids", "holder", "memory_bytes", "state", "missing"]
            ),
            inner,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["devices", "looked_at", "host", "nodes", "x"]), json_like))
def test_any_answer_gives_facts_that_checks_can_read(answer: dict[str, Any]) -> None:
    body = with_gpu()
    change(body, "host", host_view.reduce(answer))
    findings_of(body)  # it asserts that no check failed


def test_an_answer_becomes_only_what_is_listed() -> None:
    device = with_gpu()["host"]["devices"][0]
    answer = {"user": "ada", "devices": [device | {"secret": 1, "state": 7}], "looked_at": "x"}
    (found,) = host_view.reduce(answer)["devices"]  # type: ignore[misc]  # a list
    assert found == device | {"state": ""}
