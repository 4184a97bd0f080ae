"""REST about a place in the line: move it, take that back, take somebody out; and who may."""

from __future__ import annotations

import pytest
from service_server import person
from service_world import World, now

from hub_ext import scopes
from hub_ext.models import NoticeKind, Request

CHANGES = {
    "move": {"position": 1, "reason": "the demo"},
    "undo-move": {},
    "cancel": {"reason": "the exam"},
}
MANAGE = scopes.LEASES_MANAGE


@pytest.fixture
def line(world: World) -> World:
    """ada has one device of two; bob, kim and joe want two each."""
    world.users |= {"bob": ("class-1",), "kim": (), "joe": ()}
    for user in ("bob", "kim", "joe"):
        world.ledger.enqueue(Request(user, "", 2), now())
    return world


def change(ask, verb: str, user: str = "joe", body: object | None = None, **more):
    token = more.pop("token", "admin-token")
    body = CHANGES[verb] if body is None else body
    return ask("POST", f"api/v1/queue/{user}/server/{verb}", token, json=body, **more)


def order(ask) -> list[str]:
    rows = ask("GET", "api/v1/queue", "admin-token").json()["queue"]
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["user"] for row in rows]


@pytest.mark.parametrize("verb", list(CHANGES))
@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("nonsense", 401),
        ("stranger-token", 403),
        ("ada-token", 403),
        ("bob-token", 403),
        ("ada-server-token", 403),
        ("extender-token", 403),
        ("other-class-token", None),
        ("class-token", None),
        ("instructor-token", 200),
        ("admin-token", 200),
    ],
)
def test_the_line_is_changed_by_those_who_manage_leases(line, ask, verb, token, status):
    ask.tokens |= {
        "class-token": person("kim", f"{MANAGE}!group=class-1"),
        "other-class-token": person("kim", f"{MANAGE}!group=class-2"),
        "extender-token": person("kim", scopes.LEASE_EXTEND),
    }
    if status is None:
        # a place concerns everybody; to be taken out only those who are
        out = 200 if token == "class-token" else 404  # noqa: S105  # its name
        status = out if verb == "cancel" else 403
    before = line.ledger.queue()
    assert change(ask, verb, "bob", token=token).status_code == status
    if status != 200:
        assert line.ledger.queue() == before


def test_a_move_is_seen_by_all_with_who_and_why(line, ask):
    assert order(ask) == ["bob", "kim", "joe"]
    answer = change(ask, "move")
    assert answer.status_code == 200
    waiting = answer.json()["waiting"]
    assert (waiting["user"], waiting["position"]) == ("joe", 1)
    assert (waiting["move"]["by"], waiting["move"]["reason"]) == ("root", "the demo")
    assert order(ask) == ["joe", "bob", "kim"]
    own = ask("GET", "api/v1/users/joe/server", "admin-token").json()["queue"]
    assert (own["position"], own["move"]["reason"]) == (1, "the demo")
    other = ask("GET", "api/v1/users/bob/server", "bob-token").json()["queue"]
    assert (other["position"], other["move"]) == (2, None)
    page = ask("GET", "users/joe/server", "admin-token").text
    assert "moved by root: “the demo”" in page
    assert line.ledger.audit_trail()[-1].action == "queue.move"
    waiting = change(ask, "undo-move").json()["waiting"]
    assert (waiting["position"], waiting["move"]) == (3, None)
    assert order(ask) == ["bob", "kim", "joe"]


def test_a_move_to_a_place(line, ask):
    change(ask, "move", body={"position": 2, "reason": "x"})
    assert order(ask) == ["bob", "joe", "kim"]
    change(ask, "move", "bob", {"position": 100, "reason": "x"})
    assert order(ask) == ["joe", "kim", "bob"]
    change(ask, "move", "kim", {"reason": "the first by default"})
    assert order(ask) == ["kim", "joe", "bob"]
    trail = line.ledger.audit_trail()
    change(ask, "move", "kim", {"reason": "again"})
    assert line.ledger.audit_trail() == trail


def test_who_cannot_be_served_is_not_moved(line, ask):
    line.ledger.enqueue(Request("lee", "", 3), now())
    for language, words in (("en", "passed over"), ("zh-CN", "跳过")):
        answer = change(ask, "move", "lee", headers={"Accept-Language": language})
        assert answer.status_code == 409 and words in answer.text


@pytest.mark.parametrize("verb", list(CHANGES))
@pytest.mark.parametrize("user", ["ada", "nobody"])
def test_who_does_not_wait_is_not_found(line, ask, verb, user):
    answer = change(ask, verb, user)
    assert answer.status_code == 404 and "does not wait in line" in answer.text


def test_a_named_server_has_a_place_of_its_own(line, ask):
    line.ledger.enqueue(Request("bob", "second", 2), now())
    path = "api/v1/queue/bob/servers/second/"
    answer = ask("POST", path + "move", "admin-token", json=CHANGES["move"])
    assert (answer.json()["waiting"]["server"], order(ask)[0]) == ("second", "bob")
    assert ask("POST", path + "cancel", "admin-token", json=CHANGES["cancel"]).status_code == 200
    assert [entry.request.server for entry in line.ledger.queue()] == ["", "", ""]
    assert (
        ask("POST", "api/v1/queue/bob/servers/No/move", "admin-token", json={}).status_code == 404
    )


def test_who_is_taken_out_reads_why(line, ask):
    answer = change(ask, "cancel")
    assert answer.json() == {"cancelled": {"user": "joe", "server": "", "reason": "the exam"}}
    assert order(ask) == ["bob", "kim"]
    (notice,) = line.ledger.notices("joe", "")
    assert notice.kind is NoticeKind.QUEUE_CANCELLED
    text = ask("GET", "api/v1/users/joe/server", "admin-token").json()["notices"][0]["text"]
    assert "root took this server out of the line for a GPU: “the exam”" in text
    line_ = line.ledger.audit_trail()[-1]
    assert (line_.actor, line_.action) == ("root", "queue.cancel")
    assert change(ask, "cancel").status_code == 404


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("move", {}),
        ("move", {"position": 1}),
        ("move", {"position": 0, "reason": "x"}),
        ("move", {"position": 101, "reason": "x"}),
        ("move", {"position": "1", "reason": "x"}),
        ("move", {"position": 1, "reason": ""}),
        ("move", {"position": 1, "reason": "x", "to": "front"}),
        ("undo-move", {"reason": "x"}),
        ("cancel", {}),
        ("cancel", {"reason": "\n"}),
        ("cancel", {"reason": "x" * 201}),
        ("cancel", ["x"]),
    ],
)
def test_a_body_out_of_bounds_changes_nothing(line, ask, verb, body):
    before = line.ledger.queue()
    assert change(ask, verb, body=body).status_code == 400
    assert line.ledger.queue() == before


def test_the_buttons_are_for_those_who_manage_leases(line, ask):
    ask.tokens["reader-token"] = person("reader", scopes.LEASES_READ, scopes.DEVICES_READ)
    ask.tokens["class-token"] = person(
        "kim", f"{MANAGE}!group=class-1", f"{scopes.ENVIRONMENT_READ}!group=class-1"
    )
    assert "move-dialog" not in ask("GET", "queue", "reader-token").text
    page = ask("GET", "queue", "admin-token").text
    for verb in ("move", "cancel"):
        assert f'data-url="/services/gpucamp/api/v1/queue/joe/server/{verb}"' in page
    assert "undo-move-joe" not in page
    page = ask("GET", "users/bob/server", "class-token").text
    assert 'data-url="/services/gpucamp/api/v1/queue/bob/server/cancel"' in page
    assert 'id="move-bob-"' not in page
    change(ask, "move", body={"reason": "<i>demo</i>"})
    page = ask("GET", "queue", "admin-token").text
    assert "undo-move-joe" in page
    assert "<i>demo" not in page and "“&lt;i&gt;demo&lt;/i&gt;”" in page
