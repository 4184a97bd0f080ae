"""Do the installed packages of the torch family fit together? By their metadata only. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts
from ..findings import Code, Finding, check
from . import reading

TORCH_CHANGED = Code(
    "GC301",
    "packages",
    "degraded",
    "you",
    N_("torch {found} in your environment replaces the base's torch {base}."),
    N_("Uninstall torch from your environment, so that the base's version is used again."),
)
PAIR = Code(
    "GC302",
    "packages",
    "degraded",
    "you",
    N_("{found} does not fit torch {torch}, which needs {wanted}."),
    N_("Uninstall {package} from your environment, so that the base's version is used again."),
)
TRITON = Code(
    "GC303",
    "packages",
    "degraded",
    "you",
    N_("{found} does not fit this torch, which needs {wanted}: torch.compile fails."),
    N_("Uninstall triton from your environment, so that the base's version is used again."),
)
STRAY_CUDA = Code(
    "GC304",
    "packages",
    "degraded",
    "you",
    N_("CUDA libraries of another kind are installed: {packages}."),
    N_("Uninstall them, unless a package of yours needs them."),
)
CUDA_CHANGED = Code(
    "GC305",
    "packages",
    "degraded",
    "you",
    N_("Other versions of torch's CUDA libraries are in your environment: {packages}."),
    N_("Uninstall them from your environment, so that the base's versions are used again."),
)
TWICE = Code(
    "GC306",
    "packages",
    "degraded",
    "you",
    N_("{package} is installed twice in the same place: {versions}."),
    N_("Uninstall it as often as it is there, then install the one that you want."),
)

OTHER_BUILD = Code(
    "GC307",
    "packages",
    "advice",
    "you",
    N_("torch {found} in your environment is another build than the base's ({base})."),
    N_("If you did not mean that, uninstall torch from your environment."),
)

_CPU = "cpu"
_NVIDIA = re.compile(r"^nvidia-[a-z0-9-]+?(?:-cu(\d+))?$")


@check("packages", ("packages", "reference"), (TORCH_CHANGED, OTHER_BUILD))
def torch_is_the_pinned_one(facts: Facts) -> Iterator[Finding]:
    """torch is the version and the build that the image was made with."""
    base = reading.pinned_torch(facts)
    if base is None:
        return
    reading.require(facts, "packages", "directories")
    torch = reading.effective(facts).get("torch")
    if torch is None or torch.in_base:
        return
    where = (f"{torch.name} {torch.version} in {torch.directory}",)
    pinned, found = _pinned_build(facts, base), _build(torch.version)
    params = {"found": torch.version, "base": f"{reading.without_local(base)}+{pinned}"}
    if reading.without_local(torch.version) != reading.without_local(base):
        yield Finding(TORCH_CHANGED, where, {**params, "base": base})
    elif pinned and found and found != pinned and found != _CPU:
        # torchvision and torchaudio of the base refuse a torch for another major version of CUDA;
        # that a build can never use the GPU is for the layer of torch to say
        fits = _major(found) == _major(pinned)
        yield Finding(OTHER_BUILD if fits else TORCH_CHANGED, where, params)


def _build(version: str) -> str:
    """2.9.1+cu130 -> cu130; "" where the version does not say it, as on PyPI."""
    return version.partition("+")[2]


def _pinned_build(facts: Facts, base: str) -> str:
    """The build of the base's torch, cu128; "" when unknown."""
    cuda = facts.text("reference", "versions", "stack", "cuda") or ""
    return _build(base) or (f"cu{cuda.replace('.', '')}" if cuda else "")


def _major(build: str) -> str:
    """cu128 -> cu12; a build of another kind stays as it is."""
    return build[:-1] if re.fullmatch(r"cu\d{3}", build) else build


def _go_together(version: str, build: str) -> bool:
    """Whether a package of the family was built for the same major version of CUDA as torch."""
    own = _build(version)
    named = all(re.fullmatch(r"cu\d{3}|cpu", part) for part in (own, build))
    return not named or _major(own) == _major(build)


@check("packages", ("packages", "reference"), (PAIR, TRITON))
def torch_family_fits(facts: Facts) -> Iterator[Finding]:
    """torchvision, torchaudio and triton are the ones that go with the image's torch."""
    base_torch = reading.pinned_torch(facts)
    if base_torch is None:
        return
    reading.require(facts, "packages", "directories")
    installed = reading.effective(facts)
    torch = installed.get("torch")
    if torch is None:
        return
    if reading.without_local(torch.version) != reading.without_local(base_torch):
        return  # another torch needs another family; that finding comes first
    build = _build(torch.version) or _pinned_build(facts, base_torch)
    for code, names in ((PAIR, ("torchvision", "torchaudio")), (TRITON, ("triton",))):
        unfit = []
        for name in names:
            package, wanted = installed.get(name), reading.locked(facts, name)
            if package is not None and wanted is not None:
                if reading.without_local(package.version) != reading.without_local(wanted):
                    unfit.append((package, wanted))
                # in the base all are of one build
                elif not package.in_base and not _go_together(package.version, build):
                    unfit.append((package, f"{reading.without_local(wanted)}+{build}"))
        if unfit:
            params = {
                "package": " ".join(package.name for package, _ in unfit),
                "found": ", ".join(f"{package.name} {package.version}" for package, _ in unfit),
                "wanted": ", ".join(f"{package.name} {wanted}" for package, wanted in unfit),
                "torch": torch.version,
            }
            evidence = tuple(f"{p.name} {p.version} in {p.directory}" for p, _ in unfit)
            yield Finding(code, evidence, params)


@check("packages", ("packages", "reference"), (STRAY_CUDA, CUDA_CHANGED))
def cuda_packages_are_torchs(facts: Facts) -> Iterator[Finding]:
    """No nvidia-* packages but the ones that torch was installed with."""
    if reading.pinned_torch(facts) is None:
        return
    reading.require(facts, "packages", "directories")
    strays, changed = [], []
    for item in reading.distributions(facts):
        if item.in_base or not _NVIDIA.match(item.name) or item.name == "nvidia-ml-py":
            continue
        wanted = reading.locked(facts, item.name)
        if wanted is None:
            strays.append(item)
        elif wanted != item.version:
            changed.append(item)
    for code, found in ((STRAY_CUDA, strays), (CUDA_CHANGED, changed)):
        if found:
            evidence = tuple(
                f"{item.name} {item.version} in {item.directory}" for item in found[:10]
            )
            names = " ".join(sorted({item.name for item in found}))
            yield Finding(code, evidence, {"packages": names})


@check("packages", ("packages",), (TWICE,))
def nothing_is_installed_twice(facts: Facts) -> Iterator[Finding]:
    """No package of the torch family has two versions in one folder."""
    reading.require(facts, "packages", "directories")
    seen: dict[tuple[str, str], list[str]] = {}
    for item in reading.distributions(facts):
        if item.name in ("torch", "torchvision", "torchaudio", "triton", "numpy"):
            seen.setdefault((item.name, item.directory), []).append(item.version)
    for name in facts.mapping("packages", "conda"):
        # conda's own metadata beside what pip wrote into the same environment
        by_conda = facts.text("packages", "conda", name)
        place = next((key for key in seen if key[0] == name), None)
        if (
            by_conda
            and place is not None
            and by_conda not in map(reading.without_local, seen[place])
        ):
            seen[place].append(by_conda)
    for (name, directory), versions in seen.items():
        if len(versions) > 1:
            yield Finding(
                TWICE, (directory,), {"package": name, "versions": ", ".join(sorted(versions))}
            )


CHECKS = (
    torch_is_the_pinned_one,
    torch_family_fits,
    cuda_packages_are_torchs,
    nothing_is_installed_twice,
)
