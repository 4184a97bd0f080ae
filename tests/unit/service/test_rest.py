"""REST: who may what, and what is answered."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime

import pytest
import requests
from resets import reset
from service_server import ADA, expand, person, running_service
from service_world import EngineSilent, HubFailsToStart, HubNeverStops, now

from hub_ext import scopes
from hub_ext.errors import LedgerUnavailable
from hub_ext.models import OperationKind, OperationStep
from hub_ext.service.auth import Caller, Resource
from hub_ext.service.reset import Limits


def until_done(ask, operation_id: str, token: str = ADA):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        view = ask("GET", f"api/v1/operations/{operation_id}", token).json()
        if view["done"]:
            return view
        time.sleep(0.02)
    raise AssertionError(f"not done: {view}")


def test_my_server_is_told_with_its_lease_and_environment(ask):
    view = ask("GET", "api/v1/users/ada/server").json()
    assert view["running"] is True
    assert view["generation"] == view["newest"] == 1
    assert view["can_undo"] is False
    assert view["operation"] is None
    (device,) = view["lease"]["devices"]
    assert device == {
        "uuid": "GPU-5ca1ab1e-0000-4000-8000-000000000000",
        "name": "Simulated A100 (practice)",
        "simulated": True,
        "mig": False,
        "state": "healthy",
        "reason": "",
        "cordon": "",
    }


def test_a_reset_with_the_servers_own_token_runs_to_its_end(ask, world):
    """The token dies with the server in the middle; the operation goes on."""
    answer = ask("POST", "api/v1/users/ada/server/reset", "ada-server-token", json={})
    assert answer.status_code == 202
    body = answer.json()
    assert body["progress_url"] == f"/services/gpucamp/operations/{body['operation']['id']}"
    del ask.tokens["ada-server-token"]
    view = until_done(ask, body["operation"]["id"])
    assert view["step"] == "done"
    assert [step["state"] for step in view["steps"]] == ["done"] * 3
    assert view["server_url"] == "/user/ada/"
    assert ask("GET", "api/v1/users/ada/server").json()["generation"] == 2
    undo = ask("POST", "api/v1/users/ada/server/undo-reset", json={}).json()
    assert until_done(ask, undo["operation"]["id"])["step"] == "done"
    assert ask("GET", "api/v1/users/ada/server").json()["generation"] == 1


def test_a_named_server_has_its_own_environment(ask, world):
    world.run_server("ada", "second")
    world.stop_server("ada", "second")
    body = ask("POST", "api/v1/users/ada/servers/second/reset", json={}).json()
    view = until_done(ask, body["operation"]["id"])
    assert view["step"] == "done"
    assert [step["step"] for step in view["steps"]] == ["switching"]
    assert ask("GET", "api/v1/users/ada/servers/second").json()["generation"] == 2
    assert ask("GET", "api/v1/users/ada/server").json()["generation"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "api/v1/users/bob/server"),
        ("GET", "api/v1/users/bob/servers/x"),
        ("POST", "api/v1/users/bob/server/reset"),
        ("POST", "api/v1/users/bob/server/undo-reset"),
        ("POST", "api/v1/users/bob/servers/x/reset"),
        ("GET", "api/v1/users/nobody/server"),
        ("GET", "api/v1/users/ada/servers/never-made"),
        ("POST", "api/v1/users/ada/servers/never-made/reset"),
        ("POST", "api/v1/users/ada/servers/%2E%2E/reset"),
        ("POST", "api/v1/users/ada/servers/Upper/reset"),
    ],
)
def test_someone_elses_server_is_not_found_and_neither_is_none(ask, method, path):
    answer = ask(method, path)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not found",
        "status": 404,
        "detail": "There is no such server.",
    }


def test_someone_elses_operation_looks_like_none(ask, world):
    body = ask("POST", "api/v1/users/ada/server/reset", json={}).json()
    real = ask("GET", f"api/v1/operations/{body['operation']['id']}", "bob-token")
    none = ask("GET", "api/v1/operations/0123456789abcdef", "bob-token")
    assert (real.status_code, real.json()) == (none.status_code, none.json())
    assert real.status_code == 404
    until_done(ask, body["operation"]["id"])


@pytest.mark.parametrize("path", ["api/v1/devices", "api/v1/leases"])
def test_only_admins_see_everyone(ask, path):
    assert ask("GET", path).status_code == 403
    assert ask("GET", path, "instructor-token").status_code == 403
    assert ask("GET", path, "admin-token").status_code == 200


@pytest.mark.parametrize("token", [None, "nonsense"])
def test_without_a_token_everything_is_401(ask, token):
    for path in ["api/v1/health", "api/v1/users/ada/server", "api/v1/devices", "api/v1/nothing"]:
        answer = ask("GET", path, token)
        assert answer.status_code == 401, path
        assert answer.json()["status"] == 401


def test_without_access_to_the_service_everything_is_403(ask):
    for path in ["api/v1/health", "api/v1/users/ada/server", "api/v1/devices"]:
        assert ask("GET", path, "stranger-token").status_code == 403, path


def test_the_servers_token_cannot_reset_another_server_of_its_user(ask):
    assert ask("POST", "api/v1/users/ada/servers/x/reset", "ada-server-token").status_code == 404


def test_a_token_that_may_only_read_cannot_reset(ask):
    ask.tokens["reader"] = {
        "kind": "user",
        "name": "ada",
        "scopes": expand([scopes.ACCESS_SERVICE, f"{scopes.ENVIRONMENT_READ}!user"], "ada"),
    }
    assert ask("GET", "api/v1/users/ada/server", "reader").status_code == 200
    assert ask("POST", "api/v1/users/ada/server/reset", "reader").status_code == 403


def test_an_instructor_of_a_group_reaches_its_members_only(ask, world):
    world.users.update(bob=("class-1",))
    ask.tokens["group"] = person("kim", f"{scopes.ENVIRONMENT_READ}!group=class-1")
    assert ask("GET", "api/v1/users/bob/server", "group").status_code == 200
    assert ask("GET", "api/v1/users/ada/server", "group").status_code == 404
    assert ask("GET", "api/v1/users/nobody/server", "group").status_code == 404


def test_a_slash_in_a_servers_name_does_not_pass_for_another_users_filter(ask):
    """!server=ada/ must not match bob's "ada/" (JupyterHub compares the bare name, too)."""
    caller = Caller("ada", "user", frozenset({f"{scopes.ENVIRONMENT_RESET}!server=ada/"}))
    assert caller.may(scopes.ENVIRONMENT_RESET, Resource("ada", ""))
    assert not caller.may(scopes.ENVIRONMENT_RESET, Resource("bob", "ada/"))
    answer = ask("POST", "api/v1/users/bob/servers/ada%2F/reset", "ada-server-token")
    assert answer.status_code == 404


def test_a_second_reset_is_a_conflict(world):
    with running_service(world, hub=HubNeverStops(world)) as ask:
        assert ask("POST", "api/v1/users/ada/server/reset").status_code == 202
        answer = ask("POST", "api/v1/users/ada/server/reset")
        assert answer.status_code == 409
        assert "under way" in answer.json()["detail"]
        assert ask("POST", "api/v1/users/ada/server/undo-reset").status_code == 409


def test_an_undo_without_a_reset_is_a_conflict(ask):
    answer = ask("POST", "api/v1/users/ada/server/undo-reset")
    assert (answer.status_code, answer.json()["detail"]) == (409, "There is no reset to undo.")


def test_failed_starts_are_told_until_a_reset(ask, world):
    for _ in range(2):
        world.ledger.add_failed_start("ada", "", 1, now())
    assert ask("GET", "api/v1/users/ada/server").json()["failed_starts"] == 2
    reset(world.ledger, "ada", "", now())
    assert ask("GET", "api/v1/users/ada/server").json()["failed_starts"] == 0


def test_what_can_be_gone_back_to_is_told_with_when_it_ends(ask, world):
    for _ in range(3):
        reset(world.ledger, "ada", "", now())
    first, second = ask("GET", "api/v1/users/ada/server").json()["undo"]
    assert (first["generation"], second["generation"]) == (3, 2)
    assert (first["resets_left"], second["resets_left"]) == (2, 1)
    assert second["expires"] == "Kept until the next reset."
    assert datetime.fromisoformat(first["left_at"]) >= datetime.fromisoformat(second["left_at"])
    chinese = {"Accept-Language": "zh-CN"}
    told = ask("GET", "api/v1/users/ada/server", headers=chinese).json()["undo"]
    assert [each["expires"] for each in told] == ["再重置 2 次后删除。", "再重置 1 次后删除。"]


def test_an_undo_goes_to_the_generation_that_was_asked_for_and_back(ask, world):
    for _ in range(2):
        reset(world.ledger, "ada", "", now())
    for body, expected in (({"generation": 1}, 1), ({}, 3), ({"generation": 1}, 1)):
        begun = ask("POST", "api/v1/users/ada/server/undo-reset", json=body).json()
        assert begun["operation"]["generation"] == expected
        assert until_done(ask, begun["operation"]["id"])["step"] == "done"
        assert ask("GET", "api/v1/users/ada/server").json()["generation"] == expected


@pytest.mark.parametrize(
    ("generation", "status", "message"),
    [
        (4, 409, "Generation 4 is not kept. You can go back to: 2, 1."),
        (3, 409, "Generation 3 is in use already."),
        (0, 400, "generation must be a whole number"),
        (2**63, 400, "generation must be a whole number"),
        ("2", 400, "generation must be a whole number"),
    ],
)
def test_a_generation_that_is_none_is_refused(ask, world, generation, status, message):
    for _ in range(2):
        reset(world.ledger, "ada", "", now())
    answer = ask("POST", "api/v1/users/ada/server/undo-reset", json={"generation": generation})
    assert (answer.status_code, answer.json()["detail"][: len(message)]) == (status, message)
    assert world.ledger.unfinished_operations() == ()


@pytest.mark.parametrize("action", ["reset", "undo-reset"])
def test_whoever_resets_for_another_says_why_and_the_user_reads_it(ask, world, action):
    reset(world.ledger, "ada", "", now())
    path = f"api/v1/users/ada/server/{action}"
    for body in ({}, {"reason": ""}, {"reason": " "}):
        answer = ask("POST", path, "instructor-token", json=body)
        assert answer.status_code == 409
        assert answer.json()["detail"] == 'Say why, for ada to read: {"reason": "…"}.'
    reason = "torch <b> was “broken”"
    begun = ask("POST", path, "instructor-token", json={"reason": reason}).json()
    told = until_done(ask, begun["operation"]["id"])
    assert (told["requested_by"], told["reason"]) == ("kim", reason)
    view = ask("GET", "api/v1/users/ada/server").json()
    assert (view["operation"]["requested_by"], view["operation"]["reason"]) == ("kim", reason)
    (notice,) = view["notices"]
    assert notice["text"].startswith("kim ") and reason in notice["text"]


@pytest.mark.parametrize("reason", ["two\nlines", "x" * 201, "\u202egnirts", 5, None, ["x"]])
def test_a_reason_that_could_not_be_shown_is_refused(ask, world, reason):
    answer = ask("POST", "api/v1/users/ada/server/reset", json={"reason": reason})
    assert answer.status_code == 400
    assert world.ledger.operation_of("ada", "") is None


def test_a_service_of_the_users_name_is_not_the_user(ask):
    """JupyterHub lets a service have any name."""
    ask.tokens["service"] = {
        "kind": "service",
        "name": "ada",
        "scopes": [scopes.ACCESS_SERVICE, scopes.ENVIRONMENT_RESET],
    }
    assert ask("POST", "api/v1/users/ada/server/reset", "service").status_code == 409


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"gpus": 4}', b"null", b"[" * 5000])
def test_a_body_with_anything_in_it_is_refused(ask, world, body):
    answer = ask("POST", "api/v1/users/ada/server/reset", data=body)
    assert answer.status_code == 400
    assert world.ledger.operation_of("ada", "") is None


def test_a_failure_says_what_to_do_in_the_readers_language(world):
    with running_service(world, hub=HubFailsToStart(world)) as ask:
        body = ask("POST", "api/v1/users/ada/server/reset").json()
        view = until_done(ask, body["operation"]["id"])
        assert view["step"] == "failed"
        assert view["error_code"] == "start-failed"
        assert view["switched"] is True
        assert "The image is gone" in view["error"]
        assert [step["state"] for step in view["steps"]] == ["done", "done", "failed"]
        chinese = ask(
            "GET", f"api/v1/operations/{view['id']}", headers={"Accept-Language": "zh-CN,zh;q=0.9"}
        ).json()
        assert "服务器" in chinese["error"]
        assert "The image is gone" in chinese["error"]


def test_a_restarted_service_finishes_what_the_last_one_began(world):
    operation = world.ledger.begin_operation(
        OperationKind.RESET,
        "ada",
        "",
        requested_by="ada",
        start_after=True,
        user_options={"gpus": 1},
        now=world.ledger.lease_of("ada", "").granted_at,
    )
    world.ledger.advance_operation(operation.id, OperationStep.STOPPING, operation.requested_at)
    with running_service(world) as ask:
        assert until_done(ask, operation.id)["step"] == "done"
        assert ask("GET", "api/v1/users/ada/server").json()["generation"] == 2


def test_health_tells_what_is_away(world):
    with running_service(world, engine=EngineSilent(world)) as ask:
        time.sleep(0.2)
        assert ask("GET", "api/v1/health").json()["engine"] == "unavailable"
        view = ask("GET", "api/v1/health", "admin-token").json()
        assert view["status"] == "degraded"
        assert view["engine"] == "The Docker Engine did not answer"
        assert view["hub"] == view["ledger"] == "ok"
        assert view["devices"] == {"healthy": 2, "free": 1, "total": 2}


def test_while_the_hub_is_down_the_known_are_served_and_nothing_is_reset(ask, world):
    assert ask("GET", "api/v1/users/ada/server").status_code == 200
    ask.hub_down = True
    view = ask("GET", "api/v1/users/ada/server").json()  # the hub's word about the token is kept
    assert (view["running"], view["state"]) == (None, "unknown")
    assert ask("POST", "api/v1/users/ada/server/reset").status_code == 503
    assert world.ledger.operation_of("ada", "") is None
    time.sleep(1.2)
    answer = ask("GET", "api/v1/users/ada/server")
    assert answer.status_code == 503
    assert "JupyterHub did not answer" in answer.json()["detail"]


def test_an_unexpected_error_shows_nothing_of_the_inside(ask, world, monkeypatch):
    def broken(*_args):
        raise RuntimeError("'NoneType' object has no attribute 'secret'")

    monkeypatch.setattr(world.ledger, "environment", broken)
    answer = ask("GET", "api/v1/users/ada/server")
    assert answer.status_code == 500
    assert answer.json()["detail"].startswith("Something went wrong in gpucamp")
    assert "NoneType" not in answer.text


def test_a_ledger_that_is_away_is_told_without_its_place(ask, world, monkeypatch):
    def away(*_args, **_kwargs):
        raise LedgerUnavailable("The ledger /srv/secret/ledger.sqlite cannot be used: disk is full")

    for name in ("environment", "devices"):
        monkeypatch.setattr(world.ledger, name, away)
    answer = ask("GET", "api/v1/users/ada/server")
    assert answer.status_code == 503
    assert "ledger" in answer.json()["detail"]
    assert "/srv/secret" not in answer.text
    assert "/srv/secret" not in ask("GET", "api/v1/health").text
    assert "disk is full" in ask("GET", "api/v1/health", "admin-token").json()["ledger"]


def test_leases_show_ended_ones_on_demand(ask, world):
    world.stop_server("ada", "")
    assert ask("GET", "api/v1/leases", "admin-token").json() == {"leases": [], "next": None}
    ended = ask("GET", "api/v1/leases?include_ended=1", "admin-token").json()["leases"]
    assert [(lease["user"], lease["state"]) for lease in ended] == [("ada", "ended")]
    assert ask("GET", "api/v1/leases?include_ended=yes", "admin-token").status_code == 400


def test_devices_show_who_holds_them(ask):
    first, second = ask("GET", "api/v1/devices", "admin-token").json()["devices"]
    assert [lease["user"] for lease in first["leases"]] == ["ada"]
    assert second["leases"] == []
    assert first["simulated"] is True


# -- the browser's way: cookie and XSRF


def signed_in(ask) -> requests.Session:
    session = requests.Session()
    page = session.get(ask.url, headers={"Sec-Fetch-Mode": "navigate"}, timeout=10)
    assert page.status_code == 200, page.text
    assert "My environment" in page.text
    return session


def test_a_cookie_without_the_xsrf_token_does_nothing(ask, world):
    session = signed_in(ask)
    url = f"{ask.url}api/v1/users/ada/server/reset"
    for headers in (
        {},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site"},
        {"X-XSRFToken": "made-up"},
    ):
        answer = session.post(url, headers=headers, timeout=10)
        assert answer.status_code == 403, headers
    assert world.ledger.operation_of("ada", "") is None


def test_a_cookie_with_the_xsrf_token_works(ask):
    session = signed_in(ask)
    token = session.cookies.get("_xsrf", path="/services/gpucamp/")
    headers = {"X-XSRFToken": token, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    answer = session.post(f"{ask.url}api/v1/users/ada/server/reset", headers=headers, timeout=10)
    assert answer.status_code == 202, answer.text
    until_done(ask, answer.json()["operation"]["id"])


def test_a_foreign_page_cannot_read_with_the_cookie(ask):
    session = signed_in(ask)
    headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site"}
    answer = session.get(f"{ask.url}api/v1/users/ada/server", headers=headers, timeout=10)
    assert answer.status_code == 403


# -- pages


def test_a_page_for_nobody_leads_to_the_hubs_sign_in(ask):
    answer = ask("GET", "", None)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/hub/api/oauth2/authorize")


@pytest.mark.parametrize(
    "query", ["", "?code=x", "?code=x&state=forged", "?error=access_denied&error_description=no"]
)
def test_a_sign_in_that_nobody_began_is_an_error_page_and_no_session(ask, query):
    answer = ask("GET", f"oauth_callback{query}", None)
    assert answer.status_code in (400, 403)
    assert "Signing in did not work" in answer.text
    assert "service-gpucamp=" not in answer.headers.get("Set-Cookie", "")


@pytest.mark.parametrize("path", ["users/bob/server", "operations/none", "nothing/here"])
def test_pages_of_others_are_not_found(ask, path):
    answer = ask("GET", path)
    assert answer.status_code == 404
    assert "Not found" in answer.text


def test_the_devices_page_is_for_those_who_see_all(ask):
    assert ask("GET", "devices").status_code == 403
    page = ask("GET", "devices", "admin-token")
    assert page.status_code == 200
    assert 'href="/services/gpucamp/users/ada/server"' in page.text
    assert "devices" not in ask("GET", "").text.split("</header>")[0]


def test_pages_speak_the_visitors_language(ask):
    chinese = ask("GET", "", headers={"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5"})
    assert 'lang="zh-CN"' in chinese.text
    assert "我的环境" in chinese.text
    switched = ask("GET", "?lang=en", headers={"Accept-Language": "zh-CN"})
    assert switched.status_code == 302
    assert "gpucamp-language=en" in switched.headers["Set-Cookie"]


def test_every_page_forbids_scripts_and_frames_of_others(ask):
    for path in ["", "devices", "operations/none", "api/v1/health"]:
        policy = ask("GET", path).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy


def test_a_users_name_is_text_on_a_page(world):
    world.users["<b>x"] = ()
    with running_service(world, limits=replace(Limits(), poll=0.02)) as ask:
        ask.tokens["odd"] = person("<b>x")
        page = ask("GET", "", "odd").text
        assert "<b>x" not in page
        assert "&lt;b&gt;x" in page
