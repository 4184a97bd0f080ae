"""REST about a server's lease: more time, answers, notices, leaving the line; and who may."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from service_server import expand, person, running_service
from service_world import UUIDS, HubLetsWait, World, now

from hub_ext import scopes
from hub_ext.models import Cordon, NoticeKind, Request
from hub_ext.policy import Policy, Rule

HOUR = timedelta(hours=1)
BASE = "api/v1/users/ada/server"
CHANGES = {
    "/lease/extend": {},
    "/lease/keep": {},
    "/notices/read": {"up_to": 1},
}


@pytest.fixture
def termed(world: World) -> World:
    """ada's lease has had half of its two hours."""
    world.stop_server("ada", "")
    world.ledger.set_policy(Policy(default=Rule(lease_hours=2.0)))
    world.run_server("ada", term=2 * HOUR, at=now() - HOUR)
    return world


def lease_of(world: World):
    return world.ledger.lease_of("ada", "")


# -- who may


@pytest.mark.parametrize("path", list(CHANGES))
@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("nonsense", 401),
        ("stranger-token", 403),
        ("reader-token", 403),
        ("bob-token", 404),
        ("other-class-token", 404),
        ("ada-second-server-token", 404),
        ("ada-token", 200),
        ("ada-server-token", 200),
        ("class-token", 200),
        ("instructor-token", 200),
        ("admin-token", 200),
    ],
)
def test_a_lease_is_for_its_user_and_those_who_teach_them(termed, ask, path, token, status):
    ask.world.users["ada"] = ("class-1",)
    ask.tokens.update(
        {
            "reader-token": {
                "kind": "user",
                "name": "ada",
                "scopes": expand([scopes.ACCESS_SERVICE, f"{scopes.ENVIRONMENT_READ}!user"], "ada"),
            },
            "class-token": person("kim", f"{scopes.LEASE_EXTEND}!group=class-1"),
            "other-class-token": person("kim", f"{scopes.LEASE_EXTEND}!group=class-2"),
            "ada-second-server-token": {
                "kind": "user",
                "name": "ada",
                "scopes": expand(scopes.SERVER_TOKEN_SCOPES, "ada", "second"),
            },
        }
    )
    assert ask("POST", BASE + path, token, json=CHANGES[path]).status_code == status


@pytest.mark.parametrize("path", [*CHANGES, "/queue/leave"])
def test_a_server_that_never_was_is_not_found(ask, path):
    body = CHANGES.get(path, {})
    assert ask("POST", f"api/v1/users/ada/servers/none{path}", json=body).status_code == 404
    assert (
        ask("POST", f"api/v1/users/nobody/server{path}", "admin-token", json=body).status_code
        == 404
    )


# -- extension


def test_an_extension_gives_what_the_policy_allows_and_answers_with_the_server(termed, ask):
    view = ask("GET", BASE).json()
    before = lease_of(termed).expires_at
    assert view["lease"]["expires_at"] == before.isoformat()
    assert (view["lease"]["can_extend"], view["lease"]["extend_refusal"]) == (True, None)
    answer = ask("POST", BASE + "/lease/extend", "ada-server-token")
    assert answer.status_code == 200
    after = lease_of(termed)
    assert before < after.expires_at <= now() + 2 * HOUR
    assert after.extensions == 1
    assert answer.json()["lease"]["expires_at"] == after.expires_at.isoformat()
    assert answer.json()["lease"]["can_extend"] is False


def refused(ask, words: str, language: str = "en") -> None:
    headers = {"Accept-Language": language}
    view = ask("GET", BASE, headers=headers).json()["lease"]
    assert view["can_extend"] is False and view["extend_until"] is None
    assert words in view["extend_refusal"]
    before = lease_of(ask.world)
    answer = ask("POST", BASE + "/lease/extend", headers=headers)
    assert answer.status_code == 409
    assert answer.json()["detail"] == view["extend_refusal"]
    assert lease_of(ask.world) == before


@pytest.mark.parametrize(
    ("waiting", "words"),
    [(1, "1 other person waits for a GPU like yours"), (3, "3 others wait for a GPU like yours")],
)
def test_no_extension_while_somebody_waits(termed, ask, waiting, words):
    for number in range(waiting):
        termed.ledger.enqueue(Request(f"user{number}", "", 2), now())
    refused(ask, words)
    refused(ask, f"有 {waiting} 人正在等待", "zh-CN")


def test_an_extension_while_those_who_wait_want_something_else(termed, ask):
    termed.ledger.enqueue(Request("bob", "", 1, model="H100"), now())
    assert ask("POST", BASE + "/lease/extend").status_code == 200


def test_no_extension_on_a_device_that_is_drained(termed, ask):
    (uuid,) = lease_of(termed).device_uuids
    termed.ledger.drain(uuid, now() + HOUR / 2, "new fan", now(), actor="root")
    refused(ask, "needed for maintenance")
    view = ask("GET", BASE).json()
    assert view["lease"]["devices"][0]["cordon"] == "draining"
    (notice,) = view["notices"]
    assert "new fan" in notice["text"] and notice["kind"] == "draining"
    termed.ledger.cordon(uuid, Cordon.NONE, "", now(), actor="root")
    assert ask("POST", BASE + "/lease/extend").status_code == 200


def test_no_extension_when_the_device_hours_are_used_up(termed, ask):
    termed.ledger.set_policy(Policy(default=Rule(lease_hours=2.0, device_hours=1.0)))
    refused(ask, "You may use 1 device-hours, and 1.0 are used.")


def test_no_extension_of_a_lease_that_is_as_long_as_can_be(termed, ask):
    assert ask("POST", BASE + "/lease/extend").status_code == 200
    refused(ask, "as long as a new one would be")


def test_no_extension_without_an_end(ask):
    refused(ask, "no end")


def test_no_extension_during_a_reset(termed, ask):
    termed.ledger.hold(lease_of(termed).id, now() + HOUR, now())
    refused(ask, "being started or reset")


@pytest.mark.parametrize("path", ["/lease/extend", "/lease/keep"])
def test_a_server_that_does_not_run_has_no_lease(world, ask, path):
    world.stop_server("ada", "")
    answer = ask("POST", BASE + path)
    assert answer.status_code == 409
    assert "does not run" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/lease/extend", "/lease/keep", "/queue/leave"])
def test_there_is_nothing_to_set(termed, ask, path):
    assert ask("POST", BASE + path, json={"until": "2030-01-01"}).status_code == 400
    assert lease_of(termed).extensions == 0


# -- idle devices


def test_an_answer_takes_the_warning_back(world, ask):
    lease = lease_of(world)
    world.ledger.mark_idle(lease.id, now() - HOUR, now() + HOUR, now())
    assert ask("GET", BASE).json()["lease"]["reclaim_at"] is not None
    view = ask("POST", BASE + "/lease/keep", "ada-server-token").json()
    assert view["lease"]["reclaim_at"] is None
    assert lease_of(world).idle_since > now() - HOUR / 2


# -- notices


def test_notices_are_read_up_to_one(world, ask):
    first = world.ledger.notify("ada", "", NoticeKind.LEASE_EXPIRED, {}, now())
    world.ledger.notify("ada", "", NoticeKind.LEASE_RECLAIMED, {}, now())
    world.ledger.notify("ada", "second", NoticeKind.LEASE_RECLAIMED, {}, now())
    kinds = [notice["kind"] for notice in ask("GET", BASE).json()["notices"]]
    assert kinds == ["lease_expired", "lease_reclaimed"]
    view = ask("POST", BASE + "/notices/read", json={"up_to": first.id}).json()
    assert [notice["kind"] for notice in view["notices"]] == ["lease_reclaimed"]
    assert len(world.ledger.notices("ada")) == 2


@pytest.mark.parametrize(
    "body",
    [{}, {"up_to": "1"}, {"up_to": -1}, {"up_to": 1.5}, {"up_to": True}, {"up_to": 2**63},
     {"up_to": 1, "more": 1}, [1], None],
)  # fmt: skip
def test_a_body_out_of_bounds_is_refused_and_says_what_is_allowed(world, ask, body):
    world.ledger.notify("ada", "", NoticeKind.LEASE_EXPIRED, {}, now())
    answer = ask("POST", BASE + "/notices/read", json=body)
    assert answer.status_code == 400
    assert "up_to" in answer.json()["detail"]
    assert len(world.ledger.notices("ada", "")) == 1


# -- the line


def test_a_place_in_the_line_is_told_and_given_up(world):
    world.ledger.begin_run(HubLetsWait.run, now())
    world.ledger.enqueue(
        Request("ada", "second", 2), now(), waiter=HubLetsWait.run, user_options={"gpus": 2}
    )
    hub = HubLetsWait(world)
    world.servers["ada", "second"] = world.servers["ada", ""].__class__(False, False, "spawn", "")
    with running_service(world, hub=hub) as ask:
        path = "api/v1/users/ada/servers/second"
        queue = ask("GET", path).json()["queue"]
        assert (queue["position"], queue["length"], queue["gpus"]) == (1, 1, 2)
        assert ask("GET", BASE).json()["queue"] is None
        assert ask("POST", path + "/queue/leave", "bob-token").status_code == 404
        answer = ask("POST", path + "/queue/leave")
        assert answer.status_code == 200
        assert answer.json()["queue"] is None
        assert world.servers["ada", "second"].stopped
        again = ask("POST", path + "/queue/leave")
        assert again.status_code == 409
        assert "does not wait in line any more" in again.json()["detail"]


def test_a_server_with_a_lease_does_not_leave_the_line(world, ask):
    assert ask("POST", BASE + "/queue/leave").status_code == 409
    assert world.servers["ada", ""].ready


# -- what is told


def test_quota_is_told_with_what_is_used(termed, ask):
    termed.ledger.set_policy(Policy(default=Rule(max_devices=2, device_hours_per_day=4.0)))
    quota = ask("GET", BASE).json()["quota"]
    assert quota["devices"] == {"used": 1, "limit": 2}
    assert quota["servers"] == {"used": 1, "limit": None}
    assert quota["hours_today"]["limit"] == 4
    assert 0.99 < quota["hours"]["used"] < 1.1


def test_quota_of_a_stopped_server_follows_the_groups_that_the_hub_knows(world, ask):
    world.stop_server("ada", "")
    world.users["ada"] = ("class-1",)
    world.ledger.set_policy(Policy(rules={"class-1": Rule(max_devices=3)}))
    assert ask("GET", BASE).json()["quota"]["devices"]["limit"] == 3
    for _ in range(10):  # who asks is remembered for a second, which a busy host may need for both
        ask.hub_down = False
        ask("GET", BASE)
        ask.hub_down = True
        answer = ask("GET", BASE)
        if answer.status_code != 503:
            break
    view = answer.json()
    assert (view["state"], view["quota"]) == ("unknown", None)


def test_a_device_out_of_order_is_told(world, ask):
    record = next(r for r in world.ledger.devices() if r.device.uuid == UUIDS[0])

    ill = replace(record.device, healthy=False, reason="XID 79")
    world.ledger.record_inventory([ill], now())
    view = ask("GET", BASE).json()
    assert view["lease"]["devices"][0]["state"] == "quarantined"
    assert view["lease"]["devices"][0]["reason"] == "XID 79"
    assert "XID 79" in view["notices"][0]["text"]
    assert "Simulated A100" in view["notices"][0]["text"]
