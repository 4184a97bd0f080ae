"""The lease over a real server's REST interface, against a service that is a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lease_service import LeaseService

from server_ext import service_client
from server_ext.lease import readings
from server_ext.lease.view import NOTHING, for_others, reduce

pytestmark = pytest.mark.timeout(60)

CHANGES = (
    ("gpucamp/lease/extend", {}, "/lease/extend"),
    ("gpucamp/lease/keep", {}, "/lease/keep"),
    ("gpucamp/notices/read", {"up_to": 7}, "/notices/read"),
    ("gpucamp/hand", {"text": "torch?"}, "/hand"),
    ("gpucamp/hand/lower", {}, "/hand/lower"),
)


@pytest.fixture
async def service() -> AsyncIterator[LeaseService]:
    service = LeaseService()
    service.end_in(minutes=72)
    service.notify(7, "device_back", "Your GPU works again.")
    async with service.serving():
        yield service


@pytest.fixture
async def lab(jupyter: Any, service: LeaseService, started_by_a_hub: Any) -> Any:
    """Ada's default server, as the spawner would have set it up."""
    started_by_a_hub(jupyter, service.url)
    return jupyter


async def test_the_lease_as_the_service_tells_it(lab: Any, service: LeaseService) -> None:
    answer = await lab.json("gpucamp/lease")
    assert service.asked == [
        ("GET", "/services/gpucamp/api/v1/users/ada/server", "token the server's token", b"")
    ]
    assert (answer["state"], answer["mine"]) == ("known", True)
    for name in ("lease", "queue", "notices", "quota", "warn_minutes", "hand"):
        assert answer[name] == service.view[name]
    assert set(answer) == {"state", "now", "mine", *NOTHING}


async def test_many_tabs_are_one_question(lab: Any, service: LeaseService) -> None:
    answers = await asyncio.gather(*(lab.json("gpucamp/lease") for _ in range(8)))
    assert len(service.asked) == 1
    assert all(answer["lease"] == answers[0]["lease"] for answer in answers)


async def test_each_language_is_asked_for_in_itself(lab: Any, service: LeaseService) -> None:
    for language in ("de", "en", "xx"):  # none of them has a catalogue
        await lab.json("gpucamp/lease", headers={"Accept-Language": language})
    assert len(service.asked) == 1


async def test_looking_is_no_activity_and_asking_for_time_is(lab: Any) -> None:
    def last() -> Any:
        return lab.app.web_app.settings.get("api_last_activity")

    await lab.json("gpucamp/lease")
    assert last() is None
    await lab.json("gpucamp/lease/extend", method="POST", body={})
    assert last() is not None


async def test_an_extension_is_seen_at_once(lab: Any, service: LeaseService) -> None:
    before = (await lab.json("gpucamp/lease"))["lease"]
    after = await lab.json("gpucamp/lease/extend", method="POST", body={})
    assert after["lease"]["extensions"] == before["extensions"] + 1
    gained = datetime.fromisoformat(after["lease"]["expires_at"]) - datetime.fromisoformat(
        before["expires_at"]
    )
    assert gained == service.extension
    assert (await lab.json("gpucamp/lease"))["lease"] == after["lease"]


async def test_a_refused_extension_says_why(lab: Any, service: LeaseService) -> None:
    service.lease.update(can_extend=False, extend_refusal="2 people wait for a GPU.")
    response = await lab.fetch("gpucamp/lease/extend", method="POST", body={})
    assert response.code == 409
    assert json.loads(response.body) == {"status": 409, "message": "2 people wait for a GPU."}


async def test_the_idle_warning_is_answered(lab: Any, service: LeaseService) -> None:
    service.lease["reclaim_at"] = (datetime.now(UTC) + timedelta(minutes=10)).isoformat()
    assert (await lab.json("gpucamp/lease"))["lease"]["reclaim_at"]
    answer = await lab.json("gpucamp/lease/keep", method="POST", body={})
    assert answer["lease"]["reclaim_at"] is None
    assert (await lab.json("gpucamp/lease"))["lease"]["reclaim_at"] is None


async def test_a_hand_is_raised_and_lowered(lab: Any, service: LeaseService) -> None:
    assert (await lab.json("gpucamp/lease"))["hand"] is None
    said = {"text": "  torch does not\n see my GPU "}
    answer = await lab.json("gpucamp/hand", method="POST", body=said)
    assert answer["hand"]["text"] == "torch does not see my GPU", "a line"
    assert answer["hand"]["raised_at"] == service.view["hand"]["raised_at"]
    assert answer["lease"] is not None, "all else is as it was"
    assert (await lab.json("gpucamp/lease"))["hand"] == answer["hand"]
    lab.visitor = "bob"
    assert (await lab.json("gpucamp/lease"))["hand"] is None, "it is nobody else's business"
    lab.visitor = "ada"
    answer = await lab.json("gpucamp/hand/lower", method="POST", body={})
    assert answer["hand"] is None and answer["lease"] is not None


async def test_notices_are_marked_read(lab: Any, service: LeaseService) -> None:
    service.notify(9, "draining", "The machine is taken out of use at 18:00.")
    assert [one["id"] for one in (await lab.json("gpucamp/lease"))["notices"]] == [7, 9]
    answer = await lab.json("gpucamp/notices/read", method="POST", body={"up_to": 7})
    assert [one["id"] for one in answer["notices"]] == [9]
    assert json.loads(service.asked[-1][3]) == {"up_to": 7}


async def test_an_old_answer_does_not_undo_an_extension(lab: Any, service: LeaseService) -> None:
    """The service is slow to tell what it saw before the extension."""
    old = json.loads(json.dumps(service.view))
    original = service.answer

    def answer(request: Any) -> Any:
        if request.method == "GET":
            service.delay = 0.5
            return 200, old
        service.delay = 0.0
        return original(request)

    service.answer = answer  # type: ignore[method-assign]  # for this test only
    looking = asyncio.create_task(lab.json("gpucamp/lease"))
    async with asyncio.timeout(5):
        while not service.asked:  # noqa: ASYNC110 - the service is in this loop
            await asyncio.sleep(0.01)
    extended = await lab.json("gpucamp/lease/extend", method="POST", body={})
    assert (await looking)["lease"] == extended["lease"]
    assert (await lab.json("gpucamp/lease"))["lease"] == extended["lease"]


# -- a service that is down is a state


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {"detail": "x"}), (502, b"<html>"), (404, {"detail": "no"}), (403, {"detail": "no"})],
)
async def test_a_service_that_fails_is_unknown(
    lab: Any, service: LeaseService, status: int, body: Any
) -> None:
    service.status, service.body = status, body
    answer = await lab.json("gpucamp/lease")
    assert answer["state"] == "unknown"
    assert {name: answer[name] for name in NOTHING} == NOTHING
    await lab.json("gpucamp/lease")
    assert len(service.asked) == 1  # it is left in peace for a while


async def test_the_last_word_of_a_service_that_went_away(
    lab: Any, service: LeaseService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(readings, "RETRY_SECONDS", 0.0)
    known = await lab.json("gpucamp/lease")
    service.status = 500
    gone = await lab.json("gpucamp/lease")
    assert (gone["state"], gone["lease"]) == ("unknown", known["lease"])
    service.status = 200
    assert (await lab.json("gpucamp/lease"))["state"] == "known"


async def test_a_service_that_hangs_or_is_not_there(
    lab: Any, service: LeaseService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(service_client, "TIMEOUT_SECONDS", 0.3)
    service.delay = 5
    assert (await lab.json("gpucamp/lease"))["state"] == "unknown"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("GPUCAMP_SERVICE_URL", f"http://127.0.0.1:{port}/services/gpucamp/")
    assert (await lab.json("gpucamp/lease"))["state"] == "unknown"
    for path, body, _ in CHANGES:
        response = await lab.fetch(path, method="POST", body=body)
        assert response.code == 503
        assert "/services/gpucamp/" in json.loads(response.body)["message"]


async def test_a_server_without_a_hub(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUCAMP_SERVICE_URL")
    answer = await lab.json("gpucamp/lease")
    assert answer["state"] == "none"
    assert {name: answer[name] for name in NOTHING} == NOTHING


# -- whose lease it is


async def test_someone_it_was_shared_with(lab: Any, service: LeaseService) -> None:
    lab.visitor = "bob"
    service.view["quota"] = {"device_hours": 3}
    answer = await lab.json("gpucamp/lease")
    assert answer["mine"] is False
    assert (answer["notices"], answer["quota"]) == ([], None)
    assert answer["lease"]["expires_at"] == service.lease["expires_at"]
    assert answer["lease"]["can_extend"] is False
    for path, body, _ in CHANGES:
        response = await lab.fetch(path, method="POST", body=body)
        assert response.code == 403 and "ada" in json.loads(response.body)["message"]
    assert [method for method, *_ in service.asked] == ["GET"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("gpucamp/lease/extend", {"hours": 100}),
        ("gpucamp/lease/keep", []),
        ("gpucamp/hand", {"text": 1}),
        ("gpucamp/hand", {"text": "x" * 201}),
        ("gpucamp/hand", {"user": "bob"}),
        ("gpucamp/hand/lower", {"text": "x"}),
        ("gpucamp/notices/read", {}),
        ("gpucamp/notices/read", {"up_to": "7"}),
        ("gpucamp/notices/read", {"up_to": True}),
        ("gpucamp/notices/read", {"up_to": 0}),
        ("gpucamp/notices/read", {"up_to": 10**30}),
        ("gpucamp/notices/read", {"up_to": 7, "user": "bob"}),
    ],
)
async def test_bodies_refused(lab: Any, service: LeaseService, path: str, body: Any) -> None:
    assert (await lab.fetch(path, method="POST", body=body)).code == 400
    assert service.asked == []


# -- clocks


@pytest.mark.parametrize("hours", [-3, 0, 3])
async def test_now_is_the_services_clock(lab: Any, service: LeaseService, hours: int) -> None:
    there = datetime.now(UTC) + timedelta(hours=hours)
    service.headers["Date"] = format_datetime(there, usegmt=True)
    now = datetime.fromisoformat((await lab.json("gpucamp/lease"))["now"])
    assert abs(now - there) < timedelta(seconds=30)


# -- the view, pure

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "devices", "expires_at", "uuid", "up_to", "text", "x"]),
            inner,
            max_size=5,
        )
    ),
)


@given(
    st.dictionaries(st.sampled_from([*NOTHING, "x"]), JSON)
    | st.fixed_dictionaries(
        {
            "lease": st.fixed_dictionaries({"id": st.text()}, optional={"devices": JSON}),
            "notices": st.lists(st.fixed_dictionaries({"id": st.integers()}), max_size=3),
        }
    )
)
def test_whatever_the_service_says_has_every_field(view: dict[str, Any]) -> None:
    for seen in (reduce(view), for_others(reduce(view))):
        assert set(seen) == set(NOTHING)
        lease = seen["lease"]
        assert lease is None or (lease["id"] and isinstance(lease["devices"], list))
        assert all(type(one["id"]) is int and one["id"] > 0 for one in seen["notices"])
        assert seen["warn_minutes"] == sorted(seen["warn_minutes"], reverse=True)


def test_times_without_a_zone_are_no_times() -> None:
    def end(text: object) -> Any:
        return reduce({"lease": {"id": "1", "expires_at": text}})["lease"]["expires_at"]

    assert end("2026-05-01T12:00:00+00:00") == "2026-05-01T12:00:00+00:00"
    assert end("2026-05-01T12:00:00Z") == "2026-05-01T12:00:00+00:00"
    for wrong in ("2026-05-01T12:00:00", "soon", "", 7, None):
        assert end(wrong) is None
