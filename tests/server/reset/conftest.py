"""A server that a hub's service started, with an environment of the tests' own."""

from __future__ import annotations

import sysconfig
from collections.abc import AsyncIterator
from typing import Any

import pytest
from own_environment import Environment
from scripted_service import ScriptedService

from server_ext.reset import again


@pytest.fixture(autouse=True)
def installs_nothing_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that wants it says so."""
    monkeypatch.setattr(again, "DELAY_SECONDS", 3600.0)


@pytest.fixture
async def service() -> AsyncIterator[ScriptedService]:
    service = ScriptedService()
    async with service.serving():
        yield service


@pytest.fixture
async def lab(jupyter: Any, service: ScriptedService, started_by_a_hub: Any) -> Any:
    """Ada's server "second", as the spawner would have set it up."""
    started_by_a_hub(jupyter, service.url, server="second")
    return jupyter


@pytest.fixture
def own(lab: Any) -> Environment:
    """The environment of `lab`, over the base."""
    made = Environment(lab.home / ".venv")
    made.site.mkdir(parents=True)
    (made.site / "base.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (made.prefix / "bin").mkdir()
    (made.prefix / "bin" / "python").symlink_to("/bin/sh")
    lab.app.kernel_spec_manager.kernel_dirs = [str(lab.data / "kernels")]
    lab.add_kernel("python3", [str(made.prefix / "bin" / "python"), "-m", "ipykernel_launcher"])
    return made
