"""Why a run failed: what its log says (failure_log.py) -> root cause, fix, evidence. Pure.

Guarantees: a run that ended with 0 has no diagnosis; a failed one always has; a rank that failed
because another was gone ("victim") is never named while a cause is known; of explanations that
weigh the same the one that stands first in the log counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from signal import Signals
from typing import Any

from ..i18n import N_, Gettext
from .failure_log import FailureLog, Output, excerpt, excerpt_of, read_log
from .signatures import (
    EXCEPTION,
    LAUNCHER,
    LOGIC_ERRORS,
    SIGNAL,
    SIGNALS,
    SIGNATURES,
    SILENT_EXIT,
    SURVIVED,
    Signature,
)
from .tracebacks import MATCHED_CHARACTERS, Raised


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


def diagnose(log: str, exit_code: int | None) -> Diagnosis | None:
    """Explain how a run ended.

    log: what torchrun and its ranks wrote (tee'd, with headers), or the end of it.
    exit_code: of torchrun; negative for a signal; None when it is not known.
    """
    if exit_code == 0:
        return None
    said = read_log(log, exit_code)
    candidates = _candidates(said)
    if exit_code in (-9, -15) or said.asked_to_end:
        candidates.append(_Candidate(LAUNCHER, 0, _launcher_killed(exit_code, said)))
    if candidates:
        return min(candidates, key=lambda candidate: candidate.order).diagnosis
    return _unknown(exit_code, said)


def lost(log: str, *, asked: bool = False) -> Diagnosis:
    """For a run whose server ended before it: what its log knows, else that. asked: whether the
    server was told to end.
    """
    known = [one for one in _candidates(read_log(log, None)) if one.weight < SURVIVED]
    if known:
        return min(known, key=lambda candidate: candidate.order).diagnosis
    fix = N_("Its log is kept. Start it again; load the last checkpoint if the script writes one.")
    if asked:
        cause = N_("The server was stopped or reset while the run was going on, and ended it.")
        return Diagnosis("server-stopped", cause, fix)
    return Diagnosis(
        "server-ended",
        N_(
            "The server ended while the run was going on, without being asked to: its memory was "
            "full, or the machine was restarted, most often."
        ),
        fix,
    )


def not_started(reason: str) -> Diagnosis:
    """For a command that could not be started at all."""
    return Diagnosis(
        "not-started",
        N_("torchrun could not be started: {reason}."),
        N_("Run the GPU doctor; Reset environment brings a working torchrun back."),
        params={"reason": reason},
    )


def _candidates(said: FailureLog) -> list[_Candidate]:
    found: list[_Candidate] = []
    explained: set[int | None] = set()
    for output in said.outputs.values():
        found += _anywhere(output)
        if not output.raised:
            continue
        candidate = _exception(output.rank, output.raised)
        if output.survived:
            candidate = replace(candidate, weight=max(candidate.weight, SURVIVED))
        else:
            explained.add(output.rank)
        # of an interruption the exit code tells more, where there is one
        if candidate.diagnosis.code != "interrupted" or output.exit_code is None:
            found.append(candidate)
    found += _exit_codes(said, explained)
    return found


def _exception(rank: int | None, chain: Sequence[Raised]) -> _Candidate:
    """What an exception and those that led to it say: a cause before what is only an error, an
    error before a loss that another rank is to blame for; of equals the last.
    """
    evidence = excerpt_of(chain)
    found = [_explain(rank, raised, evidence) for raised in chain]
    groups = ("ExceptionGroup", "BaseExceptionGroup")
    if chain[-1].name not in groups:
        found = [
            one
            for one, raised in zip(found, chain, strict=True)
            if raised.name not in groups or one.weight < EXCEPTION
        ]
    best = min(found, key=lambda candidate: (candidate.weight, -candidate.position))
    return replace(best, position=chain[-1].position)


def _explain(rank: int | None, raised: Raised, evidence: str) -> _Candidate:
    for signature in SIGNATURES:
        match = _matches(signature, raised)
        if match:
            return _found(signature, match, rank, raised.position, evidence)
    error = raised.error[:300]
    if rank is None:  # torchrun itself does not work, and no script can be at fault
        diagnosis = Diagnosis(
            "launcher-failed",
            N_("torchrun ended with {error}"),
            N_("Run the GPU doctor; Reset environment brings a working torchrun back."),
            None,
            evidence,
            {"error": error},
        )
    elif not raised.headline:
        diagnosis = Diagnosis(
            "exception-lost",
            N_(
                "Rank {rank} ended with an exception, but its name was never printed: a signal "
                "came in between."
            ),
            N_(
                "That signal is most often the end of a DataLoader worker: use fewer workers or a "
                "smaller batch. With num_workers=0 the exception itself is printed."
            ),
            rank,
            evidence,
            {"rank": rank},
        )
        return _Candidate(SILENT_EXIT, raised.position, diagnosis)
    elif raised.headline.startswith("KeyboardInterrupt"):
        name, cause, fix, weight = SIGNALS[-2]
        return _Candidate(
            weight, raised.position, Diagnosis(name, cause, fix, rank, evidence, {"rank": rank})
        )
    else:
        diagnosis = Diagnosis(
            "exception",
            N_("Rank {rank} ended with {error}"),
            N_("The last lines of the traceback show where; correct the script there."),
            rank,
            evidence,
            {"rank": rank, "error": error},
        )
    return _Candidate(EXCEPTION, raised.position, diagnosis)


def _matches(signature: Signature, raised: Raised) -> re.Match[str] | None:
    if signature.exit_code is not None:
        return None  # what a script prints before it ends, never an exception's message
    if raised.name in LOGIC_ERRORS and not signature.logic_error:
        return None  # the script's own words
    if signature.with_frames is not None:
        found = signature.with_frames.search(f"{raised.frames}\n{raised.text}")
        if found:
            return found
    return signature.pattern.search(raised.text)


def _anywhere(output: Output) -> Iterator[_Candidate]:
    lines = output.lines
    text = "\n".join(line.text for line in lines)
    for signature in SIGNATURES:
        pattern = signature.anywhere
        if pattern is None or (signature.of_torchrun and output.rank is not None):
            continue
        if signature.exit_code is not None and output.exit_code != signature.exit_code:
            continue
        match = pattern.search(text)
        if match:
            index = text.count("\n", 0, match.start())
            evidence = excerpt(line.text for line in lines[max(0, index - 2) : index + 6])
            position = lines[index].position
            yield _found(signature, match, output.rank, position, evidence, printed=True)


def _found(
    signature: Signature,
    match: re.Match[str],
    rank: int | None,
    position: int,
    evidence: str,
    *,
    printed: bool = False,
) -> _Candidate:
    params = {name: (value or "")[:MATCHED_CHARACTERS] for name, value in match.groupdict().items()}
    if signature.packages:
        first = params["name"].partition(".")[0]
        params["package"] = signature.packages.get(first, first)
    return _Candidate(
        signature.printed_weight if printed else signature.weight,
        position,
        Diagnosis(signature.code, signature.cause, signature.fix, rank, evidence, params),
    )


def _exit_codes(said: FailureLog, explained: Collection[int | None]) -> Iterator[_Candidate]:
    """Ranks that ended without a word: by a signal, or with a code and no traceback."""
    for order, (rank, code) in enumerate(said.exit_codes.items()):
        output = said.output(rank)
        evidence = output.end
        # A shell says 128 + number where what it started ended by a signal.
        ended_by = 128 - code if 128 < code < 128 + 65 else code
        if ended_by in SIGNALS:
            name, cause, fix, weight = SIGNALS[ended_by]
            yield _Candidate(
                weight, order, Diagnosis(name, cause, fix, rank, evidence, {"rank": rank})
            )
        elif code < 0:
            yield _Candidate(
                SIGNAL,
                order,
                Diagnosis(
                    "signal",
                    N_("Rank {rank} was ended by the signal {signal}."),
                    N_("The last lines show how far it came. A library or a command sent it."),
                    rank,
                    evidence,
                    {"rank": rank, "signal": _signal_name(-code)},
                ),
            )
        elif code != 0 and rank not in explained:
            words = output.last_words
            yield _Candidate(
                SILENT_EXIT,
                order,
                Diagnosis(
                    "exit-code",
                    N_("Rank {rank} ended with exit code {code}. Its last line: {words}")
                    if words
                    else N_("Rank {rank} ended with exit code {code} and not a word."),
                    N_("Look for sys.exit() or os._exit(); the last lines show how far it came."),
                    rank,
                    evidence,
                    {"rank": rank, "code": code, "words": words},
                ),
            )


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return str(number)


def _launcher_killed(exit_code: int | None, said: FailureLog) -> Diagnosis:
    evidence = said.end
    if exit_code == -9:
        return Diagnosis(
            "launcher-killed",
            N_("torchrun itself was killed (SIGKILL): by hand, or for want of memory."),
            N_("Use a smaller batch or fewer processes if you did not kill it yourself."),
            evidence=evidence,
        )
    return Diagnosis(
        "launcher-terminated",
        N_("torchrun itself was asked to end, from outside this run."),
        N_("Start it again if that was not you: no error of the script is known."),
        evidence=evidence,
    )


def _unknown(exit_code: int | None, said: FailureLog) -> Diagnosis:
    return Diagnosis(
        "unknown",
        N_("The run ended with exit code {code}; its log names no known cause."),
        N_("Read the last lines of each rank's log."),
        evidence=said.end,
        params={"code": "?" if exit_code is None else exit_code},
    )


def _fill(text: str, params: Mapping[str, object]) -> str:
    """As str.format, but a damaged record or translation cannot make it fail."""
    try:
        return text.format(**params)
    except (KeyError, IndexError, ValueError, AttributeError):
        return text
