"""The class as whoever teaches it sees it: page, screen of the room, REST."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from service_server import RunningService, person
from service_world import UUIDS, FakeHub, World, now

from hub_ext import scopes
from hub_ext.errors import HubUnavailable
from hub_ext.models import OperationKind, OperationStep, Request
from hub_ext.service import roster
from hub_ext.service.hub_api import HubGroup

CLASS = "api/v1/class"


TEACHER = "instructor-token"


def view(ask: RunningService, token: str = TEACHER, group: str = "", **more: str | int) -> Any:
    answer = ask("GET", CLASS, token, params={"group": group, **more} if group else more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cards(ask: RunningService, token: str = TEACHER, group: str = "") -> list[Any]:
    found: list[Any] = view(ask, token, group)["servers"]
    return found


def teacher(ask: RunningService, group: str) -> str:
    """A token of somebody who teaches one class."""
    held = (scopes.ENVIRONMENT_READ, scopes.ENVIRONMENT_RESET)
    ask.tokens["teacher"] = person("kim", *(f"{scope}!group={group}" for scope in held))
    return "teacher"


@pytest.fixture
def classes(world: World) -> World:
    """ada and bob are in class-1, ada's server runs; kim is in class-2, and waits."""
    world.users |= {"ada": ("class-1",), "bob": ("class-1",), "kim": ("class-2",)}
    world.stop_server("ada", "")
    world.run_server("ada", gpus=2, groups=("class-1",), term=timedelta(hours=2))
    world.ledger.begin_run("run", now())
    world.ledger.enqueue(Request("kim", "", 1, groups=("class-2",)), now(), waiter="run")
    return world


def test_a_card_says_what_there_is_to_know_of_a_server(ask, classes):
    (card,) = [each for each in cards(ask) if each["user"] == "ada"]
    assert (card["state"], card["needs"], card["queue"], card["hand"]) == (
        "running",
        [],
        None,
        None,
    )
    assert [device["uuid"] for device in card["devices"]] == list(UUIDS)
    assert card["expires_at"] and card["doctor"] is None
    assert card["may"] == {
        "open": False,
        "reset": True,
        "examine": True,
        "extend": True,
        "lower_hand": True,
        "write": True,
        "manage_lease": True,
    }
    assert card["lease"] == classes.ledger.lease_of("ada", "").id
    (waits,) = [each for each in cards(ask) if each["user"] == "kim"]
    assert (waits["state"], waits["needs"], waits["devices"]) == ("waiting", ["waits"], [])
    assert (waits["queue"]["position"], waits["queue"]["length"]) == (1, 1)


def test_totals(ask, classes):
    found = view(ask)
    assert found["counts"] == {
        "servers": 2,
        "running": 1,
        "starting": 0,
        "resetting": 0,
        "waiting": 1,
        "stopped": 0,
        "help": 0,
        "hands": 0,
    }
    assert found["devices"] == {"total": 2, "healthy": 2, "free": 0}


def test_who_needs_help_comes_first(ask, classes):
    classes.stop_server("ada", "")
    for user in ("ada", "bob", "kim"):
        classes.ledger.withdraw(user, "")
        classes.run_server(user, gpus=0, groups=("class-1",))
    lease = classes.ledger.lease_of("bob", "").id
    told = {
        "at": now().isoformat(),
        "findings": [{"code": "GC102", "severity": "blocker"}],
        "lease": lease,
    }
    path = "api/v1/users/bob/server/doctor/verdict"
    assert ask("POST", path, "admin-token", json=told).ok
    classes.ledger.raise_hand("kim", "", "torch?", ("class-1",), now())
    assert [(card["user"], card["needs"]) for card in cards(ask)] == [
        ("kim", ["hand"]),
        ("bob", ["blocked"]),
        ("ada", []),
    ]
    assert view(ask)["counts"]["help"] == 2


def test_a_reset_is_seen_from_when_it_is_asked_for_and_when_it_has_failed(ask, classes):
    def ada() -> Any:
        return next((each for each in cards(ask) if each["user"] == "ada"), None)

    def begin() -> str:
        made = classes.ledger.begin_operation(
            OperationKind.RESET,
            "ada",
            "",
            requested_by="kim",
            start_after=True,
            user_options={},
            now=now(),
            reason="torch was broken",
        )
        return made.id

    assert ada()["operation"] is None
    first = begin()
    assert (ada()["state"], ada()["operation"]["requested_by"]) == ("resetting", "kim")
    assert view(ask)["counts"]["resetting"] == 1
    assert 'data-poll="3"' in ask("GET", "class", TEACHER).text
    classes.ledger.advance_operation(first, OperationStep.DONE, now())
    assert (ada()["state"], ada()["operation"]) == ("running", None)
    assert 'data-poll="3"' not in ask("GET", "class", TEACHER).text
    failed = begin()
    classes.stop_server("ada", "")
    classes.ledger.advance_operation(failed, OperationStep.FAILED, now(), "stop-timeout")
    assert (ada()["state"], ada()["operation"]["step"]) == ("stopped", "failed")
    page = ask("GET", "class", TEACHER).text
    assert f'href="/services/gpucamp/operations/{failed}"' in page
    assert html.escape(ada()["operation"]["error"]) in page
    later = begin()
    classes.ledger.advance_operation(later, OperationStep.DONE, now())
    assert ada() is None, "it is stopped, and nothing has failed"


def test_whose_reset_comes_to_wait_for_a_device_waits_in_line(ask, classes):
    classes.ledger.begin_operation(
        OperationKind.RESET,
        "kim",
        "",
        requested_by="kim",
        start_after=True,
        user_options={},
        now=now(),
    )
    (found,) = [each for each in cards(ask) if each["user"] == "kim"]
    assert found["state"] == "waiting" and found["operation"]["step"] == "requested"


def test_a_reset_that_failed_long_ago_is_told_no_more(ask, classes):
    then = now() - timedelta(minutes=20)
    made = classes.ledger.begin_operation(
        OperationKind.RESET,
        "bob",
        "",
        requested_by="kim",
        start_after=True,
        user_options={},
        now=then,
    )
    classes.ledger.advance_operation(made.id, OperationStep.FAILED, then, "stop-timeout")
    assert "bob" not in [each["user"] for each in cards(ask)]


def test_starts_that_fail_again_and_again_are_seen(ask, classes):
    generation = classes.ledger.environment("ada", "").generation
    for _ in range(2):
        classes.ledger.add_failed_start("ada", "", generation, now())
        classes.ledger.add_failed_start("bob", "", generation + 1, now())  # of another environment
    found = {card["user"]: card for card in cards(ask, group="class-1")}
    assert (found["ada"]["failed_starts"], found["ada"]["needs"]) == (2, ["start-fails"])
    assert found["bob"]["failed_starts"] == 0


def test_a_group_has_those_without_a_server_too(ask, classes):
    found = cards(ask, group="class-1")
    assert [(card["user"], card["state"]) for card in found] == [
        ("ada", "running"),
        ("bob", "stopped"),
    ]
    assert view(ask)["groups"] == ["class-1", "class-2"]


def test_whoever_teaches_one_class_sees_that_class(ask, classes):
    token = teacher(ask, "class-1")
    # beside their own server: kim waits in line
    assert [card["user"] for card in cards(ask, token)] == ["kim", "ada"]
    assert view(ask, token)["groups"] == ["class-1"]
    (ada,) = [card for card in cards(ask, token, "class-1") if card["user"] == "ada"]
    assert ada["may"] == {
        "open": False,
        "reset": True,
        "examine": False,
        "extend": False,
        "lower_hand": False,
        "write": False,
        "manage_lease": False,
    }
    for group in ("class-2", "none", "../x", "数学"):
        answer = ask("GET", CLASS, token, params={"group": group})
        assert answer.status_code == 404, group
        assert ask("GET", "class", token, params={"group": group}).status_code == 404


def test_participants_see_themselves_and_strangers_nothing(ask, classes):
    assert [card["user"] for card in cards(ask, "ada-token")] == ["ada"]
    assert view(ask, "ada-token")["groups"] == []
    assert ask("GET", CLASS, "ada-token", params={"group": "class-1"}).status_code == 404
    assert ask("GET", CLASS, "stranger-token").status_code == 403
    assert ask("GET", CLASS, None).status_code == 401
    assert 'href="/services/gpucamp/class"' not in ask("GET", "", "ada-token").text


def test_what_devices_did_is_drawn(ask, classes):
    page = ask("GET", "class", "instructor-token").text
    assert page.count('<svg class="use"') == 2
    assert ">GPU –<" in page, "nothing is known yet, and nothing is made up"


def test_the_page_has_what_one_does_about_it(ask, classes):
    page = ask("GET", "class", "instructor-token").text
    assert 'data-post="/services/gpucamp/api/v1/users/ada/server/doctor/examine"' in page
    assert 'data-reset="/services/gpucamp/api/v1/users/ada/server/reset"' in page
    lease = classes.ledger.lease_of("ada", "").id
    assert f'data-url="/services/gpucamp/api/v1/leases/{lease}/extend"' in page
    token = teacher(ask, "class-1")
    less = ask("GET", "class", token, params={"group": "class-1"}).text
    assert "doctor/examine" not in less and "server/reset" in less


def test_in_chinese(ask, classes):
    page = ask("GET", "class", "instructor-token", headers={"Accept-Language": "zh-CN"}).text
    for words in ("班级", "需要帮助", "以表格显示", "access:servers", "排队"):
        assert words in page, words


def test_the_screen_of_the_room_has_no_verdicts_by_name_and_no_buttons(ask, classes):
    classes.ledger.raise_hand("bob", "", "my <b>secret</b>", ("class-1",), now())
    for _ in range(2):
        classes.ledger.add_failed_start("ada", "", 1, now())
    page = ask("GET", "class?screen=1", "instructor-token").text
    names = re.findall(r"<li[^>]*>(\w+) <small>", page)
    assert names == ["bob", "kim"], "who raised a hand, and who waits"
    assert "ada" not in re.sub(r"<header.*?</header>", "", page, flags=re.S)
    assert "secret" not in page and "data-post" not in page


def test_the_hub_is_asked_once_for_all_who_look(ask, classes):
    asked = []
    groups = FakeHub.groups

    async def counted(hub: FakeHub) -> tuple[HubGroup, ...]:
        asked.append(hub)
        return await groups(hub)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeHub, "groups", counted)
        view(ask)
        once = len(asked)
        for _ in range(5):
            view(ask)
    assert 0 < len(asked) == once


def test_while_the_hub_is_away_the_class_is_seen_all_the_same(ask, classes, monkeypatch):
    async def away(hub: FakeHub) -> tuple[HubGroup, ...]:
        raise HubUnavailable("JupyterHub did not answer")

    assert view(ask)["groups"]
    monkeypatch.setattr(roster, "KEPT", 0.0)
    monkeypatch.setattr(FakeHub, "groups", away)
    ask.service.roster._until = 0.0
    assert view(ask)["groups"] == []
    assert {card["user"] for card in cards(ask)} == {"ada", "kim"}
    assert ask("GET", CLASS, "instructor-token", params={"group": "class-1"}).status_code == 503


def test_a_query_argument_that_is_not_known_is_refused(ask):
    assert ask("GET", f"{CLASS}?grup=x", "instructor-token").status_code == 400
