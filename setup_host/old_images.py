"""Removes earlier builds of the image that nobody needs any more.

Guarantees: the last two builds stay, and so does what new servers get (configured or pinned in this
installation's ledger, or the image of its last set-up) and what any container uses, be it stopped;
where one of these cannot be told, nothing is removed. Only tags that a build gave are removed, and
each is said, as is each that stays beyond the last two, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from . import ledger, stamps
from .docker_cli import DockerCLI
from .progress import Progress
from .settings import Settings

KEPT = 2
_BUILT = re.compile(r":[^:/]*-[0-9a-f]{12}$")  # as image.tag makes them

_NEW_SERVERS = "new servers get it"
_CONTAINER = "a container uses it"
_UNKNOWN = "what new servers get cannot be read from the ledger now"
_SILENT = "the Docker Engine did not say what uses it"


def superseded(newest_first: Iterable[str]) -> list[str]:
    """The tags to look at after a build, of those there were before it."""
    return [tag for tag in newest_first if _BUILT.search(tag)][KEPT:]


def reason_to_keep(
    image_id: str | None, given_to_servers: Sequence[str] | None, used: bool | None
) -> str:
    """Why an image stays; "" if nobody needs it. None: that could not be told."""
    if given_to_servers is None:
        return _UNKNOWN
    if image_id is None or used is None:
        return _SILENT
    if image_id in given_to_servers:
        return _NEW_SERVERS
    return _CONTAINER if used else ""


def remove(
    settings: Settings, progress: Progress, docker: DockerCLI, newest_first: Iterable[str]
) -> None:
    """Remove what nobody needs of the builds that there were before the latest one."""
    old = superseded(newest_first)
    if not old:
        return
    given = _given_to_servers(settings, docker.image_id)
    for tag in old:
        image_id = docker.image_id(tag)
        kept = reason_to_keep(image_id, given, _is_used(docker, image_id))
        if not kept and docker.ask("image", "rm", tag) is None:
            kept = "the Docker Engine refused to remove it"
        progress.say(f"* kept: image {tag} ({kept})" if kept else f"* removed: image {tag}")


def _given_to_servers(
    settings: Settings, id_of: Callable[[str], str | None]
) -> tuple[str, ...] | None:
    """The ids of what new servers get; None if that cannot be told."""
    last = stamps.read(settings.state / "image")
    names = ledger.images_for_servers(settings, last)
    if names is None:
        return None
    # what is not on this host cannot be removed from it either
    found = {id_of(name) for name in {*names, last, settings.image} if name}
    return tuple(each for each in found if each is not None)


def _is_used(docker: DockerCLI, image_id: str | None) -> bool | None:
    """Whether a container was made from it, or from an image on top of it; None: unknown."""
    if image_id is None:
        return None
    found = docker.ask("ps", "--all", "--quiet", "--filter", f"ancestor={image_id}")
    return None if found is None else bool(found)
