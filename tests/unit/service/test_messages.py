"""Messages: who writes to whom, what is read, and what the trail keeps."""

from __future__ import annotations

import json
import re

import pytest
from service_server import person
from service_world import now
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from hub_ext import scopes
from hub_ext.models import NoticeKind

TO_ADA = "api/v1/users/ada/messages"
TO_CLASS = "api/v1/groups/class-1/messages"
SAID = {"text": "The demo begins <b>now</b>, 请到前面来"}


@pytest.fixture
def teacher(ask):
    ask.tokens["teacher"] = person("kim", f"{scopes.ENVIRONMENT_MESSAGE}!group=class-1")
    return "teacher"


def unread(world, user, server=""):
    return [(each.kind, each.detail) for each in world.ledger.notices(user, server)]


def test_a_user_reads_it_with_its_author(ask, world):
    answer = ask("POST", TO_ADA, "instructor-token", json=SAID)
    assert (answer.status_code, answer.json()) == (200, {"told": ["ada"]})
    (notice,) = ask("GET", "api/v1/users/ada/server").json()["notices"]
    assert (notice["kind"], notice["text"]) == ("message", f"kim writes: {SAID['text']}")
    page = ask("GET", "").text
    assert "kim writes: The demo begins &lt;b&gt;now" in page and "<b>now" not in page
    chinese = ask("GET", "", headers={"Accept-Language": "zh"}).text
    assert "kim 给您留言：" in chinese


def test_it_is_on_every_server_that_the_user_has(ask, world):
    world.run_server("ada", "second")
    ask("POST", TO_ADA, "instructor-token", json=SAID)
    for server in ("", "second"):
        assert [kind for kind, _ in unread(world, "ada", server)] == [NoticeKind.MESSAGE]
    world.stop_server("ada", "")
    ask("POST", TO_ADA, "instructor-token", json=SAID)
    assert len(unread(world, "ada")) == 1, "only where they are"
    assert len(unread(world, "ada", "second")) == 2
    ask("POST", "api/v1/users/bob/messages", "instructor-token", json=SAID)
    assert len(unread(world, "bob")) == 1, "when they come"


def test_everyone_in_a_group_is_told_once(ask, world, teacher):
    pupils = [f"pupil-{n:03}" for n in range(60)]
    world.users |= {name: ("class-1",) for name in pupils} | {"bob": ("class-2",)}
    answer = ask("POST", TO_CLASS, teacher, json=SAID)
    assert answer.json() == {"told": pupils}
    assert {len(unread(world, name)) for name in pupils} == {1}
    assert unread(world, "bob") == []


@pytest.mark.parametrize("fails_at", range(3))
def test_a_group_is_told_as_a_whole_or_not_at_all(ask, world, teacher, monkeypatch, fails_at):
    pupils = [f"pupil-{n:03}" for n in range(1200)]
    world.users |= {name: ("class-1",) for name in pupils}
    real, calls = Connection.execute, 0

    def breaks(connection, statement, *args, **kwargs):
        nonlocal calls
        if re.match(r"(INSERT INTO|DELETE FROM) (notice|audit_entry)", str(statement)):
            calls += 1
            if calls == fails_at + 1:
                raise OperationalError(str(statement), None, OSError("disk I/O error"))
        return real(connection, statement, *args, **kwargs)

    monkeypatch.setattr(Connection, "execute", breaks)
    assert ask("POST", TO_CLASS, teacher, json=SAID).status_code == 503
    monkeypatch.undo()
    assert {len(unread(world, name)) for name in pupils} == {0}
    assert world.ledger.audit_trail() == before(world)
    assert ask("POST", TO_CLASS, teacher, json=SAID).status_code == 200
    assert {len(unread(world, name)) for name in pupils} == {1}


def before(world):
    """The trail without messages."""
    return tuple(each for each in world.ledger.audit_trail() if each.action != "notice.add")


def test_the_oldest_of_many_go_for_each_user_by_themselves(ask, world, teacher):
    world.users |= {"ada": ("class-1",), "bob": ("class-1",)}
    for n in range(5):
        world.ledger.notify("ada", "", NoticeKind.MESSAGE, {"by": "x", "text": str(n)}, now())
    for n in range(18):
        ask("POST", TO_CLASS, teacher, json={"text": f"class {n}"})
    assert [detail["text"] for _kind, detail in unread(world, "ada")] == [
        "3",
        "4",
        *(f"class {n}" for n in range(18)),
    ]
    assert len(unread(world, "bob")) == 18


def test_the_same_key_writes_once(ask, world):
    for _ in range(2):
        answer = ask(
            "POST", TO_ADA, "instructor-token", json=SAID, headers={"Idempotency-Key": "one"}
        )
        assert answer.json() == {"told": ["ada"]}
    assert len(unread(world, "ada")) == 1


def test_the_trail_says_that_it_was_sent_and_not_what(ask, world):
    ask("POST", TO_ADA, "instructor-token", json=SAID)
    (line,) = [each for each in world.ledger.audit_trail() if each.action == "notice.add"]
    assert (line.actor, line.user, line.detail) == ("kim", "ada", "message")
    assert "demo" not in str(world.ledger.audit_trail())


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        (TO_ADA, "instructor-token", 200),
        (TO_ADA, "admin-token", 200),
        (TO_ADA, "teacher", 200),
        (TO_ADA, "ada-token", 403),
        (TO_ADA, "bob-token", 403),
        (TO_ADA, "ada-server-token", 403),
        (TO_ADA, "stranger-token", 403),
        (TO_ADA, None, 401),
        ("api/v1/users/bob/messages", "teacher", 404),
        ("api/v1/users/nobody/messages", "teacher", 404),
        ("api/v1/users/nobody/messages", "admin-token", 404),
        ("api/v1/users/a%2Fb/messages", "admin-token", 404),
        (TO_CLASS, "instructor-token", 200),
        (TO_CLASS, "teacher", 200),
        ("api/v1/groups/class-2/messages", "teacher", 404),
        ("api/v1/groups/none/messages", "teacher", 404),
        ("api/v1/groups/none/messages", "admin-token", 404),
        (TO_CLASS, "ada-token", 403),
    ],
)
def test_who_writes_to_whom(ask, world, teacher, path, token, status):
    world.users |= {"ada": ("class-1",), "bob": ("class-2",)}
    assert ask("POST", path, token, json=SAID).status_code == status
    assert bool(unread(world, "ada")) == (status == 200)


@pytest.mark.parametrize(
    "body",
    [{}, {"text": ""}, {"text": "  "}, {"text": "a\nb"}, {"text": "x" * 501}, {"text": 1},
     {"text": "x", "by": "root"}, []],
)  # fmt: skip
def test_what_is_no_message_is_refused(ask, world, body):
    answer = ask("POST", TO_ADA, "instructor-token", data=json.dumps(body))
    assert answer.status_code == 400
    assert unread(world, "ada") == []


def test_pages_offer_it_to_who_may(ask, world, teacher):
    world.users["ada"] = ("class-1",)
    world.stop_server("ada", "")
    world.run_server("ada", groups=("class-1",), at=now())
    button = f'data-message="/services/gpucamp/{TO_ADA}"'
    assert button in ask("GET", "class", "instructor-token").text
    assert button in ask("GET", "users/ada/server", "instructor-token").text
    assert TO_CLASS in ask("GET", "groups/class-1", "instructor-token").text
    assert "messages" not in ask("GET", "", "ada-token").text
