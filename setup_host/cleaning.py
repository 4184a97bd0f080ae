"""`make clean`: takes away what `make run` and the builds made.

Guarantees: a work volume goes only if it is named in full, and only if it is one of ours; nothing
is removed that these commands did not make; what stays is said.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import engine, hub_process, network, running, testing
from .engine_api import Engine, EngineError
from .errors import SetupError
from .progress import Progress
from .settings import Settings

VOLUME_LABEL = "gpucamp.volume"
IMAGE_LABEL = "gpucamp.image"
BASE_LABEL = "gpucamp.base"
_BUILT = ("dist", "artifacts", "labextension/prebuilt", "labextension/lib")
_INSTALLED = ("labextension/node_modules", "labextension/.yarn")


@dataclass(frozen=True)
class VolumePlan:
    """Volumes to remove, and work volumes that stay."""

    remove: tuple[str, ...]
    keep: tuple[str, ...]


def plan_volumes(volumes: Iterable[dict[str, Any]], named: Iterable[str]) -> VolumePlan:
    """Which of the Engine's volumes go. Raises SetupError where a named one is not a work volume.

    Environments are disposable; work goes by its full name only.
    """
    environments: list[str] = []
    work: list[str] = []
    for volume in volumes:
        kind = (volume.get("Labels") or {}).get(VOLUME_LABEL)
        if kind == "environment":
            environments.append(volume["Name"])
        elif kind == "work":
            work.append(volume["Name"])
    wanted = set(named)
    if unknown := sorted(wanted - set(work)):
        raise SetupError(
            f"No work volume is called {', '.join(unknown)}.",
            f"there are: {', '.join(sorted(work)) or 'none'}. Nothing was removed.",
        )
    return VolumePlan(
        remove=(*sorted(environments), *sorted(wanted)), keep=tuple(sorted(set(work) - wanted))
    )


def clean(settings: Settings, progress: Progress, work_volumes: list[str]) -> None:
    """Remove everything but the work volumes that are not named. Raises SetupError."""
    the_engine = Engine.from_environ(os.environ)
    plan = VolumePlan((), ())
    if the_engine.answers():
        plan = plan_volumes(volumes(the_engine, settings.prefix), work_volumes)
    elif work_volumes:
        raise SetupError(
            "The Docker Engine does not answer, so no volume can be removed.",
            "start it, then run `make clean` again. Nothing was removed.",
        )
    hub_process.stop(settings, progress)
    if the_engine.answers():
        hub_process.remove_containers(the_engine, settings, progress)
        _remove_from_engine(the_engine, settings, progress, plan)
    else:
        progress.say("* the Docker Engine does not answer: image, network and volumes stay")
    _end_engine(settings, progress)
    for name in (*_BUILT, *_INSTALLED):
        shutil.rmtree(settings.root / name, ignore_errors=True)
    tests = testing.for_tests(settings)
    engine.stop_ours(tests)
    engine.unmount_below(tests.state)
    for folder in {settings.state, settings.tools, tests.state}:
        if folder.exists():
            shutil.rmtree(folder)
    progress.say("* removed: virtual environment, npm parts, builds, state, accounts, ledger")
    if plan.keep:
        progress.say(
            "* kept, because only you may decide: " + ", ".join(plan.keep) + "\n"
            f'  (make clean WORK_VOLUMES="{plan.keep[0]}" removes one)'
        )


def volumes(the_engine: Engine, prefix: str) -> list[dict[str, Any]]:
    """An installation's volumes, by prefix: a new ledger takes over those of the last one."""
    filters = json.dumps({"label": [VOLUME_LABEL]})
    answer = the_engine.request("GET", "/volumes", query={"filters": filters})
    ours = (f"{prefix}-env-", f"{prefix}-work-")
    return [each for each in answer.get("Volumes") or [] if each["Name"].startswith(ours)]


def _remove_from_engine(
    the_engine: Engine, settings: Settings, progress: Progress, plan: VolumePlan
) -> None:
    for name in plan.remove:
        _try(the_engine, progress, "DELETE", f"/volumes/{name}", f"volume {name}")
    try:
        network.remove(the_engine, settings.network)
    except EngineError as error:
        progress.say(f"* kept: network {settings.network} ({error})")
    for name in image_names(the_engine):
        _try(the_engine, progress, "DELETE", f"/images/{name}", f"image {name}")
    progress.say("* kept: Docker's build cache (`docker builder prune` frees it)")


def image_names(the_engine: Engine) -> list[str]:
    """Our images by tag (by id where they have none), the base last: the others stand on it."""
    found: dict[str, list[str]] = {}
    for label in (IMAGE_LABEL, BASE_LABEL):
        filters = json.dumps({"label": [label]})
        for image in the_engine.request("GET", "/images/json", query={"filters": filters}):
            tags = [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]
            found.setdefault(image["Id"], tags or [image["Id"]])
    return [name for names in found.values() for name in names]


def _try(the_engine: Engine, progress: Progress, method: str, path: str, what: str) -> None:
    try:
        the_engine.request(method, path, timeout=300)
        progress.say(f"* removed: {what}")
    except EngineError as error:
        if error.status != 404:
            progress.say(f"* kept: {what} ({error})")


def _end_engine(settings: Settings, progress: Progress) -> None:
    if engine.ours(settings) is None:
        return
    try:
        running.stop_engine(settings, progress)
    except SetupError as error:
        progress.say(f"* kept: the Docker Engine. {error.problem}")
