"""REST about users: who is in the list for whom, and what is told of one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from resets import reset
from service_server import expand, person
from service_world import World, now

from hub_ext import scopes
from hub_ext.models import Request
from hub_ext.policy import Policy, Rule
from hub_ext.space import GIB, VolumeFact

HOUR = timedelta(hours=1)
READ = scopes.ENVIRONMENT_READ


@pytest.fixture
def camp(world: World) -> World:
    """ada has a server, bob waits, kim never started one, joe had one."""
    world.users = {
        "ada": ("class-1",),
        "bob": ("class-1", "class-2"),
        "joe": ("class-2",),
        "kim": ("class-1",),
        "zoe": (),
    }
    world.run_server("joe")
    world.stop_server("joe", "")
    world.ledger.enqueue(Request("bob", "two", 2, groups=("class-1", "class-2")), now())
    return world


def names(ask, token: str, query: str = "") -> list[str]:
    answer = ask("GET", f"api/v1/users{query}", token)
    assert answer.status_code == 200, answer.text
    return [row["user"] for row in answer.json()["users"]]


def add_tokens(ask) -> None:
    ask.tokens |= {
        "class-token": person("kim", f"{READ}!group=class-1"),
        "classes-token": person("zoe", f"{READ}!group=class-1", f"{READ}!group=class-2"),
        "none-token": person("zoe", f"{READ}!group=none"),
        "second-token": {
            "kind": "user",
            "name": "ada",
            "scopes": expand(scopes.SERVER_TOKEN_SCOPES, "ada", "second"),
        },
    }


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("admin-token", ["ada", "bob", "joe"]),
        ("instructor-token", ["ada", "bob", "joe"]),
        ("class-token", ["ada", "bob", "kim"]),
        ("classes-token", ["ada", "bob", "joe", "kim", "zoe"]),
        ("none-token", ["zoe"]),
        ("ada-token", ["ada"]),
        ("ada-server-token", []),
        ("second-token", []),
    ],
)
def test_the_list_has_whom_the_caller_may_see(camp, ask, token, expected):
    add_tokens(ask)
    assert names(ask, token) == expected
    for user in ("ada", "bob", "joe", "kim", "zoe"):
        # of one it tells about everybody whom the hub knows
        seen = user in expected or token in ("admin-token", "instructor-token")
        answer = ask("GET", f"api/v1/users/{user}", token)
        assert answer.status_code == (200 if seen else 404), user


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("x", 401), ("stranger-token", 403)])
@pytest.mark.parametrize("path", ["api/v1/users", "api/v1/users/ada"])
def test_nobody_else_sees_anything(camp, ask, path, token, status):
    assert ask("GET", path, token).status_code == status


def test_who_does_not_exist_is_as_one_who_is_not_to_be_seen(camp, ask):
    add_tokens(ask)
    theirs = ask("GET", "api/v1/users/joe", "class-token")
    none = ask("GET", "api/v1/users/nobody", "class-token")
    assert theirs.status_code == none.status_code == 404
    assert "There is no such user." in theirs.text and "There is no such user." in none.text
    assert ask("GET", "api/v1/users/nobody", "admin-token").status_code == 404


def test_a_group_is_chosen(camp, ask):
    add_tokens(ask)
    assert names(ask, "admin-token", "?group=class-1") == ["ada", "bob", "kim"]
    assert names(ask, "admin-token", "?group=none") == []
    assert names(ask, "class-token", "?group=class-2") == ["bob"], "theirs of that group"
    assert names(ask, "ada-token", "?group=class-2") == []


@pytest.mark.parametrize("token", ["admin-token", "classes-token"])
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_tell_each_once_whoever_comes_meanwhile(camp, ask, token, limit):
    add_tokens(ask)
    expected = names(ask, token)
    found, cursor = [], ""
    while cursor is not None:
        query = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        page = ask("GET", "api/v1/users", token, params=query).json()
        assert len(page["users"]) <= limit
        found += [row["user"] for row in page["users"]]
        cursor = page["next"]
        camp.ledger.enqueue(Request(f"aa{len(found)}", "", 1), now())  # before all, not told
    assert found == expected


def test_a_row_tells_servers_the_line_quota_and_disk(camp, ask):
    camp.ledger.set_policy(Policy(default=Rule(max_devices=2, device_hours_per_day=9.0)))
    ada, bob, joe = ask("GET", "api/v1/users", "admin-token").json()["users"]
    (server,) = ada["servers"]
    lease = camp.ledger.lease_of("ada", "")
    assert (server["lease"], server["state"], server["devices"]) == (lease.id, "running", 1)
    assert ada["quota"]["devices"] == {"used": 1, "limit": 2}
    assert ada["quota"]["hours_today"]["limit"] == 9.0
    assert ada["quota"]["hours"] is None, "no limit of it"
    assert ada["space"]["measured_at"] is None
    (waits,) = bob["waiting"]
    assert (waits["server"], waits["gpus"]) == ("two", 2)
    assert bob["groups"] == ["class-1", "class-2"]
    assert (bob["servers"][0]["server"], bob["servers"][0]["lease"]) == ("two", None)
    assert (joe["servers"], joe["groups"]) == ([], None)


async def test_one_user_with_environments_volumes_and_use(camp, ask):
    camp.stop_server("ada", "")
    camp.run_server("ada", at=now() - 2 * HOUR)
    reset(camp.ledger, "ada", "second", now())
    camp.volumes = [
        VolumeFact("ada", 3 * GIB, ("", 1)),
        VolumeFact("ada", GIB, ("second", 1)),
        VolumeFact("ada", 2 * GIB, ("second", 2)),
        VolumeFact("ada", 5 * GIB, None),
        VolumeFact("bob", GIB, None),
    ]
    assert ask("GET", "api/v1/users/ada").json()["user"]["volumes"] is None
    await ask.service.space.round()
    found = ask("GET", "api/v1/users/ada?days=3").json()["user"]
    assert found["groups"] == ["class-1"]
    assert [(e["server"], e["generation"]) for e in found["environments"]] == [
        ("", 1),
        ("second", 2),
    ]
    assert [kept["generation"] for kept in found["environments"][1]["undo"]] == [1]
    assert found["volumes"]["work"]["bytes"] == 5 * GIB
    assert [
        (v["server"], v["generation"], v["bytes"] // GIB, v["in_use"])
        for v in found["volumes"]["environments"]
    ] == [("", 1, 3, True), ("second", 1, 1, False), ("second", 2, 2, True)]
    assert [row["day"] for row in found["usage"]] == [
        (now().date() - timedelta(days)).isoformat() for days in (2, 1, 0)
    ]
    assert sum(row["device_seconds"] for row in found["usage"]) >= 7200


def test_a_silent_hub_leaves_out_what_it_alone_knows(camp, ask):
    camp.users.pop("ada")
    assert ask("GET", "api/v1/users/ada").status_code == 404
    camp.users["ada"] = ("class-1",)
    ask("GET", "api/v1/users/ada")  # who asks is known for a while
    ask.hub_down = True
    found = ask("GET", "api/v1/users/ada")
    assert found.status_code == 200
    assert found.json()["user"]["servers"][0]["state"] == "running"


@pytest.mark.parametrize("query", ["?days=0", "?days=93", "?days=x", "?group=a", "?days=1&days=2"])
def test_a_query_of_one_user_out_of_bounds(camp, ask, query):
    assert ask("GET", f"api/v1/users/ada{query}").status_code == 400


@pytest.mark.parametrize("query", ["?limit=0", "?cursor=x", "?days=1", f"?group={'x' * 256}"])
def test_a_query_of_the_list_out_of_bounds(camp, ask, query):
    assert ask("GET", f"api/v1/users{query}", "admin-token").status_code == 400
