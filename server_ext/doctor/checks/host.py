"""What only the host can see of this server's GPU: its health, and who else holds its memory. Pure.

Guarantees: what the host does not know (null) is not a finding; where the service is away, that is
said once, as advice, and nothing else of this layer is taken for well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
from . import reading

QUARANTINED = Code(
    "GC161",
    "host",
    "degraded",
    "instructor",
    N_("The host has taken this server's GPU out of service."),
    N_("Save your work and tell your instructor; a restarted server gets another GPU if it can."),
)
MISSING = Code(
    "GC162",
    "host",
    "blocker",
    "instructor",
    N_("The host does not find this server's GPU any more."),
    N_("Tell your instructor; a restarted server gets another GPU if it can."),
)
HELD_BY_OTHERS = Code(
    "GC163",
    "host",
    "degraded",
    "instructor",
    N_("Programs of another server hold {memory} of your GPU's memory."),
    N_("Tell your instructor: the GPU was given to you alone."),
)
HELD_BY_NOBODY = Code(
    "GC164",
    "host",
    "advice",
    "instructor",
    N_("Programs that belong to no server hold {memory} of your GPU's memory."),
    N_("If you run out of memory, tell your instructor: programs of the host use this GPU."),
)
NEIGHBOURS = Code(
    "GC165",
    "host",
    "advice",
    "you",
    N_("Others hold {memory} of the {total} of the GPU that you share."),
    N_("Use a smaller batch or model, or start the server again with a GPU of your own."),
)
NOT_PERSISTENT = Code(
    "GC166",
    "host",
    "advice",
    "instructor",
    N_("The driver unloads whenever nobody uses the GPU, so that programs start slowly."),
    N_("Tell your instructor: the host should run nvidia-persistenced."),
)
XIDS = Code(
    "GC167",
    "host",
    "advice",
    "you",
    N_("The driver reported errors of this GPU since your server was given it."),
    N_("If a program of yours failed then, look for its fault; if none did, tell your instructor."),
)
SERVICE_AWAY = Code(
    "GC168",
    "host",
    "advice",
    "you",
    N_("What the host knows of your GPU could not be asked: the gpucamp service does not answer."),
    N_("Examine again in a minute; if it stays so, tell your instructor."),
)
NODES_LOST = Code(
    "GC169",
    "host",
    "degraded",
    "you",
    N_("The host sees that the container has lost device nodes of the GPU: {nodes}."),
    N_("Restart the server; if they are lost again, tell your instructor."),
)

LITTLE = 256 * 2**20  # bytes that a driver's own programs may take
_OTHER_SERVERS = ("another_user", "same_user")


def _devices(facts: Facts) -> tuple[Mapping[str, object], ...]:
    """Of a server that was given some: for another one, nothing is left unexamined."""
    return facts.objects("host", "devices") if reading.was_promised_gpu(facts) else ()


def _held(device: Mapping[str, object], kinds: tuple[str, ...]) -> tuple[int, tuple[str, ...]]:
    """Bytes that such processes hold, and a line for each kind of them."""
    total, lines = 0, []
    holders = device.get("holders")
    for holder in holders if isinstance(holders, list) else ():
        if isinstance(holder, Mapping) and text_of(holder, "holder") in kinds:
            memory = integer_of(holder, "memory_bytes") or 0
            total += memory
            lines.append(
                f"{text_of(device, 'uuid')}: {text_of(holder, 'holder')}: "
                f"{integer_of(holder, 'processes') or 0} processes, {reading.gibibytes(memory)}"
            )
    return total, tuple(lines)


@check("host", ("host", "environment"), (SERVICE_AWAY,))
def host_answers(facts: Facts) -> Iterator[Finding]:
    """The service answers, if there is a GPU to ask about."""
    failure = facts.failure("host") if reading.was_promised_gpu(facts) else None
    if failure is not None:
        yield Finding(SERVICE_AWAY, reading.failure_evidence(failure), tells=("host",))


@check("host", ("host", "environment"), (QUARANTINED, MISSING))
def host_calls_the_gpu_well(facts: Facts) -> Iterator[Finding]:
    """The last inventory of the host found the device, and found it well."""
    for device in _devices(facts):
        code = {"quarantined": QUARANTINED, "missing": MISSING}.get(text_of(device, "state"))
        if code is not None:
            seen = (f"{text_of(device, 'name')} ({text_of(device, 'uuid')})",)
            yield Finding(code, (*seen, text_of(device, "reason") or text_of(device, "state")))


@check("host", ("host", "environment"), (HELD_BY_OTHERS, HELD_BY_NOBODY, NEIGHBOURS))
def memory_is_mine(facts: Facts) -> Iterator[Finding]:
    """Nobody else holds memory of a device that was given to this server alone."""
    for device in _devices(facts):
        if device.get("shared") is True:
            yield from _neighbours(device)
            continue
        held, lines = _held(device, _OTHER_SERVERS)
        if lines:
            yield Finding(HELD_BY_OTHERS, lines, {"memory": reading.gibibytes(held)})
        held, lines = _held(device, ("unknown",))
        if held >= LITTLE:
            yield Finding(HELD_BY_NOBODY, lines, {"memory": reading.gibibytes(held)})


def _neighbours(device: Mapping[str, object]) -> Iterator[Finding]:
    """On a shared device they may; that they hold more than half of it is good to know."""
    held, lines = _held(device, (*_OTHER_SERVERS, "unknown"))
    total = integer_of(device, "memory_bytes") or 0
    if total and held * 2 > total:
        sizes = {"memory": reading.gibibytes(held), "total": reading.gibibytes(total)}
        yield Finding(NEIGHBOURS, lines, sizes)


@check("host", ("host", "environment"), (NOT_PERSISTENT,))
def driver_stays_loaded(facts: Facts) -> Iterator[Finding]:
    """Persistence mode is on."""
    for device in _devices(facts):
        if device.get("persistence") is False:
            seen = [f"{text_of(device, 'uuid')}: persistence mode off"]
            if facts.get("host", "persistenced") is False:
                seen.append("nvidia-persistenced does not run")
            yield Finding(NOT_PERSISTENT, tuple(seen))


@check("host", ("host", "environment"), (XIDS,))
def driver_reported_no_errors(facts: Facts) -> Iterator[Finding]:
    """The driver reported no XID for a device that is in service."""
    for device in _devices(facts):
        xids = device.get("xids")
        if text_of(device, "state") != "healthy" or not isinstance(xids, list):
            continue  # that it is out of service says more
        lines = tuple(
            f"{text_of(device, 'uuid')}: {text_of(xid, 'at')}: {text_of(xid, 'text')}"
            for xid in xids
            if isinstance(xid, Mapping)
        )
        if lines:
            yield Finding(XIDS, lines)


@check("host", ("host", "environment"), (NODES_LOST,))
def container_keeps_its_nodes(facts: Facts) -> Iterator[Finding]:
    """What the host has and handed in is still in the container."""
    missing = facts.texts("host", "missing_nodes") if reading.was_promised_gpu(facts) else ()
    if missing:
        names = " ".join(f"/dev/{name}" for name in missing)
        toolkit = facts.text("host", "toolkit_version")
        seen = (f"NVIDIA Container Toolkit {toolkit}",) if toolkit else ()
        lost = f"on the host, not in the container: {names}"
        yield Finding(NODES_LOST, (lost, *seen), {"nodes": names})


CHECKS = (
    host_answers,
    host_calls_the_gpu_well,
    memory_is_mine,
    driver_stays_loaded,
    driver_reported_no_errors,
    container_keeps_its_nodes,
)
