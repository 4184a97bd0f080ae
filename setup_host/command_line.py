"""The commands of `python3 -m setup_host`, one place for all of them.

Guarantees: an expected failure ends with its text and status 1, Ctrl-C with 130 and no traceback;
commands that change something hold the state folder's lock.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from . import (
    accounts,
    cleaning,
    engine,
    front_end,
    lock,
    python_env,
    running,
    settings,
    testing,
    wheel,
)
from .engine_api import EngineError
from .errors import SetupError
from .locks import lock_path, only_one
from .progress import Progress
from .settings import Settings

ROOT = Path(__file__).resolve().parent.parent


def _accounts(config: Settings, progress: Progress, arguments: argparse.Namespace) -> None:
    python_env.require(config)
    named = {
        "participant": accounts.parse_names(arguments.names),
        "instructor": accounts.parse_names(arguments.instructors),
    }
    forgotten = accounts.parse_names(arguments.renew)
    people = tuple(accounts.Person(name, role) for role, names in named.items() for name in names)
    if not people and not forgotten:
        raise SetupError(
            "Whose account?",
            'make accounts NAMES="ada lin", or INSTRUCTORS="kim", or RENEW="ada" for someone '
            "who forgot the password.",
        )
    accounts.ensure(config, progress, people)
    if forgotten:
        accounts.renew(config, forgotten)
    first = accounts.still_first(config, [person.name for person in people] + forgotten)
    for person in people:
        progress.say(f"  {person.name:<20} {first.get(person.name, '(has an account already)')}")
    for name in forgotten:
        progress.say(f"  {name:<20} {first[name]}")


def _image(config: Settings, progress: Progress, _: argparse.Namespace) -> None:
    engine.ensure(config, progress)
    progress.say(running.prepare(config, progress))


def _front_end(config: Settings, progress: Progress, _: argparse.Namespace) -> None:
    python_env.ensure(config, progress)
    front_end.ensure_built(config, progress)


def _wheel(config: Settings, progress: Progress, arguments: argparse.Namespace) -> None:
    _front_end(config, progress, arguments)
    progress.say(str(wheel.ensure(config, progress)))


def _lock(config: Settings, progress: Progress, _: argparse.Namespace) -> None:
    python_env.ensure(config, progress, dev=True)
    lock.refresh(config, progress)


def _translations(config: Settings, progress: Progress, _: argparse.Namespace) -> None:
    python_env.ensure(config, progress)
    wheel.ensure_translations(config, progress)


def _clean(config: Settings, progress: Progress, arguments: argparse.Namespace) -> None:
    cleaning.clean(config, progress, arguments.work_volumes.split())


_Command = Callable[[Settings, Progress, argparse.Namespace], int | None]


def _measuring(name: str) -> _Command:
    return lambda config, progress, _: testing.measure(config, progress, name)


_COMMANDS: dict[str, tuple[str, _Command]] = {
    "run": ("set up what is missing, start the hub", lambda c, p, a: running.run(c, p)),
    "stop": ("end the hub and the users' servers", lambda c, p, a: running.stop(c, p)),
    "stop-engine": ("end a Docker Engine started here", lambda c, p, a: running.stop_engine(c, p)),
    "settings": ("print the settings", lambda c, p, a: p.say(settings.describe())),
    "status": ("say what runs", lambda c, p, a: running.status(c, p)),
    "accounts": ("make accounts, renew passwords", _accounts),
    "clean": ("remove everything but work volumes", _clean),
    "venv": (
        "the virtual environment, tests included",
        lambda c, p, a: python_env.ensure(c, p, dev=True),
    ),
    "front-end": ("build the front end", _front_end),
    "translations": ("compile the catalogues", _translations),
    "wheel": ("build the wheel", _wheel),
    "image": ("build the image", _image),
    "lock": ("write the lock files anew", _lock),
    "lint": ("check style and types", lambda c, p, a: testing.lint(c, p)),
    "format": ("format all sources", lambda c, p, a: testing.format_all(c, p)),
    "test-fast": ("tests without Engine and browser", lambda c, p, a: testing.test_fast(c, p)),
    "test-setup": (
        "what the tests need, without them",
        lambda c, p, a: testing.set_up_only(c, p),
    ),
    "test": ("every test", lambda c, p, a: testing.test(c, p, a.levels.split())),
    "soak": ("a million steps of the leases", lambda c, p, a: testing.soak(c, p)),
    **{name: (one.meaning, _measuring(name)) for name, one in testing.MEASUREMENTS.items()},
}
# these only look, or lock for their set-up alone
_WITHOUT_LOCK = (
    *("settings", "status", "lint", "format", "test-fast", "test-setup", "test", "soak"),
    *testing.MEASUREMENTS,
)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    result = argparse.ArgumentParser(
        prog="python3 -m setup_host",
        description=__doc__.splitlines()[0],
        epilog="settings (environment variables):\n" + settings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = result.add_subparsers(dest="command", required=True)
    for name, (meaning, _) in _COMMANDS.items():
        command = commands.add_parser(name, help=meaning)
        if name == "accounts":
            command.add_argument("--names", default="", help="participants")
            command.add_argument("--instructors", default="", help="instructors")
            command.add_argument("--renew", default="", help="new first passwords for these")
        if name == "clean":
            command.add_argument("--work-volumes", default="", help="work volumes to remove, too")
        if name == "test":
            command.add_argument("--levels", default="", help="only these levels")
    return result


def main(arguments: list[str]) -> int:
    """Run one command; the exit status."""
    chosen = parser().parse_args(arguments)
    progress = Progress()
    # a time limit of CI, or a closed terminal: clean up as at Ctrl-C
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, signal.default_int_handler)
    try:
        config = Settings.from_environ(os.environ, ROOT)
        command = _COMMANDS[chosen.command][1]
        if chosen.command not in ("settings", "status", "stop", "clean"):
            for folder in (config.state, config.tools):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                folder.chmod(0o700)
        if chosen.command in _WITHOUT_LOCK:
            return command(config, progress, chosen) or 0
        with only_one(lock_path(config.tools), progress):
            return command(config, progress, chosen) or 0
    except SetupError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except EngineError as error:
        print(f"\nThe Docker Engine: {error}", file=sys.stderr)
        print("What to do: see its log (`journalctl -u docker`), try again.", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"\nNo permission: {error}", file=sys.stderr)
        print("What to do: run it as the user who ran it first, or as root.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. The next run continues from here.", file=sys.stderr)
        return 130
