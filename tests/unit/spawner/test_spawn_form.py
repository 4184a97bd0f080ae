"""The spawn form and the words of what goes wrong, in both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextvars import copy_context
from datetime import UTC, datetime
from html.parser import HTMLParser
from types import SimpleNamespace

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
)
from hub_ext.failures import describe_end, not_ready, server_stopped, spawn_failure
from hub_ext.inventory import practice_devices
from hub_ext.models import Device, DeviceRecord, DeviceState, QueueEntry, Request, Snapshot
from hub_ext.options import Limits
from hub_ext.spawn_form import FormFacts, facts_of, render
from hub_ext.spawner import GPUDockerSpawner

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    i18n.set_language("en")
    yield
    i18n.set_language("en")


class Inputs(HTMLParser):
    """The form's inputs, and whether each stands in a label."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inputs: list[dict[str, str | None]] = []
        self.labelled = 0
        self._label = False
        self._labels_for: set[str | None] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "label":
            self._label = True
            self._labels_for.add(values.get("for"))
        elif tag == "input":
            self.inputs.append(values)
            self.labelled += self._label or values.get("id") in self._labels_for

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self._label = False


def snapshot() -> Snapshot:
    one, two = practice_devices(2)
    return Snapshot(
        devices=(
            DeviceRecord(one, DeviceState.HEALTHY, NOW),
            DeviceRecord(two, DeviceState.HEALTHY, NOW, lease_ids=("l",)),
            DeviceRecord(Device("gone", "Old card", 1), DeviceState.MISSING, NOW),
        ),
        queue=(QueueEntry(Request("bob", "", 2), 1, NOW),),
    )


def test_what_it_says_about_devices() -> None:
    facts = facts_of(snapshot())
    assert facts == FormFacts(2, 1, 1, True, ("Simulated A100 (practice)",))
    html = render(facts, Limits(2), 1)
    assert "1 of 2 GPUs free" in html and "1 request waits" in html
    assert "These GPUs are simulated" in html
    assert "Simulated A100 (practice)" in html and "Old card" not in html


def test_each_number_that_is_allowed_can_be_chosen() -> None:
    form = Inputs(render(facts_of(snapshot()), Limits(4, existing=2), 1))
    assert [each["value"] for each in form.inputs] == ["0", "1", "2"]
    assert [each["value"] for each in form.inputs if "checked" in each] == ["1"]
    assert {each["name"] for each in form.inputs} == {"gpus"}
    assert form.labelled == 3


def test_many_are_asked_for_with_a_number() -> None:
    form = Inputs(render(facts_of(snapshot()), Limits(16), 99))
    (field,) = form.inputs
    assert (field["type"], field["min"], field["max"], field["value"]) == (
        "number",
        "0",
        "16",
        "16",
    )
    assert form.labelled == 1


def test_a_device_name_is_escaped() -> None:
    html = render(FormFacts(1, 1, 0, False, ("<script>",)), Limits(1), 0)
    assert "<script>" not in html and "simulated" not in html


def test_chinese() -> None:
    i18n.set_language("zh_CN")
    html = render(facts_of(snapshot()), Limits(2), 1)
    assert 'lang="zh-CN"' in html
    assert "How many" not in html and "GPUs free" not in html and "waits" not in html
    assert "simulated:" not in html and "No GPU" not in html
    assert len(re.findall("[\u4e00-\u9fff]", html)) > 40


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
    assert str(error) in failure.jupyterhub_message
    assert str(error) in failure.jupyterhub_html_message


def test_what_a_log_says_is_escaped_and_short() -> None:
    state = ContainerState(Presence.STOPPED, exit_code=7)
    failure = server_stopped(state, "\n".join(f"<b>line {n}" for n in range(100)), 0)
    assert "exit code 7" in failure.jupyterhub_message
    assert "<b>" not in failure.jupyterhub_html_message
    assert "line 99" in failure.jupyterhub_html_message
    assert "line 79" not in failure.jupyterhub_html_message


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
    copy_context().run(spawner._speak_as_asked)
    spawner.handler = None  # JupyterHub, when the start has ended
    context = copy_context()
    context.run(spawner._speak_as_asked)
    assert context.run(i18n.language) == "zh_CN"
