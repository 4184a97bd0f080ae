"""`make test` and its kin: what the tests need, the levels one after another, how long each took.

Guarantees: tests use a state folder of their own, so an installation that runs is not touched; a
missing Engine, image or browser is set up or is an error with its remedy, and never a skip; what
was started is ended, whatever the outcome; every level runs even when an earlier one failed.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from . import (
    apt,
    engine,
    front_end,
    hub_process,
    postgres,
    python_env,
    running,
    test_engine,
    test_wheels,
    wheel,
)
from .environment import tool_environ
from .errors import SetupError
from .locks import lock_path, only_one
from .progress import Progress, duration, end_session, interrupts_wait
from .settings import Settings

CHROMIUM = "/usr/bin/chromium"
# what the tests of the stand-in NVML library are compiled with
_COMPILER = ("gcc", "make", "libc6-dev", "libcjson-dev")
# what the examples of the documentation are made with
_OF_EXAMPLES = ("curl", "jq")
# all that is in the light image, which stands in for the real one where only the outside counts
_BUSYBOX = "busybox-static"
# makes the bridge of the tests' own Engine
_IP = "iproute2"


@dataclass(frozen=True)
class Measurement:
    """A script that measures and prints a table; `engine`: it needs the Engine and the image."""

    script: str
    meaning: str
    engine: bool = True


MEASUREMENTS = {
    "perf": Measurement("tests/perf/spawn_time.py", "measure the start of a server"),
    "perf-queue": Measurement("tests/perf/queue_time.py", "measure the queue", engine=False),
    "perf-rest": Measurement(
        "tests/perf/rest_time.py",
        "measure the service's answers with a year of history",
        engine=False,
    ),
    "perf-live": Measurement(
        "tests/perf/live_pages.py",
        "measure what 200 open live pages cost the service",
        engine=False,
    ),
    "perf-doctor": Measurement(
        "tests/perf/doctor_time.py", "measure the GPU doctor beside collect_env"
    ),
    "perf-ddp": Measurement("tests/perf/ddp_time.py", "measure Launch DDP beside torchrun"),
    "perf-reset": Measurement("tests/perf/reset_time.py", "measure a reset beside a plain start"),
    "ddp-kills": Measurement("tests/perf/ddp_kills.py", "a hundred random kills of DDP runs"),
    "storm": Measurement("tests/perf/storm.py", "fifty starts at once"),
    "compare-faults": Measurement(
        "tests/perf/stock_comparison.py", "faults beside stock DockerSpawner"
    ),
}


@dataclass(frozen=True)
class Level:
    """One level: its commands, run in `folder` below the root; `seconds` bounds each of them."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    seconds: int
    folder: str = "."


# what runs now, to be ended at Ctrl-C
_running: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Outcome:
    """How a level ended."""

    name: str
    passed: bool
    seconds: float


def _pytest(name: str, limit: int, *options: str) -> tuple[str, ...]:
    return (
        *("python", "-m", "pytest", f"tests/{name}", f"--timeout={limit}", *options),
        *("--junit-xml", f"artifacts/test-results/{name}.xml"),
        *("-o", f"cache_dir=.pytest_cache/{name}"),
    )


LINT = Level(
    "lint and types",
    (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("mypy", "hub_ext", "server_ext", "setup_host"),
    ),
    300,
)
FRONT_END = Level("front end", (("jlpm", "lint:check"), ("jlpm", "test")), 600, "labextension")
# many of them wait for processes: more at once than there are cores
UNIT = Level("unit", (_pytest("unit", 180, "-n", "3"),), 2400)
STATEFUL = Level("stateful", (_pytest("stateful", 300, "-n", "2"),), 2400)
SOAK = Level("soak", (("python", "tests/stateful/soak.py"),), 24 * 3600)
SERVER = Level("server", (_pytest("server", 180, "-n", "2"),), 1200)
# each file has hubs and containers of its own; they wait for processes more than they compute
ENGINE = Level("engine", (_pytest("engine", 300, "-n", "2", "--dist", "loadfile"),), 3600)
FAULTS = Level("faults", (_pytest("faults", 300, "-n", "3", "--dist", "loadfile"),), 1800)
BROWSER = Level("browser", (_pytest("browser", 600),), 1500)
# the long ones first: they run side by side
FAST = (UNIT, SERVER, FRONT_END, STATEFUL, LINT)
ALL = (LINT, FRONT_END, UNIT, STATEFUL, SERVER, ENGINE, FAULTS, BROWSER)


def test_fast(settings: Settings, progress: Progress) -> int:
    """Everything that needs neither Engine nor browser; the exit status."""
    _set_up_fast(settings, progress)
    variables = {"HYPOTHESIS_PROFILE": "fast", **_in_memory(Path("/dev/shm"))}  # noqa: S108
    return _run(for_tests(settings), progress, FAST, variables, at_once=2)


def test(settings: Settings, progress: Progress, names: list[str]) -> int:
    """Every level (or those named); the exit status."""
    known = {level.name: level for level in ALL}
    if unknown := [name for name in names if name not in known]:
        raise SetupError(f"There is no level {', '.join(unknown)}.", f"levels: {', '.join(known)}.")
    levels = tuple(known[name] for name in names) or ALL
    if not {"engine", "faults", "browser"} & {level.name for level in levels}:
        _set_up_fast(settings, progress)
        return _run(for_tests(settings), progress, levels, {})
    with _everything(settings, progress) as variables:
        return _run(for_tests(settings), progress, levels, variables)


def soak(settings: Settings, progress: Progress) -> int:
    """A million steps of the state machine of leases; the exit status."""
    _set_up_fast(settings, progress)
    return _run(for_tests(settings), progress, (SOAK,), {})


def set_up_only(settings: Settings, progress: Progress) -> None:
    """What `test` needs, left in place; says how to use it."""
    variables = _set_up(settings, progress)
    progress.say("  " + " ".join(f"{name}={value}" for name, value in variables.items()))
    progress.say("  .gpucamp/venv/bin/python -m pytest tests/engine   (with these set)")


def measure(settings: Settings, progress: Progress, name: str) -> int:
    """Run one of MEASUREMENTS; the exit status."""
    chosen = MEASUREMENTS[name]
    level = Level(name, (("python", chosen.script),), 3600)
    if not chosen.engine:
        _set_up_fast(settings, progress)
        return _run(for_tests(settings), progress, (level,), {})
    with _everything(settings, progress) as variables:
        return _run(for_tests(settings), progress, (level,), variables)


def lint(settings: Settings, progress: Progress) -> int:
    """Style and types; the exit status."""
    _set_up_fast(settings, progress)
    front = replace(FRONT_END, commands=FRONT_END.commands[:1])
    return _run(for_tests(settings), progress, (LINT, front), {})


def format_all(settings: Settings, progress: Progress) -> int:
    """Format and mend what can be mended; the exit status."""
    _set_up_fast(settings, progress)
    python = Level("python", (("ruff", "check", "--fix", "."), ("ruff", "format", ".")), 120)
    front = Level("front end", (("jlpm", "format"),), 300, "labextension")
    return _run(for_tests(settings), progress, (python, front), {})


def for_tests(settings: Settings) -> Settings:
    """The same tools; state, network and names of the tests' own."""
    state = settings.state.with_name(settings.state.name + "-test")
    return replace(
        settings,
        state=state,
        network=f"{settings.network}-test",
        prefix=f"{settings.prefix}-test",
    )


def _in_memory(folder: Path) -> dict[str, str]:
    """Where the tests' files are in memory, if there is room: ledgers wait for a disk at each step.

    A container's small /dev/shm, and one from which nothing can be run, are left alone.
    """
    try:
        facts = os.statvfs(folder)
    except OSError:
        return {}
    usable = os.access(folder, os.W_OK) and not facts.f_flag & os.ST_NOEXEC
    roomy = facts.f_bavail * facts.f_frsize >= 2 * 1024**3
    return {"TMPDIR": str(folder)} if usable and roomy else {}


def _set_up_fast(settings: Settings, progress: Progress) -> None:
    with only_one(lock_path(settings.tools), progress):
        python_env.ensure(settings, progress, dev=True)
        wheel.ensure_translations(settings, progress)
        front_end.ensure_packages(settings, progress)
        _ensure_compiler(settings, progress)
        _ensure_tools_of_examples(settings, progress)
        postgres.ensure(settings, progress)


def _set_up(settings: Settings, progress: Progress) -> dict[str, str]:
    mine = for_tests(settings)
    with only_one(lock_path(settings.tools), progress):
        mine.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        the_engine = test_engine.ensure(mine, progress)
        os.environ["DOCKER_HOST"] = the_engine.address
        image = running.prepare(mine, progress, dev=True)
        _ensure_compiler(mine, progress)
        _ensure_tools_of_examples(mine, progress)
        postgres.ensure(mine, progress)
        _ensure_tools_of_faults(mine, progress)
        _ensure_browser(mine, progress)
        wheels = test_wheels.ensure(mine, progress)
    return {
        "DOCKER_HOST": the_engine.address,
        "GPUCAMP_IMAGE": image,
        **wheels,
    }


def _ensure_compiler(settings: Settings, progress: Progress) -> None:
    headers = Path("/usr/include/cjson/cJSON.h").exists()
    if not headers or shutil.which("gcc") is None or shutil.which("make") is None:
        apt.install(settings, progress, _COMPILER)


def _ensure_tools_of_examples(settings: Settings, progress: Progress) -> None:
    missing = [name for name in _OF_EXAMPLES if shutil.which(name) is None]
    if missing:
        apt.install(settings, progress, missing)


def _ensure_tools_of_faults(settings: Settings, progress: Progress) -> None:
    if shutil.which("busybox") is None:
        apt.install(settings, progress, [_BUSYBOX])
    if shutil.which("ip") is None:
        apt.install(settings, progress, [_IP])


def _ensure_browser(settings: Settings, progress: Progress) -> None:
    if not Path(CHROMIUM).exists():
        apt.install(settings, progress, ["chromium"])


@contextlib.contextmanager
def _everything(settings: Settings, progress: Progress) -> Iterator[dict[str, str]]:
    mine = for_tests(settings)
    try:
        yield _set_up(settings, progress)
    finally:
        hub_process.end_leftovers(mine)
        if engine.ours(mine) is not None:
            try:
                running.stop_engine(mine, progress)
            except SetupError as error:
                progress.say(f"* the Docker Engine goes on. {error.problem}")


def _run(
    settings: Settings,
    progress: Progress,
    levels: tuple[Level, ...],
    variables: dict[str, str],
    *,
    at_once: int = 1,
) -> int:
    """Run levels, `at_once` of them side by side; then their output comes when each has ended."""
    environ = {
        **tool_environ(settings, os.environ),
        "GPUCAMP_STATE_DIR": str(settings.state),
        "GPUCAMP_TOOLS_DIR": str(settings.tools),
        "GPUCAMP_PROXY_COMMAND": str(settings.proxy_command),
        # hundreds of processes import the same modules: compile them once, outside the sources
        "PYTHONPYCACHEPREFIX": str(settings.tools / "pycache"),
        **variables,
    }
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    results = settings.root / "artifacts" / "test-results"
    results.mkdir(parents=True, exist_ok=True)

    def one(level: Level) -> Outcome:
        begun = time.monotonic()
        if at_once == 1:
            progress.say(f"\n== {level.name}")
            passed = _all(settings, progress, level, environ, None)
        else:
            log = results / f"{level.name.replace(' ', '-')}.log"
            with log.open("wb") as output:
                passed = _all(settings, Progress(io.StringIO()), level, environ, output)
            said = log.read_text(encoding="utf-8", errors="replace").rstrip()
            progress.say(f"\n== {level.name}\n{said}")
        return Outcome(level.name, passed, time.monotonic() - begun)

    begun = time.monotonic()
    if at_once == 1:
        outcomes = [one(level) for level in levels]
    else:
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            futures = [pool.submit(one, level) for level in levels]
            try:
                outcomes = [future.result() for future in futures]
            except BaseException:  # Ctrl-C reaches this thread only
                for future in futures:
                    future.cancel()
                for process in list(_running):
                    end_session(process, grace=30)
                raise
    progress.say("\n" + summary(outcomes, time.monotonic() - begun))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _all(
    settings: Settings,
    progress: Progress,
    level: Level,
    environ: dict[str, str],
    output: IO[bytes] | None,
) -> bool:
    # every command, also after one that failed
    return all([_command(settings, progress, level, c, environ, output) for c in level.commands])


def _command(
    settings: Settings,
    progress: Progress,
    level: Level,
    command: tuple[str, ...],
    environ: dict[str, str],
    output: IO[bytes] | None,
) -> bool:
    progress.say(f"$ {' '.join(command)}")
    program = shutil.which(command[0], path=environ["PATH"])
    if program is None:
        progress.say(f"There is no {command[0]}.\nWhat to do: run `make clean`, then again.")
        return False
    process: subprocess.Popen[bytes] | None = None
    try:
        with interrupts_wait():
            process = subprocess.Popen(
                [program, *command[1:]],
                cwd=settings.root / level.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                start_new_session=True,
            )
            _running.append(process)
        return process.wait(level.seconds) == 0
    except subprocess.TimeoutExpired:
        progress.say(f"{level.name} took longer than {duration(level.seconds)} and was ended.")
        return False
    finally:
        if process is not None:
            _running.remove(process)
            if process.poll() is None:
                # SIGINT first: pytest then still runs the tests' own clean-up
                end_session(process, grace=30)


def summary(outcomes: list[Outcome], seconds: float) -> str:
    """A table for a terminal: level, outcome, time; `seconds` is how long all took together."""
    rows = [
        f"{outcome.name:<16} {'passed' if outcome.passed else 'FAILED':<8} "
        f"{duration(outcome.seconds)}"
        for outcome in outcomes
    ]
    return "\n".join([*rows, f"{'all':<16} {'':<8} {duration(seconds)}"])
