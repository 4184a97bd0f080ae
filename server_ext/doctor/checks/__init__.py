"""Every check and every code of the doctor.

Guarantees: pure; a check's name and a code are unique (tests/unit/doctor/test_catalogue.py).
"""

from __future__ import annotations

from ..findings import Check, Code
from . import (
    card,
    cuda,
    device,
    environment,
    examination,
    extensions,
    folders,
    host,
    installation,
    kernel,
    libcuda,
    limits,
    network,
    nvml,
    packages,
    performance_conditions,
    performance_gpu,
    performance_link,
    performance_ranks,
    resources,
    running,
    running_beside,
    running_gpu,
    running_loaded,
    starting,
    torch,
    variables,
)

_MODULES = (
    kernel,
    starting,
    environment,
    variables,
    resources,
    folders,
    limits,
    network,
    device,
    host,
    nvml,
    card,
    libcuda,
    packages,
    installation,
    torch,
    extensions,
    cuda,
    running,
    running_loaded,
    running_gpu,
    running_beside,
    examination,
)

ALL_CHECKS: tuple[Check, ...] = tuple(check for module in _MODULES for check in module.CHECKS)

# of what is measured when somebody asks for it
ON_DEMAND: tuple[Check, ...] = (
    *performance_gpu.CHECKS,
    *performance_link.CHECKS,
    *performance_conditions.CHECKS,
    *performance_ranks.CHECKS,
)

CATALOGUE: dict[str, Code] = {
    code.code: code for check in (*ALL_CHECKS, *ON_DEMAND) for code in check.codes
}
