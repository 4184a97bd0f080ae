"""Of ranks that lost or waited for another: whoever is to blame weighs less than these. Data."""

from __future__ import annotations

from ...i18n import N_
from .model import DERIVED, VICTIM, Signature, signature

WAITING: tuple[Signature, ...] = (
    signature(
        "collective-timeout",
        r"Watchdog caught collective operation timeout|failed to pass monitoredBarrier"
        r"|Timed out waiting \d+ms for (?:recv|send)|Wait timeout after \d+ms",
        N_("A rank waited too long for the others: they are slower, hang, or took another way."),
        N_(
            "Every rank must make the same calls and the same number of steps. For long work on "
            "rank 0: init_process_group(timeout=...)."
        ),
        weight=DERIVED,
        anywhere=r"Watchdog caught collective operation timeout"
        r"|Timed out waiting \d+ms for (?:recv|send)|Wait timeout after \d+ms",
        printed_weight=DERIVED,
    ),
    signature(
        "peer-left",
        r"[Cc]onnection closed by peer|[Cc]onnection reset by peer|Broken pipe"
        r"|ncclRemoteError|remote process exited|failed to recv, got 0 bytes"
        r"|recvValue failed|Socket closed|sendBytes failed|recvBytes failed"
        r"|Connection was likely closed|NCCL communicator was aborted",
        N_("Another rank ended while this one still waited for it."),
        N_(
            "If no other rank shows an error, it left the loop earlier: give all ranks the same "
            "number of batches (DistributedSampler with drop_last=True) and no early return."
        ),
        weight=VICTIM,
    ),
)
