"""Installs again, in a new environment, what somebody chose before a reset.

Guarantees: the server's start does not wait for it, and nothing that happens here undoes the
reset. A package that cannot be installed keeps none of the others from it; each is reported with
its reason. A wish is worked on by one process at a time and is done once: whoever is killed
meanwhile, the next server goes on where it was, and after ATTEMPTS says what it did not get done.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..i18n import N_, Gettext
from .again_files import AgainFiles, Wish
from .again_report import CUT_OFF, NOTHING, Item, Report
from .environment_lock import Locked
from .packages import environment_folders
from .restoring import pip_install, requirements, there, why

DELAY_SECONDS = 3.0  # after the start of the server: first its page is loaded
ATTEMPTS = 3
PIP_SECONDS = 3600.0
OLDEST_SECONDS = 7 * 24 * 3600.0  # of a wish whose reset did not come

_OPTIONS = ("--ignore-installed", "--no-input", "--retries", "2", "--timeout", "15")
_QUIET = {"PIP_NO_INPUT": "1", "PIP_PROGRESS_BAR": "off", "GIT_TERMINAL_PROMPT": "0"}
_LONGEST_OUTPUT = 2**16

_NO_PYTHON = N_("The environment's Python cannot be run.")
_TOO_LONG = N_("It took longer than an hour.")
_NOT_THERE = N_("pip ended without a word, and the environment has it not.")


@dataclass
class Again:
    """The work of one server. python: the environment's, None where it has none that runs;
    generation: of this server, None where that is not known.
    """

    files: AgainFiles
    work: Path
    python: Callable[[], Path | None]
    generation: int | None
    log: Any
    _report: Report | None = field(default=None, init=False)

    @property
    def installs(self) -> bool:
        """Whether it is at work."""
        return self._report is not None

    async def run(self) -> None:
        """Does what is wished for; returns at once where nothing is."""
        wish = await asyncio.to_thread(self.files.wish)
        if wish is None:
            return
        no_reset = wish.generation is not None and wish.generation == self.generation
        if no_reset or wish.age > OLDEST_SECONDS:  # everything is there still, or was given up
            await asyncio.to_thread(self.files.finish, wish.identity)
            return
        with _alone(self.files.running) as alone:
            if not alone:
                return
            try:
                await self._work(wish)
            finally:
                self._report = None

    def tell(self, gettext: Gettext) -> dict[str, Any]:
        """As the REST interface says it. Blocking."""
        wish, report = self.files.wish(), self._report or Report.read(self.files.read_report())
        if wish is not None and (report is None or report.identity != wish.identity):
            return Report.of(wish).tell(gettext, installs=False)
        if report is None or (wish is None and not report.done and not self.installs):
            return NOTHING  # or one that came to nothing by an undo
        if report.done and report.generation not in (None, self.generation):
            return NOTHING  # of an environment that was left since
        return report.tell(gettext, installs=self.installs)

    async def _work(self, wish: Wish) -> None:
        report = Report.read(await asyncio.to_thread(self.files.read_report))
        if report is None or report.identity != wish.identity:
            report = Report.of(wish)
        if not report.done:
            self._report = report
            report.attempts += 1
            report.generation = self.generation
            if wish.fault is not None:
                report.items = [Item(self.files.lock.name, "", "failed", str(wish.fault))]
            elif report.attempts > ATTEMPTS:
                unfinished = [one for one in wish.packages if not _has_ended(report, one)]
                report.mark(unfinished, "failed", CUT_OFF)
            else:
                await self._install_all(wish.packages, report)
            report.done = True
            await self._keep(report)
        await asyncio.to_thread(self.files.finish, wish.identity)

    async def _install_all(self, packages: Sequence[Locked], report: Report) -> None:
        await self._keep(report)
        python = await asyncio.to_thread(self.python)
        if python is None:
            report.mark(packages, "failed", _NO_PYTHON)
            return
        absent = await self._missing(packages, python, report)
        left = [one for one in absent if not _has_ended(report, one)]  # by an earlier server
        if len(left) > 1 and report.attempts == 1:
            report.mark(left, "installing")
            await self._keep(report)
            await self._pip(left, python)
            left = await self._missing(left, python, report)
            report.mark(left, "waiting")
        # the one with which an earlier server ended comes last
        order = sorted(left, key=lambda one: _state(report, one) == "installing")
        report.mark(left, "waiting")
        for package in order:
            report.mark([package], "installing")
            await self._keep(report)
            reason = await self._pip([package], python)
            if await self._missing([package], python, report):
                report.mark([package], "failed", reason or _NOT_THERE)
            await self._keep(report)

    async def _missing(
        self, packages: Sequence[Locked], python: Path, report: Report
    ) -> list[Locked]:
        """Which are not there; of the others it is said that they are."""
        folders = environment_folders(str(python))
        found = await asyncio.to_thread(there, packages, folders, self.work)
        report.mark(found, "installed")
        return [package for package in packages if package not in found]

    async def _keep(self, report: Report) -> None:
        try:
            await asyncio.to_thread(self.files.write_report, report.keep())
        except OSError as error:  # a full disk, say: the work is worth more than its report
            self.log.warning("How far installing again is could not be written: %s", error)

    async def _pip(self, packages: Sequence[Locked], python: Path) -> str:
        """Why it failed; "" where pip says nothing, or has succeeded."""
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write(requirements(packages))
            file.flush()
            command = pip_install(str(python), file.name, *_OPTIONS)
            self.log.info("Installing again: %s", " ".join(one.line for one in packages))
            try:
                return await _run(command)
            except OSError as error:
                return str(error)


def _state(report: Report, package: Locked) -> str:
    return next((item.state for item in report.items if item.name == package.name), "waiting")


def _has_ended(report: Report, package: Locked) -> bool:
    return _state(report, package) in ("installed", "failed")


async def _run(command: Sequence[str]) -> str:
    """As _pip; nothing of it goes on when this returns or is cancelled."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **_QUIET},
        start_new_session=True,
    )
    output = bytearray()
    try:
        async with asyncio.timeout(PIP_SECONDS):
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            while part := await process.stdout.read(2**14):
                output += part
                del output[:-_LONGEST_OUTPUT]
            status = await process.wait()
    except TimeoutError:
        return _TOO_LONG
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
    return why(output.decode("utf-8", "replace")) if status else ""


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether no other process is at work; while it lasts, none will be."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield True  # where nothing can be written, there is no other
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
