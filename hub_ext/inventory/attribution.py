"""Whose process holds the memory of a device: PID -> cgroup -> container -> server. Pure.

Guarantees:

- a process counts for a server only if its cgroup lies in a container that the ledger or the Engine
  names for it; every other one is UNKNOWN, never somebody's;
- what one server may know of another's is Holder and bytes: a PID stands only beside its own
  processes, as its container numbers them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..models import DeviceProcess, Key

# cgroupfs names a container's group by its id; systemd docker-ID.scope, Podman libpod-ID.scope
_CONTAINER = re.compile(r"(?:[a-z]+-)?([0-9a-f]{64})(?:\.scope)?")


class Holder(StrEnum):
    """Whose a process is, seen by one server."""

    OWN = "own"  # in this server's container
    SAME_USER = "same_user"  # in another server of its user
    ANOTHER_USER = "another_user"
    UNKNOWN = "unknown"  # of the host, of a container of somebody else, or gone already


@dataclass(frozen=True, slots=True)
class Holding:
    """Memory of a device by who holds it; `pid` as in the container, for OWN where it is known.

    Others are one Holding each kind. `memory_bytes` is None if none of them is told.
    """

    holder: Holder
    processes: int
    memory_bytes: int | None
    pid: int | None = None


def containers_of(cgroup: str) -> tuple[str, ...]:
    """The ids of the containers around a process, outermost first, by its /proc/PID/cgroup.

    cgroup v1 has a line for each controller and may put some outside; the line that names the most
    containers counts.
    """
    found: tuple[str, ...] = ()
    for line in cgroup.splitlines():
        path = line.split(":", 2)[-1]
        ids = [_CONTAINER.fullmatch(part) for part in path.split("/")]
        named = tuple(each[1] for each in ids if each)
        if len(named) > len(found):
            found = named
    return found


def pids_of(status: str) -> tuple[int, ...]:
    """The numbers of a process in the namespaces around it, by its /proc/PID/status.

    () if the kernel does not tell (before 4.1).
    """
    for line in status.splitlines():
        name, _, numbers = line.partition(":")
        if name == "NSpid":
            return tuple(int(number) for number in numbers.split() if number.isdigit())
    return ()


def start_ticks(stat: str) -> int | None:
    """When a process began, in clock ticks after boot, by its /proc/PID/stat; None: not told."""
    # the second field is the program's name, which may hold blanks and brackets
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None


@dataclass(frozen=True, slots=True)
class Owned:
    """A process that holds memory of a device, for those who may see everybody's.

    `server` is None where neither the ledger nor the Engine names a container around it.
    """

    server: Key | None
    pid: int  # on the host
    pid_inside: int | None  # as the container numbers it
    memory_bytes: int | None


def owned(processes: Iterable[DeviceProcess], servers: Mapping[str, Key]) -> tuple[Owned, ...]:
    """Whose each process is, in order of its PID on the host; `servers` as in `holdings`."""
    found = []
    for process in sorted(processes, key=lambda each: each.pid):
        container = _container_of(process, servers)
        found.append(
            Owned(
                servers[container] if container is not None else None,
                process.pid,
                _pid_in(process, container) if container is not None else None,
                process.memory_bytes,
            )
        )
    return tuple(found)


def _container_of(process: DeviceProcess, servers: Mapping[str, Key]) -> str | None:
    return next((each for each in process.containers if each in servers), None)


def holdings(
    processes: Iterable[DeviceProcess], servers: Mapping[str, Key], server: Key
) -> tuple[Holding, ...]:
    """Who holds memory as `server` may know it; `servers` are those of containers, by full id.

    Its own processes come first, each by itself, in order of PID.
    """
    own: list[Holding] = []
    others: dict[Holder, list[DeviceProcess]] = {}
    for process in processes:
        container = _container_of(process, servers)
        holder = _holder(servers.get(container or ""), server)
        if holder is Holder.OWN and container is not None:
            own.append(Holding(holder, 1, process.memory_bytes, _pid_in(process, container)))
        else:
            others.setdefault(holder, []).append(process)
    own.sort(key=lambda each: each.pid or 0)
    return (
        *own,
        *(_sum(holder, others[holder]) for holder in Holder if holder in others),
    )


def _holder(found: Key | None, server: Key) -> Holder:
    if found is None:
        return Holder.UNKNOWN
    if found == server:
        return Holder.OWN
    return Holder.SAME_USER if found[0] == server[0] else Holder.ANOTHER_USER


def _pid_in(process: DeviceProcess, container: str) -> int | None:
    """Each container has a PID namespace of its own, or (--pid=host) that of what is around it."""
    if not process.pids:
        return None
    depth = process.containers.index(container) + 1
    return process.pids[min(depth, len(process.pids) - 1)]


def _sum(holder: Holder, processes: list[DeviceProcess]) -> Holding:
    told = [each.memory_bytes for each in processes if each.memory_bytes is not None]
    return Holding(holder, len(processes), sum(told) if told else None)
