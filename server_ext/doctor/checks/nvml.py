"""Does NVML, the driver's management library, answer, and are the cards healthy? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...i18n import N_
from ..facts import Facts, integer_of, text_of
from ..findings import Code, Finding, check
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
    "degraded",
    "instructor",
    N_("The GPU asks to be repaired: {action}."),
    N_("Tell your instructor; save your work, the GPU may fail."),
)
HIDDEN = Code(
    "GC128",
    "nvml",
    "blocker",
    "you",
    N_("CUDA_VISIBLE_DEVICES={value} hides the GPU."),
    N_("Unset CUDA_VISIBLE_DEVICES, then restart the kernel; GPUs count from 0 in a container."),
    "unset CUDA_VISIBLE_DEVICES",
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

_ACTIONS = {
    1: "reset the GPU",
    2: "reboot the host",
    3: "drain peer-to-peer traffic",
    4: "drain and reset the GPU",
}
# nvmlReturn_t
_NOT_LOADED, _GPU_LOST, _MISMATCH = 9, 15, 18


def _error(value: object) -> tuple[int, str] | None:
    """The code and text of a fact that is an error."""
    error = value.get("error") if isinstance(value, Mapping) else None
    if not isinstance(error, Mapping):
        return None
    return integer_of(error, "code") or 0, text_of(error, "text")


@check(
    "nvml",
    ("nvml", "system"),
    (NO_LIBRARY, HANGS, FAILS, MISMATCH, NOT_LOADED, LOST),
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
    for device in facts.objects("nvml", "devices"):
        error = _error(device) or _error(device.get("memory"))
        if error is not None and error[0] in (_GPU_LOST, 999):
            yield _by_code(*error)
            return
    if reading.is_practice(facts):
        return
    kernel, library = facts.text("system", "driver"), facts.text("nvml", "driver")
    if kernel and library and kernel != library:
        yield Finding(MISMATCH, (f"kernel module {kernel}", f"library {library}"))


def _by_code(code: int, text: str) -> Finding:
    evidence, tells = (f"NVML {code}: {text}",), ("nvml",)
    if code == _MISMATCH:
        return Finding(MISMATCH, evidence, tells=tells)
    if code == _NOT_LOADED:
        return Finding(NOT_LOADED, evidence, tells=tells)
    if code == _GPU_LOST:
        return Finding(LOST, evidence, tells=tells)
    return Finding(FAILS, evidence, {"error": f"{text} ({code})"}, tells=tells)


@check("nvml", ("nvml",), (RECOVERY, PROHIBITED))
def gpus_are_healthy(facts: Facts) -> Iterator[Finding]:
    """No card asks for a repair or keeps programs off."""
    reading.require(facts, "nvml", "count")
    for device in reading.nvml_devices(facts):
        action = integer_of(device, "recovery_action")
        if action:
            name = _ACTIONS.get(action, str(action))
            yield Finding(RECOVERY, (text_of(device, "uuid"),), {"action": name})
        if integer_of(device, "compute_mode") == 2:
            yield Finding(PROHIBITED, (text_of(device, "uuid"),), {"mode": "PROHIBITED"})


@check("nvml", ("nvml", "environment"), (HIDDEN,))
def gpu_is_not_hidden(facts: Facts) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES names devices that exist."""
    value = reading.variable(facts, "CUDA_VISIBLE_DEVICES")
    if value is None:
        return
    reading.require(facts, "nvml", "count")
    uuids = [text_of(device, "uuid") for device in reading.nvml_devices(facts)]
    if not uuids:
        return
    # CUDA stops at the first entry that it does not know
    first = value.split(",")[0].strip()
    known = (first.isascii() and first.isdigit() and int(first) < len(uuids)) or (
        first.startswith(("GPU-", "MIG-"))
        and (first.startswith("MIG-") or any(uuid.startswith(first) for uuid in uuids))
    )
    if not known:
        seen = f"{len(uuids)} GPU(s): 0…{len(uuids) - 1}"
        yield Finding(HIDDEN, (f"CUDA_VISIBLE_DEVICES={value}", seen), {"value": value or '""'})


@check("nvml", ("nvml", "environment"), (PRACTICE,))
def gpus_are_real(facts: Facts) -> Iterator[Finding]:
    """The devices are cards, not simulated ones: CUDA has something to start."""
    if reading.is_practice(facts):
        names = [text_of(device, "name") for device in reading.nvml_devices(facts)]
        yield Finding(PRACTICE, (*names, "GPUCAMP_SIMULATED=1"))


CHECKS = (gpus_are_real, nvml_answers, gpus_are_healthy, gpu_is_not_hidden)
