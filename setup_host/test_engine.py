"""The Docker Engine that tests use: one whose GPU requests go through the stand-in hook.

Guarantees: the host's Engine is used where it has the stand-in, or is started with it where there
is none; else a private one (own data, socket, pid file) is started below the tests' state folder,
and only while no container runs in the host's, because two Engines share the host's firewall.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import engine
from .engine_api import Engine
from .errors import SetupError
from .progress import Progress
from .settings import Settings


def ensure(settings: Settings, progress: Progress) -> Engine:
    """An Engine for the tests. Raises SetupError."""
    place = engine.private_place(settings)
    if place.engine.answers() and engine.has_stand_in(place.engine, settings):
        return place.engine  # of an earlier `make test-setup`
    host = engine.ensure(settings, progress)
    if engine.has_stand_in(host, settings):
        return host
    if os.geteuid() != 0:
        raise SetupError(
            "The Docker Engine does not know the stand-in for NVIDIA's hook, and only root may "
            "start one that does.",
            f"run `make test` as root, or restart dockerd with {engine.practice_folder(settings)} "
            "first on its PATH.",
        )
    check_host(host.request("GET", "/info"), os.environ.get("GPUCAMP_PRIVATE_ENGINE", ""))
    progress.say("* the Docker Engine has no stand-in hook: the tests get an Engine of their own")
    progress.say("  (restart the host's afterwards if containers there publish ports)")
    if len(str(place.socket)) > 100:
        raise SetupError(
            f"The path {place.socket} is too long for a socket.",
            "clone to a shorter path, or set GPUCAMP_STATE_DIR.",
        )
    _clear(place.exec_root)
    engine.start(
        settings,
        progress,
        place,
        settings.logs / "dockerd.log",
        engine.record_file(settings),
    )
    if not engine.has_stand_in(place.engine, settings):
        raise SetupError(
            "The tests' Engine does not use the stand-in hook (the host has an NVIDIA driver?).",
            "run the tests on a host without a card.",
        )
    return place.engine


def check_host(info: dict[str, object], allowed: str) -> None:
    """Raises SetupError where a second Engine could disturb containers of the first one."""
    running = int(str(info.get("ContainersRunning") or 0))
    if running and allowed != "yes":
        raise SetupError(
            f"{running} container(s) run in the host's Docker Engine, which has no stand-in hook; "
            "a second Engine beside it would rewrite the firewall rules of their ports.",
            "stop them, or restart dockerd with images/practice first on its PATH, or accept it: "
            "GPUCAMP_PRIVATE_ENGINE=yes.",
        )


def _clear(exec_root: Path) -> None:
    # what a killed Engine left there keeps the next one from starting
    shutil.rmtree(exec_root, ignore_errors=True)
