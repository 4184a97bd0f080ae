"""The image of the participants' servers: found by the hash of its inputs, or built.

Guarantees:
- The tag names the content of everything that goes into the image (not times, not where it was
  built): the same inputs have the same tag, and a tag that exists needs no work.
- The tag is given last, so that an interrupted build is simply continued, from its cached layers,
  by the next one.
- Mirrors and certificates are given to the build as secrets; the image does not name them.
- Only images of ours, by their label and repository, are ever removed, and none that is needed
  (old_images.py).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import docker_cli, old_images, preflight, stamps
from .base_image import ensure_base
from .docker_cli import DockerCLI
from .errors import SetupError
from .progress import Progress
from .settings import Settings

LABEL = "gpucamp.image=torch-cuda"
# what of images/ goes into the image, and what there is for other uses only
_FOLDERS = ("torch-cuda", "practice", "examples")
_NOT_INPUTS = (
    "images/torch-cuda/base.in",
    "images/torch-cuda/torch.in",
    "images/torch-cuda/lock",
    "images/torch-cuda/Dockerfile.dockerignore",
    "images/practice/.gitignore",
    "images/practice/README.md",
    "images/practice/nvidia-container-runtime-hook",
    "images/practice/build",
)
_CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_REBUILD_BYTES = 2 * 10**9
_LARGEST_SECRET = 500 * 1024


@dataclass(frozen=True)
class Input:
    """One file of the build: its path in the context (POSIX), where it is, whether executable."""

    name: str
    source: Path
    executable: bool

    def digest(self) -> str:
        """SHA-256 of what it holds; of a wheel, the names and contents of its members."""
        if self.source.suffix != ".whl":
            return hashlib.sha256(self.source.read_bytes()).hexdigest()
        total = hashlib.sha256()
        with zipfile.ZipFile(self.source) as wheel:
            for member in sorted(wheel.namelist()):
                content = hashlib.sha256(wheel.read(member)).hexdigest()
                total.update(f"{member}={content}\n".encode())
        return total.hexdigest()


def inputs(root: Path, wheel: Path) -> tuple[Input, ...]:
    """Everything that goes into the image, sorted by name.

    Raises SetupError where the wheel is missing.
    """
    if not wheel.is_file():
        raise SetupError(f"There is no wheel at {wheel}.", "run `make wheel`.")
    found = [
        Input("images/versions.toml", root / "images/versions.toml", False),
        Input(f"dist/{wheel.name}", wheel, False),
    ]
    for folder in _FOLDERS:
        for file in (root / "images" / folder).rglob("*"):
            name = file.relative_to(root)
            unused = any(name.is_relative_to(path) for path in _NOT_INPUTS)
            if file.is_file() and not unused and "__pycache__" not in name.parts:
                executable = bool(file.stat().st_mode & stat.S_IXUSR)
                found.append(Input(name.as_posix(), file, executable))
    return tuple(sorted(found, key=lambda item: item.name))


def tag(repository: str, flavour: str, files: Iterable[Input]) -> str:
    """`repository:flavour-hash`, where the hash is that of the inputs."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name} {int(file.executable)} {file.digest()}\n".encode())
    return f"{repository}:{flavour}-{total.hexdigest()[:12]}"


def versions(root: Path) -> dict[str, Any]:
    """images/versions.toml."""
    return tomllib.loads((root / "images/versions.toml").read_text(encoding="utf-8"))


def ensure_image(
    settings: Settings,
    progress: Progress,
    wheel: Path,
    environ: Mapping[str, str] = os.environ,
) -> str:
    """The id of the image to run, which is on the host when this returns; also in STATE/image.

    GPUCAMP_IMAGE names one to use instead of building: a local id, or name@sha256:..., which is
    pulled. Raises SetupError with the remedy.
    """
    docker = _docker()
    if settings.image:
        image_id = _given(settings, progress, docker)
    else:
        pins = versions(settings.root)
        files = inputs(settings.root, wheel)
        name = tag(pins["image"]["repository"], pins["image"]["flavour"], files)
        image_id = docker.image_id(name) or _build(
            settings, progress, docker, pins, files, name, environ
        )
    stamps.write(settings.state / "image", image_id)
    return image_id


def check(settings: Settings) -> None:
    """Whether there can be an image here, before anything takes long.

    Raises SetupError for a docker command that cannot build, and for too small a disk where there
    is no image of ours yet.
    """
    docker = _docker()
    if not settings.image and not _ours(docker, versions(settings.root)["image"]["repository"]):
        _check_space(docker, preflight.IMAGE_BYTES)


def _docker() -> DockerCLI:
    docker = docker_cli.find()
    if docker.ask("version", "--format", "{{.Server.Version}}") is None:
        raise SetupError(
            "The Docker Engine does not answer.",
            "start it (`systemctl start docker`), and see that you may use it (group docker).",
        )
    return docker


def _check_space(docker: DockerCLI, needed: int) -> None:
    data = docker.ask("info", "--format", "{{.DockerRootDir}}")
    if data and os.path.isdir(data):  # the Engine may run elsewhere
        preflight.space(Path(data), needed, "Building the image")


def _given(settings: Settings, progress: Progress, docker: DockerCLI) -> str:
    if found := docker.image_id(settings.image):
        return found
    if not re.search(r"@sha256:[0-9a-f]{64}$", settings.image):
        raise SetupError(
            f"GPUCAMP_IMAGE={settings.image!r} is not an image on this host.",
            "set it to the id of one (`docker images --no-trunc`), to name@sha256:... in a "
            "registry, or leave it out.",
        )
    with progress.step(f"Pulling {settings.image} (4 GB)"):
        progress.run(
            [docker.path, "pull", settings.image],
            log=settings.logs / "image.log",
            problem=f"{settings.image} could not be pulled.",
            remedy="check GPUCAMP_IMAGE, and sign in to the registry with `docker login`.",
        )
    found = docker.image_id(settings.image)
    if found is None:
        raise SetupError(f"{settings.image} was pulled and is gone.", "run the command again.")
    return found


def _build(
    settings: Settings,
    progress: Progress,
    docker: DockerCLI,
    pins: Mapping[str, Any],
    files: tuple[Input, ...],
    name: str,
    environ: Mapping[str, str],
) -> str:
    earlier = _ours(docker, pins["image"]["repository"])
    _check_space(docker, _REBUILD_BYTES if earlier else preflight.IMAGE_BYTES)
    base = ensure_base(settings, progress, docker, pins["debian"])
    context = settings.tools / "build" / "image"
    shutil.rmtree(context, ignore_errors=True)
    try:
        _stage(files, context)
        with progress.step(f"Building the image {name} (the first time 3 to 10 minutes)"):
            progress.run(
                build_command(docker.path, context, base, name, secrets(settings, environ)),
                environ={
                    **environ,
                    "DOCKER_BUILDKIT": "1",
                    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
                    "GPUCAMP_APT_MIRROR": settings.apt_mirror,
                    "GPUCAMP_PYPI_INDEX": settings.pypi_index,
                },
                log=settings.logs / "image.log",
                problem="The image could not be built.",
                remedy="see the log; the next run continues where this one stopped.",
            )
    finally:
        shutil.rmtree(context, ignore_errors=True)
    image_id = docker.image_id(name)
    if image_id is None:
        raise SetupError(f"{name} was built and is gone.", "run the command again.")
    old_images.remove(settings, progress, docker, earlier)
    return image_id


def secrets(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The build's `--secret` values: certificates to trust, and mirrors where they are set.

    Raises SetupError for a file of certificates that is missing or too large.
    """
    given = []
    bundle = settings.ca_bundle
    if not bundle:
        found = [environ[name] for name in _CA_VARIABLES if os.path.isfile(environ.get(name, ""))]
        bundle = found[0] if found else ""
    elif not os.path.isfile(bundle):
        raise SetupError(f"GPUCAMP_CA_BUNDLE={bundle}: no such file.", "name a PEM file.")
    if bundle:
        if os.path.getsize(bundle) > _LARGEST_SECRET:
            raise SetupError(
                f"{bundle} is larger than 500 kB, which a build cannot take.",
                "set GPUCAMP_CA_BUNDLE to a file with the proxy's certificate and those it needs.",
            )
        given.append(f"id=ca,src={bundle}")
    if settings.apt_mirror:
        given.append("id=apt_mirror,env=GPUCAMP_APT_MIRROR")
    if settings.pypi_index:
        given.append("id=pypi_index,env=GPUCAMP_PYPI_INDEX")
    return tuple(given)


def build_command(
    docker: str, context: Path, base: str, name: str, secret_values: Iterable[str]
) -> list[str]:
    """The whole `docker build` command."""
    command = [docker, "build", "--progress", "plain", "--network", "host"]
    for value in secret_values:
        command += ["--secret", value]
    command += ["--build-arg", f"BASE={base}", "--tag", name]
    return [*command, "--file", str(context / "images/torch-cuda/Dockerfile"), str(context)]


def _ours(docker: DockerCLI, repository: str) -> list[str]:
    """Our images' tags, newest first."""
    listed = docker.ask(
        "images", "--filter", f"label={LABEL}", "--format", "{{.Repository}}:{{.Tag}}", repository
    )
    return [line for line in (listed or "").splitlines() if not line.endswith(":<none>")]


def _stage(files: Iterable[Input], context: Path) -> None:
    """Copy the inputs to a folder, with modes that do not depend on the checkout's umask."""
    for file in files:
        target = context / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.source, target)
        target.chmod(0o755 if file.executable else 0o644)
    for folder in _FOLDERS:
        (context / "images" / folder).mkdir(parents=True, exist_ok=True)
    for folder, _, _ in os.walk(context):
        os.chmod(folder, 0o755)  # noqa: S103 - a build context, without secrets


def main() -> int:
    """`python3 -m setup_host.image WHEEL`: build the image if need be; prints its id."""
    root = Path(__file__).resolve().parent.parent
    progress = Progress(sys.stderr)
    if len(sys.argv) != 2:
        progress.say("usage: python3 -m setup_host.image WHEEL")
        return 2
    try:
        settings = Settings.from_environ(os.environ, root)
        wheel = (
            Path(sys.argv[1]) if len(sys.argv) > 1 else root / "dist/gpucamp-0.1.0-py3-none-any.whl"
        )
        print(ensure_image(settings, progress, wheel))
    except SetupError as error:
        progress.say(str(error))
        return 1
    except KeyboardInterrupt:
        progress.say("Interrupted; the next run continues where this one stopped.")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
