"""Simulated devices, for hosts without an NVIDIA card. Pure.

Their names say "simulated"; their UUIDs are the same at every start, so leases survive one. They
are pairs with NVLink, four to a NUMA node. The stand-in NVML in images/practice gives the same
values for these UUIDs.
"""

from __future__ import annotations

from ..models import Device, Link

MAXIMUM = 256
NAME = "Simulated A100 (practice)"
MEMORY_BYTES = 40 * 1024**3
DRIVER_VERSION = "570.172.08"
CUDA_VERSION = "12.8"
PAIR, NODE = 2, 4  # devices that are joined by NVLink; near to the same processors
NUMA_NODES = 2
NVLINKS = 4


def practice_uuid(number: int) -> str:
    """The UUID of the practice device `number`, from 0 on."""
    return f"GPU-5ca1ab1e-0000-4000-8000-{number:012x}"


def practice_devices(count: int) -> tuple[Device, ...]:
    """`count` simulated devices. Raises ValueError if there cannot be so many."""
    if not 0 <= count <= MAXIMUM:
        raise ValueError(f"The number of practice devices is from 0 to {MAXIMUM}, not {count}.")
    return tuple(
        Device(
            uuid=practice_uuid(number),
            name=NAME,
            memory_bytes=MEMORY_BYTES,
            simulated=True,
            driver_version=DRIVER_VERSION,
            cuda_version=CUDA_VERSION,
            numa_node=number // NODE % NUMA_NODES,
            links=_links(number, count),
        )
        for number in range(count)
    )


def _links(number: int, count: int) -> tuple[tuple[str, int], ...]:
    """The links within a node, best first; across nodes there is nothing worth a word."""
    first = number - number % NODE
    scores = [
        (other, Link.NVLINK + NVLINKS - 1 if other // PAIR == number // PAIR else Link.SAME_NODE)
        for other in range(first, min(first + NODE, count))
        if other != number
    ]
    scores.sort(key=lambda pair: -pair[1])
    return tuple((practice_uuid(other), int(score)) for other, score in scores)
