"""Where the doctor looks and how long it waits. Immutable; tests give folders of their own."""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path

# variables that a check reads; nothing else of the environment gets into a report
ALLOWED_VARIABLES = (
    "CONDA_PREFIX",
    "CUDA_HOME",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "DISPLAY",
    "GPUCAMP_CPU_LIMIT",
    "GPUCAMP_DEVICES",
    "GPUCAMP_GENERATION",
    "GPUCAMP_LEASE",
    "GPUCAMP_MEM_LIMIT",
    "GPUCAMP_OFFLINE",
    "GPUCAMP_SIMULATED",
    "GROUP_RANK",
    "HF_DATASETS_CACHE",
    "HF_DATASETS_OFFLINE",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HUGGINGFACE_HUB_CACHE",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "MKL_NUM_THREADS",
    "MPLBACKEND",
    "NCCL_IB_DISABLE",
    "NVIDIA_TF32_OVERRIDE",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PATH",
    "PIP_CACHE_DIR",
    "PIP_CONSTRAINT",
    "PIP_USER",
    "PYTHONHASHSEED",
    "PYTHONHOME",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONNOUSERSITE",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONSTARTUP",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
    "RANK",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "TORCHDYNAMO_DISABLE",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_COMPILE_DISABLE",
    "TORCH_CUDA_ARCH_LIST",
    "TORCH_DISTRIBUTED_DEBUG",
    "TORCH_EXTENSIONS_DIR",
    "TORCH_HOME",
    "TORCH_LOGS",
    "TORCH_USE_CUDA_DSA",
    "TRANSFORMERS_CACHE",
    "TRANSFORMERS_OFFLINE",
    "TRITON_CACHE_DIR",
    "VIRTUAL_ENV",
    "WANDB_MODE",
    "WAYLAND_DISPLAY",
    "WORLD_SIZE",
    "XDG_CACHE_HOME",
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
    extensions: float = 60.0
    start: float = 25.0  # of a kernel; a server waits longer, but not for one that never comes
    network: float = 6.0


_IMAGE = Path("/opt/gpucamp")


def _home() -> Path:
    """The user's home: in the image the account's, whatever HOME says."""
    if (_IMAGE / "versions.json").exists():
        with contextlib.suppress(KeyError):
            return Path(pwd.getpwuid(os.getuid()).pw_dir)
    return Path.home()


@dataclass(frozen=True)
class Settings:
    """image_root: has base.lock, versions.json and base/; environment: the kernel environment's
    prefix; work: the user's files; home: the environment volume.
    """

    image_root: Path = _IMAGE
    home: Path = field(default_factory=lambda: _home())
    work: Path = field(default_factory=lambda: _home() / "work")
    limits: Limits = Limits()
    concurrency: int = 3

    @property
    def base(self) -> Path:
        """The base environment's prefix."""
        return self.image_root / "base"

    @property
    def deferred_record(self) -> Path:
        """What may be put off of `import torch` (probes/deferred.py)."""
        return self.image_root / "torch-deferred.json"

    @property
    def environment(self) -> Path:
        """The kernel environment's prefix."""
        return self.home / ".venv"

    @property
    def report_file(self) -> Path:
        """Where the last report is kept; in work, so that it survives a reset."""
        return self.work / ".gpucamp" / "doctor-report.json"
