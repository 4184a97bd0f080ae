"""gpucamp-doctor: the doctor in a terminal; works when Jupyter does not.

Exit code: 0 healthy or advice only, 1 degraded, 2 blocked, 3 the doctor itself failed. With
--json the report is the only thing on stdout. With --repair CODE (command_line_repair.py): 0 what
was asked for is mended, 1 it is not, 3 the doctor failed or nobody could be asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import i18n
from ..i18n import N_
from . import command_line_repair, leash, pages, report, report_store, running, verdict
from .checks import CATALOGUE
from .command_line_repair import printable
from .examination import Found, examine
from .findings import Finding
from .head_start import HeadStart
from .kernel import Kernel, SpecManager, find_async
from .report import Finished
from .settings import Settings
from .threads import in_thread, without_threads

EXIT = {"healthy": 0, "advice": 0, "degraded": 1, "blocked": 2}
FAILED = 3

_SIGNS = {"blocker": ("✗", "31"), "degraded": ("!", "33"), "advice": ("·", "36")}


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gpucamp-doctor",
        description="Finds out why PyTorch does not work here, and how to mend it.",
        epilog="Exit code: 0 healthy, 1 degraded, 2 blocked, 3 the doctor failed; with --repair "
        "CODE: 0 it is mended, 1 it is not, 3 the doctor failed.",
    )
    parser.add_argument("--kernel", default="python3", help="kernel to examine (default: python3)")
    parser.add_argument(
        "--pid", help="examine this process as it runs: a kernel, or a program that uses torch"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--performance",
        action="store_true",
        help="measure how fast GPU, copies and all-reduce are, instead of an examination",
    )
    parser.add_argument(
        "--repair",
        metavar="CODE",
        nargs="?",
        const="",
        help="mend a finding after asking; without CODE: list what can be mended",
    )
    parser.add_argument("--yes", action="store_true", help="with --repair CODE: do not ask")
    parser.add_argument("--explain", metavar="CODE", help="say what a code such as GC101 means")
    parser.add_argument("--locale", help="language, e.g. zh_CN (default: the terminal's)")
    parser.add_argument(
        "--image-root", type=Path, default=Settings().image_root, help=argparse.SUPPRESS
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, early: HeadStart | None = None) -> int:
    """The console script. early: a probe that was started already."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    locale = i18n.normalise(arguments.locale) if arguments.locale else None
    gettext = i18n.gettext_for(locale or i18n.from_environment(os.environ))
    # a terminal may be set to ASCII; a sign that it cannot show is no reason to fail
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if arguments.explain:
        return _explain(arguments.explain.upper())
    if wrong := _wrong(arguments):
        print(f"gpucamp-doctor: {wrong}", file=sys.stderr)
        return FAILED
    try:
        if arguments.repair is not None:
            return command_line_repair.main(
                arguments.repair.upper(),
                yes=arguments.yes,
                examine=lambda: _held(arguments, gettext)[1],
                gettext=gettext,
            )
        if arguments.performance:
            return asyncio.run(leash.held(_measure(arguments, gettext), os.environ))
        return _held(arguments, gettext, early)[0]
    except KeyboardInterrupt:
        return 130
    except leash.LetGo:
        return 143
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        print(f"gpucamp-doctor: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


def _wrong(arguments: argparse.Namespace) -> str:
    """What makes no sense, by itself or together, or ""."""
    if arguments.pid is not None:
        if not running.is_pid(arguments.pid):
            return "--pid must be the number of a process, such as 123"
        if arguments.performance:
            return "--pid makes no sense with --performance"
    if arguments.repair is not None and arguments.json:
        return "--repair makes no sense with --json"
    if arguments.repair is not None and arguments.performance:
        return "--repair makes no sense with --performance"
    return (
        "--yes makes no sense without --repair CODE"
        if arguments.yes and not arguments.repair
        else ""
    )


def _explain(code: str) -> int:
    text = pages.page(code)
    if text is None:
        known = ", ".join(sorted(CATALOGUE))
        print(f"gpucamp-doctor: there is no code {code}. Codes: {known}", file=sys.stderr)
        return FAILED
    print(text)
    return 0


def _spec_manager() -> SpecManager:
    # as the server does: the image's kernel cannot be replaced by one of the same name in the home
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    # imported late, so that --explain and --help need nothing but Python
    from .kernelspecs import KernelSpecs

    return KernelSpecs()


async def _measure(arguments: argparse.Namespace, gettext: i18n.Gettext) -> int:
    # imported late, so that an examination starts without it
    from .performance import in_terminal

    settings = Settings(image_root=arguments.image_root)
    return await in_terminal.run(
        arguments.kernel, _spec_manager(), settings, gettext, as_json=arguments.json
    )


async def _examine(
    arguments: argparse.Namespace, gettext: i18n.Gettext, early: HeadStart | None
) -> tuple[int, Finished]:
    """Examines, prints and keeps the report; the exit code."""
    settings = Settings(image_root=arguments.image_root)
    manager = _spec_manager()
    finished: Finished | None = None
    pid = int(arguments.pid) if arguments.pid is not None else None

    async def find() -> Kernel:
        spec = await find_async(arguments.kernel, manager, os.environ)
        return spec if pid is None else await running.find_process(pid, spec, os.environ)

    kernel_id = running.id_of_process(pid) if pid is not None else ""
    events = examine(arguments.kernel, find, settings, kernel_id=kernel_id, early=early)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Found) and not arguments.json:
                print("\n".join(_lines(event.finding, gettext)), flush=True)
            elif isinstance(event, Finished):
                finished = event
    if finished is None:
        raise RuntimeError("the examination ended without a report")
    english = report.describe(finished, lambda text: text, "")
    problem = await in_thread(report_store.save, settings.report_file, english)
    finished = replace(finished, not_kept=problem)
    document = report.describe(finished, gettext, "gpucamp-doctor --explain {code}")
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        if problem:
            print(f"(the report could not be kept: {problem})", file=sys.stderr)
        print(_summary(document, gettext))
        mendable = [entry["code"] for entry in _mendable(document)]
        if mendable and arguments.repair is None:
            kernel = "" if arguments.kernel == "python3" else f" --kernel {arguments.kernel}"
            command = f"gpucamp-doctor{kernel} --repair {mendable[0]}"
            more = gettext(N_("The doctor can mend {codes}, such as by: {command}"))
            print(more.format(codes=", ".join(mendable), command=printable(command)))
    sys.stdout.flush()
    if verdict.may_be_told(finished):
        await verdict.tell(finished, os.environ, pauses=(), seconds=2.0)
    return EXIT[str(document["verdict"])], finished


def _held(
    arguments: argparse.Namespace, gettext: i18n.Gettext, early: HeadStart | None = None
) -> tuple[int, Finished]:
    without_threads()
    return asyncio.run(leash.held(_examine(arguments, gettext, early), os.environ))


def _mendable(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        entry
        for entry in document["findings"]
        if entry["repair"] is not None and entry["repair"]["kind"] == "here"
    ]


def _lines(finding: Finding, gettext: i18n.Gettext) -> list[str]:
    described: dict[str, Any] = finding.describe(gettext, "gpucamp-doctor --explain {code}")
    sign, colour = _SIGNS[finding.code.severity]
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        sign = f"\x1b[{colour}m{sign}\x1b[0m"
    lines = [f"{sign} {described['code']} {printable(described['title'])}"]
    lines += [f"    {printable(line)}" for line in described["evidence"]]
    lines.append(f"  → {printable(described['fix'])}")
    if described["command"]:
        lines.append(f"    $ {printable(described['command'])}")
    return lines


def _summary(document: dict[str, Any], gettext: i18n.Gettext) -> str:
    words = {
        "healthy": N_("Healthy: nothing was found."),
        "advice": N_("Healthy, with advice."),
        "degraded": N_("Something works worse than it should."),
        "blocked": N_("Something keeps you from working."),
    }
    passed, skipped = len(document["checks_passed"]), len(document["checks_skipped"])
    counts = gettext(N_("{passed} checks passed, {skipped} skipped, {seconds} s.")).format(
        passed=passed, skipped=skipped, seconds=round(document["seconds"], 1)
    )
    # not within the f-string: from Python 3.12 on, Babel would take "verdict" for a text
    word = words[document["verdict"]]
    return f"{gettext(word)} {counts}"


if __name__ == "__main__":
    sys.exit(main())
