"""When checks run, what silences them, and what the report says; whatever the order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest
from bodies import NO_GPU, facts_of, practice, with_gpu
from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor.checks import ALL_CHECKS, CATALOGUE, ON_DEMAND
from server_ext.doctor.facts import Facts, Failure, ProbeResult
from server_ext.doctor.findings import LAYERS, CannotTell, Check, Finding
from server_ext.doctor.report import (
    Finished,
    Outcome,
    advance,
    describe,
    verdict,
    worst_first,
)

BODIES = {"gpu": with_gpu(), "none": NO_GPU, "practice": practice()}


@pytest.mark.parametrize("name", BODIES)
@given(data=st.data())
def test_the_order_in_which_probes_end_changes_nothing(name: str, data: st.DataObject) -> None:
    facts = facts_of(BODIES[name])
    broken = data.draw(st.sets(st.sampled_from(sorted(BODIES[name])), max_size=4))
    results = dict(facts.results)
    for probe in broken:
        results[probe] = ProbeResult(probe, failure=Failure("timeout", "too slow"))
    at_once = {o.check.name: o for o in advance(ALL_CHECKS, Facts(results), {})}
    seen: dict[str, ProbeResult] = {}
    decided: dict[str, Outcome] = {}
    for probe in data.draw(st.permutations(sorted(results))):
        seen[probe] = results[probe]
        for outcome in advance(ALL_CHECKS, Facts(seen), decided):
            assert outcome.check.name not in decided
            decided[outcome.check.name] = outcome
    assert decided == at_once


class Watched(Facts):
    """Remembers whose facts were read."""

    def __init__(self, results: Mapping[str, ProbeResult]) -> None:
        super().__init__(results)
        self.read: set[str] = set()

    def _result(self, probe: str) -> ProbeResult | None:
        self.read.add(probe)
        return super()._result(probe)


@pytest.mark.parametrize("check", ALL_CHECKS, ids=lambda check: check.name)
@given(data=st.data())
def test_a_check_reads_only_what_it_waits_for(check: Check, data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(sorted(BODIES)))
    results = dict(facts_of(BODIES[body]).results)
    for probe in data.draw(st.sets(st.sampled_from(sorted(results)), max_size=3)):
        results[probe] = ProbeResult(probe, failure=Failure("crashed", "x"))
    facts = Watched(results)
    with suppress(CannotTell):
        list(check.run(facts))
    assert facts.read <= set(check.needs)


def test_a_finding_comes_as_soon_as_its_facts_are_there() -> None:
    facts = facts_of(NO_GPU)
    early = Facts({name: facts.results[name] for name in ("system", "environment", "nvml")})
    codes = [f.code.code for o in advance(ALL_CHECKS, early, {}) for f in o.findings]
    assert codes == ["GC101"]


def test_layers_come_after_what_they_depend_on() -> None:
    known: set[str] = set()
    for layer, beneath in LAYERS.items():
        assert set(beneath) <= known
        known.add(layer)
    assert {check.layer for check in (*ALL_CHECKS, *ON_DEMAND)} == known


def test_a_bug_in_a_check_costs_the_others_nothing() -> None:
    def breaks(facts: Facts) -> Iterator[Finding]:
        yield Finding(CATALOGUE["GC404"])
        raise KeyError("oops")

    bad = Check("breaks", "resources", ("resources",), (), breaks)
    outcomes = advance([bad, *ALL_CHECKS], facts_of(NO_GPU), {})
    assert len(outcomes) == len(ALL_CHECKS) + 1
    (failed,) = [o for o in outcomes if o.error]
    assert failed.error == "KeyError: 'oops'" and failed.findings == ()
    assert failed.state == "broken"
    # nor does it let the verdict be better than what was seen
    found = {f.code.code: f for o in outcomes for f in o.findings}
    assert set(found) == {"GC101", "GC904"}
    assert found["GC904"].evidence == ("breaks: KeyError: 'oops'",)
    assert verdict(found.values()) == "degraded"


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], "healthy"),
        (["GC101"], "advice"),
        (["GC101", "GC404"], "degraded"),
        (["GC404", "GC311", "GC101"], "blocked"),
    ],
)
def test_the_verdict_is_the_worst(codes: list[str], expected: str) -> None:
    assert verdict(Finding(CATALOGUE[code]) for code in codes) == expected


def test_the_report() -> None:
    body = {**NO_GPU, "nvml": Failure("crashed", "ended by SIGSEGV", -11, "boom")}
    facts = facts_of(body)
    outcomes = tuple(advance(ALL_CHECKS, facts, {}))
    finished = Finished("2026-01-01T00:00:00+00:00", 1.23456, "python3", outcomes, facts.results)
    report = describe(finished, lambda text: text, "/d/{code}")
    assert report["started_at"] == "2026-01-01T00:00:00+00:00"
    assert report["seconds"] == 1.235
    assert report["verdict"] == "advice"
    assert [f["code"] for f in report["findings"]] == ["GC101"]  # type: ignore[index,attr-defined]
    passed, skipped = report["checks_passed"], report["checks_skipped"]
    assert "gpu_is_here" not in passed and "torch_imports" in passed  # type: ignore[operator]
    assert "nvml_answers" in skipped  # type: ignore[operator]
    assert report["skipped_because"]["nvml_answers"] == "GC101"  # type: ignore[index]
    assert len(passed) + len(skipped) + 1 == len(ALL_CHECKS)  # type: ignore[arg-type]
    assert report["facts"]["nvml"]["failure"] == {  # type: ignore[index]
        "kind": "crashed",
        "detail": "ended by SIGSEGV",
        "exit_code": -11,
        "stderr": "boom",
    }


def test_worst_first_then_from_the_ground_up() -> None:
    codes = ["GC101", "GC404", "GC311", "GC102", "GC204"]
    ordered = worst_first(Finding(CATALOGUE[code]) for code in codes)
    assert [f.code.code for f in ordered] == ["GC204", "GC102", "GC311", "GC404", "GC101"]
