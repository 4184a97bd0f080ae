"""Questions that several checks ask of the facts. Pure."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..facts import Facts, Failure, text_of
from ..findings import CannotTell, Code, Finding

PRACTICE_UUID = "GPU-5ca1ab1e-"
# the name of "Python 3 (PyTorch 2.9)"
IMAGES_KERNEL = "python3"


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


def slices(device: Mapping[str, object]) -> tuple[str, ...]:
    """The UUIDs of the MIG instances of one of NVML's devices that this container can see."""
    mig = device.get("mig")
    found = mig.get("instances") if isinstance(mig, Mapping) else None
    return tuple(uuid for uuid in found if isinstance(uuid, str)) if isinstance(found, list) else ()


def leased(facts: Facts) -> tuple[str, ...]:
    """The UUIDs that this server was given."""
    return tuple(uuid for uuid in (variable(facts, "GPUCAMP_DEVICES") or "").split(",") if uuid)


def is_practice(facts: Facts) -> bool:
    """Whether this server was given simulated devices, and NVML shows nothing but such."""
    if variable(facts, "GPUCAMP_SIMULATED") != "1":
        return False  # NVML is not asked, so that its silence counts only where it matters
    devices = nvml_devices(facts)
    return bool(devices) and all(
        text_of(device, "uuid").startswith(PRACTICE_UUID)
        or "simulated" in text_of(device, "name").lower()
        for device in devices
    )


def was_promised_gpu(facts: Facts) -> bool:
    """Whether a GPU should be here, by the lease or else by what the container was started with."""
    if leased(facts):
        return True
    if variable(facts, "GPUCAMP_LEASE") or variable(facts, "GPUCAMP_DEVICES") is not None:
        return False
    return (variable(facts, "NVIDIA_VISIBLE_DEVICES") or "void") not in {"void", "none"}


def is_users_own_kernel(facts: Facts) -> bool:
    """Whether the kernel is one of the user's whose Python is not the environment's: a reset gives
    nothing back to it.
    """
    prefix = facts.text("reference", "environment_prefix")
    python = facts.text("kernelspec", "executable")
    if not prefix or not python or facts.text("kernelspec", "name") == IMAGES_KERNEL:
        return False
    return not python.startswith(prefix.rstrip("/") + "/")


def library_trouble(
    facts: Facts, probe: str, *, missing: Code, hangs: Code, fails: Code
) -> Finding | None:
    """What keeps a driver library's probe from telling more than its absence, if anything does.
    Raises CannotTell when the probe was never started: that says nothing about the library.
    """
    tells = (probe,)
    failure = facts.failure(probe)
    if failure is not None:
        if failure.kind == "not-started":
            raise CannotTell(probe, failure.detail)
        if failure.kind == "timeout":
            return Finding(hangs, failure_evidence(failure), tells=tells)
        params = {"error": failure.detail}
        return Finding(fails, failure_evidence(failure), params, tells=tells)
    absent = facts.text(probe, "library", "error")
    return Finding(missing, (absent,), tells=tells) if absent else None


def require(facts: Facts, probe: str, *path: str) -> None:
    """Raises CannotTell where a probe left out a fact that it always has, or could not read it."""
    value = facts.get(probe, *path)
    error = value.get("error") if isinstance(value, Mapping) else None
    if value is None or error is not None:
        named = ".".join(path)
        raise CannotTell(probe, f"{named}: {shorten(str(error), 120)}" if error else f"no {named}")


def says_no_room(kind: str, detail: str) -> bool:
    """Whether a probe was not started because the container may not have another process (EAGAIN,
    ENOMEM) or thread, or file (ENFILE, EMFILE).
    """
    signs = ["can't start new thread"]
    signs += [f"[Errno {n}]" for n in (errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE)]
    return kind == "not-started" and any(sign in detail for sign in signs)


def failure_evidence(failure: Failure) -> tuple[str, ...]:
    """How a probe failed, with the last lines of what it said."""
    return (failure.detail, *last_lines(failure.stderr))


def last_lines(text: str) -> tuple[str, ...]:
    """The last few lines that are not empty."""
    return tuple([line for line in text.strip().splitlines() if line.strip()][-3:])


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


def takes_packages(facts: Facts) -> bool:
    """Whether the user may write to a folder of packages of the kernel's own Python."""
    own = (facts.text("python", "prefix") or "").rstrip("/") + "/"
    return any(
        folder.get("writable") is True and text_of(folder, "directory").startswith(own)
        for folder in facts.objects("packages", "directories")
    )


def effective(facts: Facts) -> dict[str, Distribution]:
    """By name, the package that an import gets: the first that Python finds."""
    found: dict[str, Distribution] = {}
    for distribution in distributions(facts):
        found.setdefault(distribution.name, distribution)
    return found


def locked(facts: Facts, name: str) -> str | None:
    """The version of a package in the base, by its lock."""
    return facts.text("reference", "lock", normalised(name))


def pinned_torch(facts: Facts) -> str | None:
    """The version of torch in the base; None outside the image, where nothing can be compared.
    Raises CannotTell in an image that does not say it.
    """
    version = locked(facts, "torch")
    if version is None and (facts.get("reference", "versions") or facts.get("reference", "lock")):
        problems = facts.texts("reference", "problems")
        raise CannotTell("reference", problems[0] if problems else "the lock has no torch")
    return version


def without_local(version: str) -> str:
    """2.9.1+cu128 -> 2.9.1"""
    return version.partition("+")[0]
