"""A scrape has its answer whatever hangs, and tells what alerts and charts can rely on."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import closing

import pytest
import requests
from jupyterhub.services.auth import HubOAuth
from test_service_metrics import scrape, until, value

from hub_ext.service import counters, metrics

EVENTS = "/api/v1/events"


def test_others_who_wait_for_the_ledger_hold_no_scrape_up(ask, monkeypatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(ask.service.scrapes, "_patience", 60)

    async def everyone_waits() -> None:
        await asyncio.gather(*(asyncio.to_thread(go_on.wait) for _ in range(100)))

    waiting = asyncio.run_coroutine_threadsafe(everyone_waits(), ask.loop)
    try:
        for _ in range(2):
            assert value(scrape(ask), "gpucamp_part_up", part="ledger") == 1
        assert not waiting.done()
    finally:
        go_on.set()
    waiting.result(60)


def test_a_read_that_is_stuck_costs_only_the_ledgers_metrics_and_one_thread(
    ask, monkeypatch
) -> None:
    scrape(ask)
    go_on, reads, real = threading.Event(), [], ask.world.ledger.figures

    def stuck(at):
        reads.append(at)
        go_on.wait()
        return real(at)

    monkeypatch.setattr(ask.world.ledger, "figures", stuck)
    monkeypatch.setattr(ask.service.scrapes, "_patience", 0.1)
    try:
        for _ in range(3):
            told = scrape(ask)
            assert value(told, "gpucamp_part_up", part="ledger") == 0
            assert "gpucamp_leases" not in told
            assert "gpucamp_http_requests_total" in told
        assert len(reads) == 1
    finally:
        go_on.set()
    monkeypatch.setattr(ask.service.scrapes, "_patience", 60)
    until(lambda: value(scrape(ask), "gpucamp_part_up", part="ledger") == 1)


def test_a_hub_that_is_silent_is_told(ask, monkeypatch) -> None:
    scrape(ask)

    async def silent(*_arguments, **_named):
        await asyncio.sleep(3600)

    monkeypatch.setattr(HubOAuth, "get_user", silent)
    monkeypatch.setattr(metrics, "HUB_SECONDS", 0.1)
    answer = ask("GET", "metrics", "admin-token")
    assert answer.status_code == 503
    assert answer.json()["type"].endswith("#hub-unavailable")


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text"])
def test_when_a_counter_was_made_is_no_series(ask, accept: str) -> None:
    text = ask("GET", "metrics", "admin-token", headers={"Accept": accept}).text
    assert "gpucamp_http_requests_total{" in text
    assert "_created" not in text


def test_a_stream_counts_until_it_has_begun(ask) -> None:
    """Else every open page would look like a request of hours."""

    def told(suffix: str) -> float:
        name = f"gpucamp_http_request_duration_seconds_{suffix}"
        try:
            return value(scrape(ask), name, route=EVENTS, method="GET")
        except ValueError:  # the first one
            return 0

    count, total = told("count"), told("sum")
    asked = time.monotonic()
    with closing(
        requests.get(
            ask.url + EVENTS[1:],
            headers={"Authorization": "token admin-token", "Accept": "text/event-stream"},
            stream=True,
            timeout=60,
        )
    ) as stream:
        parts = stream.iter_content(1)  # one that nobody holds would end the stream
        assert next(parts)
        begun = time.monotonic() - asked
        time.sleep(begun + 0.5)
        assert told("count") == count, "it is open"
        assert next(parts)
    until(lambda: told("count") == count + 1)
    assert told("sum") - total <= begun


def test_the_first_error_that_nobody_expected_is_an_increase(ask, monkeypatch) -> None:
    """So an alert on it fires; a series that begins with 1 increases by nothing."""
    before = value(scrape(ask), "gpucamp_unexpected_errors_total")

    def broken(_at):
        raise RuntimeError("a bug")

    with monkeypatch.context() as broken_once:
        broken_once.setattr(ask.world.ledger, "figures", broken)
        assert ask("GET", "metrics", "admin-token").status_code == 500
    assert value(scrape(ask), "gpucamp_unexpected_errors_total") == before + 1


def test_what_alerts_count_is_there_from_the_start() -> None:
    for counter in counters.ALL:
        if counter not in (counters.HTTP_REQUESTS, counters.HTTP_SECONDS):
            (family,) = counter.collect()
            assert family.samples, family.name
