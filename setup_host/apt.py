"""Debian packages, where the host is Debian and we are root.

Guarantees: nothing is installed without root; the host's own sources are used and never changed,
or GPUCAMP_APT_MIRROR for this call only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .errors import SetupError
from .progress import Progress
from .settings import Settings


def may_install() -> bool:
    """Whether this host takes packages from us."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def os_release(text: str) -> dict[str, str]:
    """The content of /etc/os-release as a mapping."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def install(
    settings: Settings,
    progress: Progress,
    packages: Sequence[str],
    *,
    if_known: Sequence[str] = (),
) -> None:
    """apt-get install; `if_known` are packages that not every Debian has.

    Raises SetupError with the command to run where we may not.
    """
    wanted = " ".join(packages)
    if not may_install():
        raise SetupError(
            f"Missing on this host: {wanted}.",
            f"as root: `apt-get install {wanted}` (or your distribution's packages of that kind).",
        )
    options = _mirror_options(settings)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    log = settings.logs / "apt.log"
    with progress.step(f"installing Debian packages: {wanted}"):
        for verb in ("update", "install"):
            arguments = [verb]
            if verb == "install":
                arguments += ["-y", "--no-install-recommends", *packages]
                arguments += [name for name in if_known if _is_known(name)]
            progress.run(
                ["apt-get", *options, "-o", "DPkg::Lock::Timeout=120", "-q", *arguments],
                log=log,
                environ=environ,
                problem=f"apt-get could not {verb} ({wanted}).",
                remedy=f"run `apt-get update && apt-get install {wanted}` and mend what it says.",
            )


def _is_known(package: str) -> bool:
    result = subprocess.run(
        ["apt-cache", "show", "--no-all-versions", package], capture_output=True, timeout=60
    )
    return result.returncode == 0


def _mirror_options(settings: Settings) -> list[str]:
    if not settings.apt_mirror:
        return []
    codename = os_release(Path("/etc/os-release").read_text(encoding="utf-8")).get(
        "VERSION_CODENAME", ""
    )
    sources = settings.state / "apt-mirror.list"
    sources.parent.mkdir(parents=True, exist_ok=True)
    sources.write_text(f"deb {settings.apt_mirror} {codename} main\n", encoding="ascii")
    return ["-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"]
