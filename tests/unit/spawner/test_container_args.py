"""The create request, all of it: what is not here, the container does not get."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hub_ext.container_args import (
    GIB,
    Context,
    DeviceInjection,
    create_request,
    default_shm_bytes,
)
from hub_ext.models import Lease, LeaseState

ONE, TWO = "GPU-5ca1ab1e-0000-4000-8000-000000000000", "GPU-5ca1ab1e-0000-4000-8000-000000000001"

LEASE = Lease(
    id="lease1",
    user="ada",
    server="second",
    state=LeaseState.GRANTED,
    device_uuids=(ONE, TWO),
    granted_at=datetime(2026, 11, 24, tzinfo=UTC),
)
NO_GPU = replace(LEASE, device_uuids=())

CONTEXT = Context(
    image="sha256:1111",
    hub_id="hub1",
    network="gpucamp",
    environment_volume="gpucamp-env-ada--second-3",
    work_volume="gpucamp-work-ada",
    generation=3,
    injection=DeviceInjection.DEVICE_REQUEST,
    simulated=False,
    service_url="http://172.20.0.1:8083/services/gpucamp/",
    environment={"JUPYTERHUB_USER": "ada", "JUPYTERHUB_API_TOKEN": "secret"},
    memory_bytes=8 * GIB,
    cpus=2,
    ulimits={"nofile": 65536, "memlock": -1},
)

GOLDEN: dict[str, Any] = {
    "Image": "sha256:1111",
    "User": "1000:100",
    "Env": [
        "GPUCAMP_CPU_LIMIT=2",
        f"GPUCAMP_DEVICES={ONE},{TWO}",
        "GPUCAMP_GENERATION=3",
        "GPUCAMP_IMAGE=sha256:1111",
        "GPUCAMP_LEASE=lease1",
        "GPUCAMP_MEM_LIMIT=8589934592",
        "GPUCAMP_MIG=0",
        "GPUCAMP_SERVICE_URL=http://172.20.0.1:8083/services/gpucamp/",
        "GPUCAMP_SHARED=0",
        "GPUCAMP_SIMULATED=0",
        "JUPYTERHUB_API_TOKEN=secret",
        "JUPYTERHUB_USER=ada",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        f"NVIDIA_VISIBLE_DEVICES={ONE},{TWO}",
        "OMP_NUM_THREADS=2",
    ],
    "Labels": {
        "gpucamp.hub": "hub1",
        "gpucamp.lease": "lease1",
        "gpucamp.user": "ada",
        "gpucamp.server": "second",
        "gpucamp.devices": f"{ONE},{TWO}",
        "gpucamp.generation": "3",
        "gpucamp.shared": "0",
        "gpucamp.mig": "0",
    },
    "Tty": False,
    "OpenStdin": False,
    "HostConfig": {
        "NetworkMode": "gpucamp",
        "PortBindings": {},
        "PublishAllPorts": False,
        "Privileged": False,
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "Tmpfs": {
            "/tmp": "rw,exec,nosuid,nodev,size=4294967296,mode=1777",
            "/run": "rw,noexec,nosuid,nodev,size=67108864,mode=1777",
        },
        "ShmSize": 2 * GIB,
        "Memory": 8 * GIB,
        "MemorySwap": 8 * GIB,
        "NanoCpus": 2_000_000_000,
        "PidsLimit": 4096,
        "Ulimits": [
            {"Name": "memlock", "Soft": -1, "Hard": -1},
            {"Name": "nofile", "Soft": 65536, "Hard": 65536},
        ],
        "Mounts": [
            {
                "Type": "volume",
                "Source": "gpucamp-env-ada--second-3",
                "Target": "/home/jovyan",
                "ReadOnly": False,
                "VolumeOptions": {
                    "NoCopy": False,
                    "Labels": {
                        "gpucamp.hub": "hub1",
                        "gpucamp.user": "ada",
                        "gpucamp.volume": "environment",
                        "gpucamp.server": "second",
                        "gpucamp.generation": "3",
                    },
                },
            },
            {
                "Type": "volume",
                "Source": "gpucamp-work-ada",
                "Target": "/home/jovyan/work",
                "ReadOnly": False,
                "VolumeOptions": {
                    "NoCopy": False,
                    "Labels": {
                        "gpucamp.hub": "hub1",
                        "gpucamp.user": "ada",
                        "gpucamp.volume": "work",
                    },
                },
            },
        ],
        "DeviceRequests": [{"DeviceIDs": [ONE, TWO], "Capabilities": [["gpu"]]}],
        "Init": False,
        "RestartPolicy": {"Name": "no"},
        "AutoRemove": False,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
    },
}


def changed(**paths: Any) -> dict[str, Any]:
    """GOLDEN with some entries of HostConfig replaced."""
    made = copy.deepcopy(GOLDEN)
    made["HostConfig"].update(paths)
    return made


def with_env(request: dict[str, Any], **variables: str | None) -> dict[str, Any]:
    env = dict(line.split("=", 1) for line in request["Env"])
    for name, value in variables.items():
        if value is None:
            del env[name]
        else:
            env[name] = value
    return {**request, "Env": [f"{name}={value}" for name, value in sorted(env.items())]}


def test_two_devices_by_uuid() -> None:
    assert create_request(LEASE, CONTEXT) == GOLDEN


def test_no_device_is_void() -> None:
    expected = with_env(
        changed(DeviceRequests=[], ShmSize=GIB), GPUCAMP_DEVICES="", NVIDIA_VISIBLE_DEVICES="void"
    )
    expected["Labels"]["gpucamp.devices"] = ""
    assert create_request(NO_GPU, CONTEXT) == expected


@pytest.mark.parametrize("injection", DeviceInjection)
def test_no_injection_gives_devices_to_a_lease_without(injection: DeviceInjection) -> None:
    made: Any = create_request(NO_GPU, replace(CONTEXT, injection=injection))
    assert made["HostConfig"]["DeviceRequests"] == []
    assert "NVIDIA_VISIBLE_DEVICES=void" in made["Env"]


def test_cdi() -> None:
    names = [f"nvidia.com/gpu={ONE}", f"nvidia.com/gpu={TWO}"]
    assert create_request(LEASE, replace(CONTEXT, injection=DeviceInjection.CDI)) == changed(
        DeviceRequests=[{"Driver": "cdi", "DeviceIDs": names}]
    )


def test_practice() -> None:
    context = replace(CONTEXT, injection=DeviceInjection.PRACTICE, simulated=True)
    assert create_request(LEASE, context) == with_env(
        changed(DeviceRequests=[]),
        GPUCAMP_PRACTICE="1",
        GPUCAMP_SIMULATED="1",
        LD_LIBRARY_PATH="/opt/gpucamp/practice/lib",
    )


def test_a_share_and_a_mig_instance_are_told() -> None:
    lease = replace(LEASE, device_uuids=(ONE,), shared=True)
    made: Any = create_request(lease, replace(CONTEXT, mig=True))
    assert {"GPUCAMP_SHARED=1", "GPUCAMP_MIG=1"} <= set(made["Env"])
    assert made["Labels"]["gpucamp.shared"] == made["Labels"]["gpucamp.mig"] == "1"
    assert made["HostConfig"]["DeviceRequests"] == [{"DeviceIDs": [ONE], "Capabilities": [["gpu"]]}]


def test_sizes_and_command_as_told() -> None:
    context = replace(
        CONTEXT,
        command=("sh", "-c", "true"),
        memory_bytes=0,
        cpus=0.5,
        shm_bytes=123,
        tmp_bytes=456,
        pids_limit=7,
        ulimits={},
    )
    expected = with_env(
        changed(
            Memory=0,
            MemorySwap=0,
            NanoCpus=500_000_000,
            ShmSize=123,
            PidsLimit=7,
            Ulimits=[],
            Tmpfs={
                "/tmp": "rw,exec,nosuid,nodev,size=456,mode=1777",
                "/run": "rw,noexec,nosuid,nodev,size=67108864,mode=1777",
            },
        ),
        GPUCAMP_MEM_LIMIT="",
        GPUCAMP_CPU_LIMIT="0.5",
        OMP_NUM_THREADS="1",
    )
    assert create_request(LEASE, context) == {**expected, "Cmd": ["sh", "-c", "true"]}


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
        "CUDA_VISIBLE_DEVICES",
        "DOCKER_RESOURCE_GPU",
        "LD_PRELOAD",
        "GPUCAMP_SHARED",
        "GPUCAMP_MIG",
        "LD_LIBRARY_PATH",
        "GPUCAMP_DEVICES",
    ],
)
def test_the_environment_cannot_decide_about_devices(name: str) -> None:
    context = replace(CONTEXT, environment={**CONTEXT.environment, name: "all"})
    assert create_request(LEASE, context) == GOLDEN


@pytest.mark.parametrize(("gpus", "gib"), [(0, 1), (1, 1), (2, 2), (8, 8)])
def test_shared_memory_grows_with_devices(gpus: int, gib: int) -> None:
    assert default_shm_bytes(gpus) == gib * GIB


def test_volumes_that_the_engine_limits() -> None:
    request: Any = create_request(LEASE, replace(CONTEXT, environment_bytes=20 * GIB, work_bytes=0))
    environment, work = request["HostConfig"]["Mounts"]
    assert environment["VolumeOptions"]["DriverConfig"] == {
        "Name": "local",
        "Options": {"size": str(20 * GIB)},
    }
    assert "DriverConfig" not in work["VolumeOptions"]
