"""The parts made with Node: the proxy, and JupyterLab's front end.

Guarantees: the proxy is the locked one, and no package's install script runs; the front end is
built only when its sources, its lock or the builder changed, and a build that was interrupted is
never taken for a finished one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from . import preflight, stamps
from .environment import tool_environ
from .progress import Progress
from .settings import Settings

# made by the build or the tools, or no input of it
_NO_INPUT = ("node_modules", "lib", "prebuilt", ".yarn", "tests", "coverage")


def ensure_proxy(settings: Settings, progress: Progress) -> None:
    """Install configurable-http-proxy into the tools folder. Raises SetupError."""
    source = settings.root / "setup_host" / "node"
    files = [source / "package.json", source / "package-lock.json"]
    folder = settings.tools / "node"
    stamp = folder / ".gpucamp-lock"
    digest = stamps.digest(settings.root, files)
    if stamps.read(stamp) == digest and settings.proxy_command.exists():
        return
    preflight.node()
    with progress.step("the proxy (npm configurable-http-proxy)"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder)
        progress.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder,
            log=settings.logs / "npm.log",
            environ=tool_environ(settings, os.environ),
            problem="npm could not install the proxy.",
            remedy="see the log of npm.",
        )
        stamps.write(stamp, digest)


def inputs(settings: Settings) -> list[Path]:
    """All files that the built front end depends on."""
    return [
        *stamps.files_below(settings.root / "labextension", leave_out=_NO_INPUT),
        settings.root / "requirements" / "hub.txt",  # pins the builder
    ]


def ensure_packages(settings: Settings, progress: Progress) -> None:
    """Install the front end's npm packages, exactly as locked. Raises SetupError."""
    folder = settings.root / "labextension"
    names = ("package.json", "yarn.lock", ".yarnrc.yml")
    digest = stamps.digest(settings.root, [folder / name for name in names])
    stamp = folder / "node_modules" / ".gpucamp-lock"
    if stamps.read(stamp) == digest:
        return
    preflight.node()
    preflight.space(folder, preflight.TOOLS_BYTES, "The front end's packages")
    with progress.step("npm packages of the front end (about 2 minutes)"):
        stamps.forget(stamp)
        progress.run(
            [settings.venv / "bin" / "jlpm", "install", "--immutable"],
            cwd=folder,
            log=settings.logs / "front-end.log",
            environ=tool_environ(settings, os.environ),
            problem="The front end's npm packages cannot be installed.",
            remedy="see the log; `make clean` and a new start help where node_modules is broken.",
        )
        stamps.write(stamp, digest)


def ensure_built(settings: Settings, progress: Progress) -> None:
    """Build labextension/prebuilt where it is not current. Raises SetupError."""
    folder = settings.root / "labextension"
    digest = stamps.digest(settings.root, inputs(settings))
    stamp = settings.stamps / "front-end"
    if stamps.read(stamp) == digest and (folder / "prebuilt" / "package.json").exists():
        return
    ensure_packages(settings, progress)
    with progress.step("the front end"):
        stamps.forget(stamp)
        progress.run(
            [settings.venv / "bin" / "jlpm", "build:prod"],
            cwd=folder,
            log=settings.logs / "front-end.log",
            environ=tool_environ(settings, os.environ),
            problem="The front end cannot be built.",
            remedy="see the log; the sources are in labextension/src.",
        )
        stamps.write(stamp, digest)
