"""gpucamp's own wheel (for the image) and its translations.

Guarantees: the wheel is built only when something in it changed; `dist/` never holds two.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import stamps
from .environment import tool_environ
from .errors import SetupError
from .progress import Progress
from .settings import Settings


def ensure_translations(settings: Settings, progress: Progress) -> None:
    """Compile the catalogues (.po) of both packages where they changed. Raises SetupError."""
    for package in ("hub_ext", "server_ext"):
        folder = settings.root / package / "locale"
        for source in sorted(folder.glob("*/LC_MESSAGES/*.po")):
            made = source.with_suffix(".mo")
            stamp = settings.stamps / f"translation-{package}-{source.parts[-3]}-{source.stem}"
            digest = stamps.digest(settings.root, [source])
            if stamps.read(stamp) == digest and made.exists():
                continue
            progress.run(
                [settings.venv / "bin" / "pybabel", "compile", "-i", source, "-o", made],
                log=settings.logs / "python.log",
                problem=f"The translation {source.relative_to(settings.root)} cannot be compiled.",
                remedy="mend the file where the log says so.",
            )
            stamps.write(stamp, digest)


def inputs(settings: Settings) -> list[Path]:
    """All files that the wheel is made of."""
    root = settings.root
    return [
        *(root / name for name in ("pyproject.toml", "README.md", "LICENSE")),
        root / "labextension" / "install.json",
        root / "docs" / "findings.md",
        *stamps.files_below(root / "labextension" / "prebuilt"),
        *stamps.files_below(root / "hub_ext"),
        *stamps.files_below(root / "server_ext"),
    ]


def existing(settings: Settings) -> Path | None:
    """The wheel in dist/, if there is exactly one."""
    found = sorted((settings.root / "dist").glob("gpucamp-*.whl"))
    return found[0] if len(found) == 1 else None


def ensure(settings: Settings, progress: Progress) -> Path:
    """Build the wheel where it is not current; its path. Raises SetupError."""
    ensure_translations(settings, progress)
    digest = stamps.digest(settings.root, inputs(settings))
    stamp = settings.stamps / "wheel"
    current = existing(settings)
    if current is not None and stamps.read(stamp) == digest:
        return current
    with progress.step("gpucamp's wheel"):
        stamps.forget(stamp)
        shutil.rmtree(settings.root / "dist", ignore_errors=True)
        progress.run(
            [
                *(settings.python, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
                *("--no-index", "--wheel-dir", settings.root / "dist", settings.root),
            ],
            log=settings.logs / "python.log",
            # the same content gives the same bytes, and so the same image layer
            environ={**tool_environ(settings, os.environ), "SOURCE_DATE_EPOCH": "1767225600"},
            problem="The wheel cannot be built.",
            remedy="see the log: pyproject.toml or a file that it names is likely broken.",
        )
        built = existing(settings)
        if built is None:
            raise SetupError("The build left no wheel in dist/.", "run `make clean`, then again.")
        stamps.write(stamp, digest)
    return built
