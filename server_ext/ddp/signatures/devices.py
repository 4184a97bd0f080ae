"""Of GPUs, memory and the DataLoader's workers. Data."""

from __future__ import annotations

from ...i18n import N_
from .model import GENERAL, LINE, Signature, signature

DEVICES: tuple[Signature, ...] = (
    signature(
        "device-ordinal",
        r"invalid device ordinal",
        N_("The script names a GPU that is not there: there are more processes than GPUs."),
        N_("Start as many processes as you have GPUs; GPU numbers start at 0 in your container."),
    ),
    signature(
        "cuda-in-fork",
        r"Cannot re-initialize CUDA in forked subprocess",
        N_("A forked child process uses CUDA after its parent did."),
        N_(
            "Do not touch CUDA in a Dataset's workers, or use "
            'DataLoader(..., multiprocessing_context="spawn").'
        ),
    ),
    signature(
        "cuda-out-of-memory",
        r"CUDA out of memory|^(?:torch\.)?(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory"
        r"|CUBLAS_STATUS_ALLOC_FAILED",
        N_("The GPU has no memory left for this process."),
        N_(
            "Use a smaller batch, and shut down notebooks that hold GPU memory (the running "
            "kernels' list). If only one rank fails: do not gather everything on rank 0."
        ),
    ),
    signature(
        "host-memory",
        r"can't allocate memory|^MemoryError|Cannot allocate memory"
        r"|Unable to allocate [\d.]+ \w+ for",
        N_("The memory of the container has no room for what this process asks for."),
        N_("Use a smaller batch, fewer DataLoader workers or fewer processes, and load less data."),
    ),
    signature(
        "device-assert",
        r"device-side assert triggered",
        N_("A GPU kernel met a value out of range, most often a class label or an index."),
        N_(
            "Check labels and embedding indices. Run it on the CPU, or with "
            "CUDA_LAUNCH_BLOCKING=1, "
            "to see the line."
        ),
    ),
    signature(
        "no-gpu",
        r"Found no NVIDIA driver|No CUDA GPUs are available|Torch not compiled with CUDA enabled",
        N_("The script wants CUDA, and this server has no GPU that PyTorch can use."),
        N_("Run the GPU doctor: it says why, and what to do."),
        logic_error=True,
    ),
    signature(
        "mixed-devices",
        r"Expected all tensors to be on the same device|must be on the same type of devices"
        r"|Tensor on device \S+ is not on the expected device"
        r"|indices should be either on \w+ or on the same device|tensors are not at the same device"
        r"|Input type \(torch\.(?:cuda\.\w+\) and weight type \(torch\.(?!cuda)"
        r"|\w+\) and weight type \(torch\.cuda)",
        N_("Tensors of one operation are on different devices."),
        N_("Move model and batch to the same device, the one from LOCAL_RANK."),
        logic_error=True,
    ),
    signature(
        "shared-memory",
        r"creating shared memory segment|unable to (?:open|write|mmap|allocate) .*shared memory"
        r"|insufficient shared memory|killed by signal: Bus error",
        N_("Shared memory (/dev/shm) is full."),
        N_(
            "Use fewer DataLoader workers, stop old runs, or ask the instructor for a larger "
            "shm_size."
        ),
        anywhere=r"NCCL WARN [^\n]*shared memory segment"
        r"|(?m:^)ERROR: Unexpected bus error encountered in worker",
        printed_weight=LINE,
    ),
    signature(
        "worker-crashed",
        r"DataLoader worker \(pid \d+\) (?:is )?"
        r"(?P<how>killed by signal: (?!Killed|Bus error)\w[\w ]*"
        r"|exited unexpectedly with exit code \d+)",
        N_("A DataLoader worker ended in the middle of its work: {how}."),
        N_(
            "With num_workers=0 the rank itself shows where; for a crash in compiled code set "
            "PYTHONFAULTHANDLER=1."
        ),
    ),
    signature(
        "worker-killed",
        r"DataLoader worker .*(?:killed by signal: Killed|exited unexpectedly)",
        N_(
            "A DataLoader worker was killed, most often because the memory of the container "
            "is full."
        ),
        N_("Use fewer workers or a smaller batch."),
        weight=GENERAL,  # how it ended, where that is known, is said before it
        # The rank may ask it for a tensor before it hears that it has gone; it may hear it while
        # it prints an exception, which then is never named (torch/utils/data/_utils/
        # signal_handling.py raises in the handler of SIGCHLD).
        with_frames=r"in rebuild_storage_fd\n(?:[^\n]*\n)*"
        r"(?:Connection\w*Error|BrokenPipeError|EOFError|FileNotFoundError)\b"
        r"|torch/utils/data/dataloader\.py\"[^\n]*\n(?: [^\n]*\n)*\Z",
    ),
    signature(
        "nccl-error",
        r"unhandled (?P<kind>system|cuda) error|ncclSystemError|ncclUnhandledCudaError",
        N_("NCCL could not set up or use the connection between the GPUs."),
        N_(
            "Read the NCCL WARN lines above it. Run again with NCCL_DEBUG=INFO; if it names P2P, "
            "try NCCL_P2P_DISABLE=1, and run the GPU doctor."
        ),
        weight=GENERAL,  # what NCCL itself said before it (LINE) is nearer to the cause
    ),
    signature(
        "cuda-error",
        r"CUDA error: (?P<error>[^\n]{1,200})",
        N_("The GPU reports: {error}"),
        N_(
            "Run it with CUDA_LAUNCH_BLOCKING=1 to see the line. The GPU doctor tells whether the "
            "card or the installation is to blame."
        ),
        weight=GENERAL,
    ),
)
