"""GPU doctor's verdicts at the service: who tells them, who reads them, what is kept of them."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from service_server import RunningService, expand, person
from service_world import FakeHub, HubDownForAWhile, World, now

from hub_ext import scopes
from hub_ext.errors import HubUnavailable
from hub_ext.service.finding_page import title_of, to_html
from hub_ext.service.hub_api import HubServer
from hub_ext.service.verdict_rounds import forget_lost_servers
from hub_ext.verdicts import Verdict

BASE = "api/v1/users/ada/server"
TELL = f"{BASE}/doctor/verdict"
BLOCKED = [
    {"code": "GC403", "severity": "advice"},
    {"code": "GC102", "severity": "blocker"},
    {"code": "GC101", "severity": "blocker"},
]


def body(world: World, **changes: Any) -> dict[str, Any]:
    """What a server tells."""
    lease = world.ledger.lease_of("ada", "")
    return {
        "at": now().isoformat(),
        "findings": BLOCKED,
        "kernel": "python3",
        "seconds": 2.25,
        "checks_passed": 40,
        "checks_unexamined": 1,
        "version": "0.1.0",
        "lease": lease.id if lease is not None else "",
        **changes,
    }


def add_tokens(ask: RunningService) -> None:
    """Those of a class, of another one, of other servers, and one that may only read."""

    def of(name: str, names: list[str], server: str = "") -> dict[str, Any]:
        return {"kind": "user", "name": name, "scopes": expand(names, name, server)}

    own = list(scopes.SERVER_TOKEN_SCOPES)
    read, examine = scopes.ENVIRONMENT_READ, scopes.ENVIRONMENT_EXAMINE
    ask.tokens.update(
        {
            "class-token": person("kim", f"{read}!group=class-1", f"{examine}!group=class-1"),
            "other-class-token": person("kim", f"{read}!group=class-2", f"{examine}!group=class-2"),
            "reader-token": of("mon", [scopes.ACCESS_SERVICE, read]),
            "bob-server-token": of("bob", own),
            "ada-second-server-token": of("ada", own, "second"),
        }
    )


# -- telling


def test_a_server_tells_its_verdict_and_all_who_may_see_the_server_read_it(ask, world):
    answer = ask("POST", TELL, "ada-server-token", json=body(world))
    assert (answer.status_code, answer.json()) == (200, {"kept": True})
    found = ask("GET", BASE, "instructor-token").json()["doctor"]
    assert found | {"at": ""} == {
        "at": "",
        "verdict": "blocked",
        "findings": [
            {"code": code, "severity": severity, "docs_url": f"/services/gpucamp/findings/{code}"}
            for code, severity in (("GC101", "blocker"), ("GC102", "blocker"), ("GC403", "advice"))
        ],
        "kernel": "python3",
        "seconds": 2.25,
        "checks_passed": 40,
        "checks_unexamined": 1,
        "version": "0.1.0",
        "current": True,
    }
    assert ask("GET", BASE).json()["doctor"] == found


def test_a_server_that_was_never_examined_has_none(ask):
    assert ask("GET", BASE).json()["doctor"] is None


def test_one_of_an_earlier_start_says_so(ask, world):
    ask("POST", TELL, "ada-server-token", json=body(world))
    world.stop_server("ada", "")
    assert ask("GET", BASE).json()["doctor"]["current"] is False
    world.run_server("ada")
    assert ask("GET", BASE).json()["doctor"]["current"] is False
    ask("POST", TELL, "ada-server-token", json=body(world, findings=[]))
    found = ask("GET", BASE).json()["doctor"]
    assert (found["current"], found["verdict"]) == (True, "healthy")


def test_late_and_repeated_ones_do_no_harm(ask, world):
    earlier = body(world, at=(now() - timedelta(minutes=5)).isoformat())
    later = body(world, findings=[])
    assert ask("POST", TELL, "ada-server-token", json=later).json() == {"kept": True}
    for again in (later, earlier, later):
        assert ask("POST", TELL, "ada-server-token", json=again).json() == {"kept": False}
    assert ask("GET", BASE).json()["doctor"]["verdict"] == "healthy"


def test_a_clock_that_is_ahead_does_not_hold_later_verdicts_off(ask, world):
    ahead = body(world, at=(now() + timedelta(days=3650)).isoformat())
    assert ask("POST", TELL, "ada-server-token", json=ahead).json() == {"kept": True}
    assert ask("POST", TELL, "ada-server-token", json=body(world, findings=[])).json()["kept"]


def test_a_server_that_does_not_run_tells_nothing(ask, world):
    """Else a token could fill the ledger with names."""
    told = body(world)
    world.stop_server("ada", "")
    assert ask("POST", TELL, json=told).status_code == 409
    assert ask("POST", "api/v1/users/ada/servers/none/doctor/verdict", json=told).status_code == 404
    assert world.ledger.verdicts() == {}


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("stranger-token", 403),
        ("reader-token", 403),
        ("bob-token", 404),
        ("bob-server-token", 404),
        ("ada-second-server-token", 404),
        ("other-class-token", 404),
        ("ada-server-token", 200),
        ("ada-token", 200),
        ("instructor-token", 200),
        ("admin-token", 200),
    ],
)
def test_nobody_tells_the_verdict_of_someone_elses_server(ask, world, token, status):
    add_tokens(ask)
    assert ask("POST", TELL, token, json=body(world)).status_code == status
    assert len(world.ledger.verdicts()) == (status == 200)


@pytest.mark.parametrize(
    "changes",
    [
        {"at": "yesterday"},
        {"at": "2026-11-26T10:00:00"},
        {"at": "0001-01-01T00:00:00+23:00"},
        {"at": 5},
        {"findings": {}},
        {"findings": [{"code": "GC1010", "severity": "blocker"}]},
        {"findings": [{"code": "GC101\n", "severity": "blocker"}]},
        {"findings": [{"code": "GC１０１", "severity": "blocker"}]},
        {"findings": [{"code": "GC101", "severity": "bad"}]},
        {"findings": [{"code": "GC101", "severity": ["blocker"]}]},
        {"findings": [{"code": "GC101", "severity": "blocker", "evidence": "my files"}]},
        {"findings": BLOCKED * 67},
        {"kernel": "<script>"},
        {"kernel": "a" * 101},
        {"kernel": None},
        {"seconds": -1},
        {"seconds": True},
        {"seconds": "2"},
        {"seconds": 1e9},
        {"checks_passed": 2.5},
        {"checks_unexamined": 10**9},
        {"version": "0.1 beta"},
        {"lease": "../.."},
        {"note": "free text"},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_what_has_another_form_is_refused_with_the_reason(ask, world, changes):
    answer = ask("POST", TELL, "ada-server-token", json=body(world, **changes))
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert world.ledger.verdicts() == {}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_number_that_is_none_is_refused(ask, world, number):
    sent = json.dumps(body(world)).replace("2.25", number)
    assert number in sent
    assert ask("POST", TELL, "ada-server-token", data=sent).status_code == 400


@pytest.mark.parametrize("sent", [b"", b"[]", b"{", b"null", b'{"at": ' * 9999])
def test_a_body_that_is_none_is_refused(ask, sent):
    assert ask("POST", TELL, "ada-server-token", data=sent).status_code in (400, 413)


# -- servers that are no more


class HubRefusesOne(FakeHub):
    """Says nothing of ada."""

    async def server(self, user: str, server: str) -> HubServer | None:
        if user == "ada":
            raise HubUnavailable("away")
        return await super().server(user, server)


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (FakeHub, {("ada", ""), ("kim", "")}),
        (HubRefusesOne, None),  # by chance before or after the others
        (HubDownForAWhile, {("ada", ""), ("kim", ""), ("kim", "gone"), ("nobody", "")}),
    ],
)
async def test_verdicts_about_servers_that_are_no_more_are_forgotten(world, kind, left):
    for user, server in (("ada", ""), ("kim", ""), ("kim", "gone"), ("nobody", "")):
        world.ledger.keep_verdict(Verdict(user, server, now()))
    before = set(world.ledger.verdicts())
    hub = kind(world)
    if kind is HubDownForAWhile:
        hub.silent = 99
    elif kind is HubRefusesOne:
        world.stop_server("ada", "")
    await forget_lost_servers(world.ledger, hub)
    kept = set(world.ledger.verdicts())
    assert kept == left if left is not None else {("ada", ""), ("kim", "")} <= kept <= before


# -- the list


def test_the_list_has_those_in_need_first_and_then_those_nobody_looked_at(ask, world):
    world.run_server("bob", gpus=0)
    world.run_server("kim")
    ask("POST", TELL, "ada-server-token", json=body(world, findings=[]))
    lease = world.ledger.lease_of("kim", "").id
    told = body(world, lease=lease)
    assert ask("POST", "api/v1/users/kim/server/doctor/verdict", "admin-token", json=told).ok
    rows = ask("GET", "api/v1/servers", "instructor-token").json()["servers"]
    assert [(row["user"], row["devices"]) for row in rows] == [("kim", 1), ("bob", 0), ("ada", 1)]
    assert [row["doctor"] and row["doctor"]["verdict"] for row in rows] == [
        "blocked",
        None,
        "healthy",
    ]


def test_the_list_has_what_its_reader_may_see(ask, world):
    add_tokens(ask)
    world.stop_server("ada", "")
    world.run_server("ada", groups=("class-1",))
    world.run_server("bob")

    def users(token: str) -> list[str]:
        return [row["user"] for row in ask("GET", "api/v1/servers", token).json()["servers"]]

    assert users("instructor-token") == users("admin-token") == ["ada", "bob"]
    assert users("class-token") == ["ada"], "by the groups at the grant"
    assert users("other-class-token") == []
    assert users("bob-token") == ["bob"]
    assert ask("GET", "api/v1/servers", "stranger-token").status_code == 403
    assert ask("GET", "api/v1/servers", None).status_code == 401


# -- pages


def test_the_page_of_a_server_has_the_verdict_with_links_to_its_codes(ask, world):
    page = ask("GET", "users/ada/server", "instructor-token").text
    assert "not examined yet" in page
    ask("POST", TELL, "ada-server-token", json=body(world))
    page = ask("GET", "users/ada/server", "instructor-token").text
    assert "cannot work" in page
    links = re.findall(r'href="(/services/gpucamp/findings/GC\d+)"', page)
    assert links == [f"/services/gpucamp/findings/GC{code}" for code in (101, 102, 403)]
    chinese = ask("GET", "users/ada/server", "instructor-token", headers={"Accept-Language": "zh"})
    assert "无法工作" in chinese.text


@pytest.mark.parametrize(
    ("token", "seen"), [("instructor-token", True), ("admin-token", True), ("class-token", True)]
)
def test_who_teaches_has_a_page_of_all_servers(ask, world, token, seen):
    add_tokens(ask)
    world.stop_server("ada", "")
    world.run_server("ada", groups=("class-1",))
    ask("POST", TELL, "ada-token", json=body(world))
    page = ask("GET", "class?view=table", token).text
    assert 'href="/services/gpucamp/users/ada/server"' in page
    assert "cannot work" in page
    assert 'href="/services/gpucamp/class"' in page, "in the navigation"


def test_a_participant_is_not_led_to_it(ask):
    assert 'href="/services/gpucamp/class"' not in ask("GET", "", "ada-token").text


def test_a_code_has_its_page_here_too(ask):
    page = ask("GET", "findings/GC102", "bob-token")
    assert page.status_code == 200
    assert "The GPU that was given is not in the container" in page.text
    assert "<code>nvidia-smi</code>" in page.text
    assert ask("GET", "findings/GC999", "bob-token").status_code == 404
    assert ask("GET", "findings/GC102", "stranger-token").status_code == 403


def test_nothing_in_a_page_becomes_markup_by_itself():
    section = "## GC101 A <b>\n\n**Why.** a < b & `x <y> *z*` *so*\n\nlonely ` mark **bold**"
    assert title_of(section) == "GC101 A <b>"
    assert to_html(section) == (
        "<p><strong>Why.</strong> a &lt; b &amp; <code>x &lt;y&gt; *z*</code> <em>so</em></p>\n"
        "<p>lonely ` mark <strong>bold</strong></p>"
    )
