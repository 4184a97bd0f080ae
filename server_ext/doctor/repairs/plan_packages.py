"""Plans that take packages of the user's away, so that the image's are used. Pure.

Guarantees: only packages of the kernel's own environment are uninstalled, and of those that a
finding names all or none; files that no package owns, and the folder of the user's packages, are
set aside, never deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...i18n import N_
from ..checks import culprits, reading
from ..facts import Facts, text_of
from ..findings import Finding
from .plain_names import PACKAGE_OR_FILE
from .steps import Repair, Run, SetAside, Step

_FAMILY = re.compile(
    r"torch|torchvision|torchaudio|triton|nvidia-[a-z0-9-]+|cuda-(bindings|pathfinder|toolkit)"
)
_PACKAGES: Mapping[str, str] = {  # code -> the finding's parameter that names packages
    **dict.fromkeys(("GC205", "GC302", "GC306", "GC311", "GC342"), "package"),
    **dict.fromkeys(("GC304", "GC305", "GC331", "GC332"), "packages"),
}
_NAMED: Mapping[str, tuple[str, ...]] = {
    "GC303": ("triton",),
    "GC322": ("nvidia-cudnn-cu12",),
    "GC323": ("numpy",),
}
_WHOLE_FAMILY = ("GC132", "GC301", "GC307", "GC321")
_HOSTS_DRIVER = "GC132"  # packages are to blame only where the image's torch would do
_CULPRITS: Mapping[str, str] = {"GC205": "ipykernel", "GC311": "torch"}  # code -> probe
UNINSTALL_CODES = frozenset((*_PACKAGES, *_NAMED, *_WHOLE_FAMILY))
_USER_SITE = "GC211"
CODES = UNINSTALL_CODES | {_USER_SITE}

_RESTART_KERNELS = N_("Restart kernels that run: they keep what they have loaded.")


def uninstall(finding: Finding, facts: Facts, python: str, pip: tuple[str, ...]) -> Repair | None:
    """Uninstalls what shadows the image's packages, or breaks an import."""
    packages = _packages(finding, facts)
    if not packages:
        return None
    return Repair(
        "here",
        (Run((*pip, "--python", python, "uninstall", "--yes", *packages)),),
        (N_("Uninstalls packages from the kernel's environment, so that the image's are used."),),
        (N_("Code of yours that needs exactly these packages does not work any more."),),
        (N_("You can install them again with pip."),),
        (_RESTART_KERNELS,),
    )


def _packages(finding: Finding, facts: Facts) -> tuple[str, ...]:
    """What to uninstall from the environment; nothing if one of them is no package of it."""
    code = finding.code.code
    own = {item.name: item for item in reading.distributions(facts) if not item.in_base}
    if code == _HOSTS_DRIVER and not (finding.who == "you" and "torch" in own):
        return ()
    if code in _WHOLE_FAMILY:
        # torch brings its libraries and triton: left alone, they would be the next finding
        return tuple(sorted(name for name in own if _FAMILY.fullmatch(name)))
    if code in _CULPRITS and not all(
        suspect.version for suspect in culprits.culprits_found(facts, _CULPRITS[code])
    ):
        return ()  # modules that no package owns
    names = _NAMED.get(code) or tuple(finding.params.get(_PACKAGES.get(code, ""), "").split())
    known = all(reading.normalised(name) in own for name in names)
    return names if known and all(PACKAGE_OR_FILE.fullmatch(name) for name in names) else ()


def set_strays_aside(code: str, facts: Facts, python: str, pip: tuple[str, ...]) -> Repair | None:
    """Files that no package owns, and break an import; packages that do so with them go, too."""
    found = culprits.culprits_found(facts, _CULPRITS[code]) if code in _CULPRITS else ()
    strays = [suspect for suspect in found if not suspect.version]
    files = [_files_of(suspect, facts) for suspect in strays]
    own = {item.name for item in reading.distributions(facts) if not item.in_base}
    packages = tuple(suspect.name for suspect in found if suspect.version)
    known = all(
        reading.normalised(name) in own and PACKAGE_OR_FILE.fullmatch(name) for name in packages
    )
    if not strays or not all(files) or not known or (packages and not python):
        return None
    steps: list[Step] = [SetAside(path) for paths in files for path in paths]
    if packages:
        steps.insert(0, Run((*pip, "--python", python, "uninstall", "--yes", *packages)))
    return Repair(
        "here",
        tuple(steps),
        (
            N_("Gives files that belong to no package another name, so that the image's are used."),
            *((N_("Uninstalls packages from the kernel's environment."),) if packages else ()),
        ),
        (N_("Code of yours that needs exactly these does not work any more; no file is deleted."),),
        (
            N_("Give the files their old names again: the output says where they are."),
            *((N_("You can install them again with pip."),) if packages else ()),
        ),
        (_RESTART_KERNELS,),
    )


def _files_of(suspect: culprits.Suspect, facts: Facts) -> tuple[str, ...]:
    """The paths of a module that no package owns; () where that is not for the doctor to touch: it
    is neither in the kernel's own environment nor among the user's packages.
    """
    prefix = (facts.text("python", "prefix") or "").rstrip("/") + "/"
    places = (facts.text("python", "user_site", "path"),)
    if not (suspect.directory.startswith(prefix) or suspect.directory in places):
        return ()
    for folder in facts.objects("packages", "directories"):
        if text_of(folder, "directory") != suspect.directory or folder.get("base") is True:
            continue
        files = folder.get("stray_files")
        names = files.get(suspect.name) if isinstance(files, Mapping) else None
        return tuple(
            f"{suspect.directory}/{name}"
            for name in (names if isinstance(names, list) else ())
            if folder.get("writable") is True and isinstance(name, str) and "/" not in name
        )
    return ()


def set_user_site_aside(code: str, facts: Facts) -> Repair | None:
    """Sets the whole folder of the user's packages aside."""
    folder = facts.text("python", "user_site", "path") if code == _USER_SITE else None
    if not folder:
        return None
    return Repair(
        "here",
        (SetAside(folder),),
        (N_("Gives the folder another name, so that Python does not find it."),),
        (N_("Packages in it cannot be imported any more; nothing is deleted."),),
        (N_("Give it its old name again."),),
        (_RESTART_KERNELS,),
    )
