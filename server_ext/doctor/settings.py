"""Where the doctor looks and how long it waits. Immutable; tests give folders of their own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

# variables that a check reads; nothing else of the environment gets into a report
ALLOWED_VARIABLES = (
    "CONDA_PREFIX",
    "CUDA_HOME",
    "CUDA_VISIBLE_DEVICES",
    "GPUCAMP_CPU_LIMIT",
    "GPUCAMP_DEVICES",
    "GPUCAMP_GENERATION",
    "GPUCAMP_LEASE",
    "GPUCAMP_MEM_LIMIT",
    "GPUCAMP_SIMULATED",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "PATH",
    "PIP_CONSTRAINT",
    "PIP_USER",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPATH",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "VIRTUAL_ENV",
)


@dataclass(frozen=True)
class Limits:
    """Seconds that each probe may take. A cold disk makes an import slow, not broken."""

    python: float = 10.0
    packages: float = 15.0
    ipykernel: float = 30.0
    torch: float = 60.0
    torch_gpu: float = 30.0
    system: float = 5.0
    nvml: float = 5.0
    libcuda: float = 20.0
    resources: float = 8.0
    culprit: float = 90.0


@dataclass(frozen=True)
class Settings:
    """image_root: has base.lock, versions.json and base/; environment: the kernel environment's
    prefix; work: the user's files; home: the environment volume.
    """

    image_root: Path = Path("/opt/gpucamp")
    home: Path = field(default_factory=Path.home)
    work: Path = field(default_factory=lambda: Path.home() / "work")
    limits: Limits = Limits()
    concurrency: int = 3

    @property
    def base(self) -> Path:
        """The base environment's prefix."""
        return self.image_root / "base"

    @property
    def environment(self) -> Path:
        """The kernel environment's prefix."""
        return self.home / ".venv"

    @property
    def report_file(self) -> Path:
        """Where the last report is kept; in work, so that it survives a reset."""
        return self.work / ".gpucamp" / "doctor-report.json"
