"""Who else of this server's uses the GPU: its other kernels, and programs that nothing waits for.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from . import reading

OTHERS_HOLD = Code(
    "GC731",
    "running",
    "advice",
    "you",
    N_("Other kernels of yours hold {memory} of the GPU's memory: {kernels}."),
    N_("Shut down those that you do not need (Running Terminals and Kernels, on the left)."),
)
OTHERS_FILL = Code(
    "GC732",
    "running",
    "degraded",
    "you",
    N_("Other kernels of yours leave little of the GPU's memory: {kernels} hold {memory}."),
    N_("Shut down those that you do not need (Running Terminals and Kernels, on the left)."),
)
LEFT_BEHIND = Code(
    "GC733",
    "running",
    "advice",
    "you",
    N_("{count} programs that nothing waits for use the GPU."),
    N_("End them, unless you started them to run in the background."),
    "kill {pids}",
)

LITTLE = 512 * 2**20  # bytes of the GPU's memory that a kernel may hold unnoticed


@check("running", ("running", "kernels", "host", "nvml"), (OTHERS_HOLD, OTHERS_FILL))
def other_kernels_leave_room(facts: Facts) -> Iterator[Finding]:
    """No other kernel of this server holds much of the GPU's memory."""
    me = facts.integer("running", "pid"), facts.text("running", "id")
    held, names, lines, unknown = 0, [], [], False
    for item in facts.objects("kernels", "kernels"):
        if item.get("gpu") is not True or item.get("pid") == me[0] or item.get("id") == me[1]:
            continue
        memory = _memory(facts, item)
        if memory is not None and memory < LITTLE // 8:
            continue
        held, unknown = held + (memory or 0), unknown or memory is None
        name = text_of(item, "label") or f"{text_of(item, 'name')} ({text_of(item, 'id')[:8]})"
        amount = reading.gibibytes(memory) if memory is not None else "?"
        names.append(name)
        lines.append(
            f"{name}: {amount}, {text_of(item, 'state')}, process {item.get('pid')}, "
            f"kernel {text_of(item, 'id')}"
        )
    if not names or (held < LITTLE and not unknown):
        return
    total, free = (_of_devices(facts, key) for key in ("total", "free"))
    fills = total > 0 and (held * 2 > total or free * 10 < total)
    memory_text = ("≥ " if unknown else "") + reading.gibibytes(held) if held else "?"
    params = {"memory": memory_text, "kernels": ", ".join(names[:5])}
    yield Finding(OTHERS_FILL if fills else OTHERS_HOLD, tuple(lines[:20]), params)


def _memory(facts: Facts, kernel: Mapping[str, object]) -> int | None:
    """Bytes that a kernel holds: as the host sees its processes, else as it says; None: unknown."""
    members = kernel.get("members")
    pids: Sequence[object] = members if isinstance(members, list) else ()
    seen = [
        integer_of(holder, "memory_bytes") or 0
        for holder in _holders(facts)
        if integer_of(holder, "pid") in pids
    ]
    return sum(seen) if seen else integer_of(kernel, "gpu_bytes")


def _holders(facts: Facts) -> Iterator[Mapping[str, object]]:
    """Processes of this server that hold memory, as the host sees them."""
    for device in facts.objects("host", "devices"):
        holders = device.get("holders")
        for holder in holders if isinstance(holders, list) else ():
            if isinstance(holder, Mapping) and text_of(holder, "holder") == "own":
                if holder.get("pid") is not None:
                    yield holder


def _of_devices(facts: Facts, key: str) -> int:
    """The sum of all devices' memory."""
    found = 0
    for device in reading.nvml_devices(facts):
        memory = device.get("memory")
        if isinstance(memory, Mapping):
            found += integer_of(memory, key) or 0
    return found


@check("running", ("kernels", "resources"), (LEFT_BEHIND,))
def no_program_is_left_behind(facts: Facts) -> Iterator[Finding]:
    """No program whose terminal or parent has ended uses the GPU."""
    found = [
        (pid, text_of(item, "command"))
        for item in facts.objects("kernels", "programs")
        if integer_of(item, "parent") == 1
        and (pid := integer_of(item, "pid")) is not None
        and not any(word in text_of(item, "command") for word in ("torchrun", "torch.distributed"))
    ]
    if found:  # ranks of an ended run are told as such
        ranks = {integer_of(item, "pid") for item in facts.objects("resources", "orphan_ranks")}
        found = [(pid, command) for pid, command in found if pid not in ranks]
    if found:
        params = {"count": str(len(found)), "pids": " ".join(str(pid) for pid, _ in found)}
        yield Finding(LEFT_BEHIND, tuple(f"{pid}: {text}" for pid, text in found[:10]), params)


CHECKS = (
    other_kernels_leave_room,
    no_program_is_left_behind,
)
