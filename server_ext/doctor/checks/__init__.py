"""Every check and every code of the doctor.

Guarantees: pure; a check's name and a code are unique (tests/unit/doctor/test_catalogue.py).
"""

from __future__ import annotations

from ..findings import Check, Code
from . import (
    cuda,
    device,
    environment,
    examination,
    host,
    kernel,
    libcuda,
    nvml,
    packages,
    resources,
    torch,
)

_MODULES = (
    kernel,
    environment,
    resources,
    device,
    host,
    nvml,
    libcuda,
    packages,
    torch,
    cuda,
    examination,
)

ALL_CHECKS: tuple[Check, ...] = tuple(check for module in _MODULES for check in module.CHECKS)

CATALOGUE: dict[str, Code] = {code.code: code for check in ALL_CHECKS for code in check.codes}
