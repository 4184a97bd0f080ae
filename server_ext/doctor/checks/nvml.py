"""Does NVML, the driver's management library, answer, and are the cards healthy? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import CannotTell, Code, Finding, Who, check
from . import reading

PRACTICE = Code(
    "GC109",
    "nvml",
    "advice",
    "you",
    N_("This is a practice device: torch runs on the CPU."),
    N_("Nothing to do: use the CPU in your code, everything else works as with a real GPU."),
    stops=True,
)
NO_LIBRARY = Code(
    "GC121",
    "nvml",
    "degraded",
    "instructor",
    N_("NVML, the driver's library that shows the GPU's state, is missing."),
    N_("Tell your instructor: containers need the driver capability “utility”."),
)
HANGS = Code(
    "GC122",
    "nvml",
    "blocker",
    "instructor",
    N_("The GPU's driver hangs: NVML gave no answer."),
    N_("Tell your instructor: the GPU must be reset, or its host rebooted."),
    stops=True,
)
FAILS = Code(
    "GC123",
    "nvml",
    "blocker",
    "you",
    N_("NVML cannot start: {error}."),
    N_("Restart the server: this is mostly a container that lost its GPU."),
    stops=True,
)
MISMATCH = Code(
    "GC124",
    "nvml",
    "blocker",
    "instructor",
    N_("The driver in the host's kernel and the driver's libraries have different versions."),
    N_("Tell your instructor: the host needs a reboot after its driver update."),
    stops=True,
)
NOT_LOADED = Code(
    "GC125",
    "nvml",
    "blocker",
    "instructor",
    N_("The NVIDIA driver is not loaded on the host."),
    N_("Tell your instructor: the host's NVIDIA driver must be loaded."),
    stops=True,
)
LOST = Code(
    "GC126",
    "nvml",
    "blocker",
    "instructor",
    N_("The GPU is lost: it fell off the bus."),
    N_("Stop the server and start it with another GPU; the instructor must reboot the host."),
    stops=True,
)
RECOVERY = Code(
    "GC127",
    "nvml",
    "blocker",
    "instructor",
    N_("The GPU cannot be used before it is repaired: {action}."),
    N_("Tell your instructor; a server with another GPU works meanwhile."),
)
HIDDEN = Code(
    "GC128",
    "nvml",
    "blocker",
    "you",
    N_("CUDA_VISIBLE_DEVICES={value} hides the GPU."),
    N_("Unset CUDA_VISIBLE_DEVICES, then restart the kernel; GPUs count from 0 in a container."),
    stops=True,
)
PROHIBITED = Code(
    "GC129",
    "nvml",
    "blocker",
    "instructor",
    N_("The GPU is in compute mode {mode}, which keeps programs off it."),
    N_("Tell your instructor: `nvidia-smi -c 0` on the host gives it free."),
)
DEVICE_FAILS = Code(
    "GC151",
    "nvml",
    "blocker",
    "you",
    N_("A GPU does not answer: {error}."),
    N_("Restart the server; if it stays so, tell your instructor."),
)
EXCLUSIVE = Code(
    "GC152",
    "nvml",
    "degraded",
    "instructor",
    N_("Only one program at a time can use the GPU (compute mode {mode})."),
    N_("Run one kernel or job at a time; `nvidia-smi -c 0` on the host lets several use it."),
)
UNKNOWN_ENTRY = Code(
    "GC223",
    "nvml",
    "advice",
    "you",
    N_("CUDA_VISIBLE_DEVICES={value} names more GPUs than there are: programs see {count}."),
    N_(
        "Unset it: GPUs count from 0 in a container, and cuda:{count} is an invalid device ordinal."
    ),
    "unset CUDA_VISIBLE_DEVICES",
)
DRAIN = Code(
    "GC153",
    "nvml",
    "degraded",
    "instructor",
    N_("The GPU works, but less well than it should, and asks for repair: {action}."),
    N_("Save your work and tell your instructor: the GPU must be taken out of use for it."),
)

# nvmlDeviceGpuRecoveryAction_t: with the first two the GPU cannot be used, with the others it still
# computes
_ACTIONS = {1: "reset the GPU", 2: "reboot the host"}
_DRAINS = {3: "drain peer-to-peer traffic", 4: "drain and reset the GPU"}
# nvmlComputeMode_t
_PROHIBITED_MODE = 2
_EXCLUSIVE_MODES = {1: "EXCLUSIVE_THREAD", 3: "EXCLUSIVE_PROCESS"}
# nvmlReturn_t
_NO_PERMISSION, _NOT_LOADED, _GPU_LOST, _RESET_REQUIRED, _MISMATCH = 4, 9, 15, 16, 18
# an interrupt that is lost, a damaged inforom, a card that must be reset: a restart of the server
# changes none of them
_OF_THE_HOST = {10, 14, _RESET_REQUIRED}
# of a question, not of a card: not supported by it, not known to this library or not allowed; -1 is
# the probe's own for a symbol that the library lacks
_UNANSWERABLE = {-1, 3, 4, 13, 25}
# MIG-<UUID>, or MIG-<UUID of the GPU>/<GPU instance>/<compute instance>
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MIG_NAME = re.compile(rf"MIG-(?:{_UUID}|(?P<gpu>GPU-{_UUID})/\d+/\d+)$", re.IGNORECASE)
# how many devices the probe looks at
_MOST_LISTED = 64


def _error(value: object) -> tuple[int, str] | None:
    """The code and text of a fact that is an error."""
    error = value.get("error") if isinstance(value, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    return integer_of(error, "code") or 0, text_of(error, "text")


@check(
    "nvml",
    ("nvml", "system", "environment"),
    (NO_LIBRARY, HANGS, FAILS, MISMATCH, NOT_LOADED, LOST, DEVICE_FAILS),
)
def nvml_answers(facts: Facts) -> Iterator[Finding]:
    """NVML loads, starts and knows its devices."""
    trouble = reading.library_trouble(facts, "nvml", missing=NO_LIBRARY, hangs=HANGS, fails=FAILS)
    if trouble is not None:
        yield trouble
        return
    reading.require(facts, "nvml", "init", "code")
    code = facts.integer("nvml", "init", "code") or 0
    if code:
        yield _by_code(code, facts.text("nvml", "init", "text") or f"error {code}")
        return
    reading.require(facts, "nvml", "count")
    failing = list(_failing_devices(facts))
    yield from failing
    if failing:
        return
    count, listed = facts.integer("nvml", "count"), facts.objects("nvml", "devices")
    if count is not None and len(listed) < min(count, _MOST_LISTED):
        raise CannotTell("nvml", f"NVML counts {count} devices and tells of {len(listed)}")
    if reading.is_practice(facts):
        return
    kernel, library = facts.text("system", "driver"), facts.text("nvml", "driver")
    if kernel and library and kernel != library:
        yield Finding(MISMATCH, (f"kernel module {kernel}", f"library {library}"))


def _failing_devices(facts: Facts) -> Iterator[Finding]:
    """The cards that NVML cannot reach, or cannot read."""
    given = set(reading.leased(facts))
    all_given_are_seen = bool(given) and given <= {
        text_of(device, "uuid") for device in reading.nvml_devices(facts)
    }
    for device in facts.objects("nvml", "devices"):
        error = _error(device)
        if error is not None and error[0] == _NO_PERMISSION and all_given_are_seen:
            continue  # someone else's card, which this container may count and not touch
        if error is None:
            of_parts = (_error(device.get(part)) for part in ("uuid", "memory"))
            error = next((e for e in of_parts if e and e[0] not in _UNANSWERABLE), None)
        if error is not None and error[0] != _RESET_REQUIRED:
            where = text_of(device, "uuid") or f"GPU {integer_of(device, 'index')}"
            yield _by_code(*error, fails=DEVICE_FAILS, where=where)


def _by_code(code: int, text: str, *, fails: Code = FAILS, where: str = "") -> Finding:
    tells = ("nvml",)
    evidence = (f"{where}: NVML {code}: {text}" if where else f"NVML {code}: {text}",)
    if code == _MISMATCH:
        return Finding(MISMATCH, evidence, tells=tells)
    if code == _NOT_LOADED:
        return Finding(NOT_LOADED, evidence, tells=tells)
    if code == _GPU_LOST:
        return Finding(LOST, evidence, tells=tells)
    who: Who | None = "instructor" if code in _OF_THE_HOST else None
    return Finding(fails, evidence, {"error": f"{text} ({code})"}, who=who, tells=tells)


@check("nvml", ("nvml",), (RECOVERY, DRAIN, PROHIBITED, EXCLUSIVE))
def gpus_are_healthy(facts: Facts) -> Iterator[Finding]:
    """No card asks for a repair or keeps programs off."""
    reading.require(facts, "nvml", "count")
    for device in facts.objects("nvml", "devices"):
        error = _error(device)
        if error is not None and error[0] == _RESET_REQUIRED:
            lines = (f"GPU {integer_of(device, 'index')}: NVML {error[0]}: {error[1]}",)
            yield Finding(RECOVERY, lines, {"action": _ACTIONS[1]}, tells=("nvml",))
    for device in reading.nvml_devices(facts):
        which = (text_of(device, "uuid"),)
        action, mode = integer_of(device, "recovery_action"), integer_of(device, "compute_mode")
        if action in _DRAINS:
            yield Finding(DRAIN, which, {"action": _DRAINS[action]})
        elif action:
            name = _ACTIONS.get(action, f"recovery action {action}")
            yield Finding(RECOVERY, which, {"action": name})
        if mode == _PROHIBITED_MODE:
            yield Finding(PROHIBITED, which, {"mode": "PROHIBITED"})
        elif mode in _EXCLUSIVE_MODES:
            yield Finding(EXCLUSIVE, which, {"mode": _EXCLUSIVE_MODES[mode]})


@check("nvml", ("nvml", "environment"), (HIDDEN, UNKNOWN_ENTRY))
def gpu_is_not_hidden(facts: Facts) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES names devices that exist."""
    value = reading.variable(facts, "CUDA_VISIBLE_DEVICES")
    if value is None:
        return
    reading.require(facts, "nvml", "count")
    uuids = [text_of(device, "uuid") for device in reading.nvml_devices(facts)]
    if not uuids:
        return
    slices = [uuid for uuid in reading.leased(facts) if uuid.startswith("MIG-")]
    slices += [uuid for device in reading.nvml_devices(facts) for uuid in reading.slices(device)]
    seen, why = _visible(value, uuids, slices, anything=not reading.leased(facts))
    lines = (f"CUDA_VISIBLE_DEVICES={value}", why, f"{len(uuids)} GPU(s): 0…{len(uuids) - 1}")
    if not seen:
        yield Finding(HIDDEN, lines, {"value": value or '""'})
    elif why:
        yield Finding(UNKNOWN_ENTRY, lines, {"value": value, "count": str(seen)})


def _visible(value: str, uuids: list[str], slices: list[str], *, anything: bool) -> tuple[int, str]:
    """How many of these GPUs CUDA sees with this CUDA_VISIBLE_DEVICES, and why not more, or "".

    CUDA takes entries up to the first that it does not know; one that comes twice before that hides
    all. -1 is how one says that there are no more.
    """
    entries = [entry.strip() for entry in value.split(",")]
    taken: list[str] = []
    for entry in entries:
        named = _named_device(entry, uuids, slices, anything=anything)
        if named is None:
            meant = bool(taken) and entry in ("", "-1")
            return len(taken), "" if meant else f"{entry or 'nothing'} is no GPU here"
        if named in taken:
            return 0, f"{entry} comes twice"
        taken.append(named)
    return len(taken), ""


def _named_device(entry: str, uuids: list[str], slices: list[str], *, anything: bool) -> str | None:
    """What an entry names: an index, a UUID or its beginning, a MIG instance. anything: it is not
    known which instances there are, so that one of the right form is believed.
    """
    number = re.match(r"\d+", entry, re.ASCII)
    if number:
        return f"#{int(number[0])}" if int(number[0]) < len(uuids) else None
    if entry.startswith("MIG-"):
        name = _MIG_NAME.match(entry)
        if name and (anything or name["gpu"] in uuids):
            return entry
        return next((uuid for uuid in slices if uuid.startswith(entry)), None)
    if entry.startswith("GPU-"):
        return next((uuid for uuid in uuids if uuid.startswith(entry)), None)
    return None


@check("nvml", ("nvml", "environment"), (PRACTICE,))
def gpus_are_real(facts: Facts) -> Iterator[Finding]:
    """The devices are cards, not simulated ones: CUDA has something to start."""
    if reading.is_practice(facts):
        names = [text_of(device, "name") for device in reading.nvml_devices(facts)]
        yield Finding(PRACTICE, (*names, "GPUCAMP_SIMULATED=1"))


CHECKS = (gpus_are_real, nvml_answers, gpus_are_healthy, gpu_is_not_hidden)
