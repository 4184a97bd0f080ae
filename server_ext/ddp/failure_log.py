"""What the log of a failed run says, as facts: who wrote what and how it ended. Pure: no verdicts.

Guarantees: any text is read, in time that grows with its length only; what is kept of a rank's
output is its last LINES lines; torchrun's own report of a failure is no exception of a rank's, and
its "Root Cause" is not among the facts: without @record torchrun stamps failures in whole seconds,
and so it often names a victim.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .tracebacks import Line, Raised, by_rank, ending, last_words, went_on

LINES = 2000
EVIDENCE_LINES = 25
EVIDENCE_CHARACTERS = 4000
_LAST_LINES = 10

_FAILURE = re.compile(
    r"^ *rank *: (\d+) \(local_rank: \d+\) *\n *exitcode *: (-?\d+) ", re.MULTILINE
)

# The agent's way to say that a rank failed or that it was asked to end.
_CHILD_FAILED, _ASKED_TO_END = "ChildFailedError", "SignalException"


@dataclass(frozen=True)
class Output:
    """What a rank wrote, or torchrun itself (rank None).

    exit_code: negative for a signal, None where it is not known; lines: the last ones; raised: the
    last exception that may have ended it, after those that led to it; survived: it most likely
    ended for another reason than that exception.
    """

    rank: int | None
    exit_code: int | None = None
    lines: Sequence[Line] = ()
    raised: Sequence[Raised] = ()
    survived: bool = False

    @property
    def end(self) -> str:
        """The last lines, to be shown."""
        return excerpt(line.text for line in self.lines[-_LAST_LINES:])

    @property
    def last_words(self) -> str:
        """The last line that the script wrote; "" if it wrote none."""
        return last_words(self.lines)


@dataclass(frozen=True)
class FailureLog:
    """exit_codes: of the ranks that torchrun saw fail, as it lists them; asked_to_end: torchrun
    was, by a signal.
    """

    outputs: Mapping[int | None, Output]
    exit_codes: Mapping[int, int]
    asked_to_end: bool

    def output(self, rank: int | None) -> Output:
        """Of a rank; an empty one where it wrote nothing."""
        return self.outputs.get(rank) or Output(rank)

    @property
    def end(self) -> str:
        """The last lines of torchrun's own, to be shown; of the ranks where it wrote none."""
        lines = [line for one in self.outputs.values() for line in one.lines[-_LAST_LINES:]]
        return self.output(None).end or excerpt(line.text for line in sorted(lines)[-_LAST_LINES:])


def read_log(log: str, exit_code: int | None) -> FailureLog:
    """log: what torchrun and its ranks wrote (tee'd, with headers), or the end of it; exit_code:
    torchrun's, None where it is not known.
    """
    codes = {int(rank): int(code) for rank, code in _FAILURE.findall(log)}
    streams = by_rank(log)
    outputs = {
        rank: _output(rank, lines, exit_code if rank is None else codes.get(rank), codes)
        for rank, lines in streams.items()
    }
    launcher = ending(streams.get(None, []))
    return FailureLog(outputs, codes, bool(launcher) and launcher[-1].name == _ASKED_TO_END)


def excerpt(texts: Iterable[str]) -> str:
    """Lines as evidence: the last ones, of a length that can be shown."""
    lines = [text[:500] for text in texts][-EVIDENCE_LINES:]
    return "\n".join(lines)[-EVIDENCE_CHARACTERS:].strip()


def excerpt_of(raised: Sequence[Raised]) -> str:
    """The last traceback whole, and of the others the end."""
    last = raised[-1].evidence
    room = max(0, EVIDENCE_LINES - len(last))
    earlier = [line for one in raised[:-1] for line in one.evidence[-4:]]
    return excerpt([*(earlier[-room:] if room else []), *last])


def _output(
    rank: int | None, lines: list[Line], code: int | None, codes: Mapping[int, int]
) -> Output:
    raised = ending(lines)
    if rank is None and raised and raised[-1].name in (_CHILD_FAILED, _ASKED_TO_END):
        raised = []
    if raised and not raised[-1].headline and code not in (None, 1):
        raised = []  # it was ended while it printed, and its exit code tells more
    survived = bool(raised) and rank is not None and _survived(lines, raised[-1], code, codes)
    return Output(rank, code, lines[-LINES:], raised, survived)


def _survived(
    lines: Sequence[Line], raised: Raised, code: int | None, codes: Mapping[int, int]
) -> bool:
    """An exception ends Python with 1. Whoever printed one and went on, ended by another code or is
    not among those that torchrun saw fail, most likely ended for another reason.
    """
    if code == 1:
        return False
    if code is None and codes:
        return True
    return (code is not None and code > 0) or went_on(lines, raised)
