"""The class in pages, by state and by name, as a table; and whose JupyterLab one may open."""

from __future__ import annotations

import pytest
from service_server import person
from service_world import World, now
from test_class_page import CLASS, TEACHER, cards, classes, teacher, view  # noqa: F401  (fixture)

from hub_ext import scopes


def test_their_jupyterlab_is_a_button_only_for_who_may_open_it(ask, classes):  # noqa: F811
    button = '<a class="button small" id="open-ada-" href="/user/ada/lab">'
    page = ask("GET", "class", TEACHER).text
    assert button not in page
    assert "you need JupyterHub’s right access:servers" in page
    scope = f"{scopes.ACCESS_SERVERS}!group=class-1"
    ask.tokens["opens"] = person("kim", *scopes.INSTRUCTOR_SCOPES, scope)
    page = ask("GET", "class", "opens").text
    assert button in page and "access:servers" not in page
    assert [card["may"]["open"] for card in cards(ask, "opens") if card["user"] == "ada"] == [True]
    assert button in ask("GET", "class", "ada-token").text, "their own"


def test_the_session_of_a_visitor_may_tell_whose_jupyterlab_they_may_open():
    assert scopes.ACCESS_SERVERS in scopes.OAUTH_CLIENT_ALLOWED_SCOPES


@pytest.fixture
def crowd(world: World) -> World:
    """Five hundred, of whom a few need help."""
    world.stop_server("ada", "")
    for number in range(500):
        groups = (f"class-{number % 5}",)
        world.users[f"user{number:03}"] = groups
        world.run_server(f"user{number:03}", gpus=0, groups=groups)
    for number in (7, 300, 499):
        world.ledger.raise_hand(f"user{number:03}", "", "", (f"class-{number % 5}",), now())
    return world


def test_a_class_of_hundreds_comes_in_pages(ask, crowd):
    seen = []
    for page in range(1, 6):
        found = view(ask, limit=120, page=page)
        assert (found["page"], found["pages"], found["matching"]) == (page, 5, 500)
        assert found["counts"]["servers"] == 500 and found["counts"]["hands"] == 3
        seen += [card["user"] for card in found["servers"]]
    assert seen[:3] == ["user007", "user300", "user499"]
    assert len(seen) == len(set(seen)) == 500
    assert view(ask, limit=120, page=99)["page"] == 5, "the last, where there are fewer"
    found = view(ask)
    assert (len(found["servers"]), found["pages"]) == (100, 5)


def test_some_of_a_class(ask, crowd):
    def users(**wanted: str) -> list[str]:
        found = view(ask, **wanted)
        assert found["counts"]["servers"] == (100 if "group" in wanted else 500)
        return [card["user"] for card in found["servers"]]

    assert users(state="help") == ["user007", "user300", "user499"]
    assert users(state="help", group="class-4") == ["user499"]
    assert users(search="USER00")[:2] == ["user007", "user000"]
    assert len(users(search="r12")) == 10
    assert users(search="r12", state="help") == []
    assert len(users(state="running", group="class-2")) == 100
    assert users(state="waiting") == []


@pytest.mark.parametrize(
    "query",
    ["state=bad", "page=0", "page=x", "limit=0", "limit=501", f"search={'x' * 256}", "view=table"],
)
def test_what_cannot_be_asked_for_is_refused(ask, query):
    assert ask("GET", f"{CLASS}?{query}", TEACHER).status_code == 400


def test_the_page_keeps_what_it_shows_in_its_address(ask, crowd):
    page = ask("GET", "class?group=class-1&search=user&view=table", TEACHER).text
    assert page.count("data-row") == 100 and "Page 1 of" not in page
    assert "<option selected>class-1</option>" in page
    assert 'name="search" value="user"' in page
    page = ask("GET", "class?search=user&view=table&page=2", TEACHER).text
    assert page.count("data-row") == 100
    assert "Page 2 of 5, 500 servers" in page
    assert 'href="/services/gpucamp/class?search=user&amp;view=table&amp;page=3"' in page
    assert 'href="/services/gpucamp/class?search=user"' in page, "as cards"
    assert ask("GET", "class", TEACHER).text.count("data-row") == 60
    nobody = ask("GET", "class?search=nobody", TEACHER).text
    assert "No server is like that." in nobody and "data-row" not in nobody


@pytest.mark.parametrize("query", ["state=bad", "page=-1", "page=²", "page=99999999", "view=x"])
def test_an_address_that_is_not_quite_right_shows_the_class(ask, crowd, query):
    answer = ask("GET", f"class?{query}", TEACHER)
    assert answer.status_code == 200 and "data-row" in answer.text


def test_what_is_searched_for_becomes_no_markup(ask, crowd):
    page = ask("GET", "class", TEACHER, params={"search": '"><script>alert(1)</script>'}).text
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


def test_the_screen_of_the_room_has_everyone_who_calls(ask, crowd):
    page = ask("GET", "class?screen=1&page=9&search=user007", TEACHER).text
    for name in ("user007", "user300", "user499"):
        assert f"<li>{name} <small>" in page


def test_the_table_has_what_the_page_of_servers_had(ask, classes):  # noqa: F811
    moved = ask("GET", "servers", "admin-token")
    assert moved.headers["Location"] == "/services/gpucamp/class?view=table"
    page = ask("GET", "class?view=table", "admin-token")
    lease = classes.ledger.lease_of("ada", "").id
    for name in ("extend", "revoke"):
        assert f'data-url="/services/gpucamp/api/v1/leases/{lease}/{name}"' in page.text
        assert page.text.count(f'<dialog id="{name}-dialog"') == 1
    for words in ("GPU doctor", "~/work", "Environments", "started", "ends"):
        assert words in page.text
    assert ask("GET", "servers", "stranger-token").status_code == 403
    token = teacher(ask, "class-1")
    less = ask("GET", "class?view=table", token).text
    assert "server/reset" in less and "leases/" not in less and "revoke-dialog" not in less


@pytest.mark.parametrize("shape", ["", "?view=table"])
def test_a_lease_that_is_revoked_says_so_and_can_be_let_go_on(ask, classes, shape):  # noqa: F811
    lease = classes.ledger.lease_of("ada", "").id
    told = {"minutes": 30, "reason": "the lecture begins"}
    assert ask("POST", f"api/v1/leases/{lease}/revoke", "admin-token", json=told).ok
    page = ask("GET", f"class{shape}", "admin-token").text
    assert "the lecture begins" in page and f'id="undo-revoke-{lease}"' in page
    (card,) = [each for each in cards(ask) if each["user"] == "ada"]
    assert card["revocation"]["reason"] == "the lecture begins"
