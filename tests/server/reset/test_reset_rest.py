"""Reset over a real server's REST interface, against a service that is a real HTTP server."""

from __future__ import annotations

import json
import socket
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from own_environment import Environment
from scripted_service import ScriptedService

from server_ext import service_client as client_module
from server_ext.reset.packages import changed_packages, compare, installed

pytestmark = pytest.mark.timeout(60)


async def test_what_a_reset_would_take(lab: Any, service: ScriptedService) -> None:
    answer = await lab.json("gpucamp/reset")
    assert service.asked == [
        (
            "GET",
            "/services/gpucamp/api/v1/users/ada/servers/second",
            "token the server's token",
            b"",
        )
    ]
    assert (answer["generation"], answer["can_undo"]) == (3, True)
    assert (answer["running_runs"], answer["kernels"]) == (0, 0)
    assert answer["changed_packages"] == []
    assert answer["outside"] == {"files": [], "bytes": 0, "more": 0}
    assert answer["undo"] == [] and isinstance(answer["environment_bytes"], int)


async def test_what_can_be_undone_is_as_the_service_says(
    lab: Any, service: ScriptedService
) -> None:
    kept = [{"generation": 2, "left_at": "2026-11-27T06:00:00Z", "expires": None}]
    service.body = {"generation": 3, "can_undo": True, "undo": kept}
    assert (await lab.json("gpucamp/reset"))["undo"] == kept
    service.body = {"generation": 3, "can_undo": True, "undo": "odd"}
    assert (await lab.json("gpucamp/reset"))["undo"] == []


async def test_changed_packages_of_the_kernels_environment(lab: Any, own: Environment) -> None:
    record = "six.py,sha256=x,120\n__pycache__/six.pyc,,\nSix-1.0.0.dist-info/RECORD,,\n"
    own.add("Six", "1.0.0", record)
    own.add("tornado", "0.0.1")
    changed = (await lab.json("gpucamp/reset"))["changed_packages"]
    tornado = installed(sysconfig.get_path("purelib"))["tornado"]
    known = {"bytes": None, "again": True}
    assert {"name": "tornado", "base": tornado, "environment": "0.0.1", **known} in changed
    assert [one["name"] for one in changed] == ["six", "tornado"]
    assert changed[0]["bytes"] == 120 + len(record)


async def test_without_its_link_to_the_base_an_environment_has_lost_what_is_in_it(
    lab: Any, own: Environment
) -> None:
    own.add("tornado", "0.0.1")
    (own.site / "base.pth").unlink()
    changed = (await lab.json("gpucamp/reset"))["changed_packages"]
    removed = {one["name"] for one in changed if one["environment"] is None}
    assert {"traitlets", "jupyter-server"} <= removed and "tornado" not in removed
    assert not any(one["again"] for one in changed if one["environment"] is None)


@pytest.mark.parametrize(("undo", "action"), [(False, "reset"), (True, "undo-reset")])
async def test_reset_and_undo_lead_to_the_progress_page(
    lab: Any, service: ScriptedService, undo: bool, action: str
) -> None:
    service.status = 202
    service.body = {
        "operation": {"id": 7},
        "progress_url": "/services/gpucamp/operations/7",
    }
    response = await lab.fetch("gpucamp/reset", method="POST", body={"undo": undo})
    assert response.code == 202
    assert json.loads(response.body) == {"progress_url": "/services/gpucamp/operations/7"}
    assert service.asked == [
        (
            "POST",
            f"/services/gpucamp/api/v1/users/ada/servers/second/{action}",
            "token the server's token",
            b"{}",
        )
    ]


async def test_names_are_quoted(lab: Any, service: ScriptedService, monkeypatch: Any) -> None:
    lab.visitor = "ada/../bob?x"
    monkeypatch.setenv("JUPYTERHUB_USER", lab.visitor)
    monkeypatch.setenv("JUPYTERHUB_SERVER_NAME", "")
    await lab.json("gpucamp/reset")
    assert service.asked[0][1] == "/services/gpucamp/api/v1/users/ada%2F..%2Fbob%3Fx/server"


@pytest.mark.parametrize(
    "url",
    [
        "//evil.example/services/gpucamp/",
        "https://evil.example/",
        "/services/gpucamp/../../hub/logout",
        "/hub/logout",
        "javascript:alert(1)",
        "/services/gpucamp/\\evil",
        7,
        None,
    ],
)
async def test_the_browser_is_never_sent_elsewhere(
    lab: Any, service: ScriptedService, url: Any
) -> None:
    service.status, service.body = 202, {"operation": {"id": "a/b"}, "progress_url": url}
    response = await lab.fetch("gpucamp/reset", method="POST", body={"undo": False})
    expected = {"progress_url": "/services/gpucamp/operations/a%2Fb"}
    assert json.loads(response.body) == expected


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_only_the_servers_own_user(lab: Any, service: ScriptedService, method: str) -> None:
    lab.visitor = "bob"  # to whom ada has shared her server
    response = await lab.fetch("gpucamp/reset", method=method, body=None)
    assert response.code == 403 and "ada" in json.loads(response.body)["message"]
    assert service.asked == []


async def test_nobody_without_signing_in(lab: Any, service: ScriptedService) -> None:
    for method in ("GET", "POST"):
        response = await lab.fetch("gpucamp/reset", method=method, token=None)
        assert response.code in (302, 403)
    assert service.asked == []


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (409, {"detail": "A reset is under way: {x}."}, 409),
        (400, {"detail": "no"}, 400),
        (403, {"detail": "no"}, 403),
        (404, {"detail": "no"}, 404),
        (500, {"detail": "boom"}, 503),
        (502, b"<html>Bad gateway</html>", 503),
        (404, b"<html>", 503),
        (401, {"detail": "no"}, 503),
        (200, b"", 503),
        (200, b"[]", 503),
        (200, b"{" * 100000, 503),
        (200, {}, 503),
    ],
)
async def test_what_the_service_refuses(
    lab: Any, service: ScriptedService, status: int, body: Any, expected: int
) -> None:
    service.status, service.body = status, body
    response = await lab.fetch("gpucamp/reset", method="POST", body={"undo": False})
    answer = json.loads(response.body)
    assert (response.code, answer["status"]) == (expected, expected)
    if expected == 503:
        assert "/services/gpucamp/" in answer["message"]
    else:
        assert answer["message"] == body["detail"]


async def test_a_redirect_does_not_get_the_token(lab: Any, service: ScriptedService) -> None:
    service.status, service.body = 302, b""
    service.headers = {"Location": f"http://127.0.0.1:{service.port}/elsewhere"}
    response = await lab.fetch("gpucamp/reset", method="POST", body={})
    assert response.code == 503
    assert [path for _, path, _, _ in service.asked] == [
        "/services/gpucamp/api/v1/users/ada/servers/second/reset"
    ]


async def test_a_service_that_is_down(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("GPUCAMP_SERVICE_URL", f"http://127.0.0.1:{port}/services/gpucamp/")
    for method in ("GET", "POST"):
        response = await lab.fetch("gpucamp/reset", method=method, body=None)
        assert response.code == 503
        assert "/services/gpucamp/" in json.loads(response.body)["message"]


async def test_a_service_that_hangs(
    lab: Any, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT_SECONDS", 0.3)
    service.delay = 5
    response = await lab.fetch("gpucamp/reset", method="POST", body={})
    assert response.code == 503


async def test_a_server_without_a_hub(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUCAMP_SERVICE_URL")
    response = await lab.fetch("gpucamp/reset")
    assert response.code == 503


@pytest.mark.parametrize(
    "body",
    [
        *(b"x", [], {"undo": 1}, {"undo": "yes"}, {"undo": None}, {"generation": 2}),
        *({"undo": True, "generation": value} for value in ("2", True, 0, 1.5, 10**9)),
        *({"again": value} for value in ("six", [1], ["six"], ["x"] * 1001)),
        *({"reason": "x" * 501}, {"reason": 1}, {"packages": []}),
    ],
)
async def test_bodies_refused(lab: Any, service: ScriptedService, body: Any) -> None:
    response = await lab.fetch("gpucamp/reset", method="POST", body=body)
    assert response.code == 400
    assert service.asked == []


def test_installed_reads_names_only(tmp_path: Path) -> None:
    for name in (
        "torch-2.9.1+cu128.dist-info",
        "ruamel.yaml-0.18.6.dist-info",
        "Zope_Interface-7.0-py3.11.egg-info",
        "~orch-2.9.0.dist-info",
        "no_version.dist-info",
        "torch",
    ):
        (tmp_path / name).mkdir()
    assert installed(str(tmp_path)) == {
        "torch": "2.9.1+cu128",
        "ruamel-yaml": "0.18.6",
        "zope-interface": "7.0",
    }
    assert installed(str(tmp_path / "missing")) == {}


def test_compare() -> None:
    changed = compare({"a": "1", "b": "1", "c": "1"}, {"a": "2", "b": "1", "d": "1"})
    assert [(one.name, one.base, one.environment) for one in changed] == [
        ("a", "1", "2"),
        ("d", None, "1"),
    ]


def test_an_environment_that_is_the_base_has_no_changes(tmp_path: Path) -> None:
    (tmp_path / "torch-2.9.1.dist-info").mkdir()
    link = tmp_path.parent / "link"
    link.symlink_to(tmp_path)
    assert changed_packages(str(tmp_path), [str(link)]) == []
