"""Whether two processes can exchange data, as those of a DDP run do. Pure.

Guarantees: on a server without a GPU nothing is worse than advice.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading

PEERS = Code(
    "GC606",
    "performance",
    "degraded",
    "you",
    N_("Your GPUs exchange data only if they do not do it directly (P2P)."),
    N_("Set NCCL_P2P_DISABLE=1 before you train; tell your instructor."),
    command="export NCCL_P2P_DISABLE=1",
)
NCCL = Code(
    "GC607",
    "performance",
    "degraded",
    "instructor",
    N_("Two of your GPUs cannot work together."),
    N_("Train on one GPU, and tell your instructor."),
)
GLOO = Code(
    "GC608",
    "performance",
    "advice",
    "you",
    N_("Two processes of this server cannot exchange data."),
    N_("Measure again; if it stays so, examine the kernel. DDP on the CPU will fail the same way."),
)


@check("performance", ("all_reduce",), (PEERS, NCCL, GLOO))
def ranks_exchange_data(facts: Facts) -> Iterator[Finding]:
    """Two processes add up a tensor: by NCCL where there are two GPUs, else by gloo."""
    for attempt in (facts.mapping("all_reduce", "gloo"), facts.mapping("all_reduce", "nccl")):
        problem = text_of(attempt, "problem")
        if not problem:
            continue
        said = (reading.shorten(line) for line in reading.last_lines(text_of(attempt, "said")))
        evidence = (reading.shorten(problem), *said)
        if text_of(attempt, "backend") == "gloo":
            yield Finding(GLOO, evidence)
        elif attempt.get("works_without_p2p") is True:
            yield Finding(PEERS, evidence)
        else:
            yield Finding(NCCL, evidence)


CHECKS = (ranks_exchange_data,)
