"""/metrics: who may read it, what it says and costs, and that docs/metrics.md says the same."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from openapi_contract import path_of
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families
from service_server import running_service
from service_world import UUIDS, EngineSilent, HubFailsToStart, World, make_ledger, now

from hub_ext import scopes, spawn_metrics
from hub_ext.errors import LedgerUnavailable
from hub_ext.models import Cordon, Device, DeviceDetail, Request
from hub_ext.reconcile import EndLease
from hub_ext.service import api, counters, pages
from hub_ext.service.ledger_metrics import PARTS
from hub_ext.service.parts import route_of
from hub_ext.verdicts import Verdict

ROOT = Path(__file__).resolve().parents[3]
FAMILIES = dict[str, Metric]
# of the library, and of Linux only
PROCESS = "process_"


def parsed(text: str) -> FAMILIES:
    """The families by their names, as docs/metrics.md writes them."""
    found = {}
    for each in text_string_to_metric_families(text):
        assert each.name not in found, f"{each.name} comes twice"
        found[each.name + ("_total" if each.type == "counter" else "")] = each
    # the plain format tells when counters were made as gauges of their own
    return {name: each for name, each in found.items() if not name.endswith("_created")}


def scrape(ask) -> FAMILIES:
    answer = ask("GET", "metrics", "admin-token")
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def value(families: FAMILIES, name: str, **labels: str) -> float:
    """The one sample of this name with these labels."""
    (found,) = (
        sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    )
    return found


def hub_families() -> FAMILIES:
    return {
        name: each
        for name, each in parsed(generate_latest().decode()).items()
        if name.startswith("gpucamp_")
    }


def busy_devices() -> list[Device]:
    return [
        Device(
            uuid,
            "Simulated A100 (practice)",
            40 * 2**30,
            simulated=True,
            utilization_percent=25,
            detail=DeviceDetail(memory_used_bytes=2**30),
        )
        for uuid in UUIDS
    ]


@pytest.fixture
def watched(world: World):
    """The service with devices that are looked at."""
    with running_service(world) as running:
        running.service.monitor.samples.add(busy_devices(), datetime.now(UTC))
        running.service.monitor._last_scan = (busy_devices(), datetime.now(UTC))
        yield running


# -- who may


def test_it_takes_the_scope(ask) -> None:
    for token, status in (
        (None, 401),
        ("nonsense", 401),
        ("stranger-token", 403),
        ("ada-token", 403),
        ("ada-server-token", 403),
        ("instructor-token", 403),
        ("admin-token", 200),
    ):
        answer = ask("GET", "metrics", token)
        assert answer.status_code == status, token
        if status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        if status != 200:
            assert "gpucamp_" not in answer.text
    ask.tokens["prometheus-token"] = {
        "kind": "service",
        "name": "prometheus",
        "scopes": list(scopes.PROMETHEUS_SCOPES),
    }
    assert ask("GET", "metrics", "prometheus-token").status_code == 200
    bearer = {"Authorization": "Bearer prometheus-token"}  # as Prometheus sends it
    assert ask("GET", "metrics", None, headers=bearer).status_code == 200
    assert ask("GET", "api/v1/leases", "prometheus-token").status_code == 403
    assert ask("POST", "metrics", "prometheus-token").status_code == 405
    assert ask("GET", "metrics?name[]=up", "prometheus-token").status_code == 400


# -- its form


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "text/plain"),
        ("text/html", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", None),
        ("application/openmetrics-text;version=none;escaping=\u00e4,*/*", None),
    ],
)
def test_the_format_that_is_asked_for(watched, accept: str, media: str | None) -> None:
    answer = watched("GET", "metrics", "admin-token", headers={"Accept": accept.encode("latin-1")})
    said = answer.headers["Content-Type"]
    assert said.partition(";")[0] == (media or "application/openmetrics-text")
    read = text_string_to_metric_families if media else parse_open_metrics
    assert "gpucamp_leases" in {each.name for each in read(answer.text)}


def documented() -> dict[str, tuple[str, frozenset[str], str, str]]:
    """name -> (kind, labels, where it comes from, help) of the table."""
    rows = re.findall(
        r"^\| `(gpucamp_\w+)` \| (\w+) \| ([^|]*) \| (\w+(?: \w+)*) \| ([^|]+) \|$",
        (ROOT / "docs" / "metrics.md").read_text(),
        re.MULTILINE,
    )
    assert len({row[0] for row in rows}) == len(rows)
    return {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)), origin, help_.strip())
        for name, kind, labels, origin, help_ in rows
    }


def described(families: FAMILIES) -> dict[str, tuple[str, frozenset[str], str]]:
    return {
        name: (
            each.type,
            frozenset(label for sample in each.samples for label in sample.labels) - {"le"},
            each.documentation,
        )
        for name, each in families.items()
        if not name.startswith(PROCESS)
    }


def test_the_table_has_what_is_served_and_nothing_else(watched) -> None:
    scrape(watched)  # so that there is a request to tell of
    served, hub = described(scrape(watched)), described(hub_families())
    table = documented()
    of_service = {name: row for name, row in table.items() if row[2] != "hub"}
    of_hub = {name: row for name, row in table.items() if row[2] == "hub" or name in hub}
    for rows, found in ((of_service, served), (of_hub, hub)):
        assert {name: (kind, labels, help_) for name, (kind, labels, _, help_) in rows.items()} == (
            found
        )


def test_names_are_as_prometheus_has_them(watched) -> None:
    for name, (kind, labels, _origin, help_) in documented().items():
        assert name.endswith("_total") is (kind == "counter"), name
        assert kind != "histogram" or name.endswith("_seconds"), name
        assert not re.search(r"_(ms|millis|minutes|percent|mb|gib)(_|$)", name), name
        assert help_.endswith("."), name
        assert labels.isdisjoint({"user", "server", "group", "lease", "instance", "job"}), name


# -- what it says


def test_it_says_what_is_so(world: World) -> None:
    world.ledger.acquire(Request("bob", "", 1), lambda snapshot: [UUIDS[1]], now())
    world.ledger.enqueue(Request("kim", "", 2), now() - timedelta(minutes=5))
    lease = world.ledger.lease_of("ada", "")
    assert lease is not None
    said = (("GC101", "blocker"), ("GC999", "advice"), ("GC998", "advice"))
    world.ledger.keep_verdict(Verdict("ada", "", now(), said, lease_id=lease.id))
    # of an earlier lease: says nothing about now
    world.ledger.keep_verdict(Verdict("bob", "", now(), said, lease_id="0" * 32))
    world.ledger.cordon(UUIDS[0], Cordon.CORDONED, "fan", now(), actor="root")
    with running_service(world) as ask:
        ask.service.monitor.samples.add(busy_devices()[:1], datetime.now(UTC))
        found = scrape(ask)
    assert value(found, "gpucamp_leases", state="running") == 1
    assert value(found, "gpucamp_leases", state="granted") == 1
    assert value(found, "gpucamp_leases", state="held") == 0
    assert value(found, "gpucamp_queue_entries") == 1
    assert value(found, "gpucamp_queue_devices_wanted") == 2
    assert 300 <= value(found, "gpucamp_queue_oldest_wait_seconds") < 1000
    assert value(found, "gpucamp_doctor_findings", code="GC101") == 1
    assert value(found, "gpucamp_doctor_findings", code="other") == 1
    assert value(found, "gpucamp_doctor_verdicts", verdict="blocked") == 1
    assert value(found, "gpucamp_device_slots_leased", device=UUIDS[0]) == 1
    assert value(found, "gpucamp_device_cordoned", device=UUIDS[0]) == 1
    assert value(found, "gpucamp_device_cordoned", device=UUIDS[1]) == 0
    assert value(found, "gpucamp_device_state", device=UUIDS[0], state="healthy") == 1
    assert value(found, "gpucamp_device_state", device=UUIDS[0], state="missing") == 0
    assert value(found, "gpucamp_device_utilization_ratio", device=UUIDS[0]) == 0.25
    assert value(found, "gpucamp_device_memory_used_bytes", device=UUIDS[0]) == 2**30
    # what is not known is no 0
    assert len(found["gpucamp_device_utilization_ratio"].samples) == 1


def test_nobody_makes_up_labels(ask) -> None:
    """Neither addresses nor methods, users nor codes that somebody sends become labels."""
    scrape(ask)
    before = {tuple(s.labels.items()) for f in scrape(ask).values() for s in f.samples}
    for number in range(5):
        ask("GET", f"api/v1/users/nobody{number}/server", "admin-token")
        ask("GET", f"nothing/{number}?a=b", "admin-token")
        ask(f"VERB{number}", "api/v1/health", "admin-token")
    found = scrape(ask)
    labels = {label for f in found.values() for s in f.samples for label in s.labels.values()}
    assert not [label for label in labels if "nobody" in label or "VERB" in label or "ada" in label]
    after = {tuple(s.labels.items()) for f in found.values() for s in f.samples}
    assert len(after - before) < 50
    assert value(
        found,
        "gpucamp_http_requests_total",
        route="/api/v1/users/{user}/server",
        method="GET",
        status="404",
    )


def test_every_route_has_a_name() -> None:
    for pattern, _handler in api.ROUTES:
        if not pattern.startswith("api(?"):
            assert route_of(pattern) == path_of(pattern)
    named = [route_of(pattern) for pattern, _handler in pages.ROUTES]
    assert named.count("unknown") <= 2
    assert "/findings/{code}" in named


def test_a_silent_ledger_costs_only_its_own_metrics(ask) -> None:
    def silent(_now: datetime) -> None:
        raise LedgerUnavailable("The disk is gone.")

    ask.world.ledger.figures = silent
    found = scrape(ask)
    assert value(found, "gpucamp_part_up", part="ledger") == 0
    assert "gpucamp_leases" not in found
    assert "gpucamp_http_requests_total" in found
    del ask.world.ledger.figures
    assert value(scrape(ask), "gpucamp_part_up", part="ledger") == 1
    assert {s.labels["part"] for s in scrape(ask)["gpucamp_part_up"].samples} == set(PARTS)


def test_a_scrape_reads_the_ledger_once_and_asks_nobody_else(ask, monkeypatch) -> None:
    ask("GET", "metrics", "admin-token")  # who is asking is known from here on
    transactions = []
    database = ask.world.ledger._database
    real = database.read

    def read():
        transactions.append(1)
        return real()

    # the loops read, too: stop them
    for task in ask.service.monitor._tasks:
        ask.loop.call_soon_threadsafe(task.cancel)
    time.sleep(0.2)
    monkeypatch.setattr(database, "read", read)
    monkeypatch.setattr(database, "write", lambda: pytest.fail("a scrape writes"))

    asked = []
    monkeypatch.setattr(ask.engine, "containers", lambda: asked.append("containers"))
    ask("GET", "metrics", "admin-token")
    assert transactions == [1]
    assert asked == []


# -- what is counted


def difference(ask, work, name: str, **labels: str) -> float:
    before = value(scrape(ask), name, **labels)
    work()
    return value(scrape(ask), name, **labels) - before


def test_resets_are_counted_by_kind_and_ending(ask) -> None:
    labels = {"kind": "reset", "ending": "succeeded"}

    def ended() -> float:
        return value(scrape(ask), "gpucamp_reset_duration_seconds_count", **labels)

    before = ended()
    assert ask("POST", "api/v1/users/ada/server/reset").status_code == 202
    until(lambda: ended() == before + 1)
    assert value(scrape(ask), "gpucamp_resets_in_progress", kind="reset") == 0


def test_a_reset_that_fails_is_counted_with_its_failure(world: World) -> None:
    with running_service(world, hub=HubFailsToStart(world)) as ask:
        labels = {"kind": "reset", "failure": "start-failed"}

        def failed() -> float:
            return value(scrape(ask), "gpucamp_reset_failures_total", **labels)

        before = failed()
        assert ask("POST", "api/v1/users/ada/server/reset").status_code == 202
        until(lambda: failed() == before + 1)


def until(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_rounds_and_actions_of_reconciling_are_counted(tmp_path: Path) -> None:
    world = World(make_ledger(tmp_path))

    engine = EngineSilent(world)
    with running_service(world, engine=engine) as ask:

        def count(outcome: str) -> float:
            return value(scrape(ask), "gpucamp_reconcile_rounds_total", outcome=outcome)

        first = count("engine_unavailable")
        until(lambda: count("engine_unavailable") > first)
        assert value(scrape(ask), "gpucamp_part_up", part="engine") == 0
        engine.silent = 0
        first = count("succeeded")
        until(lambda: count("succeeded") > first)
        assert value(scrape(ask), "gpucamp_part_up", part="engine") == 1
        assert (
            difference(
                ask,
                lambda: counters.reconciled(EndLease("l", "gone")),
                "gpucamp_reconcile_actions_total",
                action="end_lease",
            )
            == 1
        )
    world.ledger.close()


async def test_a_loop_that_was_held_up_is_seen() -> None:
    def over_a_quarter() -> float:
        samples = next(iter(counters.LOOP_LAG.collect())).samples
        by = {s.labels.get("le", s.name): s.value for s in samples if "_sum" not in s.name}
        return by["+Inf"] - by["0.25"]

    before = over_a_quarter()
    watching = asyncio.create_task(counters.watch_loop(0.01))
    await asyncio.sleep(0.05)
    time.sleep(0.5)  # noqa: ASYNC251  (that is the point)
    await asyncio.sleep(0.05)
    watching.cancel()
    assert over_a_quarter() > before


# -- the hub's


def spawn_count(stage: str, ending: str) -> float:
    return value(
        hub_families(), "gpucamp_spawn_stage_duration_seconds_count", stage=stage, ending=ending
    )


async def test_a_stage_is_counted_once_by_how_it_ended() -> None:
    async def stage(error: BaseException | None) -> None:
        with spawn_metrics.timed(spawn_metrics.Stage.PULL):
            await asyncio.sleep(0)
            if error is not None:
                raise error

    for ending, error in (
        ("succeeded", None),
        ("failed", ValueError()),
        ("cancelled", asyncio.CancelledError()),
    ):
        before = {each: spawn_count("pull", each) for each in spawn_metrics.ENDINGS}
        try:
            await stage(error)
        except BaseException as raised:
            assert raised is error
        after = {each: spawn_count("pull", each) for each in spawn_metrics.ENDINGS}
        assert after == {**before, ending: before[ending] + 1}


def test_an_inventory_fills_the_devices_metrics(world: World) -> None:
    watch = SimpleNamespace(scan=busy_devices, recent=())
    with running_service(world, watch=watch) as ask:
        until(lambda: scrape(ask)["gpucamp_device_utilization_ratio"].samples)
        until(lambda: value(scrape(ask), "gpucamp_part_up", part="inventory") == 1)
        stamp = value(scrape(ask), "gpucamp_inventory_last_success_timestamp_seconds")
        assert 0 <= time.time() - stamp < 600
