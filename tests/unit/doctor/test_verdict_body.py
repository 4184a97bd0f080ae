"""What leaves the server after an examination: codes and numbers, no text of its user."""

from __future__ import annotations

import json
import re

import pytest
from bodies import facts_of, with_gpu

from hub_ext.service import verdict_views
from hub_ext.service.verdict_views import found_codes, moment, verdict_of
from server_ext.doctor import verdict
from server_ext.doctor.checks import ALL_CHECKS
from server_ext.doctor.facts import Facts, Failure, ProbeResult
from server_ext.doctor.report import Finished, advance, describe

SECRET = "/home/jovyan/work/my-secret-idea"


def finished(kernel: str = "python3") -> Finished:
    """Of a card that works and a probe that failed, with a text of the user in each fact."""
    facts = dict(facts_of(with_gpu()).results)
    facts["resources"] = ProbeResult("resources", failure=Failure("crashed", SECRET, stderr=SECRET))
    outcomes = advance(ALL_CHECKS, Facts(facts), {})
    return Finished("2026-11-26T10:00:00+00:00", 2.34567, kernel, tuple(outcomes), facts)


def test_it_has_codes_and_numbers() -> None:
    found = finished()
    report = describe(found, lambda text: text, "")
    assert report["findings"], "or the test shows nothing"
    told = verdict.of(found, "0a1b")
    assert sorted(told["findings"], key=lambda each: each["code"]) == sorted(
        ({name: each[name] for name in ("code", "severity")} for each in report["findings"]),
        key=lambda each: each["code"],
    )
    assert (told["at"], told["kernel"], told["lease"]) == (found.started_at, "python3", "0a1b")
    assert told["seconds"] == 2.346
    assert told["checks_passed"] == len(report["checks_passed"])
    assert told["checks_unexamined"] == len(report["checks_unexamined"]) > 0
    assert SECRET in json.dumps(report) and SECRET not in json.dumps(told)


@pytest.mark.parametrize("name", [SECRET, "a b", "x" * 101, "<b>", "名", "a\n"])
def test_a_name_of_another_form_is_left_out(name: str) -> None:
    told = verdict.of(finished(name), name)
    assert (told["kernel"], told["lease"]) == ("", "")


def test_the_service_takes_all_that_is_told() -> None:
    """The two packages are versioned together and do not import each other for this."""
    told = verdict.of(finished(), "0a1b")
    read = {name: value for name, value in told.items() if name not in ("at", "findings")}
    at = moment("at", told["at"])
    kept = verdict_of(
        "ada", "", {**read, "at": at, "findings": found_codes("findings", told["findings"])}, at
    )
    assert (kept.at, kept.lease_id, kept.kernel) == (at, "0a1b", "python3")
    for ours, theirs in (("_KERNEL", "KERNEL"), ("_LEASE", "LEASE")):
        mine: re.Pattern[str] = getattr(verdict, ours)
        assert mine.pattern == getattr(verdict_views, theirs).pattern
    assert verdict.MOST_FINDINGS == verdict_views.MOST_FINDINGS
    assert verdict_views.VERSION.fullmatch(str(told["version"]))
