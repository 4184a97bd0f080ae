"""Settings of the policy: right ones become a Policy, wrong ones a list of what to mend, where."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets.config import Config
from traitlets.config.loader import KVArgParseConfigLoader, PyFileConfigLoader

from hub_ext.config_lines import line_of
from hub_ext.json_values import from_json, to_json
from hub_ext.models import Device
from hub_ext.policy import GroupLimits, Policy, Pool, Rule
from hub_ext.policy_settings import GpuPolicy, policy_from, refusal

GIB = 1024**3
A, B = "GPU-aaaaaaaa-0000", "GPU-bbbbbbbb-0000"
MIG = "MIG-cccccccc-0000"
KNOWN = (
    Device(A, "NVIDIA A100", 80 * GIB),
    Device(B, "NVIDIA A100", 80 * GIB),
    Device(MIG, "NVIDIA A100 MIG 1g.10gb", 10 * GIB, parent="GPU-cccccccc-0000"),
)


def config(**traits: Any) -> Config:
    return Config({"GpuPolicy": traits})


def problems(known: Any = KNOWN, **traits: Any) -> dict[str, str]:
    """path -> what is wrong and what to write instead."""
    _policy, found = policy_from(config(**traits), known)
    assert all(each.wrong and each.instead for each in found)
    return {".".join(map(str, each.path[1:])): f"{each.wrong}; {each.instead}" for each in found}


def test_an_installation_that_sets_nothing_has_the_defaults() -> None:
    assert policy_from(Config(), KNOWN) == (Policy(), ())
    assert policy_from(Config(), None) == (Policy(), ())


def test_everything_at_once() -> None:
    policy, wrong = policy_from(
        config(
            pools={
                "class": {"devices": [A], "slots": 4, "groups": ["class-a"]},
                "rest": {"devices": "*"},
            },
            group_rules={"instructors": {"priority": 5, "lease_hours": "unlimited"}},
            group_limits={"class-a": {"max_devices": 4, "device_hours_per_day": 1.5}},
            priority=1,
            lease_hours=None,
            max_devices_per_user=2,
            max_servers_per_user=1,
            device_hours_per_day=10,
            device_hours=float("inf"),
            environments_gib=20,
            work_gib=0.5,
            event_start="2026-11-24T09:00+01:00",
            half_life_hours=1,
            aging_minutes=5,
            extension_minutes=30,
            auto_extend=False,
            warning_minutes=[5, 15, 5],
            idle_minutes=20,
            idle_answer_minutes=1.5,
            idle_utilization_percent=0,
        ),
        KNOWN,
    )
    assert wrong == ()
    assert policy == Policy(
        pools=(Pool("class", (A,), 4, ("class-a",)), Pool("rest", ("*",))),
        default=Rule(1, None, 2, 1, 10.0, None, 20.0, 0.5),
        rules={"instructors": Rule(priority=5, lifted=frozenset({"lease_hours"}))},
        group_limits={"class-a": GroupLimits(max_devices=4, device_hours_per_day=1.5)},
        event_start=datetime(2026, 11, 24, 8, tzinfo=UTC),
        half_life=timedelta(hours=1),
        aging=timedelta(minutes=5),
        extension=timedelta(minutes=30),
        auto_extend=False,
        warnings=(timedelta(minutes=15), timedelta(minutes=5)),
        idle_after=timedelta(minutes=20),
        idle_answer=timedelta(seconds=90),
        idle_utilization_percent=0,
    )
    assert from_json(Policy, json.loads(json.dumps(to_json(policy)))) == policy
    assert policy.rule_for(["instructors"]).lease_hours is None
    assert policy.rule_for(["class-a"]) == policy.default


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("", None),
        (None, None),
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        (datetime(2026, 11, 24, 1, tzinfo=UTC), datetime(2026, 11, 24, 1, tzinfo=UTC)),
    ],
)
def test_the_start_of_an_event(value: object, moment: datetime | None) -> None:
    policy, wrong = policy_from(config(event_start=value), KNOWN)
    assert (policy.event_start, wrong) == (moment, ())


@pytest.mark.parametrize(
    ("traits", "path", "words"),
    [
        ({"pools": {"p": {"devices": "*", "slots": 0}}}, "pools.p.slots", "0 is no number"),
        ({"pools": {"p": {"devices": "*", "slots": -1}}}, "pools.p.slots", "from 1 to 64"),
        ({"pools": {"p": {"devices": "*", "slots": "4"}}}, "pools.p.slots", "'4' is no number"),
        ({"pools": {"p": {"devices": "*", "slots": True}}}, "pools.p.slots", "True is no"),
        ({"pools": {"p": {"devices": "*", "slots": 4.0}}}, "pools.p.slots", "whole number"),
        ({"pools": {"p": {"devices": [A + "1"]}}}, "pools.p.devices.0", f'did you mean "{A}"'),
        ({"pools": {"p": {"devices": "nonsense"}}}, "pools.p.devices", f"write one of {A}"),
        (
            {"pools": {"p": {"devices": ["GPU-cccccccc-0000"]}}},
            "pools.p.devices.0",
            f"its instances instead: {MIG}",
        ),
        (
            {"pools": {"p": {"devices": [A]}, "q": {"devices": [B, A]}}},
            "pools.q.devices.1",
            f"device {A} is in the pool 'p' already",
        ),
        ({"pools": {"p": {"devices": [A, A]}}}, "pools.p.devices.1", "once"),
        (
            {"pools": {"p": {"devices": "*"}, "q": {"devices": ["*"]}}},
            "pools.q.devices.0",
            "pool of all other devices already: 'p'",
        ),
        ({"pools": {"p": {"devices": ["*", A]}}}, "pools.p.devices", '"*" alone'),
        ({"pools": {"p": {}}}, "pools.p", "nvidia-smi -L"),
        ({"pools": {"p": {"devices": []}}}, "pools.p.devices", "nvidia-smi -L"),
        ({"pools": {"p": {"devices": [7]}}}, "pools.p.devices.0", "7 is no name"),
        ({"pools": {"p": {"devices": "*", "slot": 2}}}, "pools.p.slot", 'did you mean "slots"'),
        ({"pools": {"p": "*"}}, "pools.p", '"devices": "*"'),
        ({"pools": {"": {"devices": "*"}}}, "pools.", "'' is no name of a pool"),
        ({"pools": [A]}, "pools", '"slots": 4'),
        (
            {"pools": {"p": {"devices": "*", "groups": [""]}}},
            "pools.p.groups.0",
            "'' is no name of a group",
        ),
        ({"pools": {"p": {"devices": "*", "groups": "a"}}}, "pools.p.groups", '["class-a"'),
        ({"group_rules": {"": {}}}, "group_rules.", "'' is no name of a group"),
        ({"group_rules": {"a": {"priority": 11}}}, "group_rules.a.priority", "from 0 to 10"),
        ({"group_rules": {"a": {"priority": "unlimited"}}}, "group_rules.a.priority", "0 to 10"),
        (
            {"group_rules": {"a": {"lease_hours": -1}}},
            "group_rules.a.lease_hours",
            'or "unlimited"',
        ),
        (
            {"group_rules": {"a": {"lease": 1}}},
            "group_rules.a.lease",
            'did you mean "lease_hours"',
        ),
        ({"group_limits": {"a": {"max_servers": 1}}}, "group_limits.a.max_servers", "write one of"),
        (
            {"group_limits": {"a": {"max_devices": -1}}},
            "group_limits.a.max_devices",
            "None for no limit",
        ),
        ({"priority": -1}, "priority", "from 0 to 10"),
        ({"priority": None}, "priority", "from 0 to 10"),
        ({"lease_hours": -8}, "lease_hours", "-8 is no number of hours"),
        ({"lease_hours": 0}, "lease_hours", "None for no limit"),
        ({"lease_hours": math.nan}, "lease_hours", "nan is no number"),
        ({"lease_hours": 10**400}, "lease_hours", "is no number"),
        ({"lease_hours": "8"}, "lease_hours", "'8' is no number"),
        ({"max_devices_per_user": 1.5}, "max_devices_per_user", "whole number"),
        ({"max_servers_per_user": 0}, "max_servers_per_user", "from 1"),
        ({"half_life_hours": 0}, "half_life_hours", "0 is no number of hours"),
        ({"half_life_hours": None}, "half_life_hours", "None is no number"),
        ({"warning_minutes": 5}, "warning_minutes", "[30, 10, 5]"),
        ({"warning_minutes": [5, -5]}, "warning_minutes.1", "-5 is no number"),
        ({"auto_extend": 1}, "auto_extend", "True or False"),
        ({"event_start": "2026-11-24 09:00"}, "event_start", "time zone"),
        ({"event_start": "0001-01-01T00:00+09:00"}, "event_start", "2026-11-24"),
        ({"event_start": "soon"}, "event_start", "2026-11-24"),
        ({"idle_minutes": 0}, "idle_minutes", "None: idle devices are not taken back"),
        ({"idle_utilization_percent": 101}, "idle_utilization_percent", "from 0 to 100"),
        ({"lease_hour": 8}, "lease_hour", 'did you mean "lease_hours"'),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, str) else None,
)
def test_what_is_wrong_is_named_with_what_to_write(
    traits: dict[str, Any], path: str, words: str
) -> None:
    found = problems(**traits)
    assert list(found) == [path]
    assert words in found[path]


def test_where_no_device_can_be_seen_no_uuid_is_called_unknown() -> None:
    traits = {"pools": {"p": {"devices": ["GPU-new"]}}}
    assert problems(None, **traits) == {}
    assert 'write "*"' in problems((), **traits)["pools.p.devices.0"]


def test_the_spawners_numbers_must_fit_each_other() -> None:
    wrong = policy_from(Config(GPUDockerSpawner={"default_gpus": 9}), KNOWN)[1]
    assert [each.path for each in wrong] == [("GPUDockerSpawner", "default_gpus")]
    fine = Config(GPUDockerSpawner={"default_gpus": 2, "max_gpus": 2})
    assert policy_from(fine, KNOWN)[1] == ()


def test_a_section_that_is_misspelt() -> None:
    (wrong,) = policy_from(Config({"GPUPolicy": {"priority": 1}}), KNOWN)[1]
    assert "GPUPolicy" in wrong.wrong and "c.GpuPolicy" in wrong.instead


def test_settings_of_the_command_line_and_those_that_add() -> None:
    loader = KVArgParseConfigLoader(["--GpuPolicy.lease_hours=4", "--GpuPolicy.priority=x"])
    policy, wrong = policy_from(loader.load_config(), KNOWN)
    assert policy.default.lease_hours == 4
    assert [each.path for each in wrong] == [("GpuPolicy", "priority")]
    added = Config()
    added.GpuPolicy.warning_minutes.append(1)
    added.GpuPolicy.pools.update({"p": {"devices": "*"}})
    policy, wrong = policy_from(added, KNOWN)
    assert (len(policy.warnings), len(policy.pools), wrong) == (4, 1, ())


FILE = """\
c.GpuPolicy.lease_hours = 8
c.GpuPolicy.pools = {
    "class": {
        "devices": "*",
        "slots": 0,
    },
    "other": dict(
        devices=["GPU-aaaaaaaa-0000"],
        slots=-1,
    ),
}
c.GpuPolicy.group_rules.update({"staff": {"priority": 99}})
c.GpuPolicy.warning_minutes.extend([5, "x"])
c.GpuPolicy.lease_hours = -1
c.GPUDockerSpawner.default_gpus = 99
c.GpuPolicy.plols = {}
"""


def test_each_problem_names_the_line_to_mend(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(FILE)
    (tmp_path / "empty.py").write_text("x = (")  # not Python: passed over
    files = [tmp_path / "missing.py", file, tmp_path / "empty.py"]
    loaded = PyFileConfigLoader("own.py", str(tmp_path)).load_config()
    _policy, wrong = policy_from(loaded, KNOWN)
    text = refusal(wrong, files)
    assert text.startswith("7 settings are wrong:")
    for line, words in (
        (5, 'c.GpuPolicy.pools["class"]["slots"]: 0 is no number'),
        (9, 'c.GpuPolicy.pools["other"]["slots"]: -1 is no number'),
        (12, 'c.GpuPolicy.group_rules["staff"]["priority"]: 99 is no number'),
        (14, "c.GpuPolicy.lease_hours: -1 is no number"),
        (15, "c.GPUDockerSpawner.default_gpus: 99 GPUs"),
        (16, "c.GpuPolicy.plols: there is no setting 'plols'; did you mean \"pools\"?"),
    ):
        assert f"{file}:{line}: {words}" in text
    assert f"{file}:13: c.GpuPolicy.warning_minutes" in text
    assert text.count("To mend it") == 7


def test_a_later_file_overrules(tmp_path: Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("c.GpuPolicy.priority = 1\n")
    second.write_text("\nc.GpuPolicy.priority = 2\n")
    path = ("GpuPolicy", "priority")
    assert line_of(path, [first, second]) == f"{second}:2"
    assert line_of(path, [second, first]) == f"{first}:1"
    assert line_of(("GpuPolicy", "aging_minutes"), [first, second]) == ""
    assert line_of(("Other",), [first]) == ""


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([A, B, "*", "unlimited", "2026-11-24"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["devices", "slots", "groups", "priority", "max_devices", "x", ""]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(GpuPolicy.class_traits(config=True))), ANY))
def test_whatever_is_written_is_a_policy_or_refused(traits: dict[str, Any]) -> None:
    policy, wrong = policy_from(config(**traits), KNOWN)
    text = refusal(wrong, [])
    assert bool(wrong) == ("To mend it" in text)
    if wrong:
        return
    assert from_json(Policy, json.loads(json.dumps(to_json(policy)))) == policy
    uuids = [uuid for pool in policy.pools for uuid in pool.devices]
    assert len(uuids) == len(set(uuids))
    assert all(pool.slots >= 1 for pool in policy.pools)
    assert policy.half_life > timedelta(0) and policy.aging > timedelta(0)
