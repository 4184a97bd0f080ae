"""REST about one lease: what became of it, more time for it, its revocation; and who may."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from service_server import expand, person, running_service
from service_world import UUIDS, World, first_free, make_ledger, now

from hub_ext import scopes
from hub_ext.errors import Conflict
from hub_ext.models import NoticeKind, Request
from hub_ext.policy import Policy, Rule
from hub_ext.service.terms_loop import TermsLoop

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
CHANGES = {
    "extend": {"minutes": 60, "reason": "the talk"},
    "revoke": {"reason": "the exam"},
    "undo-revoke": {},
}


@pytest.fixture
def termed(world: World) -> World:
    """ada's lease has one of its two hours left."""
    world.stop_server("ada", "")
    world.ledger.set_policy(Policy(default=Rule(lease_hours=2.0)))
    world.run_server("ada", term=2 * HOUR, at=now() - HOUR)
    world.users["ada"] = ("class-1",)
    return world


def lease_of(world: World):
    return world.ledger.lease_of("ada", "")


def path(world: World, verb: str = "") -> str:
    return f"api/v1/leases/{lease_of(world).id}" + (f"/{verb}" if verb else "")


def change(ask, verb: str, body: object | None = None, **more):
    token = more.pop("token", "admin-token")
    body = CHANGES[verb] if body is None else body
    return ask("POST", path(ask.world, verb), token, json=body, **more)


# -- who may

MANAGE = scopes.LEASES_MANAGE


def add_tokens(ask) -> None:
    ask.tokens.update(
        {
            "class-token": person("kim", f"{MANAGE}!group=class-1"),
            "other-class-token": person("kim", f"{MANAGE}!group=class-2"),
            "extender-token": person("kim", scopes.LEASE_EXTEND),
            "class-reader-token": person("kim", f"{scopes.ENVIRONMENT_READ}!group=class-1"),
            "ada-second-server-token": {
                "kind": "user",
                "name": "ada",
                "scopes": expand(scopes.SERVER_TOKEN_SCOPES, "ada", "second"),
            },
        }
    )


@pytest.mark.parametrize("verb", list(CHANGES))
@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("nonsense", 401),
        ("stranger-token", 403),
        ("ada-token", 403),
        ("ada-server-token", 403),
        ("extender-token", 403),
        ("other-class-token", 404),
        ("class-token", 200),
        ("instructor-token", 200),
        ("admin-token", 200),
    ],
)
def test_a_lease_is_changed_by_admins_and_those_who_teach_its_user(
    termed, ask, verb, token, status
):
    add_tokens(ask)
    before = lease_of(termed)
    answer = change(ask, verb, token=token)
    assert answer.status_code == status
    if status != 200:
        assert lease_of(termed) == before


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("stranger-token", 403),
        ("bob-token", 404),
        ("ada-second-server-token", 404),
        ("ada-token", 200),
        ("ada-server-token", 200),
        ("class-reader-token", 200),
        ("admin-token", 200),
    ],
)
def test_a_lease_is_seen_by_its_user_and_those_who_may_see_the_server(termed, ask, token, status):
    add_tokens(ask)
    assert ask("GET", path(termed), token).status_code == status


@pytest.mark.parametrize("verb", ["", *CHANGES])
def test_a_lease_of_others_is_as_one_that_never_was(termed, ask, verb):
    ask.tokens["nosy-token"] = person(
        "kim", f"{MANAGE}!group=class-2", f"{scopes.ENVIRONMENT_READ}!group=class-2"
    )
    method, body = ("POST", CHANGES[verb]) if verb else ("GET", None)
    theirs = ask(method, path(termed, verb), "nosy-token", json=body)
    none = ask(method, f"api/v1/leases/none{'/' + verb if verb else ''}", "nosy-token", json=body)
    assert theirs.status_code == none.status_code == 404
    words = "There is no such lease."
    assert words in theirs.text and words in none.text


# -- what becomes of it


def test_one_lease_tells_its_end_and_its_trail(termed, ask):
    change(ask, "extend")
    change(ask, "revoke")
    found = ask("GET", path(termed), "ada-token").json()
    lease, now_is = found["lease"], lease_of(termed)
    assert lease["devices"] == list(now_is.device_uuids)
    assert lease["ends"]["revocation"]["reason"] == "the exam"
    assert lease["ends"]["revocation"]["until"] == lease["expires_at"]
    assert datetime.fromisoformat(lease["ends"]["term"]) == now_is.term_until
    assert lease["ends"]["drain"] is None
    assert [line["action"] for line in found["audit"]] == ["revoke", "extend", "run", "grant"]
    termed.stop_server("ada", "")
    ended = ask("GET", f"api/v1/leases/{lease['id']}", "admin-token").json()
    assert (ended["lease"]["state"], ended["audit"][0]["action"]) == ("ended", "end")


def test_an_admin_gives_more_than_the_policy_and_while_others_wait(termed, ask):
    termed.ledger.enqueue(Request("bob", "", 2), now())
    assert ask("POST", "api/v1/users/ada/server/lease/extend").status_code == 409
    before = lease_of(termed).expires_at
    answer = change(ask, "extend", {"minutes": 600, "reason": "the talk"})
    assert answer.status_code == 200
    after = lease_of(termed)
    assert (after.expires_at, after.extensions) == (before + 600 * MINUTE, 0)
    assert answer.json()["lease"]["expires_at"] == after.expires_at.isoformat()
    (notice,) = termed.ledger.notices("ada", "")
    assert notice.kind is NoticeKind.LEASE_EXTENDED
    text = ask("GET", "api/v1/users/ada/server").json()["notices"][0]["text"]
    assert "root extended" in text and "“the talk”" in text
    line, told = termed.ledger.audit_trail()[-2:]
    assert (line.actor, line.action, line.lease_id) == ("root", "extend", after.id)
    assert (line.user, line.reason, told.action) == ("ada", "the talk", "notice.add")


def refused(ask, verb: str, words: str, chinese: str, body=None) -> None:
    before = lease_of(ask.world)
    for language, said in (("en", words), ("zh-CN", chinese)):
        answer = change(ask, verb, body, headers={"Accept-Language": language})
        assert answer.status_code == 409
        assert said in answer.text
    assert lease_of(ask.world) == before


def test_no_extension_while_a_device_is_drained(termed, ask):
    termed.ledger.drain(UUIDS[0], now() + 2 * HOUR, "fan", now(), actor="root")
    refused(ask, "extend", "needed for maintenance", "维护")


def test_no_extension_of_what_was_revoked(termed, ask):
    change(ask, "revoke")
    refused(ask, "extend", "was revoked", "已被收回")
    answer = ask("POST", "api/v1/users/ada/server/lease/extend")
    assert answer.status_code == 409 and "was revoked" in answer.text


def test_no_extension_beyond_the_quota(termed, ask):
    termed.ledger.set_policy(Policy(default=Rule(lease_hours=2.0, device_hours=3.0)))
    words = "The device-hours of ada last for 5"  # of an hour, what the test takes is less
    refused(ask, "extend", words, "ada 的设备小时数只够", {"minutes": 61, "reason": "x"})
    assert change(ask, "extend", {"minutes": 55, "reason": "x"}).status_code == 200


def test_no_extension_of_what_does_not_run_or_has_no_end(termed, ask):
    termed.ledger.hold(lease_of(termed).id, now() + HOUR, now())
    refused(ask, "extend", "is being started or reset", "正在启动或重置")
    endless = termed.ledger.acquire(Request("bob", "", 1), first_free(1), now())
    termed.ledger.mark_running(endless.id, "c", now())
    answer = ask(
        "POST", f"api/v1/leases/{endless.id}/extend", "admin-token", json=CHANGES["extend"]
    )
    assert answer.status_code == 409 and "no end" in answer.text


def test_by_default_a_revocation_leaves_as_much_time_as_the_first_warning(termed, ask):
    view = change(ask, "revoke").json()["lease"]
    left = datetime.fromisoformat(view["expires_at"]) - now()
    assert 29 * MINUTE < left <= 30 * MINUTE
    said = lease_of(termed).revocation
    assert (said.by, said.reason, said.until) == ("root", "the exam", lease_of(termed).expires_at)
    server = ask("GET", "api/v1/users/ada/server").json()
    assert server["lease"]["revocation"]["by"] == "root"
    assert "root takes the GPUs of this server back" in server["notices"][0]["text"]
    assert "the exam" in server["notices"][0]["text"]


def test_to_revoke_twice_and_to_undo_twice_is_to_do_it_once(termed, ask):
    before = lease_of(termed)
    first = change(ask, "revoke").json()
    assert change(ask, "revoke", {"reason": "again", "minutes": 45}).json() == first
    assert change(ask, "undo-revoke").status_code == 200
    trail = termed.ledger.audit_trail()
    assert change(ask, "undo-revoke").json()["lease"]["ends"]["revocation"] is None
    assert (lease_of(termed), termed.ledger.audit_trail()) == (before, trail)
    assert [n.kind for n in termed.ledger.notices("ada", "")] == [NoticeKind.REVOCATION_UNDONE]


def test_what_is_due_is_not_taken_back(termed, ask):
    change(ask, "revoke", {"minutes": 0, "reason": "the exam"})
    refused(ask, "undo-revoke", "It is too late", "已经太晚")


async def test_at_once_the_server_is_stopped_and_its_user_reads_why(termed, ask):
    change(ask, "revoke", {"minutes": 0, "reason": "the exam"})
    loop = TermsLoop(termed.ledger, ask.hub, ask.engine, dict)
    await loop.round()
    await loop.settled()
    assert lease_of(termed) is None
    texts = [n["text"] for n in ask("GET", "api/v1/users/ada/server").json()["notices"]]
    assert "stopped because root took its GPUs back: “the exam”" in texts[-1]


@pytest.mark.parametrize("verb", list(CHANGES))
def test_what_has_ended_is_not_changed(termed, ask, verb):
    url = path(termed, verb)
    termed.stop_server("ada", "")
    answer = ask("POST", url, "admin-token", json=CHANGES[verb])
    assert answer.status_code == 409 and "The lease has ended." in answer.text


def test_what_ends_in_between_is_not_changed(termed, ask, monkeypatch):
    def ended(*_all, **_more):
        raise Conflict("The lease has ended.")

    for name in ("extend", "revoke", "undo_revoke"):
        monkeypatch.setattr(termed.ledger, name, ended)
    for verb in CHANGES:
        assert change(ask, verb).status_code == 409


@pytest.fixture(scope="module")
def module_ask(tmp_path_factory):
    """For questions that change nothing."""
    ledger = make_ledger(tmp_path_factory.mktemp("one-lease"))
    world = World(ledger)
    world.run_server("ada", term=HOUR)
    with running_service(world) as running:
        yield running
    ledger.close()


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("extend", {}),
        ("extend", {"minutes": 60}),
        ("extend", {"reason": "x"}),
        ("extend", {"minutes": 0, "reason": "x"}),
        ("extend", {"minutes": 10081, "reason": "x"}),
        ("extend", {"minutes": "60", "reason": "x"}),
        ("extend", {"minutes": 60, "reason": " "}),
        ("extend", {"minutes": 60, "reason": "x", "until": "later"}),
        ("extend", [60]),
        ("revoke", {}),
        ("revoke", {"minutes": 5}),
        ("revoke", {"reason": ""}),
        ("revoke", {"reason": "two\nlines"}),
        ("revoke", {"reason": "x" * 201}),
        ("revoke", {"reason": "x", "minutes": -1}),
        ("revoke", {"reason": "x", "minutes": None}),
        ("revoke", {"reason": "x", "notice": 5}),
        ("undo-revoke", {"reason": "x"}),
    ],
)
def test_a_body_out_of_bounds_changes_nothing(module_ask, verb, body):
    before = module_ask.world.ledger.audit_trail()
    assert change(module_ask, verb, body).status_code == 400
    assert module_ask.world.ledger.audit_trail() == before


# -- the pages


def test_the_servers_page_has_them_for_those_of_ones_class(termed, ask):
    termed.run_server("bob", term=HOUR)
    ask.tokens["class-token"] = person("kim", scopes.ENVIRONMENT_READ, f"{MANAGE}!group=class-1")
    termed.stop_server("ada", "")
    termed.run_server("ada", term=HOUR, groups=("class-1",))
    page = ask("GET", "class?view=table", "class-token").text
    mine, other = path(termed, "revoke"), termed.ledger.lease_of("bob", "").id
    assert f'data-url="/services/gpucamp/{mine}"' in page and "revoke-dialog" in page
    assert f"leases/{other}/revoke" not in page
    ask.tokens["watcher"] = person("watcher", scopes.ENVIRONMENT_READ)
    assert "revoke-dialog" not in ask("GET", "class?view=table", "watcher").text
    change(ask, "revoke")
    assert "revoked by root" in ask("GET", "class?view=table", "watcher").text


def test_the_buttons_are_for_those_who_manage_leases(termed, ask):
    ask.tokens["watcher"] = person("watcher", scopes.DEVICES_READ, scopes.ENVIRONMENT_READ)
    for page in ("devices", "users/ada/server"):
        assert "revoke-dialog" not in ask("GET", page, "watcher").text
        text = ask("GET", page, "admin-token").text
        assert f'data-url="/services/gpucamp/{path(termed)}/revoke"' in text
        assert 'value="30"' in text, "the default of the policy"
    assert "revoke-dialog" not in ask("GET", "", "ada-token").text
    change(ask, "revoke", {"reason": "<b>exam</b>"})
    for page, token in (("devices", "admin-token"), ("", "ada-token")):
        text = ask("GET", page, token).text
        assert "<b>exam" not in text and "“&lt;b&gt;exam&lt;/b&gt;”" in text
    text = ask("GET", "devices", "admin-token").text
    assert f'data-url="/services/gpucamp/{path(termed)}/undo-revoke"' in text
