"""Do the packages beside torch work with it? What was built for another torch, NumPy or CUDA.

Guarantees: pure. `candidates` says what is worth a try: what is not the image's and is compiled or
needs torch, and what of the image such packages may have broken. Each is imported by a probe; what
the checks name was seen to fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...i18n import N_
from ..facts import Facts, ProbeResult, text_of
from ..findings import CannotTell, Code, Finding, check
from . import culprits, reading

LIBRARY = Code(
    "GC331",
    "torch",
    "degraded",
    "you",
    N_("{packages} cannot be imported: the library {library} is missing."),
    N_("Install the build for this image's CUDA or, for OpenCV, opencv-python-headless instead."),
)
OTHER_TORCH = Code(
    "GC332",
    "torch",
    "degraded",
    "you",
    N_("{packages} was built for another torch than the one that is here."),
    N_("Uninstall it, then build it for this torch: pip install --no-build-isolation."),
)
OTHER_NUMPY = Code(
    "GC333",
    "torch",
    "degraded",
    "you",
    N_("{packages} was built for another NumPy than the one that is here."),
    N_("Upgrade it; if NumPy itself was changed, uninstall numpy from your environment."),
)
FAILS = Code(
    "GC334",
    "torch",
    "degraded",
    "you",
    N_("{packages} cannot be imported: {error}."),
    N_("Install a version that fits this torch, or uninstall what was installed last."),
)

REPLACED = Code(
    "GC342",
    "torch",
    "degraded",
    "you",
    N_("{broken} cannot be imported: {found} in your environment breaks it (the base has {base})."),
    N_("Uninstall {package} from your environment, so that the base's version is used again."),
)

MOST = 12
# of the image: what breaks when NumPy, Pillow or torch is replaced
_OF_THE_IMAGE = ("torchvision", "torchaudio", "pandas", "matplotlib")
# not importable by themselves, or told by other checks
_NEVER = re.compile(
    r"torch|triton|numpy|pip|setuptools|wheel|ipykernel|nvidia-.*|.*-stubs|types-.*"
)
_NO_MODULES = re.compile(r"_.*|tests?|docs?|examples?|scripts?|tools?|benchmarks?|setup|conftest")
_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[\w.]*): cannot open shared object file")
_TORCHS = re.compile(
    r"undefined symbol|version `|operator \S+ does not exist|PyTorch and \w+ (has|have) .*CUDA"
    r"|compiled with different CUDA|libtorch|libc10"
)
_NUMPYS = re.compile(
    r"numpy\.core\.multiarray failed to import|compiled using NumPy 1|numpy\.dtype size changed"
    r"|compiled against (ABI|API) version|_ARRAY_API not found|numpy\._core|numpy\.core"
)


@dataclass(frozen=True)
class Candidate:
    """A package to import. package: as pip names it, or the module's name where none owns it."""

    package: str
    module: str
    version: str = ""


def candidates(facts: Facts) -> tuple[Candidate, ...]:
    """What to import, what needs torch first; at most MOST."""
    needing: list[Candidate] = []
    compiled: list[Candidate] = []
    replaced = False
    for folder in facts.objects("packages", "directories"):
        if folder.get("base") is True:
            continue
        entries = folder.get("distributions")
        for entry in entries if isinstance(entries, list) else ():
            if not isinstance(entry, Mapping):
                continue
            name, version = text_of(entry, "name"), text_of(entry, "version")
            replaced = replaced or reading.locked(facts, name) is not None
            needs = entry.get("needs")
            wants_torch = isinstance(needs, list) and bool(needs)
            if _NEVER.fullmatch(reading.normalised(name)):
                continue
            if wants_torch or entry.get("compiled") is True:
                found = needing if wants_torch else compiled
                found += [Candidate(name, module, version) for module in _modules(entry)]
        strays = folder.get("compiled_strays")
        compiled += [
            Candidate(module, module)
            for module in (strays if isinstance(strays, list) else ())
            if isinstance(module, str) and not _NO_MODULES.fullmatch(module)
        ]
    installed = reading.effective(facts)
    image = [
        Candidate(item.name, name, item.version)
        for name in (_OF_THE_IMAGE if replaced else ())
        if (item := installed.get(name)) is not None and item.in_base
    ]
    unique = {item.module: item for item in reversed([*needing, *image, *compiled])}
    return tuple(reversed(unique.values()))[:MOST]


def _is_told_by_family(facts: Facts, candidate: Candidate) -> bool:
    """Whether GC302 says of a package that it does not fit the torch that is here."""
    wanted, base = reading.locked(facts, candidate.package), reading.locked(facts, "torch")
    torch = reading.effective(facts).get("torch")
    return (
        candidate.package in ("torchvision", "torchaudio")
        and None not in (wanted, base, torch)
        and reading.without_local(torch.version if torch else "")
        == reading.without_local(base or "")
        and reading.without_local(candidate.version) != reading.without_local(wanted or "")
    )


def broken_of_the_image(facts: Facts, tried: ProbeResult) -> tuple[str, ...]:
    """The modules of the image's own packages that could not be imported."""
    entries = tried.value.get("modules")
    failed = {
        text_of(item, "module")
        for item in (entries if isinstance(entries, list) else ())
        if isinstance(item, Mapping) and item.get("ok") is False
    }
    # the image's only: one that was put in front of it is told by itself
    own = {item.name for item in reading.effective(facts).values() if item.in_base}
    return tuple(name for name in _OF_THE_IMAGE if name in failed and name in own)


def _modules(entry: Mapping[str, object]) -> list[str]:
    """The modules to import of a distribution: the one of its name, else the first two."""
    listed = entry.get("modules")
    names = [
        name
        for name in (listed if isinstance(listed, list) else ())
        if isinstance(name, str) and name.isidentifier() and not _NO_MODULES.fullmatch(name)
    ]
    own = re.sub(r"\W", "_", text_of(entry, "name"))
    return [own] if own in names else names[:2]


@check(
    "torch",
    ("torch", "packages", "reference", "extensions", "ipykernel_culprit", "torch_culprit"),
    (LIBRARY, OTHER_TORCH, OTHER_NUMPY, FAILS, REPLACED),
)
def other_packages_import(facts: Facts) -> Iterator[Finding]:
    """What is compiled or needs torch, and is not the image's, can be imported after torch."""
    if not facts.mapping("torch", "torch"):
        raise CannotTell("torch", "torch was not imported")
    reading.require(facts, "packages", "directories")
    reading.require(facts, "extensions", "modules")
    known = {item.module: item for item in candidates(facts)}
    found_guilty = culprits.culprits_in(facts.objects("extensions", "culprits"))
    broken: dict[str, str] = {}
    by_kind: dict[str, list[tuple[str, str, Mapping[str, str]]]] = {}
    codes = {code.code: code for code in (LIBRARY, OTHER_TORCH, OTHER_NUMPY, FAILS)}
    without_numpy = facts.text("torch", "torch", "numpy", "error", "message") is not None
    for item in facts.objects("extensions", "modules"):
        candidate = known.get(text_of(item, "module"))
        if item.get("ok") is not False or candidate is None:
            continue
        if _is_told_by_family(facts, candidate):
            continue
        code, line, params = _why(item)
        if code is OTHER_NUMPY and without_numpy:
            continue  # a victim of what GC323 tells
        shown = f"{candidate.package} {candidate.version}".strip()
        if found_guilty and candidate.module in _OF_THE_IMAGE:
            broken[candidate.package] = f"{shown}: {line}"
            continue
        by_kind.setdefault(code.code, []).append((candidate.package, f"{shown}: {line}", params))
    told = {
        suspect.name
        for probe in ("ipykernel", "torch")
        for suspect in culprits.culprits_found(facts, probe)
    }
    told.add("torch")  # that it was replaced has a code of its own
    if broken and not told.issuperset(suspect.name for suspect in found_guilty):
        lines = (*broken.values(), *culprits.places_of(found_guilty))
        params = culprits.params_of(facts, found_guilty)
        yield Finding(REPLACED, lines, {**params, "broken": ", ".join(broken)})
    for name, found in sorted(by_kind.items()):
        packages = " ".join(dict.fromkeys(package for package, _, _ in found))
        evidence = tuple(line for _, line, _ in found)
        yield Finding(codes[name], evidence, {**found[0][2], "packages": packages})
    ran = len(facts.objects("extensions", "modules"))
    if ran < len(known):
        raise CannotTell("extensions", f"{len(known) - ran} of {len(known)} were not tried")


def _why(item: Mapping[str, object]) -> tuple[Code, str, Mapping[str, str]]:
    """What an import that failed tells: the code, a line of evidence, the code's parameters."""
    error = item.get("error")
    error = error if isinstance(error, Mapping) else {}
    message = text_of(error, "message")
    said = reading.last_lines(text_of(item, "said"))
    kind = text_of(error, "type")
    line = f"{kind}: {reading.shorten(message)}" if kind else text_of(item, "ended")
    if not kind and said:
        line = f"{line} ({reading.shorten(said[-1], 120)})"
    missing = _LIBRARY.search(message)
    if missing and not _TORCHS.search(missing[1]):
        return LIBRARY, line, {"library": missing[1]}
    if _TORCHS.search(message):
        return OTHER_TORCH, line, {}
    if _NUMPYS.search(message) or _NUMPYS.search(text_of(item, "said")):
        return OTHER_NUMPY, line, {}
    return FAILS, line, {"error": reading.shorten(line, 120)}


CHECKS = (other_packages_import,)
