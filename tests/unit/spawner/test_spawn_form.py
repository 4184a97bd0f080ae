"""The spawn form and the words of what goes wrong, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from hub_ext import i18n
from hub_ext.defaults import GIB, fair_memory_limit, text_in
from hub_ext.engine import ContainerState, Presence
from hub_ext.errors import (
    BadRequest,
    Conflict,
    EngineRefused,
    EngineUnavailable,
    GpucampError,
    ImageMissing,
    InventoryUnavailable,
    LedgerInUse,
    LedgerUnavailable,
    QueueTimeout,
    TakenOutOfLine,
)
from hub_ext.failures import Trouble, describe_end, not_ready, server_stopped, spawn_failure
from hub_ext.inventory import practice_devices
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
from hub_ext.options import Asker, Limits
from hub_ext.policy import Policy, Pool, Rule
from hub_ext.spawn_form import chosen_of, duration, facts_of, render
from hub_ext.spawner import GPUDockerSpawner
from hub_ext.usage import QuotaUse, Use

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    i18n.set_language("en")
    yield
    i18n.set_language("en")


class Form(HTMLParser):
    """The form's fields, each with its label's presence, and its text without tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: list[dict[str, str | None]] = []
        self.options: list[tuple[str | None, str]] = []
        self.selected: list[str | None] = []
        self.text = ""
        self._label = self._script = False
        self._labels_for: set[str | None] = set()
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._script = self._script or tag in ("script", "style")
        if tag == "label":
            self._label = True
            self._labels_for.add(values.get("for"))
        elif tag in ("input", "select"):
            self.fields.append(values)
            if self._label:
                values["id"] = "within"
                self._labels_for.add("within")
        elif tag == "option":
            self.options.append((values.get("value"), ""))
            if "selected" in values:
                self.selected.append(values.get("value"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self._label = False
        if tag in ("script", "style"):
            self._script = False

    def handle_data(self, data: str) -> None:
        if not self._script:
            self.text += data

    def values(self, name: str) -> list[str | None]:
        return [each.get("value") for each in self.fields if each["name"] == name]

    @property
    def labelled(self) -> int:
        return sum(each.get("id") in self._labels_for for each in self.fields)

    @property
    def checked(self) -> list[str | None]:
        return [each.get("value") for each in self.fields if "checked" in each]


CLASS = Policy(pools=(Pool("class", slots=4, groups=("class-a",)),))


def gpu(uuid: str, name: str = "NVIDIA A100", gib: int = 80, **more: Any) -> Device:
    return Device(uuid, name, gib * GIB, **more)


def record(device: Device, *leases: str) -> DeviceRecord:
    return DeviceRecord(device, DeviceState.HEALTHY, NOW, lease_ids=leases)


def asker(
    *devices: DeviceRecord,
    policy: Policy = Policy(),  # noqa: B008 - it is frozen
    groups: tuple[str, ...] = (),
    max_gpus: int = 8,
    use: QuotaUse | None = None,
    **snapshot: Any,
) -> Asker:
    seen = Snapshot(devices, snapshot.pop("queue", ()), now=NOW, policy=policy, **snapshot)
    return Asker("ada", "", groups, Limits(max_gpus), seen, use or QuotaUse())


def practice() -> Asker:
    one, two = practice_devices(2)
    return asker(
        record(one),
        record(two, "l"),
        DeviceRecord(gpu("gone", "Old card"), DeviceState.MISSING, NOW),
        queue=(QueueEntry(Request("bob", "", 2), 1, NOW),),
    )


def shown(asked: Asker, kept: Mapping[str, object] | None = None) -> Form:
    facts = facts_of(asked)
    return Form(render(facts, chosen_of(asked, facts, kept or {})))


def test_what_it_says_about_devices() -> None:
    form = shown(practice())
    assert "1 of 2 GPUs free" in form.text and "1 request waits" in form.text
    assert "These GPUs are simulated" in form.text
    assert "Simulated A100 (practice)" in form.text and "Old card" not in form.text
    assert "You keep the GPUs for 8 hours. While nobody waits" in form.text
    assert "you may add 1 hour at a time" in form.text
    assert "share" not in form.text


def test_each_number_that_is_allowed_can_be_chosen() -> None:
    form = shown(asker(record(gpu("a")), record(gpu("b")), max_gpus=4))
    assert form.values("gpus") == ["0", "1", "2"]
    assert form.checked == ["1"]
    assert {each["name"] for each in form.fields} == {"gpus"}
    assert form.labelled == 3


def test_many_are_asked_for_with_a_number() -> None:
    devices = [record(gpu(f"{n:02}")) for n in range(16)]
    shares = [record(gpu(f"s{n}", shared=True, slots=2)) for n in range(2)]
    form = shown(asker(*devices, *shares, max_gpus=16), {"gpus": 99})
    number, box = form.fields[:2]
    assert [number[each] for each in ("type", "min", "max", "value")] == ["number", "0", "16", "16"]
    assert (box["type"], box["name"], box["value"]) == ("checkbox", "share", "true")
    assert form.labelled == len(form.fields)


def test_kinds_with_their_counts() -> None:
    asked = asker(
        record(gpu("a")),
        record(gpu("b"), "l"),
        record(gpu("c", "Tesla V100", 32)),
        record(gpu("d", "Tesla V100", 32, shared=True, slots=4, pool="class"), "l"),
        policy=CLASS,
        groups=("class-a",),
    )
    html = render(facts := facts_of(asked), chosen_of(asked, facts, {"gpus": 1}))
    assert "NVIDIA A100, 80 GiB: 1 of 2 free" in " ".join(Form(html).text.split())
    assert "Tesla V100, 32 GiB: 1 of 1 free, 3 of 4 shares free" in Form(html).text
    assert "2 of 3 GPUs free · 3 of 4 shares free" in Form(html).text
    form = shown(asked, {"gpus": 2, "model": "Tesla V100", "min_memory_gib": 40.5})
    assert form.selected == ["Tesla V100"] and form.checked == ["2"]
    assert form.values("min_memory_gib") == ["40.5"]
    assert shown(asked, {"gpus": 1, "model": "h100"}).selected == ["h100"]  # as it was typed


def test_a_form_that_was_refused_comes_back_whatever_its_number_was() -> None:
    asked = asker(record(gpu("a")), record(gpu("b")), max_gpus=4)
    for digits in ("9" * 5000, "0" * 5000):
        assert shown(asked, {"gpus": [digits]}).checked in (["2"], ["0"])


def test_only_those_who_may_share_are_offered_a_share() -> None:
    devices = (record(gpu("a")), record(gpu("b", shared=True, slots=4, pool="class")))
    student = shown(asker(*devices, policy=CLASS, groups=("class-a",)))
    assert student.values("gpus") == ["0", "1", "share"]
    assert "up to 4 servers use the same GPU" in student.text
    assert "Its memory is not protected" in student.text
    other = shown(asker(*devices, policy=CLASS))
    assert other.values("gpus") == ["0", "1"] and "share" not in other.text
    only = asker(devices[1], policy=CLASS, groups=("class-a",))
    assert shown(only).values("gpus") == ["0", "share"]
    assert shown(only).checked == ["share"]  # what options takes for a start that says nothing


def test_mig_instances_are_offered_one_at_a_time() -> None:
    parts = [record(gpu(f"m{n}", "MIG 1g", 10, parent="c")) for n in range(4)]
    assert shown(asker(*parts)).values("gpus") == ["0", "1"]
    whole = [record(gpu(f"w{n}")) for n in range(3)]
    assert shown(asker(*parts, *whole)).values("gpus") == ["0", "1", "2", "3"]


def test_limits_and_what_is_left_of_them() -> None:
    policy = Policy(default=Rule(max_devices=2, max_servers=3, device_hours_per_day=10))
    leases = (Lease("l", "ada", "second", LeaseState.RUNNING, ("a",), NOW),)
    form = shown(
        asker(
            *(record(gpu(uuid)) for uuid in "abcd"),
            policy=policy,
            leases=leases,
            use=QuotaUse({"ada": Use(today=9 * 3600)}),
        )
    )
    assert form.values("gpus") == ["0", "1"]
    assert "GPUs at a time over all your servers: 1 of 2 left" in form.text
    assert "servers at a time: 2 of 3 left" in form.text
    assert "device-hours for today (UTC): 1 of 10 left" in form.text
    assert "You keep the GPUs for 1 hour." in form.text


def test_when_a_request_now_would_be_served() -> None:
    ends = NOW + timedelta(hours=2)
    lease = Lease("l", "bob", "", LeaseState.RUNNING, ("a",), NOW, expires_at=ends)
    policy = Policy(auto_extend=False)
    taken = asker(record(gpu("a"), "l"), leases=(lease,), policy=policy)
    facts = facts_of(taken)
    assert facts.eta is not None
    html = render(facts, chosen_of(taken, facts, {}))
    assert "A request for one GPU now" in Form(html).text
    if facts.eta.at is not None:
        assert f'<time datetime="{facts.eta.at.isoformat()}" data-clock>' in html
    assert facts_of(asker(record(gpu("a")))).eta is None
    forever = asker(record(gpu("a"), "l"), leases=(replace(lease, expires_at=None),), policy=policy)
    assert "nobody can say how long" in shown(forever).text


@pytest.mark.parametrize(
    ("kept", "checked"),
    [
        ({"gpus": ["share"]}, ["share"]),
        ({"gpus": ["2"], "model": ["x"]}, ["2"]),
        ({"gpus": ["-1"]}, ["1"]),
        ({"gpus": ["٣"]}, ["1"]),
        ({"gpus": []}, ["1"]),
        ({"gpus": 1, "share": True}, ["share"]),
        ({"gpus": 0, "share": "x" * 500}, ["0"]),
    ],
    ids=repr,
)
def test_a_form_that_was_refused_keeps_what_was_filled_in(
    kept: dict[str, object], checked: list[str]
) -> None:
    asked = asker(*(record(gpu(uuid)) for uuid in "ab"), record(gpu("s", shared=True, slots=2)))
    assert shown(asked, kept).checked == checked


def test_nothing_is_shown_unescaped() -> None:
    asked = asker(record(gpu("a", "<script>x")), record(gpu("b", "B")))
    facts = facts_of(asked)
    html = render(facts, chosen_of(asked, facts, {"gpus": 1, "model": '"><script>y'}))
    assert "<script>x" not in html and "<script>y" not in html
    assert "simulated" not in html


def test_without_any_device() -> None:
    form = shown(asker())
    assert form.values("gpus") == ["0"] and form.checked == ["0"]
    assert "There is no GPU for you here." in form.text


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0, "1 minute"), (45, "45 minutes"), (90, "1 hour 30 minutes"), (1505, "25 hours")],
)
def test_lengths_of_time(minutes: int, words: str) -> None:
    assert duration(timedelta(minutes=minutes)) == words


def test_chinese() -> None:
    i18n.set_language("zh_CN")
    policy = Policy(
        pools=CLASS.pools,
        default=Rule(lease_hours=8, max_devices=2, max_servers=2, device_hours=9),
    )
    devices = (
        record(gpu("a"), "l"),
        record(gpu("b", "V100", 32, shared=True, slots=4, pool="class")),
    )
    asked = asker(*devices, policy=policy, groups=("class-a",))
    facts = facts_of(asked)
    html = render(facts, chosen_of(asked, facts, {}))
    assert 'lang="zh-CN"' in html
    words = re.findall(r"[A-Za-z]{3,}", Form(html).text)
    assert set(words) <= {"GPU", "GPUs", "NVIDIA", "GiB", "work", "UTC"}
    assert len(re.findall("[\u4e00-\u9fff]", html)) > 150


def test_the_hubs_templates_have_both_languages() -> None:
    context = copy_context()
    for text, chinese in (
        ("Stop", "停止"),
        ("Start", "启动"),
        ("Server requested", "已请求服务器"),
    ):
        assert context.run(text_in, text, "zh_CN") == chinese
    assert context.run(text_in, "Stop", "en") == "Stop"
    assert i18n.language() == "en"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (BadRequest("from 0 to 2"), 400, "bad-options"),
        (QueueTimeout("late"), 503, "queue-timeout"),
        (TakenOutOfLine("kim", "the exam"), 409, "taken-out-of-line"),
        (TakenOutOfLine("", ""), 409, "taken-out-of-line"),
        (EngineUnavailable("no socket"), 503, "engine-unavailable"),
        (ImageMissing("no image"), 503, "image-missing"),
        (EngineRefused("no device"), 500, "engine-refused"),
        (LedgerInUse("another hub"), 503, "leases-unavailable"),
        (LedgerUnavailable("disk full"), 503, "leases-unavailable"),
        (InventoryUnavailable("driver away"), 503, "leases-unavailable"),
        (Conflict("still stopping"), 409, "conflict"),
        (GpucampError("else"), 500, "error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_every_error_has_a_status_a_reason_and_its_words(
    error: GpucampError, status: int, reason: str
) -> None:
    failure = spawn_failure(error)
    assert (failure.status_code, failure.reason) == (status, reason)
    # the words for people say all that a queue's timeout does, and in their language
    told = not isinstance(error, QueueTimeout | TakenOutOfLine)
    assert (str(error) in failure.jupyterhub_message) is told
    assert (str(error) in failure.jupyterhub_html_message) is told


def test_who_was_taken_out_of_the_line_reads_why() -> None:
    failure = spawn_failure(TakenOutOfLine("kim", "<b>the exam</b>"))
    assert "kim took your server out of the line: “<b>the exam</b>”" in failure.jupyterhub_message
    assert "“&lt;b&gt;the exam&lt;/b&gt;”" in failure.jupyterhub_html_message


def test_what_a_log_says_is_escaped_and_short() -> None:
    state = ContainerState(Presence.STOPPED, exit_code=7)
    failure = server_stopped(state, "\n".join(f"<b>line {n}" for n in range(100)), 0)
    assert "exit code 7" in failure.jupyterhub_message
    assert "<b>" not in failure.jupyterhub_html_message
    assert "line 99" in failure.jupyterhub_html_message
    assert "line 79" not in failure.jupyterhub_html_message


def test_a_reset_is_offered_after_two_failures_in_a_row() -> None:
    state = ContainerState(Presence.STOPPED, exit_code=1)
    url = "/services/gpucamp/users/a%27%3Cb/server"
    once = server_stopped(state, "log", 0, Trouble(1, url))
    assert url not in once.jupyterhub_html_message
    for failure in (
        server_stopped(state, "log", 0, Trouble(2, url)),
        not_ready(9, "", Trouble(3, url)),
    ):
        assert f'href="{url}"' in failure.jupyterhub_html_message
        assert "times in a row" in failure.jupyterhub_message


def test_out_of_memory_and_no_answer() -> None:
    killed = ContainerState(Presence.STOPPED, exit_code=137, oom_killed=True)
    failure = server_stopped(killed, "", 3 * GIB)
    assert failure.reason == "out-of-memory" and "3.0 GiB" in failure.jupyterhub_message
    assert not_ready(60, "waiting").status_code == 504


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ContainerState(Presence.GONE), "the container is gone"),
        (ContainerState(Presence.STOPPED, exit_code=0), "exit code 0"),
        (ContainerState(Presence.STOPPED, exit_code=1, error="hook"), "exit code 1, hook"),
        (ContainerState(Presence.STOPPED, exit_code=137, oom_killed=True), "out of memory"),
        (
            ContainerState(Presence.STOPPED, exit_code=0, never_started=True),
            "the container was created and never started",
        ),
    ],
)
def test_how_a_container_ended(state: ContainerState, words: str) -> None:
    assert describe_end(state) == words


@pytest.mark.parametrize(
    ("total", "servers", "limit"), [(20 * GIB, 2, 8 * GIB), (4 * GIB, 10, 2 * GIB)]
)
def test_memory_is_shared_fairly(total: int, servers: int, limit: int) -> None:
    assert fair_memory_limit(servers, total=total) == limit


def test_the_form_keeps_its_language_after_a_start_that_failed() -> None:
    spawner = GPUDockerSpawner()
    headers = {"Accept-Language": "zh-CN,zh;q=0.9"}
    spawner.handler = SimpleNamespace(request=SimpleNamespace(headers=headers))
    copy_context().run(spawner._asking.speak_as_asked)
    spawner.handler = None  # JupyterHub, when the start has ended
    context = copy_context()
    context.run(spawner._asking.speak_as_asked)
    assert context.run(i18n.language) == "zh_CN"
