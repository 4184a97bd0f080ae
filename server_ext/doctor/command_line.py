"""gpucamp-doctor: the doctor in a terminal; works when Jupyter does not.

Exit code: 0 healthy or advice only, 1 degraded, 2 blocked, 3 the doctor itself failed. With
--json the report is the only thing on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

from .. import i18n
from ..i18n import N_
from . import pages, report, report_store
from .checks import CATALOGUE
from .examination import Found, examine
from .findings import Finding
from .kernel import SpecManager, find_async
from .report import Finished
from .settings import Settings

EXIT = {"healthy": 0, "advice": 0, "degraded": 1, "blocked": 2}
FAILED = 3

_SIGNS = {"blocker": ("✗", "31"), "degraded": ("!", "33"), "advice": ("·", "36")}


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gpucamp-doctor",
        description="Finds out why PyTorch does not work here, and how to mend it.",
        epilog="Exit code: 0 healthy, 1 degraded, 2 blocked, 3 the doctor failed.",
    )
    parser.add_argument("--kernel", default="python3", help="kernel to examine (default: python3)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--explain", metavar="CODE", help="say what a code such as GC101 means")
    parser.add_argument("--locale", help="language, e.g. zh_CN (default: the terminal's)")
    parser.add_argument(
        "--image-root", type=Path, default=Settings().image_root, help=argparse.SUPPRESS
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """The console script."""
    arguments = _arguments(sys.argv[1:] if argv is None else argv)
    locale = i18n.normalise(arguments.locale) if arguments.locale else None
    gettext = i18n.gettext_for(locale or i18n.from_environment(os.environ))
    # a terminal may be set to ASCII; a sign that it cannot show is no reason to fail
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if arguments.explain:
        return _explain(arguments.explain.upper())
    try:
        return asyncio.run(_examine(arguments, gettext))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        print(f"gpucamp-doctor: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED


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


async def _examine(arguments: argparse.Namespace, gettext: i18n.Gettext) -> int:
    settings = Settings(image_root=arguments.image_root)
    manager = _spec_manager()
    finished: Finished | None = None
    events = examine(
        arguments.kernel, lambda: find_async(arguments.kernel, manager, os.environ), settings
    )
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Found) and not arguments.json:
                print("\n".join(_lines(event.finding, gettext)), flush=True)
            elif isinstance(event, Finished):
                finished = event
    if finished is None:
        raise RuntimeError("the examination ended without a report")
    document = report.describe(finished, gettext, "gpucamp-doctor --explain {code}")
    english = report.describe(finished, lambda text: text, "")
    problem = await asyncio.to_thread(report_store.save, settings.report_file, english)
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        if problem:
            print(f"(the report could not be kept: {problem})", file=sys.stderr)
        print(_summary(document, gettext))
    return EXIT[str(document["verdict"])]


def _lines(finding: Finding, gettext: i18n.Gettext) -> list[str]:
    described: dict[str, Any] = finding.describe(gettext, "gpucamp-doctor --explain {code}")
    sign, colour = _SIGNS[finding.code.severity]
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        sign = f"\x1b[{colour}m{sign}\x1b[0m"
    lines = [f"{sign} {described['code']} {_printable(described['title'])}"]
    lines += [f"    {_printable(line)}" for line in described["evidence"]]
    lines.append(f"  → {_printable(described['fix'])}")
    if described["command"]:
        lines.append(f"    $ {_printable(described['command'])}")
    return lines


def _printable(text: str) -> str:
    """Evidence may come from anywhere: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)


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
