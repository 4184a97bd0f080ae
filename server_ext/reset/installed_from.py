"""Where a package was installed from: pip's direct_url.json (PEP 610). Blocking; never raises."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from .. import regular_file
from ..i18n import N_
from .environment_lock import Locked
from .packages import ChangedPackage, metadata

MAXIMUM_BYTES = 2**16

_SECRET = re.compile(r"//[^/@\s]+@")  # of an address with a name or a password


def locked(
    packages: Iterable[ChangedPackage], folders: Iterable[str], work: str
) -> tuple[list[Locked], list[tuple[str, str]]]:
    """What brings the packages back, and what nothing brings back, with the reason. work: the
    folder that outlives an environment, absolute.
    """
    origins = _origins(folders)
    found, left_out = [], []
    for package in packages:
        origin = origins.get((package.name, package.environment))
        if origin is None:
            found.append(Locked(package.name, version=package.environment))
            continue
        one, reason = _of_origin(package.name, origin, work)
        if one is None:
            left_out.append((package.name, reason))
        else:
            found.append(one)
    return found, left_out


def _of_origin(name: str, origin: dict[str, Any], work: str) -> tuple[Locked | None, str]:
    url = origin.get("url")
    if not isinstance(url, str) or re.search(r"[\s'\"\\]", url):
        return None, N_("its address cannot be read")
    if _SECRET.search(url) and not url.startswith("git+ssh://"):
        return None, N_("its address has a password")
    vcs = origin.get("vcs_info")
    if isinstance(vcs, dict) and isinstance(vcs.get("commit_id"), str):
        return Locked(name, url=f"{vcs.get('vcs', 'git')}+{url}@{vcs['commit_id']}"), ""
    if not url.startswith("file://"):
        return Locked(name, url=url), ""
    path = os.path.realpath(unquote(url.removeprefix("file://")))
    if not (path + os.sep).startswith(os.path.realpath(work) + os.sep):
        return None, N_("it was installed from outside of the work folder")
    if not os.path.lexists(path):
        return None, N_("what it was installed from is gone")
    folder = origin.get("dir_info")
    editable = isinstance(folder, dict) and folder.get("editable") is True
    return Locked(name, url=url, editable=editable), ""


def _origins(folders: Iterable[str]) -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for folder in folders:
        for name, (version, info) in metadata(folder).items():
            written = regular_file.read(
                os.path.join(folder, info, "direct_url.json"), MAXIMUM_BYTES
            )
            try:
                origin = json.loads(written or b"")
            except (ValueError, RecursionError):
                continue
            if isinstance(origin, dict):
                found[name, version] = origin
    return found
