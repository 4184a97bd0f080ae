"""A Docker Engine of a test's own, that may be killed while others use the host's.

Guarantees: own data, socket, process id file, containerd and default bridge; no firewall rule of
the host is touched (its networks are only reached from this host), nor the bridge of another
Engine (without one of its own dockerd would remove docker0); `close` leaves no container, network,
process, mount or file, also after a kill. Needs root, as any Engine does.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import docker
import docker.errors
import requests

from setup_host.engine import unmount_below

START_SECONDS = 90
REMEDY = "run the tests as root on a host with dockerd (`make test LEVELS=faults` sets it up)"


class PrivateEngine:
    """One dockerd; `live_restore` keeps containers running while it is away."""

    def __init__(self, *, live_restore: bool = False) -> None:
        # short: a socket's path has at most 107 characters
        self.folder = Path(tempfile.mkdtemp(prefix="gcd-", dir="/var/tmp"))
        self.socket = self.folder / "docker.sock"
        self.address = f"unix://{self.socket}"
        self._options = ["--live-restore"] if live_restore else []
        self._bridge = f"gcd{secrets.token_hex(4)}"
        self._process: subprocess.Popen[bytes] | None = None

    def client(self) -> docker.DockerClient:
        """A client for this Engine, running."""
        return docker.DockerClient(base_url=self.address, timeout=60)

    def start(self) -> None:
        """Start it, or start it again; returns when it answers. Raises RuntimeError."""
        program = shutil.which("dockerd")
        if program is None or os.geteuid() != 0:
            raise RuntimeError(f"No Engine can be started here; {REMEDY}.")
        if not Path("/sys/class/net", self._bridge).exists():
            _ip("link", "add", self._bridge, "type", "bridge")
            # of the addresses that are for documentation: nobody has them
            _ip("addr", "add", f"192.0.2.{16 * secrets.randbelow(16) + 1}/28", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
        for left in ("docker.pid", "exec/containerd/containerd.pid"):
            (self.folder / left).unlink(missing_ok=True)
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--host={self.address}",
                    f"--pidfile={self.folder}/docker.pid",
                    f"--exec-root={self.folder}/exec",
                    f"--data-root={self.folder}/data",
                    *(f"--bridge={self._bridge}", "--iptables=false", "--ip-masq=false"),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline or self._process.poll() is not None:
                tail = (self.folder / "dockerd.log").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"The private Engine does not start; {REMEDY}.\n{tail}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL; what it started is left to itself."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Remove all that it has, then end it."""
        try:
            if self._process is None or self._process.poll() is not None:
                self.start()
            client = self.client()
            for container in client.containers.list(all=True):
                container.remove(force=True)
            client.networks.prune()
            client.close()
        finally:
            if self._process is not None:
                self._process.send_signal(signal.SIGTERM)
                self._process.wait(60)
            unmount_below(self.folder)
            shutil.rmtree(self.folder)
            if Path("/sys/class/net", self._bridge).exists():
                _ip("link", "del", self._bridge)

    def _answers(self) -> bool:
        try:
            client = docker.DockerClient(base_url=self.address, timeout=5)
        except (docker.errors.DockerException, requests.RequestException):
            return False
        client.close()
        return True


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
