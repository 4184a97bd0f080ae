"""Why a run failed: the end of its log and its exit codes -> root cause, fix, evidence. Pure.

Guarantees: a run that ended with 0 has no diagnosis; a failed one always has; a rank that failed
because another was gone ("victim") is never named while a cause is known. torchrun's own "Root
Cause" only breaks ties: without @record it stamps failures in whole seconds, and so it often
names a victim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..i18n import N_, Gettext
from .signatures import EXCEPTION, SIGNALS, SIGNATURES, SILENT_EXIT, VICTIM, Signature

HEADER = re.compile(r"\[default(\d{1,5})\]:")
EVIDENCE_LINES = 25
EVIDENCE_CHARACTERS = 4000
_MATCHED_CHARACTERS = 4000  # of one line: a pattern never meets a line without end

_RANK_PREFIX = re.compile(r"^\[rank\d+\]:\s?")
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION_LINE = re.compile(r"^[A-Za-z_][\w.]*(?::|$)")
_FAILURE = re.compile(
    r"^ *rank *: (\d+) \(local_rank: \d+\) *\n *exitcode *: (-?\d+) ", re.MULTILINE
)
_LOG_LINE = re.compile(r"^(?:\[|[DIWEF]\d{4} |\s*$)")  # what another writer put behind it

# The agent's way to say that a rank failed or that it was asked to end.
_AGENT_ENDINGS = ("ChildFailedError", "SignalException")


@dataclass(frozen=True)
class Diagnosis:
    """A cause and a fix: msgids with `params`; `evidence` is what the log said."""

    code: str
    cause: str
    fix: str
    rank: int | None = None
    evidence: str = ""
    params: Mapping[str, object] = field(default_factory=dict)

    def view(self, gettext: Gettext) -> dict[str, Any]:
        """As the REST interface shows it, in a language."""
        return {
            "code": self.code,
            "cause": _fill(gettext(self.cause), self.params),
            "fix": _fill(gettext(self.fix), self.params),
            "rank": self.rank,
            "evidence": self.evidence,
        }


@dataclass(frozen=True)
class _Candidate:
    weight: int
    position: int  # of its first line in the log
    diagnosis: Diagnosis

    @property
    def order(self) -> tuple[int, int]:
        return self.weight, self.position


@dataclass(frozen=True)
class _Line:
    position: int
    text: str


def diagnose(log: str, exit_code: int | None) -> Diagnosis | None:
    """Explain how a run ended.

    log: what torchrun and its ranks wrote (tee'd, with headers), or the end of it.
    exit_code: of torchrun; negative for a signal; None when it is not known.
    """
    if exit_code == 0:
        return None
    streams = _by_rank(log)
    exit_codes = {int(rank): int(code) for rank, code in _FAILURE.findall(log)}
    candidates = [*_texts(streams), *_exit_codes(exit_codes, streams)]
    if candidates:
        return min(candidates, key=lambda candidate: candidate.order).diagnosis
    return _unknown(exit_code, streams)


def lost(log: str) -> Diagnosis:
    """For a run whose server ended before it: what its log knows, else that."""
    streams = _by_rank(log)
    exit_codes = {int(rank): int(code) for rank, code in _FAILURE.findall(log)}
    known = [c for c in (*_texts(streams), *_exit_codes(exit_codes, streams)) if c.weight < VICTIM]
    if known:
        return min(known, key=lambda candidate: candidate.order).diagnosis
    return Diagnosis(
        "server-ended",
        N_("The server ended while the run was going on; how the run ended is not known."),
        N_("Its log is kept. Start it again; load the last checkpoint if the script writes one."),
    )


def not_started(reason: str) -> Diagnosis:
    """For a command that could not be started at all."""
    return Diagnosis(
        "not-started",
        N_("torchrun could not be started: {reason}."),
        N_("Run the GPU doctor; Reset environment brings a working torchrun back."),
        params={"reason": reason},
    )


def _by_rank(log: str) -> dict[int | None, list[_Line]]:
    streams: dict[int | None, list[_Line]] = {}
    for position, line in enumerate(log.splitlines()):
        rank: int | None = None
        found = HEADER.match(line)
        if found:
            rank, line = int(found[1]), HEADER.sub("", line)
        text = _RANK_PREFIX.sub("", line)[:_MATCHED_CHARACTERS]
        streams.setdefault(rank, []).append(_Line(position, text))
    return streams


def _texts(streams: Mapping[int | None, list[_Line]]) -> Iterator[_Candidate]:
    for rank, lines in streams.items():
        tail = lines[-2000:]
        yield from _anywhere(rank, tail)
        start = _last_exception(tail)
        if start is None:
            continue
        text = "\n".join(line.text for line in tail[start : start + 40])
        headline = tail[start].text
        if rank is None and any(name in headline for name in _AGENT_ENDINGS):
            continue
        position = tail[start].position
        evidence = _traceback(tail, start)
        signature = next((one for one in SIGNATURES if one.pattern.search(text)), None)
        if signature is not None:
            yield _found(signature, text, rank, position, evidence)
        elif headline.startswith("KeyboardInterrupt"):
            continue
        else:
            yield _Candidate(EXCEPTION, position, _exception(rank, headline[:300], evidence))


def _exception(rank: int | None, error: str, evidence: str) -> Diagnosis:
    if rank is None:  # torchrun itself does not work, and no script can be at fault
        return Diagnosis(
            "launcher-failed",
            N_("torchrun ended with {error}"),
            N_("Run the GPU doctor; Reset environment brings a working torchrun back."),
            None,
            evidence,
            {"error": error},
        )
    return Diagnosis(
        "exception",
        N_("Rank {rank} ended with {error}"),
        N_("The last lines of the traceback show where; correct the script there."),
        rank,
        evidence,
        {"rank": rank, "error": error},
    )


def _anywhere(rank: int | None, lines: list[_Line]) -> Iterator[_Candidate]:
    text = "\n".join(line.text for line in lines)
    for signature in SIGNATURES:
        if not signature.anywhere:
            continue
        match = signature.pattern.search(text)
        if match:
            index = text.count("\n", 0, match.start())
            evidence = _shorten([line.text for line in lines[max(0, index - 2) : index + 6]])
            yield _found(
                signature,
                text[match.start() :][:_MATCHED_CHARACTERS],
                rank,
                lines[index].position,
                evidence,
                match,
            )


def _found(
    signature: Signature,
    text: str,
    rank: int | None,
    position: int,
    evidence: str,
    match: re.Match[str] | None = None,
) -> _Candidate:
    match = match or signature.pattern.search(text)
    params = {name: value or "" for name, value in match.groupdict().items()} if match else {}
    return _Candidate(
        signature.weight,
        position,
        Diagnosis(signature.code, signature.cause, signature.fix, rank, evidence, params),
    )


def _exit_codes(
    codes: Mapping[int, int], streams: Mapping[int | None, list[_Line]]
) -> Iterator[_Candidate]:
    """Ranks that ended without a word: by a signal, or with a code and no traceback."""
    for order, (rank, code) in enumerate(codes.items()):
        lines = streams.get(rank, [])
        evidence = _shorten([line.text for line in lines[-10:]])
        if code in SIGNALS:
            name, cause, fix, weight = SIGNALS[code]
            yield _Candidate(
                weight, order, Diagnosis(name, cause, fix, rank, evidence, {"rank": rank})
            )
        elif code not in (0, -15) and _last_exception(lines[-2000:]) is None:
            yield _Candidate(
                SILENT_EXIT,
                order,
                Diagnosis(
                    "exit-code",
                    N_("Rank {rank} ended with exit code {code} and said nothing about an error."),
                    N_("Look for sys.exit() or os._exit(); the last lines show how far it came."),
                    rank,
                    evidence,
                    {"rank": rank, "code": code},
                ),
            )


def _unknown(exit_code: int | None, streams: Mapping[int | None, list[_Line]]) -> Diagnosis:
    evidence = _shorten([line.text for line in streams.get(None, [])[-10:]])
    if exit_code == -9:
        return Diagnosis(
            "launcher-killed",
            N_("torchrun itself was killed (SIGKILL): by hand, or for want of memory."),
            N_("Use a smaller batch or fewer processes if you did not kill it yourself."),
            evidence=evidence,
        )
    return Diagnosis(
        "unknown",
        N_("The run ended with exit code {code}; its log names no known cause."),
        N_("Read the last lines of each rank's log."),
        evidence=evidence,
        params={"code": "?" if exit_code is None else exit_code},
    )


def _last_exception(lines: list[_Line]) -> int | None:
    """Index of the line that names the exception of the last traceback, None without one."""
    for start in range(len(lines) - 1, -1, -1):
        text = lines[start].text
        if text.strip() != _TRACEBACK:
            # Python reports a script that it cannot compile without that line.
            if re.match(r"(?:SyntaxError|IndentationError|TabError): ", text):
                return start
            continue
        for index in range(start + 1, min(start + 400, len(lines))):
            candidate = lines[index].text
            if candidate and not candidate[0].isspace() and _EXCEPTION_LINE.match(candidate):
                return index
        return None
    return None


def _traceback(lines: list[_Line], exception: int) -> str:
    first = exception
    while first > 0 and lines[first].text.strip() != _TRACEBACK and exception - first < 200:
        first -= 1
    if lines[first].text.strip() != _TRACEBACK:
        first = max(0, exception - 4)
    last = exception + 1
    while last < min(len(lines), exception + 8) and not _LOG_LINE.match(lines[last].text):
        last += 1
    block = [line.text for line in lines[first:last]]
    # Where it happened and what, rather than how the interpreter came there.
    return _shorten(block[:1] + block[1:][-(EVIDENCE_LINES - 1) :])


def _shorten(lines: list[str]) -> str:
    return "\n".join(line[:500] for line in lines[-EVIDENCE_LINES:])[-EVIDENCE_CHARACTERS:].strip()


def _fill(text: str, params: Mapping[str, object]) -> str:
    """As str.format, but a damaged record or translation cannot make it fail."""
    try:
        return text.format(**params)
    except (KeyError, IndexError, ValueError, AttributeError):
        return text
