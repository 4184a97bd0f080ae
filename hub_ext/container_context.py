"""The spawner's settings -> the Context of the container to create; see container_args.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jupyterhub.traitlets import ByteSpecification

from . import volumes
from .container_args import Context, DeviceInjection
from .internet import internet_environment
from .models import Device

if TYPE_CHECKING:
    from .spawner import GPUDockerSpawner


def context_of(
    spawner: GPUDockerSpawner,
    hub_id: str,
    devices: Sequence[Device],
    image: str,
    generation: int,
    sizes: tuple[int | None, int | None] = (None, None),
    *,
    raise_limits: bool,
) -> Context:
    """All of a container of `image` that its lease of `devices` does not say.

    `sizes`: most bytes in the volumes of the environment and of work, where this start makes them
    (None: whatever the disk has). Without `raise_limits` no resource limit (ulimit) is asked for.
    """
    user, server, prefix = spawner.user.name, spawner.name, spawner.prefix
    simulated = any(device.simulated for device in devices)
    injection = spawner.device_injection
    if injection == "auto":
        injection = DeviceInjection.PRACTICE if simulated else DeviceInjection.DEVICE_REQUEST
    environment = spawner.get_env()
    return Context(
        image=image,
        command=(*spawner.cmd, *spawner.get_args()) if spawner.cmd else (),
        hub_id=hub_id,
        network=spawner.network_name,
        environment=environment,
        internet=internet_environment(
            proxy=spawner.internet_proxy,
            direct=spawner.internet_direct,
            mirrors=spawner.internet_mirrors,
            offline=spawner.offline,
            own_urls=(environment.get("JUPYTERHUB_API_URL", ""), spawner.service_url),
        ),
        environment_volume=volumes.environment_volume(user, server, generation, prefix=prefix),
        work_volume=volumes.work_volume(user, prefix=prefix),
        generation=generation,
        injection=DeviceInjection(injection),
        simulated=simulated,
        mig=any(device.is_mig for device in devices),
        service_url=spawner.service_url,
        memory_bytes=memory_bytes(spawner),
        cpus=float(spawner.cpu_limit or 0) or float(os.cpu_count() or 1),
        shm_bytes=spawner.shm_size,
        tmp_bytes=spawner.tmp_size,
        pids_limit=spawner.pids_limit,
        ulimits=spawner.ulimits if raise_limits else {},
        environment_bytes=sizes[0] or 0,
        work_bytes=sizes[1] or 0,
    )


def memory_bytes(spawner: GPUDockerSpawner) -> int:
    """The container's limit of memory; 0: none."""
    limit = spawner.mem_limit
    return int(ByteSpecification().validate(spawner, limit)) if limit else 0
