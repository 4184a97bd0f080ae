"""Facts -> outcomes -> verdict.

Guarantees: pure. A check runs once its probes are done and every check of the layers beneath it
is decided; where a layer beneath was stopped, it is skipped and says by what. Thus `advance`
gives the same outcomes in whatever order probes end, and the first broken layer is named, not its
consequences. A code is found at most once, by one check.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from .facts import Facts, ProbeResult
from .findings import LAYERS, SEVERITIES, Check, Finding, Gettext

Verdict = Literal["healthy", "advice", "degraded", "blocked"]


@dataclass(frozen=True)
class Outcome:
    """What became of a check. stopped_by: the code that made it pointless; error: a bug in the
    check.
    """

    check: Check
    findings: tuple[Finding, ...] = ()
    stopped_by: str = ""
    error: str = ""


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
    """All that an examination found out. started_at: ISO 8601, UTC; results: by probe."""

    started_at: str
    seconds: float
    kernel: str
    outcomes: tuple[Outcome, ...]
    results: Mapping[str, ProbeResult]


def describe(finished: Finished, gettext: Gettext, docs_url: str) -> dict[str, object]:
    """The whole report as JSON, in the reader's language."""
    reasons = {
        outcome.check.name: outcome.stopped_by or outcome.error
        for outcome in finished.outcomes
        if outcome.stopped_by or outcome.error
    }
    findings = worst_first(f for outcome in finished.outcomes for f in outcome.findings)
    return {
        "started_at": finished.started_at,
        "seconds": round(finished.seconds, 3),
        "kernel": finished.kernel,
        "verdict": verdict(findings),
        "findings": [finding.describe(gettext, docs_url) for finding in findings],
        "checks_passed": sorted(
            outcome.check.name
            for outcome in finished.outcomes
            if not (outcome.findings or outcome.stopped_by or outcome.error)
        ),
        "checks_skipped": sorted(reasons),
        "skipped_because": reasons,
        "facts": describe_facts(finished.results),
    }


def _run(check: Check, facts: Facts) -> Outcome:
    try:
        return Outcome(check, _once_per_code(check.run(facts)))
    except Exception as error:  # a bug in one check must not cost the others
        return Outcome(check, error=f"{type(error).__name__}: {error}")


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
