"""How long from the request to an answering server: gpucamp beside stock DockerSpawner.

`make perf` runs it. Two hubs serve the same image content on this host; starts are measured in
turn (A B C A B C ...), so that a slow minute of the host falls on all alike, and the result is a
ratio. A start is timed from the POST to the hub's REST API until the server's own `/api` answers
through the proxy, then the server is stopped and its container removed.

    gpucamp        GPUDockerSpawner with one (practice) device, the gpucamp image
    stock          DockerSpawner, the same image with rfc3987-syntax back, as pip installs it
    stock, ours    DockerSpawner, exactly the gpucamp image
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

AIM = 0.65  # of stock's median: the project's figure for this measurement
PAUSE_SECONDS = 1.0

HUB_CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://{gateway}:{hub_port}"
c.JupyterHub.hub_connect_ip = "{gateway}"
c.ConfigurableHTTPProxy.command = ["{proxy}"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_api_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"bench"}}
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes":
    ["admin:users", "admin:servers", "access:servers"]}}]
c.Spawner.default_url = "/lab"
c.DockerSpawner.image = "{image}"
c.DockerSpawner.network_name = "{network}"
c.DockerSpawner.use_internal_ip = True
c.DockerSpawner.remove = True
c.DockerSpawner.prefix = "{prefix}"
"""
STOCK = 'c.JupyterHub.spawner_class = "docker"\n'
GPUCAMP = """
c.JupyterHub.spawner_class = "gpu-docker"
c.GPUDockerSpawner.ledger_url = "sqlite:///{folder}/ledger.sqlite"
c.GPUDockerSpawner.practice_devices = 2
"""


@dataclass
class Contender:
    """One hub and what it starts."""

    name: str
    image: str
    spawner: str
    user_options: dict[str, object] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    prefix: str = field(default_factory=lambda: f"perf-{secrets.token_hex(3)}")
    process: subprocess.Popen[bytes] | None = None

    def start(self, folder: Path, network: str, gateway: str, proxy: str) -> None:
        """Start the hub and wait until it answers."""
        folder.mkdir(parents=True)
        self.port = free_port("127.0.0.1")
        config = (HUB_CONFIG + self.spawner).format(
            port=self.port,
            hub_port=free_port(gateway),
            proxy_api_port=free_port("127.0.0.1"),
            gateway=gateway,
            proxy=proxy,
            folder=folder,
            token=self.token,
            image=self.image,
            network=network,
            prefix=self.prefix,
        )
        (folder / "jupyterhub_config.py").write_text(config)
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "jupyterhub", "-f", str(folder / "jupyterhub_config.py")],
            cwd=folder,
            stdout=(folder / "hub.log").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_for(lambda: self.call("GET", "/hub/api/")[0] == 200, 60, f"hub of {self.name}")
        self.call("POST", "/hub/api/users/bench")

    def stop(self) -> None:
        """End the hub, its proxy and its server, and remove their volumes."""
        if self.process is None:
            return
        self.call("DELETE", "/hub/api/users/bench/server")
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)
        for volume in docker("volume", "ls", "-q", "--filter", f"name={self.prefix}-").split():
            docker("volume", "rm", volume)

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request through the proxy -> (status, body); 0 when nothing answers."""
        request = urllib.request.Request(  # noqa: S310 - loopback only
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError:
            return 0, b""

    def measure(self) -> float:
        """Seconds from the request to an answering server; the server is gone afterwards."""
        begun = time.perf_counter()
        status, body = self.call("POST", "/hub/api/users/bench/server", self.user_options)
        if status not in (201, 202):
            raise RuntimeError(f"{self.name}: start refused: {status} {body[:500]!r}")
        wait_for(
            lambda: self.call("GET", "/user/bench/api")[0] == 200, 120, f"server of {self.name}"
        )
        seconds = time.perf_counter() - begun
        self.call("DELETE", "/hub/api/users/bench/server")
        wait_for(
            lambda: json.loads(self.call("GET", "/hub/api/users/bench")[1])["servers"] == {},
            60,
            f"stop of {self.name}",
        )
        return seconds


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll each 20 ms; TimeoutError names what did not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise TimeoutError(f"{what}: not within {seconds:.0f} s")


def free_port(address: str) -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def docker(*arguments: str) -> str:
    """Output of a docker command; CalledProcessError if it fails."""
    return subprocess.run(  # noqa: S603
        ["docker", *arguments],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@contextlib.contextmanager
def network() -> Iterator[tuple[str, str]]:
    """A Docker network for all contenders -> (name, gateway address); removed afterwards."""
    name = f"gpucamp-perf-{secrets.token_hex(3)}"
    docker("network", "create", name)
    try:
        yield (
            name,
            docker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", name),
        )
    finally:
        docker("network", "rm", name)


def stock_image(image: str) -> str:
    """Id of `image` with rfc3987-syntax as pip installs it (built once, then cached)."""
    import docker as docker_py

    with tempfile.TemporaryDirectory() as folder:
        for name in ("rfc3987-syntax", "lark"):
            subprocess.run(  # noqa: S603
                [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, name],
                check=True,
            )
        recipe = Path(__file__).parent / "stock_image" / "Dockerfile"
        (Path(folder) / "Dockerfile").write_text(recipe.read_text())
        built, _ = docker_py.from_env(timeout=600).images.build(
            path=folder, buildargs={"GPUCAMP_IMAGE": image}, rm=True
        )
        return built.id


def report(contenders: list[Contender]) -> bool:
    """Print medians and ratios; True if the aim is met against stock."""
    ours = contenders[0]
    print(f"\n{'':14}{'median':>8}{'min':>8}{'max':>8}   ours / this")
    for each in contenders:
        ratio = statistics.median(ours.seconds) / statistics.median(each.seconds)
        print(
            f"{each.name:14}{statistics.median(each.seconds):7.2f}s{min(each.seconds):7.2f}s"
            f"{max(each.seconds):7.2f}s" + ("" if each is ours else f"   {ratio:.2f}")
        )
    ratio = statistics.median(ours.seconds) / statistics.median(contenders[1].seconds)
    print(f"\naim: at most {AIM} of stock; measured {ratio:.2f}, {len(ours.seconds)} starts each")
    return ratio <= AIM


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--image", default=os.environ.get("GPUCAMP_IMAGE"), help="id of the gpucamp image"
    )
    parser.add_argument(
        "--proxy",
        default=os.environ.get("GPUCAMP_PROXY_COMMAND"),
        help="path of configurable-http-proxy",
    )
    parser.add_argument("--starts", type=int, default=8, help="counted starts of each")
    options = parser.parse_args()
    if not options.image or not options.proxy:
        parser.error("run it as `make perf`, or give --image and --proxy")
    contenders = [
        Contender("gpucamp", options.image, GPUCAMP, {"gpus": 1}),
        Contender("stock", stock_image(options.image), STOCK),
        Contender("stock, ours", options.image, STOCK),
    ]
    with tempfile.TemporaryDirectory() as folder, network() as (name, gateway):
        try:
            for number, each in enumerate(contenders):
                each.start(Path(folder) / str(number), name, gateway, options.proxy)
            for turn in range(options.starts + 1):  # the first warms up and is not counted
                for each in contenders:
                    seconds = each.measure()
                    print(f"{'warm-up' if turn == 0 else turn:>8} {each.name:14}{seconds:7.2f}s")
                    if turn:
                        each.seconds.append(seconds)
                    time.sleep(PAUSE_SECONDS)
        finally:
            for each in contenders:
                each.stop()
    return 0 if report(contenders) else 1


if __name__ == "__main__":
    sys.exit(main())
