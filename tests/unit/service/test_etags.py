"""What has not changed is not sent again, and what has is."""

from __future__ import annotations

import time

import pytest
from openapi_contract import SPEC
from service_server import ADA
from service_world import UUIDS, now

from hub_ext.models import Request

DEVICE = f"api/v1/devices/{UUIDS[1]}"
SERVER = "api/v1/users/ada/server"
POLLED = [
    "api/v1/health",
    "api/v1/devices",
    "api/v1/leases?include_ended=1",
    "api/v1/queue",
    "api/v1/audit",
    "api/v1/servers",
    "api/v1/groups",
    SERVER,
    f"{SERVER}/doctor",
    "api/v1/openapi.json",
    "api/v1/openapi.yaml",
]


@pytest.fixture(autouse=True)
def after_the_first_look(ask) -> None:
    """Of the monitor, which changes what health says."""
    deadline = time.monotonic() + 30
    while (health := ask.service.monitor.health).engine_error or health.inventory_error:
        assert time.monotonic() < deadline, health
        time.sleep(0.02)


@pytest.mark.parametrize("path", POLLED)
def test_the_same_again_is_304_without_a_body(ask, path):
    first = ask("GET", path, "admin-token")
    etag = first.headers["ETag"]
    assert first.status_code == 200 and etag[0] == etag[-1] == '"', "strong"
    for said in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        again = ask("GET", path, "admin-token", headers={"If-None-Match": said})
        assert (again.status_code, again.content) == (304, b""), said
        assert again.headers["ETag"] == etag
        assert again.headers["Cache-Control"] == "private, no-cache"
        assert "Content-Type" not in again.headers
    for said in ('"x"', 'W/"x" , ""', etag[:-2] + '"', "nonsense", '"', "", etag[2:-2], "é"):
        answer = ask("GET", path, "admin-token", headers={"If-None-Match": said.encode()})
        assert (answer.status_code, answer.content) == (200, first.content), said


def test_a_change_is_told(ask, world):
    for path, change in (
        ("api/v1/devices", lambda: ask("POST", f"{DEVICE}/cordon", "admin-token")),
        ("api/v1/leases", lambda: world.run_server("bob", gpus=0)),
        ("api/v1/audit", lambda: ask("POST", f"{DEVICE}/uncordon", "admin-token")),
        ("api/v1/queue", lambda: world.ledger.enqueue(Request("u", "", 1), now())),
        (SERVER, lambda: world.stop_server("ada", "")),
    ):
        etag = ask("GET", path, "admin-token").headers["ETag"]
        change()
        answer = ask("GET", path, "admin-token", headers={"If-None-Match": etag})
        assert answer.status_code == 200 and answer.headers["ETag"] != etag, path


def test_another_language_is_another_answer(ask):
    said = {
        language: ask("GET", f"{SERVER}", headers={"Accept-Language": language})
        for language in ("en", "zh-CN")
    }
    assert all("Accept-Language" in answer.headers["Vary"] for answer in said.values())
    different = said["en"].content != said["zh-CN"].content
    assert different == (said["en"].headers["ETag"] != said["zh-CN"].headers["ETag"])


def test_who_may_not_see_it_learns_nothing_from_an_etag(ask):
    etag = ask("GET", "api/v1/devices", "admin-token").headers["ETag"]
    for token, status in ((ADA, 403), (None, 401)):
        for said in (etag, "*"):
            answer = ask("GET", "api/v1/devices", token, headers={"If-None-Match": said})
            assert answer.status_code == status
            assert "ETag" not in answer.headers
    answer = ask("GET", "api/v1/users/bob/server", headers={"If-None-Match": "*"})
    assert answer.status_code == 404


def test_changes_and_errors_have_none_and_are_not_cached(ask):
    for answer in (
        ask("POST", f"{SERVER}/lease/keep", headers={"If-None-Match": "*"}),
        ask("GET", "api/v1/nothing", headers={"If-None-Match": "*"}),
        ask("GET", "api/v1/usage?format=csv", "admin-token", headers={"If-None-Match": "*"}),
    ):
        assert answer.status_code != 304
        assert "ETag" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"


def test_every_get_of_json_knows_304():
    for path, item in SPEC["paths"].items():
        if "get" not in item:
            continue
        content = item["get"]["responses"]["200"].get("content", {})
        knows = "304" in item["get"]["responses"]
        assert knows == bool({"application/json", "application/yaml"} & set(content)), path
