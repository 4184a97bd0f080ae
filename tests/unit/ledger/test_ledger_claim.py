"""One hub per ledger."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub_ext.errors import LedgerInUse

TTL = timedelta(seconds=60)


def test_a_second_hub_is_told_who_works_with_the_ledger(ledger, now):
    ledger.claim("hub-a", now, TTL)
    with pytest.raises(LedgerInUse, match="hub-a.*12:01:00 UTC") as caught:
        ledger.claim("hub-b", now + TTL / 2, TTL)
    assert caught.value.owner == "hub-a"


def test_the_same_hub_renews(ledger, now):
    ledger.claim("hub-a", now, TTL)
    ledger.claim("hub-a", now + TTL / 2, TTL)
    with pytest.raises(LedgerInUse):
        ledger.claim("hub-b", now + TTL, TTL)
    assert len([e for e in ledger.audit_trail() if e.action == "claim"]) == 1


def test_an_expired_claim_is_taken_over(ledger, now):
    ledger.claim("hub-a", now, TTL)
    ledger.claim("hub-b", now + TTL, TTL)
    with pytest.raises(LedgerInUse, match="hub-b"):
        ledger.claim("hub-a", now + TTL, TTL)
    assert "taken over from hub-a" in ledger.audit_trail()[-1].detail


def test_a_claim_can_be_given_up_by_its_owner_only(ledger, now):
    ledger.claim("hub-a", now, TTL)
    ledger.release_claim("hub-b")
    with pytest.raises(LedgerInUse):
        ledger.claim("hub-b", now, TTL)
    ledger.release_claim("hub-a")
    ledger.claim("hub-b", now, TTL)
