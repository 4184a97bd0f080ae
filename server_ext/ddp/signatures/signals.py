"""Of signals. Data."""

from __future__ import annotations

from ...i18n import N_
from .model import DERIVED, SIGNAL

# Signals that end a rank: exit code -> (code, cause, fix, weight).
SIGNALS: dict[int, tuple[str, str, str, int]] = {
    -9: (
        "killed",
        N_("Rank {rank} was killed (SIGKILL), most often because the container's memory is full."),
        N_("Use a smaller batch, fewer DataLoader workers or fewer processes, and load less data."),
        SIGNAL,
    ),
    -11: (
        "segmentation-fault",
        N_("Rank {rank} crashed in compiled code (SIGSEGV)."),
        N_(
            "Run with PYTHONFAULTHANDLER=1 to see where. A package built for another PyTorch does "
            "this: run the GPU doctor."
        ),
        SIGNAL,
    ),
    -7: (
        "bus-error",
        N_("Rank {rank} ended with a bus error (SIGBUS): shared memory (/dev/shm) is full."),
        N_(
            "Use fewer DataLoader workers, stop old runs, or ask the instructor for a larger "
            "shm_size."
        ),
        SIGNAL,
    ),
    -2: (
        "interrupted",
        N_("Rank {rank} was interrupted (SIGINT, as by Ctrl+C)."),
        N_("Start it again if that was not you."),
        SIGNAL,
    ),
    -15: (
        "terminated",
        N_("Rank {rank} was asked to end (SIGTERM), by another process or by hand."),
        N_("Start it again if that was not you: no error of the script is known."),
        DERIVED + 2,
    ),
    -4: (
        "illegal-instruction",
        N_("Rank {rank} met an instruction that this CPU does not have (SIGILL)."),
        N_("A package was built for another CPU: reinstall it, or reset the environment."),
        SIGNAL,
    ),
    -6: (
        "aborted",
        N_("Rank {rank} aborted itself (SIGABRT)."),
        N_("The lines before the end say why; with NCCL it is a collective that timed out."),
        DERIVED + 1,
    ),
}
