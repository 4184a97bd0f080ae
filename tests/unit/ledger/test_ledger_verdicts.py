"""GPU doctor's verdicts in the ledger: the last one about each server stays."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resets import reset, undo

from hub_ext.verdicts import SEVERITIES, Verdict, Word, in_order, worst

MINUTE = timedelta(minutes=1)


def of(user: str, at: datetime, *codes: str, server: str = "") -> Verdict:
    return Verdict(
        user,
        server,
        at,
        tuple((code, "blocker") for code in codes),
        kernel="python3",
        seconds=2.5,
        passed=40,
        unexamined=1,
        version="0.1.0",
        lease_id="ab12",
    )


def test_what_is_kept_comes_back_as_it_was(ledger, now):
    assert ledger.verdict("ada", "") is None
    found = of("ada", now, "GC102", "GC403")
    assert ledger.keep_verdict(found)
    assert ledger.verdict("ada", "") == found
    assert ledger.verdict("ada", "second") is None
    assert ledger.verdicts() == {("ada", ""): found}


def test_the_later_examination_stays_in_whatever_order_they_come(ledger, now):
    first, last = of("ada", now, "GC102"), of("ada", now + MINUTE)
    assert ledger.keep_verdict(last)
    assert not ledger.keep_verdict(first), "a reply that came late"
    assert not ledger.keep_verdict(last), "a reply that came twice"
    assert ledger.verdict("ada", "") == last
    assert ledger.keep_verdict(of("ada", now + 2 * MINUTE, "GC301"))
    assert ledger.verdict("ada", "").word is Word.BLOCKED


def test_two_in_one_second_leave_the_one_that_came_last(ledger, now):
    ledger.keep_verdict(of("ada", now, "GC102"))
    assert ledger.keep_verdict(of("ada", now))
    assert ledger.verdict("ada", "").findings == ()


def test_servers_of_one_user_are_apart(ledger, now):
    ledger.keep_verdict(of("ada", now, "GC102"))
    ledger.keep_verdict(of("ada", now - MINUTE, server="second"))
    assert ledger.verdict("ada", "").findings and not ledger.verdict("ada", "second").findings
    ledger.forget_verdicts([("ada", ""), ("nobody", "x")])
    assert list(ledger.verdicts()) == [("ada", "second")]


def test_old_ones_go_with_the_history(ledger, now):
    ledger.keep_verdict(of("ada", now - MINUTE))
    ledger.keep_verdict(of("bob", now))
    ledger.prune(now)
    assert list(ledger.verdicts()) == [("bob", "")]


def test_who_examined_whose_server_is_in_the_audit_trail(ledger, now):
    ledger.note_examination("ada", "second", "lease1", now, actor="kim")
    (line,) = ledger.audit_trail("lease1")
    assert (line.actor, line.action, line.detail) == ("kim", "examine", "ada/second")


@pytest.mark.parametrize(
    ("severities", "word"),
    [
        ((), "healthy"),
        (("advice",), "advice"),
        (("advice", "degraded"), "degraded"),
        (("advice", "blocker", "degraded"), "blocked"),
    ],
)
def test_the_worst_finding_is_the_verdict(severities, word):
    assert worst(severities) == word


@given(
    st.lists(st.tuples(st.sampled_from(["GC101", "GC102", "GC103"]), st.sampled_from(SEVERITIES)))
)
def test_findings_are_in_one_order_and_each_code_is_there_once(findings):
    ordered = in_order(findings)
    assert ordered == in_order(reversed(findings)) == in_order(ordered)
    assert [code for code, _ in ordered] == list(dict.fromkeys(code for code, _ in ordered))
    assert {code for code, _ in ordered} == {code for code, _ in findings}
    assert worst(s for _, s in ordered) == worst(s for _, s in findings)


@pytest.mark.parametrize("change", [reset, undo])
def test_a_verdict_goes_with_the_environment_that_it_was_about(ledger, now, change):
    reset(ledger, "ada", "", now)
    ledger.keep_verdict(of("ada", now, "GC102"))
    ledger.keep_verdict(of("ada", now, "GC102", server="second"))
    change(ledger, "ada", "", now + MINUTE)
    assert list(ledger.verdicts()) == [("ada", "second")]
