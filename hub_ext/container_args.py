"""A lease and its context -> the whole request that creates the container.

What this module guarantees:

- The result depends on the arguments alone and is complete: what is not in it, the container does
  not get. Tests compare all of it.
- The container gets the devices of its lease and no others. Without any, NVIDIA_VISIBLE_DEVICES is
  `void`, since an image or a default runtime may otherwise hand out every GPU of the host.
- It cannot gain privileges: no capabilities, no-new-privileges, not root, root file system
  read-only, no published port, limits on memory, processors, processes and log.
- Labels say which hub, lease, user and server it belongs to, so that the Engine alone can tell.

The request is that of the Engine's API (POST /containers/create), for docker-py's
`create_container_from_config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .models import Lease

GIB = 1024**3
HOME = "/home/jovyan"
WORK = f"{HOME}/work"
KEPT = "/kept"  # where a reader has an environment
BASE_PYTHON = "/opt/gpucamp/base/bin/python"
PRACTICE_LIBRARY = "/opt/gpucamp/practice/lib"

HUB_LABEL = "gpucamp.hub"
LEASE_LABEL = "gpucamp.lease"
USER_LABEL = "gpucamp.user"
SERVER_LABEL = "gpucamp.server"
DEVICES_LABEL = "gpucamp.devices"
GENERATION_LABEL = "gpucamp.generation"
SHARED_LABEL = "gpucamp.shared"
MIG_LABEL = "gpucamp.mig"
VOLUME_LABEL = "gpucamp.volume"
READER_LABEL = "gpucamp.reader"

Json = dict[str, object]


class DeviceInjection(StrEnum):
    """How the devices get into the container."""

    DEVICE_REQUEST = "device_request"  # the Engine's nvidia driver, as `docker run --gpus`
    CDI = "cdi"  # the Engine's CDI driver: Docker 28.2 or newer with a CDI specification
    PRACTICE = "practice"  # simulated: the image's stand-in library answers for them


@dataclass(frozen=True, slots=True)
class Context:
    """All of a container that the lease does not say. Sizes are in bytes, 0 means no limit."""

    image: str
    hub_id: str
    network: str
    environment_volume: str
    work_volume: str
    generation: int
    injection: DeviceInjection
    simulated: bool
    service_url: str
    mig: bool = False  # the device is a MIG instance
    command: tuple[str, ...] = ()  # (): the image's own
    environment: Mapping[str, str] = field(default_factory=dict)
    internet: Mapping[str, str] = field(default_factory=dict)  # variables; `environment` wins
    memory_bytes: int = 0
    cpus: float = 0
    shm_bytes: int = 0  # 0: default_shm_bytes
    tmp_bytes: int = 4 * GIB
    pids_limit: int = 4096
    ulimits: Mapping[str, int] = field(default_factory=dict)
    environment_bytes: int = 0  # what the Engine lets the volume hold, where it makes it
    work_bytes: int = 0
    user: str = "1000:100"


def default_shm_bytes(gpus: int) -> int:
    """1 GiB for each GPU and at least 1 GiB: DataLoader workers and NCCL share memory there."""
    return max(1, gpus) * GIB


def create_request(lease: Lease, context: Context) -> Json:
    """The create request for the container of this lease."""
    labels = _labels(lease, context)
    request: Json = {
        "Image": context.image,
        "User": context.user,
        "Env": _environment(lease, context),
        "Labels": labels,
        "Tty": False,
        "OpenStdin": False,
        "HostConfig": _host_config(lease, context),
    }
    if context.command:
        request["Cmd"] = list(context.command)
    return request


def reader_request(volume: str, image: str, hub_id: str, seconds: int) -> Json:
    """A container that has an environment's volume, read-only, and ends by itself.

    It has no network, no device, and no label by which it would be taken for a server.
    """
    return {
        "Image": image,
        "User": "1000:100",
        "Cmd": [BASE_PYTHON, "-I", "-S", "-c", f"import time; time.sleep({seconds})"],
        "Labels": {READER_LABEL: hub_id},
        "NetworkDisabled": True,
        "WorkingDir": "/",
        "HostConfig": {
            "NetworkMode": "none",
            "Privileged": False,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Memory": 256 * 1024**2,
            "MemorySwap": 256 * 1024**2,
            "NanoCpus": 1_000_000_000,
            "PidsLimit": 32,
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": volume,
                    "Target": KEPT,
                    "ReadOnly": True,
                    "VolumeOptions": {"NoCopy": True},
                }
            ],
            "AutoRemove": True,  # also when nobody is there any more to do it
            "LogConfig": {"Type": "none"},
        },
    }


def _host_config(lease: Lease, context: Context) -> Json:
    gpus = len(lease.device_uuids)
    return {
        "NetworkMode": context.network,
        "PortBindings": {},
        "PublishAllPorts": False,
        "Privileged": False,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        # the container's own /tmp: pip builds wheels and triton loads compiled kernels there
        "Tmpfs": {
            "/tmp": f"rw,exec,nosuid,nodev,size={context.tmp_bytes},mode=1777",  # noqa: S108  (the container's)
            "/run": f"rw,noexec,nosuid,nodev,size={64 * 1024**2},mode=1777",
        },
        "ShmSize": context.shm_bytes or default_shm_bytes(gpus),
        "Memory": context.memory_bytes,
        "MemorySwap": context.memory_bytes,  # the same: no swap on top
        "NanoCpus": round(context.cpus * 1e9),
        "PidsLimit": context.pids_limit,
        "Ulimits": [
            {"Name": name, "Soft": value, "Hard": value}
            for name, value in sorted(context.ulimits.items())
        ],
        "Mounts": _mounts(lease, context),
        "DeviceRequests": _device_requests(lease, context),
        "Init": False,  # the image starts with tini
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,  # its log and exit code are read before it is removed
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
    }


def _device_requests(lease: Lease, context: Context) -> list[Json]:
    if not lease.device_uuids:
        return []
    if context.injection is DeviceInjection.DEVICE_REQUEST:
        return [{"DeviceIDs": list(lease.device_uuids), "Capabilities": [["gpu"]]}]
    if context.injection is DeviceInjection.CDI:
        names = [f"nvidia.com/gpu={uuid}" for uuid in lease.device_uuids]
        return [{"Driver": "cdi", "DeviceIDs": names}]
    return []


def _mounts(lease: Lease, context: Context) -> list[Json]:
    def mount(volume: str, target: str, kind: str, size: int) -> Json:
        labels = {HUB_LABEL: context.hub_id, USER_LABEL: lease.user, VOLUME_LABEL: kind}
        if kind == "environment":
            labels |= {SERVER_LABEL: lease.server, GENERATION_LABEL: str(context.generation)}
        options: Json = {"NoCopy": False, "Labels": labels}
        if size:
            options["DriverConfig"] = {"Name": "local", "Options": {"size": str(size)}}
        return {
            "Type": "volume",
            "Source": volume,
            "Target": target,
            "ReadOnly": False,
            "VolumeOptions": options,
        }

    return [
        mount(context.environment_volume, HOME, "environment", context.environment_bytes),
        mount(context.work_volume, WORK, "work", context.work_bytes),
    ]


def _labels(lease: Lease, context: Context) -> dict[str, str]:
    return {
        HUB_LABEL: context.hub_id,
        LEASE_LABEL: lease.id,
        USER_LABEL: lease.user,
        SERVER_LABEL: lease.server,
        DEVICES_LABEL: ",".join(lease.device_uuids),
        GENERATION_LABEL: str(context.generation),
        SHARED_LABEL: "1" if lease.shared else "0",
        MIG_LABEL: "1" if context.mig else "0",
    }


def _environment(lease: Lease, context: Context) -> list[str]:
    devices = ",".join(lease.device_uuids)
    asked = {name: value for name, value in context.environment.items() if not _is_ours(name)}
    env = {**context.internet, **asked}
    env |= {
        "GPUCAMP_LEASE": lease.id,
        "GPUCAMP_IMAGE": context.image,
        "GPUCAMP_DEVICES": devices,
        "GPUCAMP_SIMULATED": "1" if context.simulated else "0",
        "GPUCAMP_SHARED": "1" if lease.shared else "0",
        "GPUCAMP_MIG": "1" if context.mig else "0",
        "GPUCAMP_GENERATION": str(context.generation),
        "GPUCAMP_CPU_LIMIT": f"{context.cpus:g}" if context.cpus else "",
        "GPUCAMP_MEM_LIMIT": str(context.memory_bytes) if context.memory_bytes else "",
        "GPUCAMP_SERVICE_URL": context.service_url,
        # also where the Engine sets it itself, for hosts whose default runtime obeys it
        "NVIDIA_VISIBLE_DEVICES": devices or "void",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    }
    if context.cpus:
        # torch and NumPy count the host's processors and ignore the quota
        env.setdefault("OMP_NUM_THREADS", str(max(1, int(context.cpus))))
    if context.injection is DeviceInjection.PRACTICE and context.simulated:
        env |= {"GPUCAMP_PRACTICE": "1", "LD_LIBRARY_PATH": PRACTICE_LIBRARY}
    return [f"{name}={value}" for name, value in sorted(env.items())]


def _is_ours(name: str) -> bool:
    """Variables that decide about devices come from the lease alone."""
    return name.startswith(("GPUCAMP_", "NVIDIA_", "CUDA_VISIBLE_", "DOCKER_RESOURCE_", "LD_"))
