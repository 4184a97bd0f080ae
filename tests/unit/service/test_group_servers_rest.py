"""Starts and stops of whole groups over REST."""

from __future__ import annotations

import pytest
import requests
from school import counts, running, school_service, wait_for
from service_world import HubLetsWait

from hub_ext import scopes


@pytest.fixture
def rest(school):
    with school_service(school, scopes.SERVERS_MANAGE) as ask:
        yield ask


def test_a_teacher_starts_and_stops_the_class_they_teach(rest, school):
    assert rest("GET", "api/v1/groups/class-1/start", "teacher").json() == {"start": None}
    answer = rest("POST", "api/v1/groups/class-1/start", "teacher", json={"reason": "hello"})
    assert answer.status_code == 202
    view = wait_for(rest, "start")
    assert counts(view) == {"done": 7, "skipped": 1}
    assert view["members"][0] == {
        "user": "ada",
        "state": "skipped",
        "operation": None,
        "message": "The server runs already.",
    }
    assert (view["requested_by"], view["reason"], view["due"]) == ("tea", "hello", None)
    answer = rest("POST", "api/v1/groups/class-1/stop", "teacher", json={"reason": "bye"})
    assert answer.status_code == 202 and answer.json()["stop"]["due"] is not None
    assert rest("GET", "api/v1/groups", "admin-token").json()["groups"][0]["under_way"] == "stop"
    refused = rest("POST", "api/v1/groups/class-1/start", "teacher", json={"reason": "hello"})
    assert refused.status_code == 409 and "being stopped" in refused.json()["detail"]
    assert rest("POST", "api/v1/groups/class-1/stop/cancel", "teacher", json={}).ok
    assert counts(wait_for(rest, "stop")) == {"left": 8}
    at_once = {"reason": "bye", "minutes": 0}
    assert rest("POST", "api/v1/groups/class-1/stop", "teacher", json=at_once).ok
    assert counts(wait_for(rest, "stop")) == {"done": 8}
    assert running(school) == set()
    chinese = rest(
        "GET", "api/v1/groups/class-1/start", "teacher", headers={"Accept-Language": "zh-CN"}
    )
    assert chinese.json()["start"]["members"][0]["message"] == "服务器已在运行。"


def test_the_result_of_who_waits_follows_the_line(school):
    school.stop_server("ada", "")
    hub = HubLetsWait(school)
    with school_service(school, scopes.SERVERS_MANAGE, hub) as rest:
        rest("POST", "api/v1/groups/class-1/start", "teacher", json={"reason": "hello"})
        assert counts(wait_for(rest, "start")) == {"queued": 8}
        for user in ("ada", "pupil-0"):
            school.ledger.withdraw(user, "")
        school.run_server("ada")  # its turn came
        view = wait_for(rest, "start")
        assert counts(view) == {"queued": 7, "done": 1}
        assert [m["message"] for m in view["members"] if m["message"]] == [
            "It does not wait in line any more."
        ]


@pytest.mark.parametrize("action", ["start", "stop"])
@pytest.mark.parametrize(
    ("token", "group", "status"),
    [
        ("teacher", "class-2", 404),  # of somebody else
        ("teacher", "none", 404),
        ("admin-token", "none", 404),
        ("ada-token", "class-1", 403),
        ("ada-server-token", "class-1", 403),
        ("stranger-token", "class-1", 403),
        (None, "class-1", 401),
    ],
)
def test_who_may_not_start_and_stop_a_group(rest, school, action, token, group, status):
    path = f"api/v1/groups/{group}/{action}"
    assert rest("POST", path, token, json={"reason": "why not"}).status_code == status
    assert rest("POST", path + "/cancel", token, json={}).status_code == (
        409 if token == "admin-token" else status
    )
    assert rest("GET", path, token).status_code == status
    assert school.ledger.group_operation_of("class-1") is None
    assert running(school) == {"ada"}


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("start", {}),
        ("start", {"reason": "x", "minutes": 1}),
        ("stop", {"reason": " "}),
        ("stop", {"reason": "x", "minutes": -1}),
        ("stop", {"reason": "x", "minutes": 1441}),
        ("stop", {"reason": "x", "minutes": True}),
    ],
)
def test_what_is_no_such_request(rest, school, action, body):
    answer = rest("POST", f"api/v1/groups/class-1/{action}", "teacher", json=body)
    assert answer.status_code == 400
    assert school.ledger.group_operation_of("class-1") is None


def test_a_page_of_elsewhere_starts_nobody(rest, school):
    url = rest.url + "api/v1/groups/class-1/start"

    rest.visitor = rest.tokens["teacher"]
    session = requests.Session()
    assert session.get(rest.url + "groups", timeout=10).url.startswith(rest.url)
    answer = session.post(url, json={"reason": "x"}, timeout=10)
    assert answer.status_code == 403
    assert school.ledger.group_operation_of("class-1") is None
