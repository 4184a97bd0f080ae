"""Another torch, whole and from its own wheels, in the environment's volume: a newer one, which
needs a newer driver, and one that was built without CUDA.

The wheels are fetched by the set-up (requirements/newer-torch.txt and cpu-torch.txt).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from docker.types import Mount
from doctor_patient import CARD, NODES, RUNTIME, Patient, look, with_driver, world

pytestmark = pytest.mark.timeout(580)  # five gigabytes are written

WHEELS = "/wheels"
VERSION = "python -c 'import torch; print(torch.__version__)'"


def wheels(variable: str) -> tuple[list[Mount], str]:
    """The folder that the set-up named, to be mounted, and its torch's version."""
    folder = os.environ.get(variable, "")
    assert folder, f"{variable} is not set: run `make test`, or see `make test-setup`"
    torches = list(Path(folder).glob("torch-*.whl"))
    if not torches:  # of torches without CUDA, PyPI has none for Linux on x86
        pytest.skip(f"NOT RUN: pip found no such torch where it looks ({variable})")
    return [Mount(WHEELS, folder, "bind", read_only=True)], torches[0].name.split("-")[1]


def install(patient: Patient, torch: str) -> None:
    options = f"--quiet --no-index --no-cache-dir --find-links {WHEELS}"
    patient.ok(f"PIP_CONSTRAINT= pip install {options} torch=={torch}")


def test_a_newer_torch_than_the_driver_can_do(make_patient: Callable[..., Patient]) -> None:
    """The driver would do for the image's own torch, so it is the user who can mend it."""
    mounts, torch = wheels("GPUCAMP_NEWER_TORCH_WHEELS")
    patient = with_driver(make_patient(CARD, devices=NODES, mounts=mounts))
    try:
        install(patient, torch)
        assert patient.ok(VERSION) == f"{torch}+cu130\n"
        examined = look(patient)
        assert examined.codes == {"GC132", "GC301", "GC304"}, examined
        assert examined.status == 2
        worst = examined.report["findings"][0]
        assert (worst["code"], worst["who"]) == ("GC132", "you")
        assert "CUDA 12.8, torch needs CUDA 13.0" in worst["title"]
        # the fake runtime is for the image's torch only
        assert patient.mended(examined, "GC132", world(patient, LD_PRELOAD=RUNTIME)) == set()
        assert patient.ok(VERSION) == "2.9.1+cu128\n"
        assert "cuda" not in patient.ok("pip list --local --format=freeze").lower()
    finally:
        patient.discard()


def test_a_torch_without_cuda(make_patient: Callable[..., Patient]) -> None:
    mounts, torch = wheels("GPUCAMP_CPU_TORCH_WHEELS")
    patient = make_patient(mounts=mounts)
    try:
        install(patient, torch)
        assert patient.ok(VERSION) == f"{torch}\n"
        examined = patient.examine()
        assert examined.codes == {"GC101", "GC301", "GC321"}, examined
        assert examined.report["findings"][0]["code"] == "GC321"
        assert patient.mended(examined, "GC321") == {"GC101"}
        assert patient.ok(VERSION) == "2.9.1+cu128\n"
    finally:
        patient.discard()
