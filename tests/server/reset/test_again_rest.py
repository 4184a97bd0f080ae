"""Installing again over a real server's REST interface."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from own_environment import Environment
from wheels import wheel

from server_ext.reset import again

pytestmark = pytest.mark.timeout(120)
AGAIN = "gpucamp/reset/again"


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip finds packages."""
    (tmp_path / "index").mkdir()
    wheel(tmp_path / "index", "alpha", "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    monkeypatch.setenv("GPUCAMP_GENERATION", "4")
    return tmp_path / "index"


def wish(lab: Any, text: str) -> Path:
    """What an earlier server wrote down."""
    folder = lab.root / ".gpucamp"
    folder.mkdir(exist_ok=True)
    lock = folder / "install-again-second.lock"
    lock.write_text(text)
    return Path(lock)


def use_a_real_python(own: Environment) -> None:
    (own.prefix / "bin" / "python").unlink()
    (own.prefix / "bin" / "python").symlink_to(sys.executable)
    (own.prefix / "pyvenv.cfg").write_text(
        f"home = {Path(sys.base_prefix) / 'bin'}\ninclude-system-site-packages = false\n"
    )


async def test_nothing_to_install(lab: Any) -> None:
    assert await lab.json(AGAIN) == {"state": "none", "packages": []}


async def test_a_new_server_installs_and_reports_until_the_report_is_forgotten(
    lab: Any, own: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_real_python(own)
    wish(lab, "alpha==1.0\nnowhere==9.9\n# generation: 3\n")
    waiting = await lab.json(AGAIN)
    assert waiting["state"] == "waiting"
    assert {one["state"] for one in waiting["packages"]} == {"waiting"}
    monkeypatch.setattr(again, "DELAY_SECONDS", 0.0)
    await lab.app.extension_manager.stop_all_extensions()
    await lab.app.extension_manager.start_all_extensions()
    states: list[dict[str, Any]] = []
    refused: list[int] = []
    for _ in range(600):
        states.append(await lab.json(AGAIN))
        if [one["state"] for one in states].count("installing") == 1 and not refused:
            refused.append((await lab.fetch(AGAIN, method="DELETE")).code)
            response = await lab.fetch("gpucamp/reset/packages", method="POST")
            assert response.code == 409
        if states[-1]["state"] == "done":
            break
        await asyncio.sleep(0.1)
    alpha, nowhere = states[-1]["packages"]
    assert alpha == {"name": "alpha", "version": "1.0", "state": "installed", "why": ""}
    assert nowhere["state"] == "failed" and "nowhere==9.9" in nowhere["why"]
    assert refused == [409]
    assert (await lab.fetch(AGAIN, method="DELETE")).code == 204
    assert await lab.json(AGAIN) == {"state": "none", "packages": []}


async def test_what_is_not_begun_can_be_given_up(lab: Any) -> None:
    wish(lab, "alpha==1.0\n# generation: 3\n")
    assert (await lab.json(AGAIN))["state"] == "waiting"
    assert (await lab.fetch(AGAIN, method="DELETE")).code == 204
    assert await lab.json(AGAIN) == {"state": "none", "packages": []}


async def test_only_the_servers_own_user(lab: Any) -> None:
    wish(lab, "alpha==1.0\n")
    lab.visitor = "bob"  # to whom ada has shared her server
    for method in ("GET", "DELETE"):
        response = await lab.fetch(AGAIN, method=method)
        assert response.code == 403 and "ada" in json.loads(response.body)["message"]
        assert (await lab.fetch(AGAIN, method=method, token=None)).code in (302, 403)
    lab.visitor = "ada"
    assert (await lab.json(AGAIN))["state"] == "waiting"
