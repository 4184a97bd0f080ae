"""The dashboard, the alerts and the scrape example use what is served, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from service_server import PREFIX, running_service
from service_world import World, make_ledger
from test_service_metrics import FAMILIES, documented, hub_families, scrape

from hub_ext import scopes

DOCS = Path(__file__).resolve().parents[3] / "docs"
DASHBOARD = json.loads((DOCS / "grafana" / "gpucamp.json").read_text())
ALERTS = yaml.safe_load((DOCS / "prometheus" / "alerts.yml").read_text())
SCRAPES = yaml.safe_load((DOCS / "prometheus" / "prometheus.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]

JOBS = {each["job_name"] for each in SCRAPES["scrape_configs"]}
# of Prometheus itself, and of its library in Python
FOREIGN = {"up", "process_resident_memory_bytes"}
WORDS = {
    *("sum", "by", "on", "rate", "increase", "topk", "histogram_quantile", "time", "vector"),
    *("or", "unless"),
}
# what they are is not known beforehand
FREE = {"device", "name", "pool", "route", "version", "le"}


def used(expression: str) -> tuple[set[str], list[tuple[str, str]], set[str]]:
    """The metrics of a query, the (label, value) that it selects, and the labels it groups by."""
    selected = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', expression)
    rest = re.sub(r"\{[^}]*\}", "", expression)
    grouped = {
        label
        for listed in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", rest)
        for label in re.findall(r"\w+", listed)
    }
    rest = re.sub(r"\b(?:by|on)\s*\([^)]*\)", "", rest)
    rest = re.sub(r"\[[^\]]*\]", "", rest)
    metrics = set(re.findall(r"\b[a-z_]\w*", rest)) - WORDS
    return metrics, selected, grouped


def queries() -> Iterator[tuple[str, str, set[str]]]:
    """(where, query, labels that a text beside it shows) of dashboard and alerts."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            yield f"panel {panel['title']} {target['refId']}", target["expr"], shown
    for rule in RULES:
        shown = set(re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])))
        yield rule["alert"], rule["expr"], shown


QUERIES = list(queries())


def base(name: str) -> str:
    """The family of a sample's name."""
    stripped = re.sub(r"_(bucket|count|sum)$", "", name)
    kind = documented().get(stripped, ("",))[0]
    return stripped if kind == "histogram" else name


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> FAMILIES:
    world = World(make_ledger(tmp_path_factory.mktemp("dashboard")))
    world.run_server("ada")
    with running_service(world) as running:
        scrape(running)
        found = {**hub_families(), **scrape(running)}
    world.ledger.close()
    return found


def values(served: FAMILIES, label: str) -> set[str]:
    return {
        sample.labels[label]
        for family in served.values()
        for sample in family.samples
        if label in sample.labels
    }


@pytest.mark.parametrize(("where", "query", "shown"), QUERIES, ids=[q[0] for q in QUERIES])
def test_every_metric_and_label_of_a_query_exists(served, where: str, query: str, shown) -> None:
    metrics, selected, grouped = used(query)
    assert metrics, query
    table = documented()
    labels = {"job", "le"}
    for name in metrics - FOREIGN:
        assert base(name) in table, f"{where}: no metric {name}"
        kind = table[base(name)][0]
        assert (base(name) != name) is (kind == "histogram"), f"{where}: {name} is a {kind}"
        labels |= table[base(name)][1]
    for label, given in selected:
        assert label in labels, f"{where}: no label {label}"
        if label == "job":
            assert given in JOBS
        elif label not in FREE and label != "status":
            assert given in values(served, label), f"{where}: {label} is never {given}"
    assert grouped <= labels, where
    # what a text shows is there after grouping; what `unless` leaves has all its labels
    kept = used(query.partition(" unless ")[0])[2]
    assert shown <= (kept or labels), where
    for opening, closing in ("()", "[]", "{}"):
        assert query.count(opening) == query.count(closing), where


def test_every_metric_is_shown_or_alerted_about() -> None:
    """One that nobody looks at needs a reason."""
    seen = {base(name) for _where, query, _shown in QUERIES for name in used(query)[0]}
    assert set(documented()) - seen == {"gpucamp_build_info", "gpucamp_device_info"}


def test_a_mistake_would_be_found(served) -> None:
    for query in (
        "gpucamp_lease",
        'gpucamp_leases{stat="running"}',
        'gpucamp_leases{state="runs"}',
        "sum by (user) (gpucamp_leases)",
        "rate(gpucamp_reset_duration_seconds[5m])",
    ):
        with pytest.raises(AssertionError):
            test_every_metric_and_label_of_a_query_exists(served, "", query, set())


def test_the_dashboards_panels_fit_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    for panel in DASHBOARD["panels"]:
        at: dict[str, Any] = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_alerts_say_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))


def test_the_scrape_example_leads_to_the_metrics() -> None:
    paths = {each["metrics_path"] for each in SCRAPES["scrape_configs"]}
    assert paths == {f"{PREFIX}metrics", "/hub/metrics"}
    assert {"read:metrics", scopes.METRICS_READ} < set(scopes.PROMETHEUS_SCOPES)
    assert SCRAPES["rule_files"] == ["alerts.yml"]
