"""`make lock`: writes the lock files from what pyproject.toml and the *.in files ask for.

Guarantees: hashes for every file of every package, for every platform and Python from 3.11; dev.txt
is hub.txt and more at the same versions; no mirror's address gets into a file.
"""

from __future__ import annotations

import os

from .environment import tool_environ
from .progress import Progress
from .settings import Settings

_LOCKS: dict[str, tuple[str, ...]] = {
    "build": ("requirements/build.in",),
    "hub": (*("--extra", "hub", "--extra", "postgresql", "pyproject.toml"), "requirements/hub.in"),
    "dev": (
        *("--extra", "hub", "--extra", "postgresql", "--extra", "server", "pyproject.toml"),
        *("requirements/hub.in", "requirements/dev.in", "-c", "requirements/hub.txt"),
    ),
}


def refresh(settings: Settings, progress: Progress) -> None:
    """Resolve anew to the newest allowed versions. Needs the tests' environment (uv)."""
    environ = tool_environ(settings, os.environ)
    for name, sources in _LOCKS.items():
        with progress.step(f"requirements/{name}.txt"):
            progress.run(
                [
                    *(settings.venv / "bin" / "uv", "pip", "compile", "--quiet", "--upgrade"),
                    *("--universal", "--generate-hashes", "--python-version", "3.11"),
                    *("--no-emit-index-url", "--no-emit-find-links"),
                    *("--custom-compile-command", "make lock"),
                    *(*sources, "-o", f"requirements/{name}.txt"),
                ],
                cwd=settings.root,
                environ=environ,
                log=settings.logs / "python.log",
                problem="The requirements cannot be resolved.",
                remedy="see what uv says in the log; two requirements likely contradict.",
            )
    with progress.step("images/torch-cuda/*.lock"):
        progress.run(
            [settings.root / "images" / "torch-cuda" / "lock"],
            environ=environ,
            log=settings.logs / "python.log",
            problem="The image's requirements cannot be resolved.",
            remedy="see what uv says in the log; images/torch-cuda/base.in likely asks too much.",
        )
    progress.say("Look at `git diff requirements images`, run `make test`, then commit.")
