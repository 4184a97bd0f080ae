"""The settings in force over REST and as a page: for admins, without secrets, and audited."""

from __future__ import annotations

import pytest
from service_world import now
from traitlets.config import Config

from hub_ext.defaults import hub_settings

PATH = "api/v1/settings"


@pytest.fixture
def told(world):
    """What a hub wrote when it was started."""
    config = Config()
    config.GPUDockerSpawner.max_gpus = 4
    config.Spawner.environment = {"HF_TOKEN": "<s3cret>"}
    config.GpuPolicy.pools = {"<b>": {"devices": "*"}}
    world.ledger.set_settings(hub_settings(config), now())
    return config


def names(answer) -> list[tuple[str, str]]:
    return [(each["section"], each["name"]) for each in answer.json()["settings"]]


def test_it_is_for_admins(ask, told):
    for path in (PATH, "settings"):
        for token, status in (
            (None, 401),
            ("ada-token", 403),
            ("ada-server-token", 403),
            ("instructor-token", 403),
            ("admin-token", 200),
        ):
            if token is None and path == "settings":
                continue  # the page sends to sign in
            assert ask("GET", path, token).status_code == status


def test_settings_with_filters_and_pages(ask, told):
    everything = ask("GET", PATH, "admin-token")
    assert ("GPUDockerSpawner", "max_gpus") in names(everything)
    changed = ask("GET", PATH + "?changed=1", "admin-token")
    assert names(changed) == [
        ("GPUDockerSpawner", "environment"),
        ("GPUDockerSpawner", "max_gpus"),
        ("GpuPolicy", "pools"),
    ]
    policy = ask("GET", PATH + "?section=GpuPolicy&changed=0", "admin-token")
    assert {section for section, _name in names(policy)} == {"GpuPolicy"}
    assert ("GpuPolicy", "pools") not in names(policy)
    found, cursor = [], ""
    while cursor is not None:
        page = ask("GET", f"{PATH}?limit=7{cursor and '&cursor=' + cursor}", "admin-token")
        found += names(page)
        cursor = page.json()["next"]
    assert found == names(everything) == sorted(found)
    for query in ("section=JupyterHub", "changed=yes", "name=x"):
        assert ask("GET", f"{PATH}?{query}", "admin-token").status_code == 400


def test_a_secret_is_neither_in_the_answer_nor_on_the_page(ask, told):
    for path in (PATH, "settings", "settings?show=changed"):
        text = ask("GET", path, "admin-token").text
        assert "s3cret" not in text and "max_gpus" in text
    (row,) = [
        each
        for each in ask("GET", PATH, "admin-token").json()["settings"]
        if each["name"] == "environment"
    ]
    assert (row["hidden"], row["value"], row["changed"]) == (True, None, True)


def test_the_page_shows_what_was_set_and_in_the_readers_language(ask, told):
    page = ask("GET", "settings?show=changed", "admin-token").text
    assert "max_gpus" in page and "stop_grace" not in page and "set, not shown" in page
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert "stop_grace" in ask("GET", "settings", "admin-token").text
    chinese = ask("GET", "settings", "admin-token", headers={"Accept-Language": "zh-CN"}).text
    assert "生效的设置" in chinese
    assert ask("GET", "settings?show=x", "admin-token").status_code == 400


def test_without_a_hub_that_told_the_page_says_so(ask):
    assert ask("GET", PATH, "admin-token").json() == {"settings": [], "next": None}
    assert "Not known" in ask("GET", "settings", "admin-token").text


def test_what_was_set_anew_is_in_the_trail_once(world, told):
    def lines():
        return [each for each in world.ledger.audit_trail() if each.action == "settings.set"]

    assert lines() == [], "the first hub changed nothing"
    world.ledger.set_settings(hub_settings(told), now())
    assert lines() == []
    told.GPUDockerSpawner.max_gpus = 2
    told.GpuPolicy.lease_hours = 4.0
    world.ledger.set_settings(hub_settings(told), now())
    (line,) = lines()
    assert line.detail == "GPUDockerSpawner.max_gpus, GpuPolicy.lease_hours"
    assert {each.name: each.value for each in world.ledger.settings()}["max_gpus"] == 2
