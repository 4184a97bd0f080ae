"""Least privilege, as a table: what each role gets from each endpoint and page.

role_table.txt is written by hand. Every method of every route has a line in it, and each cell is
what really comes back: a letter for each thing that the address may be about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_contract import path_of
from resets import reset
from service_server import RunningService, expand, person, running_service
from service_world import USUAL_IMAGE, UUIDS, World, make_ledger, now
from tornado.web import RequestHandler

from hub_ext import scopes
from hub_ext.models import OperationKind, OperationStep
from hub_ext.service import api, pages

TABLE = Path(__file__).with_name("role_table.txt")

# Whom an address may be about. ada and bob are in class-1, zoe is in class-2.
PEOPLE = ("ada", "bob", "zoe")
CLASSES = ("class-1", "class-2")

# Whoever asks: ada herself, the token inside her default server, the instructor of class-1, one of
# all classes, an admin, Prometheus.
ROLES = ("participant", "server", "class instructor", "instructor", "admin", "prometheus")

LET_THROUGH, FORBIDDEN, HIDDEN = "y", "f", "n"

# A body that is refused, if the caller gets so far, before it changes anything.
REFUSED_BODY = {"no-such-field": 1}
# What only the body's reader decides, so the body has to be good.
GOOD_BODY = {"hand": {}}


def of_class(names: tuple[str, ...], group: str) -> list[str]:
    first, *rest = names
    return [first, *(f"{name}!group={group}" for name in rest)]


def roles() -> dict[str, dict[str, Any]]:
    return {
        "participant": person("ada"),
        "server": {
            "kind": "user",
            "name": "ada",
            "scopes": expand(scopes.SERVER_TOKEN_SCOPES, "ada"),
        },
        "class instructor": person("kim", *of_class(scopes.INSTRUCTOR_SCOPES, "class-1")),
        "instructor": person("kit", *scopes.INSTRUCTOR_SCOPES),
        "admin": person("root", *scopes.ADMIN_SCOPES),
        # a service of the hub's, without what every user has
        "prometheus": {
            "kind": "service",
            "name": "prometheus",
            "scopes": list(scopes.PROMETHEUS_SCOPES),
        },
    }


class Things:
    """Real ones, for each of the people: servers, a lease, an operation, files that were left."""

    def __init__(self, world: World, left: Path) -> None:
        (left / "notes").write_text("what was left")
        ledger = world.ledger
        world.users |= {"ada": ("class-1",), "bob": ("class-1",), "zoe": ("class-2",)}
        world.users |= {"kim": (), "kit": (), "root": ()}
        self.leases: dict[str, str] = {}
        self.operations: dict[str, str] = {}
        for user in PEOPLE:
            groups = world.users[user]
            for server in ("", "second"):
                reset(ledger, user, server, now())
                world.kept[user, server, 1] = left
                world.run_server(user, server, gpus=0, groups=groups)
            lease = ledger.lease_of(user, "")
            assert lease is not None
            self.leases[user] = lease.id
            operation = ledger.begin_operation(
                OperationKind.RESET,
                user,
                "",
                requested_by=user,
                start_after=False,
                user_options={},
                now=now(),
            )
            ledger.advance_operation(operation.id, OperationStep.FAILED, now(), "interrupted")
            self.operations[user] = operation.id

    def addresses(self, path: str) -> list[str]:
        """One path for each thing that it may be about."""
        path = path.lstrip("/").replace("{server}", "second").replace("{generation}", "1")
        path = (
            path.replace("{device}", UUIDS[0])
            .replace("{code}", "GC102")
            .replace("{image}", USUAL_IMAGE.id)
        )
        if path.endswith("/file"):
            path += "?path=notes"
        for place, things in (
            ("{user}", PEOPLE),
            ("{group}", CLASSES),
            ("{lease}", self.leases.values()),
            ("{operation}", self.operations.values()),
        ):
            if place in path:
                return [path.replace(place, each) for each in things]
        return [path]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[RunningService, Things]]:
    ledger = make_ledger(tmp_path_factory.mktemp("roles"))
    world = World(ledger)
    things = Things(world, tmp_path_factory.mktemp("left"))
    with running_service(world) as running:
        for role, model in roles().items():
            running.tokens[role.replace(" ", "-")] = model
        yield running, things
    ledger.close()


def routes() -> list[tuple[str, str]]:
    """(method, path) of everything that is served."""
    found = []
    for pattern, handler in [*api.ROUTES, *pages.ROUTES]:
        if handler in (api.UnknownHandler, pages.UnknownPage):
            continue
        found += [
            (verb.upper(), path_of(pattern).replace("(?P<code>GC[0-9]{3})", "{code}"))
            for verb in ("get", "post", "put", "patch", "delete")
            if getattr(handler, verb) is not getattr(RequestHandler, verb)
        ]
    return found


def lines() -> dict[tuple[str, str], list[str]]:
    """The table: a list of cells, in the order of ROLES, by method and path."""
    found = {}
    for line in TABLE.read_text().splitlines():
        if line and not line.startswith("#"):
            method, path, *cells = line.split()
            assert (method, path) not in found, f"{method} {path} stands there twice"
            found[method, path] = cells
    return found


def came_back(running: RunningService, method: str, address: str, role: str) -> str:
    body = None
    if method != "GET":
        body = GOOD_BODY.get(address.rpartition("/")[2], REFUSED_BODY)
    answer = running(method, address, role.replace(" ", "-"), json=body)
    status = answer.status_code
    assert status < 500, answer.text
    assert status != 401, answer.text
    return {403: FORBIDDEN, 404: HIDDEN}.get(status, LET_THROUGH)


def test_every_route_has_a_line_and_every_line_a_route():
    assert sorted(lines()) == sorted(set(routes()))


@pytest.mark.parametrize(("method", "path"), sorted(set(routes())))
def test_each_role_gets_what_the_table_says(served, method, path):
    running, things = served
    found = [
        "".join(came_back(running, method, address, role) for address in things.addresses(path))
        for role in ROLES
    ]
    assert dict(zip(ROLES, found, strict=True)) == dict(
        zip(ROLES, lines()[method, path], strict=True)
    )


def test_nothing_that_a_role_reads_names_people_it_may_not_see(served):
    """Lists are let through and show a part; so does every page."""
    running, things = served
    unseen = {
        "participant": ("bob", "zoe"),
        "server": ("bob", "zoe"),
        "class instructor": ("zoe",),
        "prometheus": PEOPLE,
    }
    read = 0
    for method, path in routes():
        if method != "GET" or path.startswith(("/api/v1/openapi", "/docs")):
            continue
        for role, names in unseen.items():
            for address in things.addresses(path):
                answer = running(method, address, role.replace(" ", "-"))
                if answer.status_code == 200:
                    read += 1
                    found = [name for name in names if re.search(rf"\b{name}\b", answer.text)]
                    assert found == [], f"{role} reads of {found} at {address}"
    assert read > 50
