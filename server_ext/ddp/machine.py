"""Facts of this server for a launch: cores, devices, the kernel's Python, free space.

Guarantees: never fails because a fact is missing; what is unknown is None or its safe default.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Mapping

from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from ..doctor.probes import resources
from .launch_plan import Machine

KERNEL = "python3"
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - measured, not written to


def read_machine(environ: Mapping[str, str], runs_folder: str, kernel_python: str) -> Machine:
    """The facts as they are now. Blocking I/O, milliseconds."""
    devices = tuple(d for d in environ.get("GPUCAMP_DEVICES", "").split(",") if d)
    return Machine(
        cpus=cpu_quota(environ),
        devices=devices,
        simulated=environ.get("GPUCAMP_SIMULATED", "0") == "1",
        launcher=_launcher(kernel_python, environ.get("PATH", os.defpath)),
        python=kernel_python,
        runs_folder=runs_folder,
        shm_free_bytes=_free(SHARED_MEMORY),
        disk_free_bytes=_free(runs_folder),
        # NVIDIA's UUIDs say it themselves
        mig=environ.get("GPUCAMP_MIG") == "1" or any(d.startswith("MIG-") for d in devices),
        shared=environ.get("GPUCAMP_SHARED") == "1",
    )


def kernel_python(specs: KernelSpecManager | None = None) -> str:
    """The Python of the kernel environment, absolute; this one where the spec names none."""
    try:
        command = (specs or KernelSpecManager()).get_kernel_spec(KERNEL).argv[0]
    except (NoSuchKernel, IndexError, OSError, ValueError):
        return sys.executable
    return command if os.path.isabs(command) and os.access(command, os.X_OK) else sys.executable


def cpu_quota(environ: Mapping[str, str], cgroup: str = "/sys/fs/cgroup") -> int:
    """Whole cores that this container may use, at least 1."""
    limits = [float(len(os.sched_getaffinity(0)))]
    try:
        limits.append(float(environ["GPUCAMP_CPU_LIMIT"]))
    except (KeyError, ValueError):
        pass
    limits.append(resources.cpu_quota(cgroup) or math.inf)
    usable = [limit for limit in limits if math.isfinite(limit) and limit > 0]
    return max(1, int(min(usable)))


def _launcher(kernel_python: str, path: str) -> tuple[str, ...]:
    """`torchrun` where a terminal would run the kernel environment's, else its Python."""
    found = shutil.which("torchrun", path=path)
    if found and os.path.dirname(found) == os.path.dirname(kernel_python):
        return ("torchrun",)
    return (kernel_python, "-m", "torch.distributed.run")


def _free(path: str) -> int | None:
    while path and not os.path.isdir(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
