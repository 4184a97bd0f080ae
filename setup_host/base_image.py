"""The Debian that the image is built on: pulled by digest, or made here where no registry answers.

Guarantees:
- What was pulled is exactly the digest in images/versions.toml.
- A base that is on the host already is used as it is, so that the layers over it stay cached.
- An interrupted run leaves nothing that the next one trips over: the name is given last, and a
  left-over folder is unmounted and removed first.
"""

from __future__ import annotations

import http.client
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from . import apt
from .docker_cli import DockerCLI
from .errors import SetupError
from .progress import Progress
from .settings import Settings

DEFAULT_REGISTRY = "docker.io"
MADE_HERE = "gpucamp/debian"
_ANSWER_SECONDS = 5.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What differs between two runs of debootstrap, or belongs to this host, is left out.
_LEFT_OUT = (
    "./dev/*",
    "./etc/hostname",
    "./etc/machine-id",
    "./etc/resolv.conf",
    "./var/cache/apt/*",
    "./var/cache/ldconfig/aux-cache",
    "./var/lib/apt/lists/*",
    "./var/log/*",
)


def ensure_base(
    settings: Settings, progress: Progress, docker: DockerCLI, pins: Mapping[str, str]
) -> str:
    """The reference of a Debian image that is on the host when this returns.

    `pins` is the section [debian] of images/versions.toml. Raises SetupError where neither a
    registry answers nor a base can be made here.
    """
    registry = settings.registry or DEFAULT_REGISTRY
    pinned = f"{registry}/{pins['image']}@{pins['digest']}"
    made_here = f"{MADE_HERE}:{pins['suite']}"
    for reference in (pinned, made_here):
        if docker.image_id(reference):
            return reference
    if answers(registry):
        try:
            with progress.step(f"Pulling the base image from {registry}"):
                progress.run(
                    [docker.path, "pull", "--quiet", pinned],
                    log=settings.logs / "image.log",
                    problem=f"{pinned} could not be pulled.",
                    remedy="set GPUCAMP_REGISTRY to a registry that mirrors Docker Hub.",
                )
            return pinned
        except SetupError as error:
            if cannot_make_here():
                raise
            progress.say(f"  {error.problem} Making the base here instead.")
    elif obstacle := cannot_make_here():
        raise SetupError(
            f"The registry {registry} does not answer, and the base image cannot be made here: "
            f"{obstacle}.",
            "set GPUCAMP_REGISTRY to a registry that mirrors Docker Hub, or run this as root on "
            "Debian or Ubuntu, which makes the base with debootstrap.",
        )
    _make(settings, progress, docker, pins["suite"], made_here)
    return made_here


def answers(registry: str, seconds: float = _ANSWER_SECONDS) -> bool:
    """Whether a registry speaks HTTP at all; a demand to sign in is an answer, too."""
    host = "registry-1.docker.io" if registry == DEFAULT_REGISTRY else registry.partition("/")[0]
    local = host.partition(":")[0] in ("localhost", "127.0.0.1")
    try:
        url = f"{'http' if local else 'https'}://{host}/v2/"
        urllib.request.urlopen(url, timeout=seconds).close()  # noqa: S310 - http(s) by construction
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def cannot_make_here() -> str | None:
    """Why debootstrap cannot be used on this host, or None."""
    if os.geteuid() != 0:
        return "that needs root"
    if shutil.which("debootstrap") is None and not apt.may_install():
        return "there is neither debootstrap nor apt-get to install it"
    return None


def _make(settings: Settings, progress: Progress, docker: DockerCLI, suite: str, name: str) -> None:
    log = settings.logs / "image.log"
    if shutil.which("debootstrap") is None:
        apt.install(settings, progress, ["debootstrap"])
    folder = settings.tools / "build" / "debian"
    archive = settings.tools / "build" / "debian.tar"
    _remove(folder)
    folder.mkdir(parents=True)
    try:
        with progress.step(f"Making a base image of Debian {suite} (a minute)"):
            mirror = settings.apt_mirror or "http://deb.debian.org/debian"
            progress.run(
                ["debootstrap", "--variant=minbase", suite, folder, mirror],
                log=log,
                problem=f"debootstrap could not fetch Debian {suite} from {mirror}.",
                remedy="set GPUCAMP_APT_MIRROR to a Debian mirror that answers.",
            )
            # the mirror is this host's business
            (folder / "etc/apt/sources.list").write_text("", encoding="ascii")
            progress.run(
                [
                    *("tar", "-C", folder, "--sort=name", "--mtime=@0", "--numeric-owner"),
                    *(f"--exclude={pattern}" for pattern in _LEFT_OUT),
                    *("-cf", archive, "."),
                ],
                log=log,
                problem="The base image's files could not be packed.",
                remedy="see the log.",
            )
            progress.run(
                [
                    *(docker.path, "import", "--change", f"ENV PATH={_PATH}"),
                    *("--change", 'CMD ["bash"]', "--change", f"LABEL gpucamp.base={suite}"),
                    *(archive, name),
                ],
                log=log,
                problem="The Docker Engine did not take the base image.",
                remedy="see the log.",
            )
    finally:
        archive.unlink(missing_ok=True)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a root file system; one that debootstrap had mounts in when it was killed, too."""
    if not folder.exists():
        return
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()[::-1]:
        target = line.split()[1]
        if target.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", target], check=False, timeout=30)
    result = subprocess.run(
        ["rm", "-rf", "--one-file-system", str(folder)], capture_output=True, text=True, timeout=300
    )
    if result.returncode != 0:
        raise SetupError(
            f"{folder}, left by an earlier run, cannot be removed.",
            f"see what still uses it (`grep {folder} /proc/mounts`), then remove it.",
            result.stderr,
        )
