"""Is there a GPU in this container, and is it the one that was given? Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading

NOT_ASKED = Code(
    "GC101",
    "device",
    "advice",
    "you",
    N_("This server was started without a GPU."),
    N_("If you need one, stop the server and start it again with a GPU."),
    stops=True,
)
NOT_HERE = Code(
    "GC102",
    "device",
    "blocker",
    "you",
    N_("The GPU that this server was given is not in its container."),
    N_("Restart the server; if it stays away, tell your instructor."),
    stops=True,
)
NOT_ALLOWED = Code(
    "GC103",
    "device",
    "blocker",
    "you",
    N_("The container lost its access to the GPU."),
    N_("Restart the server: a new container gets access again."),
    stops=True,
)
NO_DRIVER = Code(
    "GC104",
    "device",
    "blocker",
    "instructor",
    N_("The GPU's driver does not answer on the host."),
    N_("Tell your instructor: the host's NVIDIA driver must be loaded again."),
    stops=True,
)
NODE_MISSING = Code(
    "GC105",
    "device",
    "blocker",
    "instructor",
    N_("The device node /dev/{node} is missing."),
    N_("Restart the server; if it stays away, the host needs `nvidia-modprobe -u -c=0`."),
    stops=True,
)
LEASE_DIFFERS = Code(
    "GC106",
    "device",
    "degraded",
    "instructor",
    N_("The container sees other GPUs than the ones that this server was given."),
    N_("Restart the server; if it stays so, tell your instructor."),
)


# without access to the card, NVML's silence needs no other reason
_SILENCED = ("nvml", "libcuda")


def _nvml_shows_none(facts: Facts) -> bool:
    return facts.failure("nvml") is None and facts.integer("nvml", "count") == 0


@check("device", ("system", "environment", "nvml"), (NOT_ASKED, NOT_HERE))
def gpu_is_here(facts: Facts) -> Iterator[Finding]:
    """The GPU that was asked for is in the container."""
    if reading.variable(facts, "GPUCAMP_SIMULATED") == "1":
        # the devices are NVML's only; why it shows none is for the layer above to say
        reading.require(facts, "nvml", "count")
        if facts.integer("nvml", "count") == 0:
            yield Finding(NOT_HERE, ("NVML: 0 devices", *reading.leased(facts)))
        return
    if facts.get("system", "nodes") is None and not reading.was_promised_gpu(facts):
        # the nodes are not known; a driver's library that was never handed in needs no other reason
        absent = facts.text("nvml", "library", "error")
        if absent:
            yield Finding(NOT_ASKED, (absent,), tells=_SILENCED)
    reading.require(facts, "system", "nodes")
    if reading.gpu_nodes(facts):
        # a node without a card behind it; why NVML does not answer is for the layer above to say
        if reading.was_promised_gpu(facts) and _nvml_shows_none(facts):
            yield Finding(NOT_HERE, ("NVML: 0 devices", *reading.leased(facts)), tells=_SILENCED)
        return
    if facts.flag("system", "wsl") is not False:
        return
    seen = "no /dev/nvidia0, /dev/nvidia1, …"
    if reading.was_promised_gpu(facts):
        promised = reading.leased(facts) or (
            f"NVIDIA_VISIBLE_DEVICES={reading.variable(facts, 'NVIDIA_VISIBLE_DEVICES')}",
        )
        yield Finding(NOT_HERE, (seen, *promised), tells=_SILENCED)
    else:
        yield Finding(NOT_ASKED, (seen,), tells=_SILENCED)


@check("device", ("system",), (NOT_ALLOWED, NO_DRIVER))
def nodes_can_be_opened(facts: Facts) -> Iterator[Finding]:
    """Every device node can be opened."""
    reading.require(facts, "system", "nodes")
    opened = {
        name: facts.text("system", "nodes", name, "open") or "ok"
        for name in facts.mapping("system", "nodes")
    }
    for code, reasons in (
        (NOT_ALLOWED, ("EPERM", "EACCES")),
        (NO_DRIVER, ("ENXIO", "ENODEV", "EIO")),
    ):
        evidence = [f"/dev/{name}: {why}" for name, why in opened.items() if why in reasons]
        if evidence:
            yield Finding(code, tuple(evidence), tells=_SILENCED)


@check("device", ("system",), (NODE_MISSING,))
def no_node_is_missing(facts: Facts) -> Iterator[Finding]:
    """Where there is a card's node, there are the driver's, too."""
    reading.require(facts, "system", "nodes")
    cards = reading.gpu_nodes(facts)
    for node in ("nvidiactl", "nvidia-uvm"):
        if cards and node not in facts.mapping("system", "nodes"):
            evidence = tuple(f"/dev/{name}" for name in cards)
            yield Finding(NODE_MISSING, evidence, {"node": node}, tells=_SILENCED)


@check("device", ("nvml", "environment"), (LEASE_DIFFERS,))
def gpus_are_the_leased_ones(facts: Facts) -> Iterator[Finding]:
    """NVML shows the leased devices, no fewer and no more."""
    given = set(reading.leased(facts))
    if not given:
        return
    reading.require(facts, "nvml", "count")
    if any(uuid.startswith("MIG-") for uuid in given):
        instances = {u for device in reading.nvml_devices(facts) for u in reading.slices(device)}
        # without MIG mode, what is given is not known by these names
        if instances and given - instances:
            lines = (f"given: {', '.join(sorted(given))}", f"seen: {', '.join(sorted(instances))}")
            yield Finding(LEASE_DIFFERS, lines)
        return
    seen = {text_of(device, "uuid") for device in reading.nvml_devices(facts)}
    # those that NVML counts and cannot read are told by the layer above
    unread = (facts.integer("nvml", "count") or 0) - len(seen)
    if (given - seen and unread <= 0 and seen) or seen - given:
        yield Finding(
            LEASE_DIFFERS,
            (f"given: {', '.join(sorted(given))}", f"seen: {', '.join(sorted(seen))}"),
        )


CHECKS = (gpu_is_here, nodes_can_be_opened, no_node_is_missing, gpus_are_the_leased_ones)
