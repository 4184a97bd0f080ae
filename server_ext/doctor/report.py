"""Facts -> outcomes -> verdict.

Guarantees: pure. A check runs once its probes are done and every check of the layers beneath it
is decided; where a layer beneath was stopped, it is skipped and says by what. Thus `advance`
gives the same outcomes in whatever order probes end, and the first broken layer is named, not its
consequences. A code is found at most once, by one check. A check passes only when it looked: one
that found nothing because a probe failed, or did not tell what it always tells (shapes/), is
unexamined, and the layer "examination", decided last, says so unless a finding explains it already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .facts import Facts, ProbeResult
from .findings import LAYERS, SEVERITIES, CannotTell, Check, Finding, Gettext

Verdict = Literal["healthy", "advice", "degraded", "blocked"]
State = Literal["passed", "found", "stopped", "unexamined", "broken"]

# what the checks could not look at: a probe of no process, made when all others are decided
EXAMINATION = "examination"
# these run only when this one told how the kernel's Python is
_AFTER_PYTHON = ("packages", "ipykernel", "torch")


@dataclass(frozen=True)
class Missing:
    """What a check would have had to know. kind: the failure's, or "no-fact"."""

    probe: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Outcome:
    """What became of a check. stopped_by: the code that made it pointless; error: a bug in the
    check; missing: what it asked for in vain.
    """

    check: Check
    findings: tuple[Finding, ...] = ()
    stopped_by: str = ""
    error: str = ""
    missing: tuple[Missing, ...] = ()

    @property
    def state(self) -> State:
        """Exactly one of five."""
        if self.error:
            return "broken"
        if self.stopped_by:
            return "stopped"
        if self.findings:
            return "found"
        return "unexamined" if self.missing else "passed"

    @property
    def reason(self) -> str:
        """Why it says nothing: a code, or in English; "" when it passed or found something."""
        if self.state == "unexamined":
            return "; ".join(f"{item.probe}: {item.detail}" for item in self.missing)
        return self.error or self.stopped_by


def stopping_code(layer: str, outcomes: Iterable[Outcome]) -> str:
    """The code that stops `layer`, by a finding in a layer beneath it, or ""."""
    beneath = _beneath(layer)
    found = worst_first(
        finding
        for outcome in outcomes
        if outcome.check.layer in beneath
        for finding in outcome.findings
        if finding.code.stops
    )
    return found[0].code.code if found else ""


def advance(checks: Sequence[Check], facts: Facts, decided: Mapping[str, Outcome]) -> list[Outcome]:
    """The outcomes that these facts newly allow; `decided`: earlier ones by check name
    (unchanged).
    """
    outcomes = dict(decided)
    new: list[Outcome] = []
    progress = True
    while progress:
        progress = False
        if all(check.name in outcomes for check in checks if EXAMINATION not in check.needs):
            summary = summarise(outcomes.values(), facts.results)
            facts = Facts({**facts.results, EXAMINATION: summary})
        for check in checks:
            if check.name in outcomes or not _ready(check, checks, outcomes):
                continue
            stopped_by = stopping_code(check.layer, outcomes.values())
            if stopped_by:
                outcome = Outcome(check, stopped_by=stopped_by)
            elif all(name in facts.results for name in check.needs):
                outcome = _run(check, facts)
            else:
                continue
            outcomes[check.name] = outcome
            new.append(outcome)
            progress = True
    return new


def summarise(outcomes: Iterable[Outcome], results: Mapping[str, ProbeResult]) -> ProbeResult:
    """What was not looked at and no finding explains, as facts: {unexamined: [{probe, kind,
    detail, seconds, stderr, checks}], broken: [{check, error}]}.
    """
    decided = sorted(outcomes, key=lambda outcome: outcome.check.name)
    told = {probe for outcome in decided for f in outcome.findings for probe in f.tells}
    unexamined: dict[tuple[str, str], dict[str, object]] = {}
    for outcome in decided:
        for item in outcome.missing:
            cause = _cause(item, results)
            if cause.probe in told or item.probe in told:
                continue
            result = results.get(cause.probe)
            failure = result.failure if result is not None else None
            entry = unexamined.setdefault(
                (cause.probe, cause.detail),
                {
                    "probe": cause.probe,
                    "kind": cause.kind,
                    "detail": cause.detail,
                    "seconds": round(result.seconds, 1) if result is not None else 0.0,
                    "stderr": failure.stderr if failure is not None else "",
                    "checks": [],
                },
            )
            names = entry["checks"]
            if isinstance(names, list) and outcome.check.name not in names:
                names.append(outcome.check.name)
    value = {
        "unexamined": [unexamined[key] for key in sorted(unexamined)],
        "broken": [
            {"check": outcome.check.name, "error": outcome.error}
            for outcome in decided
            if outcome.error
        ],
    }
    return ProbeResult(EXAMINATION, value=value)


def _cause(item: Missing, results: Mapping[str, ProbeResult]) -> Missing:
    """A probe that was not started because the kernel's Python failed has that failure."""
    python = results.get("python")
    failure = python.failure if python is not None else None
    if failure is None or item.kind != "not-started" or item.probe not in _AFTER_PYTHON:
        return item
    return Missing("python", failure.kind, failure.detail)


def verdict(findings: Iterable[Finding]) -> Verdict:
    """The worst severity, in the report's words."""
    found = {finding.code.severity for finding in findings}
    if "blocker" in found:
        return "blocked"
    if "degraded" in found:
        return "degraded"
    return "advice" if found else "healthy"


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """By severity, then layer from the ground up, then code."""
    layers = list(LAYERS)
    return sorted(
        findings,
        key=lambda finding: (
            SEVERITIES.index(finding.code.severity),
            layers.index(finding.code.layer),
            finding.code.code,
        ),
    )


def describe_facts(results: Mapping[str, ProbeResult]) -> dict[str, object]:
    """All facts and failures as JSON."""
    described: dict[str, object] = {}
    for name, result in sorted(results.items()):
        entry: dict[str, object] = {"seconds": round(result.seconds, 3)}
        if result.failure is None:
            entry["value"] = dict(result.value)
        else:
            failure = result.failure
            entry["failure"] = {
                "kind": failure.kind,
                "detail": failure.detail,
                "exit_code": failure.exit_code,
                "stderr": failure.stderr,
            }
        described[name] = entry
    return described


@dataclass(frozen=True)
class Finished:
    """All that an examination found out. started_at: ISO 8601, UTC; results: by probe; kernel_id:
    of the running kernel that it was about, "": of what the kernel's spec would start; not_kept:
    why it could not be written to disk, "" if it is there.
    """

    started_at: str
    seconds: float
    kernel: str
    outcomes: tuple[Outcome, ...]
    results: Mapping[str, ProbeResult]
    kernel_id: str = ""
    not_kept: str = ""


def describe(finished: Finished, gettext: Gettext, docs_url: str) -> dict[str, object]:
    """The whole report as JSON, in the reader's language."""
    reasons = {o.check.name: o.reason for o in finished.outcomes if o.reason}
    findings = worst_first(f for outcome in finished.outcomes for f in outcome.findings)
    return {
        "started_at": finished.started_at,
        "seconds": round(finished.seconds, 3),
        "kernel": finished.kernel,
        "kernel_id": finished.kernel_id,
        "verdict": verdict(findings),
        "findings": [finding.describe(gettext, docs_url) for finding in findings],
        "checks_passed": _named(finished.outcomes, "passed"),
        # unexamined ones, too: who reads only the older fields must not take them for passed
        "checks_skipped": sorted(reasons),
        "checks_unexamined": _named(finished.outcomes, "unexamined"),
        "skipped_because": reasons,
        "facts": describe_facts(finished.results),
        "not_kept": finished.not_kept,
    }


def _named(outcomes: Iterable[Outcome], state: State) -> list[str]:
    return sorted(outcome.check.name for outcome in outcomes if outcome.state == state)


def _run(check: Check, facts: Facts) -> Outcome:
    asked: set[str] = set()
    untold: dict[str, str] = {}
    findings: list[Finding] = []
    missing: list[Missing] = []
    try:
        for finding in check.run(facts.noting(asked, untold)):
            findings.append(finding)
    except CannotTell as problem:
        untold.pop(problem.probe, None)  # the check says it better
        if problem.probe not in asked:
            missing.append(Missing(problem.probe, "no-fact", problem.why))
    except Exception as error:  # a bug in one check must not cost the others
        return Outcome(check, error=f"{type(error).__name__}: {error}")
    for probe in sorted(asked):
        failure = facts.failure(probe)
        if failure is not None:
            missing.append(Missing(probe, failure.kind, failure.detail))
    missing += [Missing(probe, "no-fact", why) for probe, why in sorted(untold.items())]
    return Outcome(check, _once_per_code(findings), missing=tuple(missing))


def _once_per_code(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The first finding of each code, with the evidence of all of its kind."""
    merged: dict[str, Finding] = {}
    for finding in findings:
        known = merged.get(finding.code.code)
        merged[finding.code.code] = (
            finding if known is None else replace(known, evidence=known.evidence + finding.evidence)
        )
    return tuple(merged.values())


def _ready(check: Check, checks: Sequence[Check], outcomes: Mapping[str, Outcome]) -> bool:
    beneath = _beneath(check.layer)
    return all(other.name in outcomes for other in checks if other.layer in beneath)


def _beneath(layer: str) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(LAYERS[layer])
    while waiting:
        lower = waiting.pop()
        if lower not in found:
            found.add(lower)
            waiting.extend(LAYERS[lower])
    return frozenset(found)
