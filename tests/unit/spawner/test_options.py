"""Options: whatever goes in, a request that can be granted comes out, or a sentence that helps."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext import i18n
from hub_ext.errors import BadRequest
from hub_ext.models import (
    Device,
    DeviceRecord,
    DeviceState,
    Lease,
    LeaseState,
    QueueEntry,
    Request,
    Snapshot,
)
from hub_ext.options import Asker, Limits, options_from_form, request_from, user_options_of
from hub_ext.placement import suits
from hub_ext.policy import GroupLimits, Policy, Pool, Rule
from hub_ext.usage import QuotaUse, Use

GIB = 1024**3
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FREE = Policy(default=Rule())  # no term

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    i18n.set_language("en")
    yield
    i18n.set_language("en")


def device(number: int, name: str = "NVIDIA A100", gib: float = 80, **more: Any) -> DeviceRecord:
    made = Device(f"GPU-{number}", name, int(gib * GIB), **more)
    return DeviceRecord(made, DeviceState.HEALTHY, NOW)


def a100s(count: int, first: int = 0) -> tuple[DeviceRecord, ...]:
    return tuple(device(first + number) for number in range(count))


def v100s(count: int) -> tuple[DeviceRecord, ...]:
    return tuple(device(100 + number, "Tesla V100", 32) for number in range(count))


def migs(count: int) -> tuple[DeviceRecord, ...]:
    return tuple(
        device(200 + number, "NVIDIA A100 MIG 1g.10gb", 9.75, parent="GPU-x")
        for number in range(count)
    )


def shared(count: int, slots: int = 4, pool: str = "class") -> tuple[DeviceRecord, ...]:
    return tuple(
        device(300 + number, "NVIDIA L4", 24, shared=True, slots=slots, pool=pool)
        for number in range(count)
    )


CLASS = Policy(pools=(Pool("class", slots=4, groups=("class-a",)),), default=Rule())


def asker(
    devices: tuple[DeviceRecord, ...] = a100s(8),
    policy: Policy = FREE,
    *,
    groups: tuple[str, ...] = (),
    server: str = "",
    max_gpus: int = 8,
    default_gpus: int = 1,
    use: QuotaUse | None = None,
    **snapshot: Any,
) -> Asker:
    seen = Snapshot(devices, snapshot.pop("queue", ()), now=NOW, policy=policy, **snapshot)
    limits = Limits(max_gpus, default_gpus)
    return Asker("ada", server, groups, limits, seen, use or QuotaUse())


def refused(options: object, asked: Asker) -> str:
    with pytest.raises(BadRequest) as caught:
        request_from(options, asked)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def lease(server: str, *uuids: str, state: LeaseState = LeaseState.RUNNING) -> Lease:
    return Lease(server or "default", "ada", server, state, uuids, NOW)


def waits(gpus: int, server: str, user: str = "ada") -> QueueEntry:
    return QueueEntry(Request(user, server, gpus), 1, NOW)


# -- each option by itself


@pytest.mark.parametrize("gpus", range(5))
def test_whole_numbers_in_bounds(gpus: int) -> None:
    assert request_from({"gpus": gpus}, asker(server="s")) == Request("ada", "s", gpus)


@pytest.mark.parametrize("options", [{}, None])
def test_nothing_said_means_the_default(options: object) -> None:
    assert request_from(options, asker()).gpus == 1


@pytest.mark.parametrize(
    ("devices", "max_gpus", "default", "gpus"),
    [(1, 4, 2, 1), (0, 4, 2, 0), (8, 0, 1, 0), (8, 1, 2, 1), (8, 4, 2, 2)],
)
def test_the_default_never_asks_for_more_than_there_is(
    devices: int, max_gpus: int, default: int, gpus: int
) -> None:
    asked = asker(a100s(devices), max_gpus=max_gpus, default_gpus=default)
    assert request_from({}, asked).gpus == gpus


@pytest.mark.parametrize(
    "gpus",
    [-1, 9, 10**9, 1.5, 1.0, math.nan, math.inf, True, False, None, "all", "1", "1 ", "", [1], {}],
    ids=repr,
)
def test_everything_else_is_refused_with_what_is_allowed(gpus: object) -> None:
    assert "whole number from 0 to 8" in refused({"gpus": gpus}, asker())


def test_gpus_are_switched_off() -> None:
    assert "must be 0: GPUs are switched off" in refused({"gpus": 1}, asker(max_gpus=0))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("model", 1, "part of a GPU's name"),
        ("model", None, "part of a GPU's name"),
        ("model", ["A100"], "part of a GPU's name"),
        ("model", "A" * 300, "at most 100 characters"),
        ("model", "A100\n", "part of a GPU's name"),
        ("model", "A\x00", "part of a GPU's name"),
        ("min_memory_gib", True, "number of GiB"),
        ("min_memory_gib", "40", "number of GiB"),
        ("min_memory_gib", -1, "number of GiB"),
        ("min_memory_gib", math.nan, "number of GiB"),
        ("min_memory_gib", math.inf, "number of GiB"),
        ("min_memory_gib", 10**400, "number of GiB"),
        ("min_memory_gib", 1e9, "number of GiB"),
        ("share", 1, "true or false"),
        ("share", "true", "true or false"),
        ("share", None, "true or false"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_other_types_are_refused(option: str, value: object, words: str) -> None:
    assert words in refused({"gpus": 1, option: value}, asker())


@pytest.mark.parametrize(
    "options",
    [
        {"image": "debian"},
        {"gpus": 1, "env": {"LD_PRELOAD": "x"}},
        {"GPUS": 1},
        {"gpus ": 1},
        {"priority": 10},
        {"groups": ["instructors"]},
        {"": 1},
        {"x" * 10000: 1},
    ],
    ids=lambda options: repr(options)[:30],
)
def test_unknown_options_are_named_and_refused(options: dict[str, object]) -> None:
    words = refused(options, asker())
    assert words.startswith("Unknown option ") and "'gpus', 'model'" in words


@pytest.mark.parametrize("options", [[], "gpus", 1, [["gpus", 1]]], ids=repr)
def test_options_that_are_no_object(options: object) -> None:
    assert "must be an object" in refused(options, asker())


def test_without_gpus_the_rest_means_nothing() -> None:
    options = {"gpus": 0, "model": "H200", "min_memory_gib": 900, "share": True}
    assert request_from(options, asker(())) == Request("ada", "", 0)


# -- what exists


def test_no_more_than_this_machine_has() -> None:
    words = refused({"gpus": 3}, asker(a100s(2)))
    assert words == "This machine has 2 GPUs for you: ask for at most 2."
    assert "Ask for 0 GPUs" in refused({"gpus": 1}, asker(()))


def test_a_model_and_its_count() -> None:
    both = asker((*a100s(2), *v100s(8)))
    assert request_from({"gpus": 2, "model": "a100"}, both).model == "a100"
    assert refused({"gpus": 3, "model": "A100"}, both) == (
        "Only 2 GPUs here are what you ask for (A100): ask for at most 2. "
        "Of any model you may ask for up to 8."
    )
    words = refused({"gpus": 1, "model": "H100"}, both)
    assert "no GPU 'H100' here" in words and "NVIDIA A100, Tesla V100" in words


def test_memory() -> None:
    both = asker((*a100s(2), *v100s(2)))
    assert request_from({"gpus": 1, "min_memory_gib": 79.5}, both).min_memory_bytes == 79.5 * GIB
    assert "has 100 GiB of memory; ask for at most 80 GiB" in refused(
        {"gpus": 1, "min_memory_gib": 100}, both
    )
    assert "No V100 here has 40 GiB of memory; ask for at most 32 GiB" in refused(
        {"gpus": 1, "model": "V100", "min_memory_gib": 40}, both
    )
    assert "(40 GiB or more): ask for at most 2. Of any model you may ask for up to 4" in refused(
        {"gpus": 3, "min_memory_gib": 40}, both
    )
    h100 = asker((device(1, "H100", 79.647),))
    assert "at most 79.6 GiB" in refused({"gpus": 1, "min_memory_gib": 80}, h100)
    request_from({"gpus": 1, "min_memory_gib": 79.6}, h100)


def test_no_ddp_over_mig() -> None:
    assert request_from({"gpus": 1}, asker(migs(4))).gpus == 1
    words = refused({"gpus": 2}, asker(migs(4)))
    assert "MIG instances cannot talk to each other" in words and "ask for 1" in words
    words = refused({"gpus": 3, "model": "MIG"}, asker((*migs(4), *a100s(2))))
    assert "Of whole GPUs you may ask for up to 2" in words


def test_a_share() -> None:
    devices = (*shared(2), *a100s(2))
    student = asker(devices, CLASS, groups=("class-a",))
    assert request_from({"gpus": 1, "share": True}, student).share
    assert request_from({"share": True}, student) == Request(
        "ada", "", 1, share=True, groups=("class-a",)
    )
    words = refused({"gpus": 2, "share": True}, student)
    assert "Ask for 1 with a share, or for 2 whole GPUs" in words
    other = asker(devices, CLASS)
    assert refused({"gpus": 1, "share": True}, other) == (
        "Sharing a GPU is not offered to you here. Ask for 1 whole GPU."
    )
    assert "no GPU for you here" in refused({"share": True}, asker((), CLASS))


def test_where_there_are_only_shares() -> None:
    student = asker(shared(2), CLASS, groups=("class-a",))
    assert request_from({}, student).share  # who says nothing gets what there is
    words = refused({"gpus": 1}, student)
    assert '"share": true' in words and "memory is not protected" in words
    nobody = asker(shared(2), CLASS)
    assert request_from({}, nobody).gpus == 0
    assert "Ask for 0 GPUs" in refused({"gpus": 1}, nobody)


# -- what the policy allows


def test_priority_groups_and_term_come_from_the_policy() -> None:
    policy = Policy(rules={"staff": Rule(priority=5, lease_hours=24)})
    request = request_from({"gpus": 1}, asker(policy=policy, groups=("class", "staff")))
    assert (request.priority, request.groups) == (5, ("class", "staff"))
    assert request.term == timedelta(hours=24)
    assert request_from({"gpus": 1}, asker(policy=policy)).term == timedelta(hours=8)
    assert request_from({"gpus": 0}, asker(policy=policy)).term is None


def test_devices_at_once_over_all_servers() -> None:
    policy = Policy(default=Rule(max_devices=3))
    have = {"leases": (lease("one", "GPU-1"),), "queue": (waits(1, "two"), waits(4, "", "bob"))}
    assert request_from({"gpus": 1}, asker(policy=policy, **have)).gpus == 1
    assert refused({"gpus": 2}, asker(policy=policy, **have)) == (
        "You may have 3 GPUs at a time over all your servers, and others of yours have or wait for "
        "2: ask for at most 1."
    )
    assert "at most 3" in refused({"gpus": 4}, asker(policy=policy))
    # a reset of this very server is no second one
    held = (lease("", "GPU-1", "GPU-2", state=LeaseState.HELD),)
    assert request_from({"gpus": 3}, asker(policy=policy, leases=held)).gpus == 3
    none = asker(policy=Policy(default=Rule(max_devices=0)))
    assert "You may have no GPU here" in refused({"gpus": 1}, none)


def test_servers_at_once() -> None:
    policy = Policy(default=Rule(max_servers=2))
    two = {"leases": (lease("one"),), "queue": (waits(1, "two"),)}
    words = refused({"gpus": 0}, asker(policy=policy, server="three", **two))
    assert "2 servers at a time, and 2 of yours run or wait already. Stop one first." in words
    assert request_from({"gpus": 0}, asker(policy=policy, server="two", **two)).gpus == 0


def test_a_group_has_a_limit_of_its_own() -> None:
    policy = Policy(default=Rule(), group_limits={"class": GroupLimits(max_devices=2)})
    words = refused({"gpus": 3}, asker(policy=policy, groups=("class",)))
    assert "The group class may have 2 GPUs at a time" in words and "at most 2" in words
    assert request_from({"gpus": 3}, asker(policy=policy)).gpus == 3


@pytest.mark.parametrize(
    ("rule", "group", "used", "words"),
    [
        (Rule(device_hours_per_day=10), None, Use(today=36000), "You have used 10.0 of your 10"),
        (Rule(device_hours=10), None, Use(event=99999), "ask your instructor for more"),
        (Rule(), GroupLimits(device_hours_per_day=1), Use(today=3600), "The group class has used"),
        (Rule(), GroupLimits(device_hours=1), Use(event=3600), "The group class has used 1.0"),
    ],
)
def test_device_hours_that_are_used_up(
    rule: Rule, group: GroupLimits | None, used: Use, words: str
) -> None:
    policy = Policy(default=rule, group_limits={"class": group} if group else {})
    use = QuotaUse({"ada": used}, {"class": used})
    asked = asker(policy=policy, groups=("class",), use=use)
    message = refused({"gpus": 1}, asked)
    assert words in message and "0 GPUs" in message
    assert request_from({"gpus": 0}, asked).gpus == 0


def test_the_term_is_what_is_left_of_device_hours() -> None:
    policy = Policy(default=Rule(lease_hours=8, device_hours=10))
    use = QuotaUse({"ada": Use(event=4 * 3600)})
    assert request_from({"gpus": 1}, asker(policy=policy, use=use)).term == timedelta(hours=6)
    assert request_from({"gpus": 2}, asker(policy=policy, use=use)).term == timedelta(hours=3)


def test_a_share_uses_device_hours_in_proportion() -> None:
    rule = Rule(device_hours=1)
    policy = Policy(pools=(Pool("class", slots=4),), default=rule)
    assert request_from({"share": True}, asker(shared(1), policy)).term == timedelta(hours=4)


# -- whatever else


@given(JSON)
def test_any_json_is_in_bounds_or_refused(options: object) -> None:
    check(options)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "gpus": st.integers(-1, 9) | JSON,
            "model": st.sampled_from(["", "A100", "a100 mig", "V100", "%s", "%(count)d"]) | JSON,
            "min_memory_gib": st.floats(-1, 100) | JSON,
            "share": st.booleans() | JSON,
        },
    ),
    st.sampled_from([(), ("class-a",), ("staff",)]),
)
def test_any_options_are_granted_for_good_reason_or_refused(
    options: dict[str, object], groups: tuple[str, ...]
) -> None:
    check(options, groups)


def check(options: object, groups: tuple[str, ...] = ()) -> None:
    policy = Policy(
        pools=CLASS.pools, default=Rule(max_devices=2), rules={"staff": Rule(max_devices=4)}
    )
    devices = (*a100s(3), *v100s(2), *migs(3), *shared(2))
    asked = asker(devices, policy, groups=groups)
    try:
        request = request_from(options, asked)
    except BadRequest as error:
        assert str(error)
        return
    assert type(request.gpus) is int and 0 <= request.gpus <= (4 if "staff" in groups else 2)
    able = [each for each in devices if suits(each.device, request, policy)]
    assert request.gpus <= len(able)
    again = json.loads(json.dumps(user_options_of(request)))
    assert request_from(again, asked) == request


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ({"gpus": ["2"]}, {"gpus": 2}),
        ({"gpus": ["0"]}, {"gpus": 0}),
        ({}, {}),
        ({"gpus": ["share"]}, {"gpus": 1, "share": True}),
        ({"gpus": ["1"], "share": ["true"]}, {"gpus": 1, "share": True}),
        ({"gpus": ["1"], "share": [""]}, {"gpus": 1}),
        (
            {"gpus": ["1"], "model": [" A100 "], "min_memory_gib": ["40,5"]},
            {"gpus": 1, "model": "A100", "min_memory_gib": 40.5},
        ),
        ({"gpus": ["1"], "model": [""], "min_memory_gib": [""]}, {"gpus": 1}),
    ],
)
def test_a_form_says_it_in_text(form: dict[str, list[str]], options: object) -> None:
    assert options_from_form(form) == options
    assert json.loads(json.dumps(options)) == options


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["1", "2"],
        [""],
        ["1 "],
        ["+1"],
        ["-1"],
        ["1.0"],
        ["1e1"],
        ["all"],
        ["٣"],
        ["99999"],
        [1],
    ],
    ids=repr,
)
def test_a_form_that_says_anything_else(values: list[object]) -> None:
    with pytest.raises(BadRequest, match="one whole number"):
        options_from_form({"gpus": values})
    with pytest.raises(BadRequest, match="Unknown option 'image'"):
        options_from_form({"gpus": ["1"], "image": ["debian"]})


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e3", "lots", "1" * 20, "٣"])
def test_a_form_with_an_odd_memory(text: str) -> None:
    with pytest.raises(BadRequest, match="number of GiB"):
        options_from_form({"gpus": ["1"], "min_memory_gib": [text]})


@given(
    st.dictionaries(
        st.sampled_from(["gpus", "model", "min_memory_gib", "share"]),
        st.lists(st.text(max_size=6) | st.sampled_from(["share", "1", "2", "true"]), max_size=2),
    )
)
def test_any_form_is_a_request_or_refused(form: dict[str, list[str]]) -> None:
    try:
        options = options_from_form(form)
    except BadRequest as error:
        assert str(error)
    else:
        check(options)


def test_a_refusal_speaks_chinese() -> None:
    i18n.set_language("zh_CN")
    asked = asker((*a100s(2), *v100s(8), *shared(1)), CLASS)
    for options in ({"gpus": 3, "model": "A100"}, {"gpus": -1}, {"share": True}, {"x": 1}):
        words = refused(options, asked)
        assert any("\u4e00" <= letter <= "\u9fff" for letter in words), words
