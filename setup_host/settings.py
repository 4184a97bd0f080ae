"""Every setting of `make run` and its kin: an environment variable, its default, its meaning.

Guarantees: `Settings.from_environ` is pure; a value out of bounds is refused with a text that says
what is allowed; an empty variable counts as not set.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import SetupError

# name: (default, meaning); `make help` prints it, and so the list cannot be out of date
SETTINGS: dict[str, tuple[str, str]] = {
    "GPUCAMP_PORT": ("8000", "port of the web address"),
    "GPUCAMP_BIND": ("127.0.0.1", "address to listen on; 0.0.0.0 for all"),
    "GPUCAMP_STATE_DIR": (".gpucamp", "folder of the installation: databases, logs, passwords"),
    "GPUCAMP_TOOLS_DIR": ("", "folder of the virtual environment and npm parts (default: state)"),
    "GPUCAMP_HUB_PORT": ("8081", "port of the hub on the container network's gateway"),
    "GPUCAMP_SERVICE_PORT": ("8083", "port of the service on the container network's gateway"),
    "GPUCAMP_PROXY_API_PORT": ("8001", "port of the proxy's own API on 127.0.0.1"),
    "GPUCAMP_NETWORK": ("gpucamp", "name of the containers' Docker network"),
    "GPUCAMP_PREFIX": ("gpucamp", "how names of containers and volumes begin; one per hub"),
    "GPUCAMP_SUBNET": ("", "its subnet, such as 10.77.0.0/20 (default: a free one)"),
    "GPUCAMP_PRACTICE_DEVICES": ("2", "simulated GPUs on a host without a card"),
    "GPUCAMP_CULL_MINUTES": ("240", "stop servers unused for so long; 0: never"),
    "GPUCAMP_LEDGER_URL": ("", "database of the leases (default: SQLite in the state folder)"),
    "GPUCAMP_IMAGE": ("", "image id or name@sha256:... to use instead of building one"),
    "GPUCAMP_INSTALL_ENGINE": ("yes", "no: never install or start a Docker Engine"),
    "GPUCAMP_APT_MIRROR": ("", "Debian mirror, such as http://mirror.example/debian"),
    "GPUCAMP_PYPI_INDEX": ("", "PyPI mirror, such as https://mirror.example/simple"),
    "GPUCAMP_NPM_REGISTRY": ("", "npm mirror, such as https://mirror.example/npm/"),
    "GPUCAMP_REGISTRY": ("", "registry mirror for the base image, such as mirror.example"),
    "GPUCAMP_CA_BUNDLE": ("", "certificates (PEM) of a proxy that inspects TLS"),
}


@dataclass(frozen=True)
class Settings:
    """What the steps need to know; paths are absolute."""

    root: Path
    state: Path
    tools: Path
    bind: str
    port: int
    hub_port: int
    service_port: int
    proxy_api_port: int
    network: str
    prefix: str
    subnet: str
    practice_devices: int
    cull_minutes: int
    ledger_url: str
    image: str
    install_engine: bool
    apt_mirror: str
    pypi_index: str
    npm_registry: str
    registry: str
    ca_bundle: str

    @property
    def venv(self) -> Path:
        return self.tools / "venv"

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def stamps(self) -> Path:
        return self.tools / "stamps"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def hub_folder(self) -> Path:
        return self.state / "hub"

    @property
    def proxy_command(self) -> Path:
        """The npm configurable-http-proxy."""
        return self.tools / "node" / "node_modules" / ".bin" / "configurable-http-proxy"

    @property
    def local_url(self) -> str:
        """Where the hub answers, seen from this host."""
        host = "127.0.0.1" if self.bind in ("0.0.0.0", "::", "") else self.bind  # noqa: S104
        return f"http://{host}:{self.port}"

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], root: Path) -> Settings:
        """Read and check all settings.

        Raises SetupError for a value that is not allowed.
        """

        def text(name: str) -> str:
            return environ.get(name, "").strip() or SETTINGS[name][0]

        def number(name: str, lowest: int, highest: int) -> int:
            value = text(name)
            if not value.isdecimal() or not lowest <= int(value) <= highest:
                raise SetupError(
                    f"{name}={value!r} is not a whole number from {lowest} to {highest}.",
                    f"set {name} to such a number, or leave it out for {SETTINGS[name][0]}.",
                )
            return int(value)

        def folder(name: str, default: Path) -> Path:
            value = text(name)
            return (root / value).resolve() if value else default

        state = folder("GPUCAMP_STATE_DIR", root / ".gpucamp")
        ports = {
            name: number(name, 1, 65535)
            for name in (
                "GPUCAMP_PORT",
                "GPUCAMP_HUB_PORT",
                "GPUCAMP_SERVICE_PORT",
                "GPUCAMP_PROXY_API_PORT",
            )
        }
        taken: dict[int, str] = {}
        for name, port in ports.items():
            if port in taken:
                raise SetupError(
                    f"{taken[port]} and {name} are both {port}.", "give each a port of its own."
                )
            taken[port] = name
        install = text("GPUCAMP_INSTALL_ENGINE").lower()
        if install not in ("yes", "no"):
            raise SetupError(f"GPUCAMP_INSTALL_ENGINE={install!r}.", "set it to yes or no.")
        return cls(
            root=root,
            state=state,
            tools=folder("GPUCAMP_TOOLS_DIR", state),
            bind=_address("GPUCAMP_BIND", text("GPUCAMP_BIND")),
            port=ports["GPUCAMP_PORT"],
            hub_port=ports["GPUCAMP_HUB_PORT"],
            service_port=ports["GPUCAMP_SERVICE_PORT"],
            proxy_api_port=ports["GPUCAMP_PROXY_API_PORT"],
            network=text("GPUCAMP_NETWORK"),
            prefix=_prefix(text("GPUCAMP_PREFIX")),
            subnet=_subnet(text("GPUCAMP_SUBNET")),
            practice_devices=number("GPUCAMP_PRACTICE_DEVICES", 0, 9),
            cull_minutes=number("GPUCAMP_CULL_MINUTES", 0, 525_600),
            ledger_url=text("GPUCAMP_LEDGER_URL") or f"sqlite:///{state}/hub/ledger.sqlite",
            image=text("GPUCAMP_IMAGE"),
            install_engine=install == "yes",
            apt_mirror=text("GPUCAMP_APT_MIRROR"),
            pypi_index=text("GPUCAMP_PYPI_INDEX"),
            npm_registry=text("GPUCAMP_NPM_REGISTRY"),
            registry=text("GPUCAMP_REGISTRY"),
            ca_bundle=text("GPUCAMP_CA_BUNDLE"),
        )


def _address(name: str, value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise SetupError(
            f"{name}={value!r} is not an IP address.", f"set {name} to 127.0.0.1 or 0.0.0.0."
        ) from None


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", value):
        raise SetupError(
            f"GPUCAMP_PREFIX={value!r} cannot begin a name.",
            "use lower-case letters, digits and single hyphens, such as gpucamp-spring.",
        )
    return value


def _subnet(value: str) -> str:
    if not value:
        return ""
    try:
        network = ipaddress.IPv4Network(value)
    except ValueError:
        network = None
    if network is None or network.prefixlen > 28:
        raise SetupError(
            f"GPUCAMP_SUBNET={value!r} is not an IPv4 subnet with room for containers.",
            "set it to one like 10.77.0.0/20, or leave it out.",
        )
    return str(network)


def describe() -> str:
    """All settings as a table for a terminal."""
    return "\n".join(
        f"  {name:<26} {meaning}" + (f" [{default}]" if default else "")
        for name, (default, meaning) in SETTINGS.items()
    )
