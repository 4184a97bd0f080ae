"""Questions that several checks ask of the facts. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..facts import Facts, Failure, text_of
from ..findings import Code, Finding

PRACTICE_UUID = "GPU-5ca1ab1e-"


def variable(facts: Facts, name: str) -> str | None:
    """An allow-listed environment variable of the kernel, or None when it is not set."""
    return facts.text("environment", "variables", name)


def gpu_nodes(facts: Facts) -> tuple[str, ...]:
    """The device nodes of cards: nvidia0, nvidia1 ..."""
    return tuple(
        name for name in facts.mapping("system", "nodes") if re.fullmatch(r"nvidia\d+", name)
    )


def nvml_devices(facts: Facts) -> tuple[Mapping[str, object], ...]:
    """NVML's devices that told their UUID."""
    return tuple(item for item in facts.objects("nvml", "devices") if text_of(item, "uuid"))


def leased(facts: Facts) -> tuple[str, ...]:
    """The UUIDs that this server was given."""
    return tuple(uuid for uuid in (variable(facts, "GPUCAMP_DEVICES") or "").split(",") if uuid)


def is_practice(facts: Facts) -> bool:
    """Whether this server was given simulated devices, and NVML shows nothing but such."""
    devices = nvml_devices(facts)
    return (
        variable(facts, "GPUCAMP_SIMULATED") == "1"
        and bool(devices)
        and all(
            text_of(device, "uuid").startswith(PRACTICE_UUID)
            or "simulated" in text_of(device, "name").lower()
            for device in devices
        )
    )


def was_promised_gpu(facts: Facts) -> bool:
    """Whether a GPU should be here, by the lease or else by what the container was started with."""
    if leased(facts):
        return True
    if variable(facts, "GPUCAMP_LEASE") or variable(facts, "GPUCAMP_DEVICES") is not None:
        return False
    return (variable(facts, "NVIDIA_VISIBLE_DEVICES") or "void") not in {"void", "none"}


def library_trouble(
    facts: Facts, probe: str, *, missing: Code, hangs: Code, fails: Code
) -> Finding | None:
    """What keeps a driver library's probe from telling more than its absence, if anything does."""
    failure = facts.failure(probe)
    if failure is not None:
        if failure.kind == "timeout":
            return Finding(hangs, failure_evidence(failure))
        return Finding(fails, failure_evidence(failure), {"error": failure.detail})
    absent = facts.text(probe, "library", "error")
    return Finding(missing, (absent,)) if absent else None


def failure_evidence(failure: Failure) -> tuple[str, ...]:
    """How a probe failed, with the last lines of what it said."""
    lines = [line for line in failure.stderr.strip().splitlines() if line.strip()]
    return (failure.detail, *lines[-3:])


def shorten(text: str, most: int = 300) -> str:
    """The text's beginning, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def gibibytes(count: float) -> str:
    """Bytes for people."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:.1f} GiB"


def normalised(name: str) -> str:
    """A distribution's name as lock files have it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True)
class Distribution:
    """An installed package. name: normalised; spelled: as its maker writes it; in_base: part of
    the image.
    """

    name: str
    spelled: str
    version: str
    directory: str
    in_base: bool
    modules: tuple[str, ...] = ()


def distributions(facts: Facts) -> tuple[Distribution, ...]:
    """All installed packages in the order in which Python looks."""
    found = []
    for folder in facts.objects("packages", "directories"):
        entries = folder.get("distributions")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping) and text_of(entry, "name"):
                modules = entry.get("modules")
                found.append(
                    Distribution(
                        normalised(text_of(entry, "name")),
                        text_of(entry, "name"),
                        text_of(entry, "version"),
                        text_of(folder, "directory"),
                        folder.get("base") is True,
                        tuple(m for m in modules if isinstance(m, str))
                        if isinstance(modules, list)
                        else (),
                    )
                )
    return tuple(found)


def effective(facts: Facts) -> dict[str, Distribution]:
    """By name, the package that an import gets: the first that Python finds."""
    found: dict[str, Distribution] = {}
    for distribution in distributions(facts):
        found.setdefault(distribution.name, distribution)
    return found


def locked(facts: Facts, name: str) -> str | None:
    """The version of a package in the base, by its lock."""
    return facts.text("reference", "lock", normalised(name))


def without_local(version: str) -> str:
    """2.9.1+cu128 -> 2.9.1"""
    return version.partition("+")[0]
