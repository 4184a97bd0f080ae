"""Raised hands: who raises and lowers them, who sees them, and who comes first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from service_server import ADA, RunningService, expand, person
from service_world import FakeHub, HubDownForAWhile, World, now

from hub_ext import scopes
from hub_ext.errors import TooMany
from hub_ext.service.rates import Rate
from hub_ext.service.verdict_rounds import forget_lost_hands

HAND = "api/v1/users/ada/hand"


@pytest.fixture(autouse=True)
def tokens(request) -> None:
    if "ask" not in request.fixturenames:
        return
    ask: RunningService = request.getfixturevalue("ask")
    read, hand = scopes.ENVIRONMENT_READ, scopes.HAND
    ask.tokens.update(
        {
            "class-token": person("kim", f"{read}!group=class-1", f"{hand}!group=class-1"),
            "other-class-token": person("tea", f"{read}!group=class-2", f"{hand}!group=class-2"),
            "reader-token": {"kind": "user", "name": "m", "scopes": [scopes.ACCESS_SERVICE, read]},
            "second-token": {
                "kind": "user",
                "name": "ada",
                "scopes": expand(scopes.SERVER_TOKEN_SCOPES, "ada", "second"),
            },
        }
    )


def test_who_raises_their_hand_again_keeps_their_place(ask, world):
    assert ask("GET", HAND).json() == {"hand": None}
    first = ask("POST", HAND, json={"text": " torch does not start "}).json()["hand"]
    assert (first["server"], first["text"]) == ("", "torch does not start")
    second = ask("POST", HAND, json={}).json()["hand"]
    assert second == {**first, "text": ""}
    assert ask("GET", HAND, "instructor-token").json() == {"hand": second}
    assert ask("GET", "api/v1/users/ada/server").json()["hand"] == second
    trail = [(line.actor, line.action) for line in world.ledger.audit_trail()]
    assert trail.count(("ada", "hand.raise")) == 2
    assert "torch" not in str(world.ledger.audit_trail()), "what people say is not for the trail"


@pytest.mark.parametrize("token", ["ada-token", "ada-server-token", "instructor-token"])
def test_it_is_lowered_by_its_user_or_by_who_has_helped(ask, world, token):
    path = "api/v1/users/ada/server/hand"
    assert ask("POST", path, "ada-server-token").status_code == 200
    for _ in range(2):
        answer = ask("POST", f"{path}/lower", token, json={})
        assert (answer.status_code, answer.json()) == (200, {"hand": None})
    assert world.ledger.hand("ada") is None
    lowered = [line.actor for line in world.ledger.audit_trail() if line.action == "hand.lower"]
    assert lowered == [{"instructor-token": "kim"}.get(token, "ada")], "once"


def test_a_named_servers_token_raises_it_for_that_server(ask, world):
    world.run_server("ada", "second")
    answer = ask("POST", "api/v1/users/ada/servers/second/hand", "second-token")
    assert answer.json()["hand"]["server"] == "second"
    assert ask("GET", "api/v1/users/ada/server").json()["hand"]["server"] == "second", "hers"
    assert ask("POST", HAND, "second-token").status_code == 404
    assert ask("POST", "api/v1/users/ada/servers/other/hand").status_code == 404
    assert ask("POST", "api/v1/users/ada/servers/other/hand/lower").status_code == 200, "hers, too"


@pytest.mark.parametrize(
    ("method", "path", "token", "status"),
    [
        ("POST", HAND, "instructor-token", 403),  # nobody raises it for somebody else
        ("POST", HAND, "admin-token", 403),
        ("POST", HAND, "bob-token", 404),
        ("POST", f"{HAND}/lower", "bob-token", 404),
        ("POST", f"{HAND}/lower", "reader-token", 403),
        ("POST", f"{HAND}/lower", "other-class-token", 404),
        ("POST", f"{HAND}/lower", "class-token", 200),
        ("GET", HAND, "bob-token", 404),
        ("GET", HAND, "reader-token", 200),
        ("GET", "api/v1/users/nobody/hand", "admin-token", 404),
        ("POST", "api/v1/users/nobody/hand/lower", "admin-token", 404),
        ("POST", HAND, "stranger-token", 403),
        ("POST", HAND, None, 401),
        ("DELETE", HAND, "ada-token", 405),
    ],
)
def test_who_may_what(ask, world, method, path, token, status):
    world.users["ada"] = ("class-1",)
    assert ask(method, path, token).status_code == status
    if method == "POST" and path == HAND:
        assert world.ledger.hand("ada") is None


@pytest.mark.parametrize(
    "body", [{"text": "x" * 201}, {"text": "two\nlines"}, {"text": 1}, {"server": "x"}, []]
)
def test_what_is_said_is_a_line(ask, world, body):
    assert ask("POST", HAND, json=body).status_code == 400
    assert world.ledger.hand("ada") is None


def test_raised_hands_come_first_the_longest_first_even_without_a_server(ask, world):
    world.users |= {"ada": ("class-1",), "bob": ("class-1",), "eve": ("class-2",)}
    world.run_server("kim")
    early, ledger = now() - timedelta(minutes=5), world.ledger
    ledger.raise_hand("bob", "", "it does not start", ("class-1",), early)
    ledger.raise_hand("eve", "", "", ("class-2",), early - timedelta(minutes=5))
    ledger.raise_hand("kim", "", "", (), now())
    rows = ask("GET", "api/v1/class", "instructor-token").json()["servers"]
    assert [row["user"] for row in rows] == ["eve", "bob", "kim", "ada"]
    assert [row["granted_at"] is None for row in rows] == [True, True, False, False]
    assert rows[1]["hand"] == {
        "server": "",
        "raised_at": early.isoformat(),
        "text": "it does not start",
    }
    seen = ask("GET", "api/v1/class", "class-token").json()["servers"]
    assert [row["user"] for row in seen] == ["bob", "kim"], "of the class, and one's own"


def test_a_hand_is_not_raised_faster_than_anybody_needs(ask, world):
    codes = [ask("POST", HAND).status_code for _ in range(12)]
    assert codes == [200] * 10 + [429] * 2
    assert ask("POST", "api/v1/users/bob/hand", "bob-token").status_code == 200, (
        "each for themselves"
    )
    assert ask("POST", f"{HAND}/lower").status_code == 200


def test_what_a_rate_counts_is_over_after_its_time():
    time = 0.0
    rate = Rate(2, 60.0, lambda: time)
    rate.count("ada")
    time = 30.0
    rate.count("ada")
    with pytest.raises(TooMany):
        rate.count("ada")
    time = 60.0
    rate.count("ada")
    with pytest.raises(TooMany):
        rate.count("ada")
    rate.count("bob")
    time = 200.0
    rate.count("bob")
    assert list(rate._times) == ["bob"], "nobody else is remembered"


async def test_hands_of_users_who_are_no_more_are_forgotten(world: World):
    for user in ("ada", "gone"):
        world.ledger.raise_hand(user, "", "", (), now())
    hub = HubDownForAWhile(world)
    hub.silent = 1
    await forget_lost_hands(world.ledger, hub)
    assert len(world.ledger.hands()) == 2, "nobody could say"
    await forget_lost_hands(world.ledger, FakeHub(world))
    assert [hand.user for hand in world.ledger.hands()] == ["ada"]


def test_old_hands_go_with_old_history(world):
    world.ledger.raise_hand("ada", "", "", (), now() - timedelta(days=3))
    world.ledger.raise_hand("bob", "", "", (), now())
    world.ledger.prune(now() - timedelta(days=2))
    assert [hand.user for hand in world.ledger.hands()] == ["bob"]


def test_the_pages_offer_it_and_show_it(ask, world):
    def page(path: str, token: str = ADA, language: str = "en") -> str:
        answer = ask("GET", path, token, headers={"Accept-Language": language})
        assert answer.status_code == 200
        return answer.text

    assert 'id="raise-hand"' in page("")
    assert "您需要帮助吗" in page("", language="zh")
    ask("POST", HAND, json={"text": "<b>help</b>"})
    mine = page("")
    assert 'id="lower-hand"' in mine and "&lt;b&gt;help&lt;/b&gt;" in mine
    assert "<b>help" not in mine
    everyone = page("class", "instructor-token")
    assert "needs help" in everyone and "/users/ada/hand/lower" in everyone
    assert "需要帮助" in page("class", "instructor-token", "zh")
    assert "hand/lower" not in page("class", "reader-token"), "who may not lower it"
    assert "asks for help" in page("users/ada/server", "instructor-token")
