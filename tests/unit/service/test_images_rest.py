"""Images over REST: the list, one, which of them new servers get."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import quote

import pytest
from service_server import person, running_service
from service_world import USUAL_IMAGE, EngineSilent, now

from hub_ext import scopes
from hub_ext.images import IMAGE_LABEL, ImageFact

OTHER = ImageFact("sha256:" + "cd" * 32, ("gpucamp/torch-cuda:2",), labels={IMAGE_LABEL: "x"})
DIGEST = "sha256:" + "ef" * 32
PULLED = ImageFact(
    "sha256:" + "12" * 32, digests=(f"registry.example/camp@{DIGEST}",), labels={IMAGE_LABEL: "x"}
)
UNFIT = ImageFact(  # of an allowed repository
    "sha256:" + "56" * 32, digests=(f"registry.example/camp@sha256:{'78' * 32}",)
)
STRANGE = ImageFact("sha256:" + "34" * 32, ("postgres:17",), ("postgres@" + DIGEST,))
BECAUSE = {"reason": "a mended torch"}


@pytest.fixture
def images(world, ask):
    world.images += [OTHER, PULLED, STRANGE]
    return ask


def path(name: str, verb: str = "") -> str:
    return f"api/v1/images/{quote(name, safe='')}" + (f"/{verb}" if verb else "")


def listed(ask) -> dict[str, dict]:
    answer = ask("GET", "api/v1/images", "admin-token")
    assert answer.status_code == 200, answer.text
    return {each["image"]: each for each in answer.json()["images"]}


def post(ask, name: str, verb: str, body: object = BECAUSE):
    return ask("POST", path(name, verb), "admin-token", json=body)


def in_force(ask) -> list[str]:
    return [name for name, each in listed(ask).items() if each["in_force"]]


def test_images_are_told_with_who_runs_them(images, world):
    found = listed(images)
    assert list(found) == [PULLED.digests[0], USUAL_IMAGE.id, OTHER.id]
    usual = found[USUAL_IMAGE.id]
    assert usual["configured"] and usual["in_force"] and usual["present"]
    assert usual["pin"] is None
    assert usual["size_bytes"] == 8_000_000_000
    assert usual["tags"] == ["gpucamp/torch-cuda:1"]
    assert usual["created_at"] == "2026-01-31T00:00:00+00:00"
    assert not any(found[each]["in_force"] for each in (PULLED.digests[0], OTHER.id))
    assert found[OTHER.id]["servers"] == []


def test_who_runs_an_image_is_told(images):
    deadline = time.monotonic() + 60
    while not listed(images)[USUAL_IMAGE.id]["servers"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert listed(images)[USUAL_IMAGE.id]["servers"] == [{"user": "ada", "server": ""}]


def test_a_pin_is_what_new_servers_get_until_it_is_taken_away(images, world):
    answer = post(images, OTHER.id, "pin")
    assert answer.status_code == 200, answer.text
    pinned = answer.json()["image"]
    assert pinned["in_force"] and not pinned["configured"]
    assert (pinned["pin"]["by"], pinned["pin"]["reason"]) == ("root", "a mended torch")
    assert world.ledger.image_for(USUAL_IMAGE.id) == OTHER.id
    assert in_force(images) == [OTHER.id]
    assert images("GET", "api/v1/users/bob/server", "bob-token").json()["image"] == OTHER.id
    assert images("GET", "api/v1/users/ada/server").json()["image"] == USUAL_IMAGE.id
    line = world.ledger.audit_trail()[-1]
    assert (line.actor, line.action, line.detail) == ("root", "image.pin", OTHER.id)
    assert line.reason == "a mended torch"
    answer = post(images, OTHER.id, "unpin", {"reason": "it was not better"})
    assert answer.json()["image"]["in_force"] is False
    assert in_force(images) == [USUAL_IMAGE.id]
    assert world.ledger.image_for(USUAL_IMAGE.id) == USUAL_IMAGE.id
    assert world.ledger.audit_trail()[-1].action == "image.unpin"


def test_an_image_of_a_registry_is_pinned_by_its_digest(images, world):
    """Whatever name it was asked for by: that one can be pulled again."""
    assert post(images, PULLED.id, "pin").json()["image"]["image"] == PULLED.digests[0]
    assert world.ledger.image_for(USUAL_IMAGE.id) == PULLED.digests[0]
    found = images("GET", path(PULLED.digests[0]), "admin-token").json()["image"]
    assert found["id"] == PULLED.id and found["in_force"]


def test_an_image_that_is_not_for_servers_is_told_as_such_and_refused(images, world):
    """It comes from a repository that is allowed, perhaps by a mistaken digest."""
    world.images.append(UNFIT)
    found = listed(images)
    assert {name: each["for_servers"] for name, each in found.items()} == {
        UNFIT.digests[0]: False,
        PULLED.digests[0]: True,
        USUAL_IMAGE.id: True,
        OTHER.id: True,
    }
    before = world.ledger.audit_trail()
    for name in (UNFIT.id, UNFIT.digests[0]):
        answer = post(images, name, "pin")
        assert answer.status_code == 422, answer.text
        assert answer.json()["type"].endswith("docs/api#image-unfit")
        assert "gpucamp.image" in answer.json()["detail"]
    assert in_force(images) == [USUAL_IMAGE.id]
    assert world.ledger.audit_trail() == before
    chinese = images(
        "POST",
        path(UNFIT.id, "pin"),
        "admin-token",
        json=BECAUSE,
        headers={"Accept-Language": "zh-CN"},
    ).json()
    assert (chinese["title"], "标签" in chinese["detail"]) == ("该镜像不适用于服务器", True)


def test_an_empty_label_says_nothing(images, world):
    world.images.append(replace(UNFIT, labels={IMAGE_LABEL: ""}))
    assert post(images, UNFIT.id, "pin").status_code == 422


def test_whoever_configures_an_image_answers_for_it(images, world):
    """And can go back to it from a pin."""
    world.images.append(UNFIT)
    world.ledger.set_configured_image(UNFIT.digests[0])
    assert listed(images)[UNFIT.digests[0]]["for_servers"] is True
    assert post(images, OTHER.id, "pin").status_code == 200
    assert post(images, UNFIT.id, "pin").status_code == 200
    assert in_force(images) == [UNFIT.digests[0]]


def test_a_pin_of_an_earlier_version_that_is_not_for_servers_is_told_and_taken_away(images, world):
    world.images.append(UNFIT)
    world.ledger.pin_image(USUAL_IMAGE.id, UNFIT.digests[0], "why", now(), actor="root")
    found = listed(images)[UNFIT.digests[0]]
    assert (found["in_force"], found["for_servers"]) == (True, False)
    assert post(images, UNFIT.digests[0], "unpin").status_code == 200
    assert in_force(images) == [USUAL_IMAGE.id]


def test_undo_is_to_pin_the_one_before(images, world):
    post(images, PULLED.id, "pin")
    post(images, OTHER.id, "pin")
    post(images, PULLED.id, "pin")
    assert in_force(images) == [PULLED.digests[0]]
    # the configured one takes the pin away
    answer = post(images, USUAL_IMAGE.id, "pin")
    assert answer.json()["image"]["pin"] is None
    assert world.ledger.image_pin(USUAL_IMAGE.id) is None


def test_to_unpin_what_is_not_pinned_changes_nothing(images, world):
    post(images, OTHER.id, "pin")
    before = world.ledger.audit_trail()
    assert post(images, PULLED.id, "unpin").status_code == 200
    assert post(images, USUAL_IMAGE.id, "unpin").status_code == 200
    assert in_force(images) == [OTHER.id]
    assert world.ledger.audit_trail() == before


def test_a_pinned_image_that_was_deleted_is_told_and_can_be_unpinned(images, world):
    post(images, PULLED.id, "pin")
    world.images.remove(PULLED)
    gone = listed(images)[PULLED.digests[0]]
    assert (gone["present"], gone["in_force"], gone["id"]) == (False, True, None)
    assert gone["for_servers"] is None, "nobody can know"
    absent = images("GET", "api/v1/images?present=0", "admin-token").json()["images"]
    assert [each["image"] for each in absent] == [PULLED.digests[0]]
    assert post(images, PULLED.digests[0], "unpin").status_code == 200
    assert in_force(images) == [USUAL_IMAGE.id]


def test_what_is_configured_is_told_though_it_is_missing(world, ask):
    world.images.clear()
    found = listed(ask)[USUAL_IMAGE.id]
    assert found["configured"] and found["in_force"] and not found["present"]
    assert found["for_servers"] is True
    answer = post(ask, USUAL_IMAGE.id, "pin")
    assert answer.status_code == 409
    assert "Pull it first" in answer.json()["detail"]


def test_the_hub_says_what_is_configured(images, world):
    world.ledger.set_configured_image("gpucamp/torch-cuda:2")
    assert in_force(images) == [OTHER.id]
    assert not listed(images)[USUAL_IMAGE.id]["configured"]
    post(images, PULLED.id, "pin")
    assert world.ledger.image_for("gpucamp/torch-cuda:2") == PULLED.digests[0]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (STRANGE.id, 404),
        (STRANGE.digests[0], 404),
        ("sha256:" + "99" * 32, 404),
        ("registry.example/camp@sha256:" + "99" * 32, 404),
        ("gpucamp/torch-cuda:2", 400),
        ("gpucamp/torch-cuda", 400),
        (OTHER.id[:19], 400),
        (OTHER.id.upper(), 400),
        ("sha256:" + "cd" * 32 + "\n", 400),
        ("../" + OTHER.id, 400),
        ("GPU 火", 400),
        ("x" * 5000, 400),
    ],
)
@pytest.mark.parametrize("verb", ["", "pin", "unpin"])
def test_only_images_for_servers_and_only_by_names_that_never_change(
    images, world, verb, name, status
):
    before = world.ledger.audit_trail()
    answer = post(images, name, verb) if verb else images("GET", path(name), "admin-token")
    assert answer.status_code == status, answer.text
    assert world.ledger.image_for(USUAL_IMAGE.id) == USUAL_IMAGE.id
    assert world.ledger.audit_trail() == before


@pytest.mark.parametrize(
    "body",
    [{}, {"reason": ""}, {"reason": " "}, {"reason": 5}, {"reason": "x" * 201}, [], {"x": 1}],
)
@pytest.mark.parametrize("verb", ["pin", "unpin"])
def test_a_reason_is_needed(images, world, verb, body):
    assert post(images, OTHER.id, verb, body).status_code == 400
    assert world.ledger.image_for(USUAL_IMAGE.id) == USUAL_IMAGE.id


def test_who_may_only_read_changes_nothing(images, world):
    images.tokens["reader"] = person("kim", scopes.IMAGES_READ)
    images.tokens["class"] = person("kim", f"{scopes.IMAGES_MANAGE}!group=class-1")
    assert images("GET", path(OTHER.id), "reader").status_code == 200
    for token in ("reader", "class"):
        assert images("POST", path(OTHER.id, "pin"), token, json=BECAUSE).status_code == 403
    assert images("GET", "api/v1/images", "class").status_code == 403
    assert world.ledger.image_for(USUAL_IMAGE.id) == USUAL_IMAGE.id


def test_without_the_engine_nothing_is_told_and_nothing_pinned(world):
    with running_service(world, engine=EngineSilent(world)) as ask:
        answer = ask("GET", "api/v1/images", "admin-token")
        assert answer.status_code == 503
        assert answer.json()["type"].endswith("#engine-unavailable")
        assert post(ask, USUAL_IMAGE.id, "pin").status_code == 503
        assert world.ledger.image_pin(USUAL_IMAGE.id) is None


def test_it_is_said_in_chinese(images):
    answer = images(
        "POST",
        path("gpucamp/torch-cuda:2", "pin"),
        "admin-token",
        json=BECAUSE,
        headers={"Accept-Language": "zh-CN"},
    )
    assert "镜像" in answer.json()["detail"]


def test_pages_of_images_neither_hide_nor_repeat(images):
    first = images("GET", "api/v1/images?limit=2", "admin-token").json()
    second = images("GET", f"api/v1/images?limit=2&cursor={first['next']}", "admin-token").json()
    names = [each["image"] for each in first["images"] + second["images"]]
    assert names == sorted([PULLED.digests[0], USUAL_IMAGE.id, OTHER.id])
    assert second["next"] is None
