"""A probe that failed makes nothing look well; and why it failed is told once."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from bodies import NO_GPU, facts_of, findings_of, outcomes_of, practice, with_gpu
from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor.checks import ALL_CHECKS
from server_ext.doctor.facts import Failure
from server_ext.doctor.report import Finished, Outcome, advance, describe, verdict

BODIES = {"gpu": with_gpu(), "none": NO_GPU, "practice": practice()}
# each is a process of its own; the others are read from what is known already
PROCESSES = ("python", "packages", "ipykernel", "torch", "system", "nvml", "libcuda", "resources")
AFTER_PYTHON = ("packages", "ipykernel", "torch")

# probe -> the checks that can say nothing good without it
RESTS_ON = {
    "python": {
        "python_starts",
        "kernel_uses_the_images_python",
        "user_site_is_unused",
        "work_folder_shadows_nothing",
    },
    "packages": {
        "torch_is_the_pinned_one",
        "torch_family_fits",
        "cuda_packages_are_torchs",
        "nothing_is_installed_twice",
        "libraries_are_torchs_own",
        "pip_is_there",
        "other_packages_import",
    },
    "ipykernel": {"ipykernel_imports"},
    "torch": {
        "torch_imports",
        "torch_has_cuda",
        "cudnn_is_the_pinned_one",
        "numpy_works_with_torch",
        "torch_sees_the_gpus",
        "gpus_compute",
    },
    "system": {
        "library_path_has_no_cuda",
        "nothing_is_preloaded",
        "nodes_can_be_opened",
        "no_node_is_missing",
    },
    "nvml": {"nvml_answers", "gpus_are_healthy"},
    "libcuda": {"cuda_starts", "driver_is_new_enough"},
    "resources": {
        "storage_answers",
        "shared_memory_is_enough",
        "memory_was_enough",
        "disks_have_room",
        "extensions_can_be_built",
        "enough_files_may_be_open",
        "no_rank_is_orphaned",
    },
}

FAILURES = st.one_of(
    st.just(Failure("timeout", "no answer in time")),
    st.just(Failure("crashed", "ended by SIGSEGV", -11, "Fatal Python error\n")),
    st.just(Failure("crashed", "ended with status 1", 1, "MemoryError")),
    st.just(Failure("flood", "more than 1048576 bytes of output")),
    st.just(Failure("garbage", "its answer is not a JSON object", 0)),
    st.just(Failure("garbage", "ended without an answer", 0)),
    st.just(Failure("not-started", "PermissionError: [Errno 13] Permission denied: 'python'")),
    st.just(Failure("not-started", "BlockingIOError: [Errno 11] Resource temporarily unavailable")),
    st.just(Failure("not-started", "OSError: [Errno 12] Cannot allocate memory")),
    # an answer, but not this probe's
    st.just({}),
)


def report_of(body: dict[str, Any]) -> dict[str, Any]:
    facts = facts_of(body)
    outcomes = tuple(advance(ALL_CHECKS, facts, {}))
    finished = Finished("2026-01-01T00:00:00+00:00", 1.0, "python3", outcomes, facts.results)
    return describe(finished, lambda text: text, "/d/{code}")


def asked_in_vain(outcomes: list[Outcome]) -> set[str]:
    return {item.probe for outcome in outcomes for item in outcome.missing}


@pytest.mark.parametrize("name", BODIES)
@given(failing=st.dictionaries(st.sampled_from(PROCESSES), FAILURES, min_size=1))
def test_whatever_fails_the_verdict_is_never_better_than_what_was_seen(
    name: str, failing: dict[str, Any]
) -> None:
    body = {**BODIES[name], **failing}
    if isinstance(body["python"], Failure):  # the others are not started, then
        why = Failure("not-started", "the kernel's Python does not start")
        body |= dict.fromkeys(AFTER_PYTHON, why)
    outcomes = outcomes_of(body)
    assert sorted(o.check.name for o in outcomes) == sorted(check.name for check in ALL_CHECKS)
    findings = [finding for o in outcomes for finding in o.findings]
    seen = verdict(findings)
    assert seen != "healthy"
    if asked_in_vain(outcomes):
        assert seen in {"degraded", "blocked"}, "advice would say that everything works"
    passed = {outcome.check.name for outcome in outcomes if outcome.state == "passed"}
    for probe in {*failing, *(AFTER_PYTHON if isinstance(body["python"], Failure) else ())}:
        assert not passed & RESTS_ON[probe], probe


@pytest.mark.parametrize("name", BODIES)
@given(failing=st.dictionaries(st.sampled_from(PROCESSES), FAILURES))
def test_the_report_puts_every_check_in_one_place(name: str, failing: dict[str, Any]) -> None:
    body = {**BODIES[name], **failing}
    report = report_of(body)
    found = {o.check.name for o in outcomes_of(body) if o.state == "found"}
    passed, skipped = set(report["checks_passed"]), set(report["checks_skipped"])
    assert len(passed) + len(skipped) + len(found) == len(ALL_CHECKS)
    assert passed | skipped | found == {check.name for check in ALL_CHECKS}
    assert set(report["checks_unexamined"]) <= skipped
    assert set(report["skipped_because"]) == skipped
    assert all(report["skipped_because"].values())


@pytest.mark.parametrize(
    ("probe", "unexamined"),
    [
        (
            "packages",
            {
                "torch_is_the_pinned_one",
                "torch_family_fits",
                "cuda_packages_are_torchs",
                "nothing_is_installed_twice",
                "packages_can_be_read",
                "packages_can_be_installed",
                "the_images_packages_are_there",
                "pip_is_there",
                "libraries_are_torchs_own",
                "other_packages_import",
                "services_are_logged_into",
            },
        ),
        (
            "system",
            {
                "library_path_has_no_cuda",
                "nothing_is_preloaded",
                "gpu_is_here",
                "nodes_can_be_opened",
                "no_node_is_missing",
                "nvml_answers",
            },
        ),
        (
            "resources",
            {
                "storage_answers",
                "shared_memory_is_enough",
                "memory_was_enough",
                "disks_have_room",
                "extensions_can_be_built",
                "enough_files_may_be_open",
                "no_rank_is_orphaned",
                "what_variables_name_is_there",
                "folders_can_be_written",
                "caches_have_room",
                "processes_can_be_started",
                "memory_can_be_locked",
                "programs_may_be_large",
                "threads_fit_the_cpus",
            },
        ),
    ],
)
def test_what_a_probe_did_not_tell_is_named_with_the_reason(
    probe: str, unexamined: set[str]
) -> None:
    body = with_gpu()
    body[probe] = Failure("flood", "more than 1048576 bytes of output", None, "a\n\nlast words\n")
    report = report_of(body)
    assert set(report["checks_unexamined"]) == unexamined
    for name in unexamined:
        assert report["skipped_because"][name] == f"{probe}: more than 1048576 bytes of output"
    assert report["verdict"] == "degraded"
    (finding,) = report["findings"]
    assert f"{probe} (flood)" in finding["title"]
    told = "\n".join(finding["evidence"])
    assert "more than 1048576 bytes" in told and "last words" in told
    assert all(name in told for name in unexamined)


def test_a_kernel_whose_python_hangs_is_told_once() -> None:
    """Nine checks have no answer then; one finding says why."""
    body = with_gpu()
    body["python"] = Failure("timeout", "no answer in time")
    body |= dict.fromkeys(
        AFTER_PYTHON, Failure("not-started", "the kernel's Python does not start")
    )
    assert set(findings_of(body)) == {"GC203"}
    report = report_of(body)
    assert {"ipykernel_imports", "user_site_is_unused"} <= set(report["checks_unexamined"])
    assert report["skipped_because"]["torch_imports"] == "GC203"


@pytest.mark.parametrize("probe", ["nvml", "libcuda", "torch", "ipykernel", "python"])
@pytest.mark.parametrize("kind", ["timeout", "crashed", "garbage", "flood"])
def test_what_another_finding_explains_is_not_told_again(probe: str, kind: Any) -> None:
    body = with_gpu()
    body[probe] = Failure(kind, "gone")
    assert not {code for code in findings_of(body) if code.startswith("GC9")}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize(
    ("probe", "code"), [("packages", "GC901"), ("resources", "GC902"), ("system", "GC902")]
)
def test_a_probe_that_fails_accuses_nobody(name: str, probe: str, code: str) -> None:
    well = set(findings_of(BODIES[name]))
    assert set(findings_of({**BODIES[name], probe: Failure("crashed", "gone")})) == {*well, code}


def test_a_driver_that_was_never_asked_is_not_said_to_be_broken() -> None:
    body = with_gpu()
    full = Failure("not-started", "BlockingIOError: [Errno 11] Resource temporarily unavailable")
    for probe in ("nvml", "libcuda", "torch", "ipykernel"):
        body[probe] = full
    (finding,) = findings_of(body).values()
    assert finding.code.code == "GC903"
    lines = [line for line in finding.evidence if line.endswith("Resource temporarily unavailable")]
    assert len(lines) == 4, "each probe is told, once"


def test_a_kernel_that_cannot_be_looked_into_is_not_called_well() -> None:
    body = with_gpu()
    body["kernelspec"] |= {"is_python": False, "argv": ["conda", "run", "python"]}
    del body["kernelspec"]["python_exists"]
    why = Failure("not-started", "the kernel has no Python")
    body |= dict.fromkeys(("python", *AFTER_PYTHON), why)
    assert set(findings_of(body)) == {"GC207"}
    assert report_of(body)["verdict"] == "degraded"


def test_a_probe_that_nobody_needs_may_fail() -> None:
    body = copy.deepcopy(NO_GPU)
    body["nvml"] = body["libcuda"] = Failure("crashed", "ended by SIGSEGV", -11)
    assert set(findings_of(body)) == {"GC101"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("none", {"GC101", "GC902"}), ("gpu", {"GC902"}), ("practice", {"GC109", "GC902"})],
)
def test_without_the_device_nodes_the_lease_says_what_to_expect(
    name: str, expected: set[str]
) -> None:
    """A server without a GPU lacks the driver's libraries by right."""
    body = {**BODIES[name], "system": Failure("timeout", "no answer in time")}
    assert set(findings_of(body)) == expected


def test_an_image_that_does_not_say_what_it_was_made_with() -> None:
    """Outside the image there is nothing to compare with; inside, that is a gap."""
    body = with_gpu()
    body["reference"] = {"problems": ["base.lock: no such file", "versions.json: no such file"]}
    assert findings_of(body) == {}
    body["reference"] = {
        "versions": NO_GPU["reference"]["versions"],
        "problems": ["base.lock: Input/output error"],
    }
    finding = findings_of(body)["GC902"]
    assert any("Input/output error" in line for line in finding.evidence)


def test_checks_that_follow_from_a_torch_that_cannot_be_imported_do_not_pass() -> None:
    body = with_gpu()
    error = {"type": "SyntaxError", "message": "x", "name": None, "path": None, "frames": []}
    body["torch"] = {"module": "torch", "ok": False, "error": error}
    report = report_of(body)
    assert {f["code"] for f in report["findings"]} == {"GC315"}
    wanted = {"torch_has_cuda", "cudnn_is_the_pinned_one", "numpy_works_with_torch"}
    assert wanted <= set(report["checks_unexamined"])


def test_torch_that_hangs_with_the_gpu_has_not_computed() -> None:
    body = with_gpu()
    body["torch"]["cut_short"] = {"kind": "timeout", "detail": "no answer in time"}
    for name in ("available", "count", "devices"):
        del body["torch"]["torch"][name]
    report = report_of(body)
    assert {f["code"] for f in report["findings"]} == {"GC149"}
    assert report["checks_unexamined"] == ["gpus_compute"]
