"""The Docker Engine of this host: found, or installed and started.

Guarantees: an existing Engine is used as it is; one is installed only as root on Debian and where
GPUCAMP_INSTALL_ENGINE allows it; a stale pid file never keeps an Engine from starting, and the pid
file of a living one is never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from . import apt, processes
from .engine_api import DEFAULT_SOCKET, Engine
from .errors import SetupError
from .progress import Progress
from .settings import Settings

HOOK = "nvidia-container-runtime-hook"
PACKAGES = ("docker.io", "iptables")
_START_SECONDS = 90


@dataclass(frozen=True)
class Place:
    """Where a dockerd that we start keeps its things; the default is Docker's own place."""

    socket: Path = Path("/var/run/docker.sock")
    pid_file: Path = Path("/var/run/docker.pid")
    exec_root: Path = Path("/var/run/docker")
    data_root: Path | None = None  # None: dockerd's default

    @property
    def engine(self) -> Engine:
        return Engine(f"unix://{self.socket}")

    def arguments(self) -> list[str]:
        """dockerd's options for this place."""
        if self.data_root is None:
            return []
        return [
            f"--host=unix://{self.socket}",
            f"--pidfile={self.pid_file}",
            f"--exec-root={self.exec_root}",
            f"--data-root={self.data_root}",
            # another Engine may own docker0; nothing here uses it
            "--bridge=none",
        ]


def record_file(settings: Settings) -> Path:
    """Where the process of a dockerd that we started is remembered."""
    return settings.state / "engine.json"


def has_nvidia_driver(root: Path = Path("/")) -> bool:
    """Whether the host's kernel has NVIDIA's driver loaded."""
    return (root / "proc/driver/nvidia/version").exists() or (root / "dev/nvidiactl").exists()


def practice_folder(settings: Settings) -> Path:
    """The folder with the stand-in hook, for the PATH of a dockerd that we start."""
    found = sorted((settings.root / "images" / "practice").rglob(HOOK))
    if not found:
        raise SetupError(f"images/practice has no {HOOK}.", "the checkout is incomplete.")
    return found[0].parent


def ensure(settings: Settings, progress: Progress) -> Engine:
    """The Engine, started where need be. Raises SetupError with the remedy."""
    engine = Engine.from_environ(os.environ)
    if not engine.answers():
        if engine.is_denied():
            raise SetupError(
                f"No permission to use {engine.address}.",
                "run as root, or `sudo usermod -aG docker $USER`, then sign in again.",
            )
        if engine.address != DEFAULT_SOCKET:
            raise SetupError(
                f"The Docker Engine that DOCKER_HOST names ({engine.address}) does not answer.",
                "start it, or unset DOCKER_HOST.",
            )
        _start_the_default(settings, progress)
    _check(engine)
    return engine


def _check(engine: Engine) -> None:
    info = engine.request("GET", "/info")
    options = " ".join(info.get("SecurityOptions") or [])
    if "name=rootless" in options:
        raise SetupError(
            "The Docker Engine is rootless: its containers cannot reach the hub on this host.",
            "use an Engine that runs as root (DOCKER_HOST=unix:///var/run/docker.sock).",
        )
    if info.get("OSType", "linux") != "linux":
        raise SetupError("The Docker Engine does not run Linux containers.", "switch it to Linux.")


def data_root(engine: Engine) -> Path:
    """The folder in which the Engine keeps images."""
    return Path(engine.request("GET", "/info").get("DockerRootDir") or "/var/lib/docker")


def _start_the_default(settings: Settings, progress: Progress) -> None:
    if not settings.install_engine or os.geteuid() != 0:
        why = "GPUCAMP_INSTALL_ENGINE=no" if os.geteuid() == 0 else "only root may start one"
        raise SetupError(
            f"There is no Docker Engine at {DEFAULT_SOCKET} ({why}).",
            "install and start one (on Debian, as root: `apt-get install docker.io iptables`), "
            "or run this as root, or set DOCKER_HOST.",
        )
    if shutil.which("dockerd") is None:
        apt.install(settings, progress, PACKAGES, if_known=("docker-cli", "docker-buildx"))
    if _wait(Place().engine, 3):
        return  # the package started it
    if Path("/run/systemd/system").exists():
        progress.run(
            ["systemctl", "start", "docker"],
            log=settings.logs / "dockerd.log",
            problem="systemd could not start the Docker Engine.",
            remedy="`journalctl -u docker` tells why.",
        )
        if not _wait(Place().engine, _START_SECONDS):
            raise SetupError("The Docker Engine does not answer.", "`journalctl -u docker`.")
        return
    start(settings, progress, Place(), settings.logs / "dockerd.log", record_file(settings))


def start(settings: Settings, progress: Progress, place: Place, log: Path, record: Path) -> None:
    """Start a dockerd of our own, detached, and wait until it answers. Raises SetupError."""
    if shutil.which("dockerd") is None:
        apt.install(settings, progress, PACKAGES, if_known=("docker-cli", "docker-buildx"))
    for pid_file, name in (
        (place.pid_file, "dockerd"),
        (place.exec_root / "containerd" / "containerd.pid", "containerd"),
    ):
        remove_stale(pid_file, name)
    environ = dict(os.environ)
    environ.pop("DOCKER_HOST", None)
    # a card's own hook must serve a card; without one, the stand-in makes GPU requests work
    if not has_nvidia_driver():
        environ["PATH"] = f"{practice_folder(settings)}:{environ.get('PATH', '')}"
    for folder in (log.parent, record.parent, place.socket.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with progress.step("starting the Docker Engine"):
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["dockerd", *place.arguments()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd="/",
                start_new_session=True,
            )
        mark = processes.record_of(process.pid)
        if mark is not None:
            processes.save(record, mark)
        if not _wait(place.engine, _START_SECONDS, process):
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
            raise SetupError(
                "The Docker Engine did not start.",
                f"the cause is likely in {log}; on a host where no container can run, use another.",
                "\n".join(tail),
            )


def remove_stale(pid_file: Path, name: str) -> bool:
    """Remove a pid file whose process is not (or no longer) `name`; True if it did."""
    try:
        pid = int(pid_file.read_text(encoding="ascii").strip())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        pid = 0
    try:
        comm = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        comm = ""
    # one that has ended and was not reaped (no init in a container) does not live
    if comm == name and processes.record_of(pid) is not None:
        return False
    pid_file.unlink(missing_ok=True)
    return True


def _wait(engine: Engine, seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if engine.answers():
            return True
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.3)
    return False


def ours(settings: Settings) -> processes.Record | None:
    """The dockerd that we started, while it lives."""
    return processes.load(record_file(settings))


def has_stand_in(engine: Engine, settings: Settings) -> bool:
    """Whether requests for GPUs at this Engine go through the stand-in hook of this checkout.

    The Engine looks for the hook on its own PATH when it starts; that PATH is read from the
    process that listens on the socket. A real card's hook is not the stand-in.
    """
    pid = engine.listener()
    if pid is None:
        return False
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    path = next((v[5:].decode() for v in variables if v.startswith(b"PATH=")), "")
    found = shutil.which(HOOK, path=path)
    own = practice_folder(settings) / HOOK
    return found is not None and Path(found).read_bytes() == own.read_bytes()


def private_place(settings: Settings) -> Place:
    """A place for an Engine of the tests' own, beside the host's."""
    folder = settings.state / "engine"
    return replace(
        Place(),
        socket=folder / "docker.sock",
        pid_file=folder / "docker.pid",
        exec_root=folder / "exec",
        data_root=folder / "data",
    )


def stop_ours(settings: Settings, record: Path | None = None) -> bool:
    """End a dockerd that we started. False where there is none of ours."""
    path = record or record_file(settings)
    known = processes.load(path)
    if known is None:
        path.unlink(missing_ok=True)
        return False
    processes.end(known, grace=30)
    path.unlink(missing_ok=True)
    return True


def unmount_below(folder: Path) -> None:
    """Unmount what a killed Engine left mounted in its data folder, so that it can be removed."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4].replace("\\040", " ") for line in lines]
    for point in sorted(points, reverse=True):
        if Path(point).is_relative_to(folder):
            subprocess.run(["umount", point], check=False, timeout=60)
