"""Everything that changes something refuses what a page from elsewhere can make a browser send."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests
from service_server import RunningService, person, running_service
from service_world import World, make_ledger
from test_role_table import GOOD_BODY, Things, routes

from hub_ext import scopes

CHANGES = sorted({(method, path) for method, path in routes() if method != "GET"})

FORM = "application/x-www-form-urlencoded"
PLAIN = "text/plain"

# What a browser can be made to send without asking the service first (CORS "simple" requests), and
# what an attacker may try beside it. The session's cookies go with all of them, as if SameSite had
# not kept them back.
FOREIGN: dict[str, dict[str, str]] = {
    "a form": {"Content-Type": FORM, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"},
    "a form of a neighbour": {
        "Content-Type": FORM,
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Site": "same-site",
    },
    "JSON as plain text": {
        "Content-Type": PLAIN,
        "Sec-Fetch-Mode": "no-cors",
        "Sec-Fetch-Site": "cross-site",
        "Origin": "https://elsewhere.example",
    },
    "fetch": {
        "Content-Type": "application/json",
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "cross-site",
        "Origin": "https://elsewhere.example",
    },
    "an old browser": {"Content-Type": PLAIN, "Origin": "https://elsewhere.example"},
    "no headers": {},
    "a made-up token": {"X-XSRFToken": "2|0a1b2c3d|00|1", "Sec-Fetch-Mode": "cors"},
}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[RunningService, Things, Path]]:
    folder = tmp_path_factory.mktemp("foreign")
    ledger = make_ledger(folder)
    world = World(ledger)
    things = Things(world, tmp_path_factory.mktemp("left"))
    with running_service(world) as running:
        # ada with every right there is: what is refused is refused for where it came from
        running.visitor = person("ada", *scopes.ADMIN_SCOPES)
        yield running, things, folder
    ledger.close()


@pytest.fixture(scope="module")
def session(served) -> requests.Session:
    """ada's browser, signed in."""
    running, _things, _folder = served
    found = requests.Session()
    page = found.get(running.url, headers={"Sec-Fetch-Mode": "navigate"}, timeout=10)
    assert page.status_code == 200, page.text
    return found


def kept(folder: Path) -> list[str]:
    """Everything that the ledger in this folder says."""
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as connection:
        return list(connection.iterdump())


def post(
    session: requests.Session, url: str, headers: dict[str, str], body: str = "{}"
) -> requests.Response:
    return session.post(url, data=body, headers=headers, timeout=10, allow_redirects=False)


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_nothing_from_elsewhere_changes_anything(served, session, method, path):
    running, things, folder = served
    assert method == "POST", "teach this test the method"
    address = running.url + things.addresses(path)[0]
    before = kept(folder)
    for what, headers in FOREIGN.items():
        for body in ("{}", '{"reason": "because", "text": "hello", "minutes": 5, "position": 1}'):
            answer = post(session, address, headers, body)
            assert answer.status_code == 403, f"{what}: {answer.status_code} {answer.text}"
            assert "Access-Control-Allow-Origin" not in answer.headers
    # a token of somebody else's page, or of this one in the address
    mine = session.cookies.get("_xsrf", path="/services/gpucamp/")
    thieves = requests.Session()
    thieves.get(running.url, headers={"Sec-Fetch-Mode": "navigate"}, timeout=10)
    theirs = thieves.cookies.get("_xsrf", path="/services/gpucamp/")
    assert theirs != mine
    assert post(session, address, {"X-XSRFToken": theirs}).status_code == 403
    # no browser asks beforehand and is told that it may
    asked = session.options(
        address,
        headers={
            "Origin": "https://elsewhere.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "X-XSRFToken, Authorization",
        },
        timeout=10,
    )
    assert asked.status_code >= 400
    assert not [name for name in asked.headers if name.startswith("Access-Control-")]
    assert kept(folder) == before


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_the_same_from_the_page_itself_gets_through(served, session, method, path):
    """So it is the origin that the test above sees refused, not the request."""
    running, things, _folder = served
    headers = {
        "X-XSRFToken": session.cookies.get("_xsrf", path="/services/gpucamp/"),
        "Sec-Fetch-Mode": "cors",
        "Sec-Fetch-Site": "same-origin",
    }
    body = "{}" if path.rpartition("/")[2] in GOOD_BODY else '{"no-such-field": 1}'
    answer = post(session, running.url + things.addresses(path)[0], headers, body)
    assert answer.status_code not in (401, 403), answer.text


def test_a_foreign_page_neither_frames_nor_reads_any_page(served, session):
    running, things, _folder = served
    for method, path in routes():
        if method != "GET":
            continue
        address = running.url + things.addresses(path)[0]
        headers = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "cross-site"}
        assert session.get(address, headers=headers, timeout=10).status_code == 403, address
        shown = session.get(address, headers={"Sec-Fetch-Mode": "navigate"}, timeout=10)
        assert "frame-ancestors 'none'" in shown.headers["Content-Security-Policy"], address
        assert shown.headers["X-Content-Type-Options"] == "nosniff", address


def test_a_change_is_never_a_get(served, session):
    """A link or a picture on another page is fetched with cookies."""
    running, things, folder = served
    before = kept(folder)
    for _method, path in CHANGES:
        address = running.url + things.addresses(path)[0]
        for headers in ({"Sec-Fetch-Mode": "navigate"}, {"Sec-Fetch-Mode": "no-cors"}):
            answer = session.get(address, headers=headers, timeout=10)
            assert answer.status_code in (200, 403, 404, 405), f"{address} {answer.status_code}"
    assert kept(folder) == before


def test_the_comparison_of_the_ledger_sees_a_change(tmp_path: Path):
    ledger = make_ledger(tmp_path)
    world = World(ledger)
    before = kept(tmp_path)
    world.run_server("ada")
    assert kept(tmp_path) != before
    ledger.close()
