"""Pulls of images over REST: with progress, to the end, cancelled, cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from service_server import RunningService, person, running_service
from service_world import USUAL_IMAGE, EnginePullsSlowly, World

from hub_ext import scopes
from hub_ext.errors import EngineUnavailable, ImageMissing
from hub_ext.images import PullState

IMAGE, SECOND, THIRD = (f"registry.example/camp@sha256:{letter * 64}" for letter in "123")


@pytest.fixture
def engine(world: World) -> EnginePullsSlowly:
    return EnginePullsSlowly(world)


@pytest.fixture
def ask(world: World, engine: EnginePullsSlowly) -> Iterator[RunningService]:
    with running_service(world, engine=engine) as running:
        yield running


def path(name: str, *verbs: str) -> str:
    return "/".join(("api/v1/images", quote(name, safe=""), *verbs))


def begin(ask: RunningService, name: str = IMAGE, body: object = None) -> Any:
    return ask("POST", path(name, "pull"), "admin-token", json=body)


def pull(ask: RunningService, name: str = IMAGE) -> dict[str, Any]:
    answer = ask("GET", path(name, "pull"), "admin-token")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["pull"])


def cancel(ask: RunningService, name: str = IMAGE) -> Any:
    return ask("POST", path(name, "pull", "cancel"), "admin-token", json={})


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def row(ask: RunningService, name: str = IMAGE) -> dict[str, Any]:
    answer = ask("GET", path(name), "admin-token")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["image"])


def test_a_pull_is_followed_to_its_end_and_the_image_can_be_pinned(ask, engine, world):
    assert ask("GET", path(IMAGE, "pull"), "admin-token").status_code == 404
    answer = begin(ask, body={"reason": "for Monday"})
    assert answer.status_code == 202, answer.text
    begun = answer.json()["pull"]
    assert (begun["state"], begun["requested_by"]) == ("running", "root")
    assert (begun["reason"], begun["error"], begun["ended_at"]) == ("for Monday", None, None)
    until(lambda: pull(ask)["progress"])
    assert pull(ask)["progress"] == {
        "layers_done": 1,
        "layers": 2,
        "bytes_done": 5_000_000,
        "bytes_total": 9_000_000,
    }
    listed = row(ask)
    assert (listed["present"], listed["pull"]["state"]) == (False, "running")
    pinned = ask("POST", path(IMAGE, "pin"), "admin-token", json={"reason": "now"})
    assert pinned.status_code == 409, "not before it is there"
    engine.released = True
    until(lambda: pull(ask)["state"] == "done")
    ended = pull(ask)
    assert ended["progress"] is None and ended["ended_at"] is not None
    assert row(ask)["present"]
    pinned = ask("POST", path(IMAGE, "pin"), "admin-token", json={"reason": "now"})
    assert pinned.status_code == 200
    assert world.ledger.image_for(USUAL_IMAGE.id) == IMAGE
    done = [
        (line.action, line.detail, line.reason)
        for line in world.ledger.audit_trail()
        if line.action.startswith("image.pull")
    ]
    assert done == [("image.pull", IMAGE, "for Monday"), ("image.pull_end", f"done {IMAGE}", "")]


def test_whether_servers_can_run_from_it_is_known_when_it_is_there(ask, engine, world):
    world.unfit_images.add(IMAGE)
    begin(ask)
    until(lambda: engine.begun)
    assert row(ask)["for_servers"] is None
    assert "seen once it is here" in ask("GET", "images", "admin-token").text
    engine.released = True
    until(lambda: pull(ask)["state"] == "done")
    assert row(ask)["for_servers"] is False
    pinned = ask("POST", path(IMAGE, "pin"), "admin-token", json={"reason": "now"})
    assert pinned.status_code == 422
    page = ask("GET", "images", "admin-token").text
    assert "not an image for servers" in page and 'data-open="pin-dialog"' not in page
    assert world.ledger.image_for(USUAL_IMAGE.id) == USUAL_IMAGE.id
    begin(ask, SECOND)
    until(lambda: pull(ask, SECOND)["state"] == "done")
    assert row(ask, SECOND)["for_servers"] is True
    assert ask("GET", "images", "admin-token").text.count('data-open="pin-dialog"') == 1


def test_to_ask_again_begins_no_second_one(ask, engine):
    first = begin(ask).json()["pull"]
    assert begin(ask, body={"reason": "me, too"}).json()["pull"]["reason"] == first["reason"]
    engine.released = True
    until(lambda: pull(ask)["state"] == "done")
    assert engine.begun == [IMAGE]


def test_a_pull_that_is_cancelled_is_given_up_at_the_engine(ask, engine):
    begin(ask)
    until(lambda: engine.begun)
    answer = cancel(ask)
    assert answer.status_code == 200, answer.text
    assert answer.json()["pull"]["state"] == "cancelled"
    assert engine.given_up == [IMAGE]
    assert cancel(ask).status_code == 409
    assert cancel(ask, SECOND).status_code == 404
    assert row(ask)["pull"]["state"] == "cancelled"
    # and begun again
    engine.released = True
    begin(ask)
    until(lambda: pull(ask)["state"] == "done")


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ImageMissing("No registry has image x: manifest unknown"), "manifest unknown"),
        (EngineUnavailable("The Docker Engine did not answer"), "did not answer"),
        (RuntimeError("a bug"), "RuntimeError"),
    ],
)
def test_a_pull_that_fails_says_why_and_can_be_begun_again(ask, engine, failure, words):
    engine.failure, engine.released = failure, True
    begin(ask)
    until(lambda: pull(ask)["state"] != "running")
    assert pull(ask)["state"] == "failed"
    assert words in pull(ask)["error"]
    assert not row(ask)["present"]
    engine.failure = None
    begin(ask)
    until(lambda: pull(ask)["state"] == "done")
    assert pull(ask)["error"] is None


def test_at_most_two_at_a_time(ask, engine):
    assert begin(ask).status_code == begin(ask, SECOND).status_code == 202
    refused = begin(ask, THIRD)
    assert refused.status_code == 409
    assert "Wait for one of them" in refused.json()["detail"]
    engine.released = True
    until(lambda: pull(ask)["state"] == pull(ask, SECOND)["state"] == "done")
    assert begin(ask, THIRD).status_code == 202


def test_a_service_that_ends_cuts_its_pulls_off_and_the_next_says_so(world):
    engine = EnginePullsSlowly(world)
    with running_service(world, engine=engine) as ask:
        begin(ask)
        until(lambda: engine.begun)
    assert engine.given_up == [IMAGE]
    assert world.ledger.image_pull_of(IMAGE).state is PullState.RUNNING
    with running_service(world, engine=engine) as ask:
        assert pull(ask)["state"] == "cut_off"
        assert engine.begun == [IMAGE], "none begins by itself"
        engine.released = True
        assert begin(ask).json()["pull"]["state"] == "running"
        until(lambda: pull(ask)["state"] == "done")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        (USUAL_IMAGE.id, 409, "by its digest in a repository"),
        ("elsewhere.example/camp@" + USUAL_IMAGE.id, 409, "registry.example/camp"),
        ("registry.example/camp/other@" + USUAL_IMAGE.id, 409, "image_repositories"),
        ("registry.example/camp:1", 400, "a tag may mean another image"),
        ("registry.example/camp", 400, "named by its digest"),
        ("http://registry.example/camp@" + USUAL_IMAGE.id, 400, "named by its digest"),
    ],
)
def test_only_by_digest_and_from_repositories_that_are_named(
    ask, engine, world, name, status, words
):
    answer = begin(ask, name)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]
    assert engine.begun == []
    assert world.ledger.image_pull_of(name) is None


def test_the_repository_of_what_is_configured_is_one(ask, engine, world):
    world.ledger.set_configured_image("school.example:5000/torch:3")
    engine.released = True
    assert begin(ask, "school.example:5000/torch@" + USUAL_IMAGE.id).status_code == 202
    assert begin(ask).status_code == 202


@pytest.mark.parametrize("body", [{"reason": 5}, {"reason": "x" * 201}, [], {"image": "x"}])
def test_a_body_out_of_bounds_begins_nothing(ask, engine, body):
    assert begin(ask, body=body).status_code == 400
    assert engine.begun == []


def test_who_may_only_read_neither_begins_nor_ends_one(ask, engine):
    ask.tokens["reader"] = person("kim", scopes.IMAGES_READ)
    assert ask("POST", path(IMAGE, "pull"), "reader").status_code == 403
    begin(ask)
    assert ask("GET", path(IMAGE, "pull"), "reader").status_code == 200
    assert ask("POST", path(IMAGE, "pull", "cancel"), "reader").status_code == 403
    assert pull(ask)["state"] == "running"
    assert engine.given_up == []
