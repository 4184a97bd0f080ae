"""Keys of requests: each stands for one, for a day, and nobody's fill the ledger."""

from __future__ import annotations

from datetime import timedelta

from hub_ext.ledger import kept_answers
from hub_ext.models import KeptAnswer

DAY = timedelta(hours=24)


def test_a_key_stands_for_one_request_of_a_caller(ledger, now):
    assert ledger.begin_request("user:ann", "k", "one", now) is None
    assert ledger.begin_request("user:ann", "k", "two", now) == KeptAnswer("one", None, "")
    assert ledger.begin_request("user:bob", "k", "two", now) is None
    assert ledger.begin_request("service:ann", "k", "two", now) is None
    ledger.keep_answer("user:ann", "k", 202, '{"a": "é 班"}')
    assert ledger.begin_request("user:ann", "k", "one", now) == KeptAnswer(
        "one", 202, '{"a": "é 班"}'
    )
    ledger.forget_request("user:bob", "k")
    assert ledger.begin_request("user:bob", "k", "three", now) is None


def test_a_day_later_it_is_forgotten(ledger, now):
    ledger.begin_request("user:ann", "k", "one", now)
    ledger.keep_answer("user:ann", "k", 200, "{}")
    ledger.begin_request("user:ann", "cut off", "one", now)
    ledger.forget_old_requests(now + DAY)
    assert ledger.begin_request("user:ann", "k", "one", now + DAY) is not None
    later = now + DAY + timedelta(seconds=1)
    assert ledger.begin_request("user:ann", "k", "other", later) is None
    assert ledger.begin_request("user:ann", "cut off", "other", later) is None


def test_the_oldest_of_a_caller_make_room(ledger, now, monkeypatch):
    monkeypatch.setattr(kept_answers, "MOST", 3)
    ledger.begin_request("user:bob", "0", "r", now)
    for number in range(5):
        ledger.begin_request("user:ann", str(number), "r", now + timedelta(seconds=number))
    for number in (4, 3, 2):
        assert ledger.begin_request("user:ann", str(number), "r", now) is not None, number
    assert ledger.begin_request("user:bob", "0", "r", now) is not None
    assert ledger.begin_request("user:ann", "0", "r", now) is None
