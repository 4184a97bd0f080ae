"""Can programs write where they have to, and does what they keep there fit? Pure."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from . import reading

NOT_WRITABLE = Code(
    "GC423",
    "resources",
    "blocker",
    "you",
    N_("Nothing can be written in {path}: {why}."),
    N_("Make it a folder of yours again (ls -ld shows whose it is), or restart the server."),
)
IN_MEMORY = Code(
    "GC424",
    "resources",
    "degraded",
    "you",
    N_("{variable} keeps downloads in {path}, which is small or takes the container's memory."),
    N_("Unset {variable}, or let it name a folder in your work folder; models are many GB."),
    "unset {variable}",
)
CACHE_NOT_WRITABLE = Code(
    "GC425",
    "resources",
    "degraded",
    "you",
    N_("Programs cannot keep what they download or compile: {path} cannot be written."),
    N_("Let {variable} name a folder that you may write, or give yourself the right to write it."),
    "ls -ld {path}",
)
ENVIRONMENT_NOT_WRITABLE = Code(
    "GC338",
    "packages",
    "degraded",
    "you",
    N_("Nothing can be installed: {directory} cannot be written."),
    N_("Give yourself the right to write it again, or reset the environment."),
    "chmod u+rwx {directory}",
)

_SMALL_BYTES = 10 * 2**30
# what only compiles needs little room
_DOWNLOADS = (
    "HF_",
    "HUGGINGFACE_",
    "TRANSFORMERS_",
    "TORCH_HOME",
    "XDG_CACHE_HOME",
    "PIP_CACHE_DIR",
)


@check("resources", ("resources",), (NOT_WRITABLE,))
def folders_can_be_written(facts: Facts) -> Iterator[Finding]:
    """Work, home, /tmp and /dev/shm exist and can be written."""
    reading.require(facts, "resources", "filesystems")
    for name in ("work", "home", "tmp", "shm"):
        place = facts.mapping("resources", "filesystems", name)
        path = text_of(place, "path") or name
        error = text_of(place, "error")
        if name == "work" and f"[Errno {errno.ENOENT}]" in error:
            continue  # outside the image there may be none
        if f"[Errno {errno.ENOENT}]" in error or f"[Errno {errno.ENOTDIR}]" in error:
            why = "it does not exist"
        elif f"[Errno {errno.EACCES}]" in error:
            why = "it cannot be opened"
        elif place.get("writable") is False:
            why = "it is read-only" if place.get("read_only") is True else "it is not yours"
        else:
            continue
        yield Finding(NOT_WRITABLE, (f"{path}: {error or why}",), {"path": path, "why": why})


@check("resources", ("resources",), (IN_MEMORY, CACHE_NOT_WRITABLE))
def caches_have_room(facts: Facts) -> Iterator[Finding]:
    """What programs download has a place that is large, on a disk, and may be written."""
    reading.require(facts, "resources", "caches")
    writable_home = facts.flag("resources", "filesystems", "home", "writable") is not False
    for item in facts.objects("resources", "caches"):
        variable, path = text_of(item, "variable"), text_of(item, "path")
        size, free = integer_of(item, "bytes"), integer_of(item, "free_bytes")
        params = {"variable": variable or "XDG_CACHE_HOME", "path": path}
        if item.get("writable") is False:
            if writable_home:
                line = f"{variable}={path}" if variable else path
                yield Finding(CACHE_NOT_WRITABLE, (line,), params)
        elif variable.startswith(_DOWNLOADS) and (
            item.get("in_memory") is True or (size is not None and size < _SMALL_BYTES)
        ):
            kind = "in memory" if item.get("in_memory") is True else "small"
            room = f"{reading.gibibytes(free or 0)} of {reading.gibibytes(size or 0)} free"
            yield Finding(IN_MEMORY, (f"{variable}={path} ({kind}, {room})",), params)


@check("packages", ("packages", "reference"), (ENVIRONMENT_NOT_WRITABLE,))
def packages_can_be_installed(facts: Facts) -> Iterator[Finding]:
    """The environment's folder for packages can be written."""
    prefix = facts.text("reference", "environment_prefix")
    reading.require(facts, "packages", "directories")
    for folder in facts.objects("packages", "directories"):
        directory = text_of(folder, "directory")
        own = bool(prefix) and directory.startswith(f"{prefix}/")
        if own and folder.get("writable") is False and not text_of(folder, "error"):
            yield Finding(ENVIRONMENT_NOT_WRITABLE, (directory,), {"directory": directory})


CHECKS = (folders_can_be_written, caches_have_room, packages_can_be_installed)
