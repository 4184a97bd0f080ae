"""The containers' own Docker network.

Guarantees: containers on it cannot talk to each other (ICC off); its subnet overlaps neither a
route of the host nor another Docker network; an existing network of that name is used only if it
has these properties.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .engine_api import Engine, EngineError
from .errors import SetupError

ICC = "com.docker.network.bridge.enable_icc"
LABEL = "gpucamp.network"
Net = ipaddress.IPv4Network


def candidates() -> Iterator[Net]:
    """Subnets to try, with room for 4000 containers each, in order."""
    for second in range(20, 32):
        yield from Net(f"172.{second}.0.0/16").subnets(new_prefix=20)
    for second in (213, 77, 123):
        yield from Net(f"10.{second}.0.0/16").subnets(new_prefix=20)


def choose(taken: Iterable[Net]) -> Net:
    """The first candidate that overlaps nothing taken. Raises SetupError."""
    used = list(taken)
    for subnet in candidates():
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    raise SetupError("No free subnet was found.", "name one: GPUCAMP_SUBNET=10.77.0.0/20.")


def host_routes(table: str) -> list[Net]:
    """The subnets in the text of /proc/net/route, without the default route."""
    routes = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        address, mask = (socket.inet_ntoa(struct.pack("<L", int(fields[i], 16))) for i in (1, 7))
        if mask != "0.0.0.0":  # noqa: S104 - a netmask
            routes.append(Net(f"{address}/{mask}", strict=False))
    return routes


def subnets_of(networks: Iterable[dict[str, Any]]) -> list[Net]:
    """The IPv4 subnets of the Engine's networks."""
    found = []
    for network in networks:
        for config in (network.get("IPAM") or {}).get("Config") or []:
            subnet = config.get("Subnet", "")
            if subnet and ":" not in subnet:
                found.append(Net(subnet, strict=False))
    return found


def gateway_of(network: dict[str, Any]) -> str:
    """The gateway of a network that fits. Raises SetupError where it does not fit."""
    name = network["Name"]
    remedy = (
        f"stop what uses it and `docker network rm {name}`, or choose another name: "
        "GPUCAMP_NETWORK=gpucamp2."
    )
    if network.get("Driver") != "bridge":
        raise SetupError(f"The Docker network {name} is no bridge network.", remedy)
    if (network.get("Options") or {}).get(ICC) != "false":
        raise SetupError(
            f"In the Docker network {name}, containers may talk to each other.", remedy
        )
    for config in (network.get("IPAM") or {}).get("Config") or []:
        gateway = str(config.get("Gateway", ""))
        if gateway and ":" not in gateway:
            return gateway.partition("/")[0]
    raise SetupError(f"The Docker network {name} has no IPv4 gateway.", remedy)


def find(engine: Engine, name: str) -> dict[str, Any] | None:
    """The network of this name."""
    try:
        found: dict[str, Any] = engine.request("GET", f"/networks/{name}")
    except EngineError as error:
        if error.status == 404:
            return None
        raise
    return found


def ensure(engine: Engine, name: str, wanted: str = "") -> str:
    """Create the network where it is missing; the address of its gateway.

    `wanted` is a subnet in CIDR notation, or empty for a free one. Raises SetupError.
    """
    network = find(engine, name)
    if network is None:
        routes = host_routes(Path("/proc/net/route").read_text(encoding="ascii"))
        subnet = (
            Net(wanted)
            if wanted
            else choose([*routes, *subnets_of(engine.request("GET", "/networks"))])
        )
        body = {
            "Name": name,
            "Driver": "bridge",
            "CheckDuplicate": True,
            "Options": {ICC: "false"},
            "Labels": {LABEL: "1"},
            "IPAM": {"Config": [{"Subnet": str(subnet), "Gateway": str(subnet[1])}]},
        }
        try:
            engine.request("POST", "/networks/create", body)
        except EngineError as error:
            raise SetupError(
                f"The Docker network {name} ({subnet}) cannot be created: {error}",
                "name a free subnet: GPUCAMP_SUBNET=10.77.0.0/20.",
            ) from error
        network = find(engine, name)
        if network is None:
            raise SetupError(f"The Docker network {name} vanished.", "run the command again.")
    elif wanted and Net(wanted) not in subnets_of([network]):
        raise SetupError(
            f"The Docker network {name} exists with another subnet than GPUCAMP_SUBNET={wanted}.",
            f"`docker network rm {name}`, or leave GPUCAMP_SUBNET out.",
        )
    return gateway_of(network)


def remove(engine: Engine, name: str) -> bool:
    """Remove the network if it is ours. False where there is none."""
    network = find(engine, name)
    if network is None or LABEL not in (network.get("Labels") or {}):
        return False
    engine.request("DELETE", f"/networks/{name}")
    return True
