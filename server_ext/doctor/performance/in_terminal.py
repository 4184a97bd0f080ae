"""`gpucamp-doctor --performance`: the performance examination in a terminal.

Exit code as of an examination: 0 nothing or advice, 1 degraded, 2 blocked, 3 not measured. With
`as_json` the result is the only thing on stdout.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from ...errors import GpucampServerError
from ...i18n import N_, Gettext
from .. import report
from ..findings import Finding
from ..kernel import SpecManager, find_async
from ..settings import Settings
from .figures import FIGURES, Figure, Skipped
from .measure import Measured, Step
from .measurer import Measurer, describe

EXPLAIN = "gpucamp-doctor --explain {code}"
FAILED = 3
_EXIT = {"healthy": 0, "advice": 0, "degraded": 1, "blocked": 2}
_BAR = 20


async def run(
    kernel: str, manager: SpecManager, settings: Settings, gettext: Gettext, *, as_json: bool
) -> int:
    """Measures and prints."""
    try:
        return await _run(kernel, manager, settings, gettext, as_json)
    except GpucampServerError as error:
        print(f"gpucamp-doctor: {_printable(error.render(gettext))}", file=sys.stderr)
        return FAILED


async def _run(
    kernel: str, manager: SpecManager, settings: Settings, gettext: Gettext, as_json: bool
) -> int:
    measured: Measured | None = None
    events = Measurer(settings).events(lambda: find_async(kernel, manager, os.environ))
    progress = sys.stderr.isatty() and not as_json
    async with aclosing(events) as found:
        async for event in found:
            if isinstance(event, Measured):
                measured = event
            if progress and isinstance(event, Step):
                title = FIGURES.get(event.name.rpartition(" ")[2])
                print(f"\r\x1b[K{gettext(title) if title else ''}", end="", file=sys.stderr)
            elif progress:
                print("\r\x1b[K", end="", file=sys.stderr)
            if not as_json:
                for line in _lines(event, gettext):
                    print(_printable(line), flush=True)
    if measured is None:
        raise RuntimeError("the measurement ended without a result")
    if as_json:
        print(json.dumps(describe(measured, gettext, EXPLAIN), ensure_ascii=False, indent=1))
    return _EXIT[report.verdict(measured.findings)]


def _lines(event: object, gettext: Gettext) -> list[str]:
    match event:
        case Figure():
            return [_figure(event, gettext)]
        case Skipped():
            said = event.describe(gettext)
            words = gettext(N_("{what}: skipped, {why}"))
            return ["– " + _fill(words, {"what": said["title"], "why": said["text"]})]
        case Finding():
            said = event.describe(gettext, EXPLAIN)
            evidence = said["evidence"]
            lines = [f"! {said['code']} {said['title']}"]
            lines += [f"    {line}" for line in (evidence if isinstance(evidence, list) else ())]
            return [*lines, f"  → {said['fix']}"]
        case Measured():
            words = gettext(N_("Measured in {seconds} s."))
            return [_fill(words, {"seconds": round(event.seconds, 1)})]
    return []


def _figure(figure: Figure, gettext: Gettext) -> str:
    where = f" (cuda:{figure.device})" if figure.device is not None else ""
    line = f"  {gettext(FIGURES[figure.name])}{where}: {amount(figure.value, figure.unit)}"
    if figure.expected:
        share = figure.value / figure.expected
        filled = max(0, min(_BAR, round(share * _BAR)))
        words = gettext(N_("{share} percent of the expected {amount}"))
        of = _fill(
            words, {"share": round(share * 100), "amount": amount(figure.expected, figure.unit)}
        )
        line += f"  [{'#' * filled}{'.' * (_BAR - filled)}] {of}"
    return line


def amount(value: float, unit: str) -> str:
    """With the prefix that suits it: 19.5 TFLOPS, 25.1 GB/s."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= factor and not (prefix == "T" and unit == "B/s"):
            return f"{value / factor:.1f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def _fill(text: str, values: Mapping[str, Any]) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def _printable(text: str) -> str:
    """Names come from anywhere: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
