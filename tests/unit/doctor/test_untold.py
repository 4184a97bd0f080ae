"""What a probe did not tell, or told as an error or as something else than it should, never counts
as well: each declared fact is taken away from each check that reads it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from bodies import GIB, NO_GPU, facts_of, findings_of, outcomes_of, practice, tried, with_gpu
from hypothesis import given
from hypothesis import strategies as st
from test_running_checks import kernel, running

from server_ext.doctor.checks import ALL_CHECKS
from server_ext.doctor.facts import Facts
from server_ext.doctor.findings import CannotTell, Check
from server_ext.doctor.report import advance
from server_ext.doctor.shapes.declared import SHAPES
from server_ext.doctor.shapes.kinds import KINDS

# paths that checks read and no shape declares -> why their absence is an answer
BY_RIGHT = {
    "asked.why": "only of a kernel that was not asked",
    "host.looked_at": "evidence only",
    "host.persistenced": "evidence only; an older service does not tell it",
    "host.toolkit_version": "evidence only; not every host has it",
    "kernelspec.argv": "evidence only",
    "kernelspec.available": "evidence only",
    "kernelspec.error": "evidence only",
    "kernelspec.python_problem": "evidence only",
    "kernelspec.secrets": "of a kernel that runs nobody knows which log-ins it was given",
    "network.clock.certificate": "only where the hub could not be asked",
    "network.clock.problem": "only where the hub could not be asked",
    "network.asked": "only where there was nothing to ask",
    "nvml.library.error": "only of a library that is missing",
    "libcuda.library.error": "only of a library that is missing",
    "resources.filesystems.*.error": "only of a folder that cannot be asked",
    "start.asked": "only where there was nothing to try",
    "running.detail": "evidence only",
    "running.id": "only compared",
    "torch.cut_short": "only of an import that was",
    "torch.error": "only of an import that failed",
    "torch.warnings": "evidence only",
    "torch.torch.runtime_count": "only where CUDA can be used; torch's own count stands for it",
    "torch.torch.init": "only where CUDA cannot be used, which is told",
    "torch.torch.allocator.error": "only of settings that torch refuses",
    "torch.torch.available.error": "only of a driver that refuses",
    "torch.torch.cudnn.error": "only of a cuDNN that does not load",
    "torch.torch.numpy.error": "only of a NumPy that does not work",
    "examination": "made by the doctor of its own checks",
    "environment.variables": "a variable that is not set is not there",
}


def beside() -> dict[str, Any]:
    """A kernel that is well, beside another one that holds little."""
    body = running()
    body["kernels"]["kernels"].append(kernel("b.ipynb", 50, 2**20))
    body["resources"]["infiniband"] = ["uverbs0"]
    body["resources"]["limits"]["memlock"] = -1
    body["system"]["preload"] = [{"library": "libjemalloc.so.2", "exists": None}]
    tried(body)
    return body


BODIES: Mapping[str, dict[str, Any]] = {
    "a running kernel": beside(),
    "a GPU": with_gpu(),
    "no GPU": NO_GPU,
    "a practice device": practice(),
}


class Recorded(Facts):
    """Facts that keep what was read of them."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts.results)
        self.read: set[tuple[str, ...]] = set()

    def get(self, probe: str, *path: str) -> object:
        self.read.add((probe, *path))
        return super().get(probe, *path)


def reads(check: Check, body: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """The paths that a check reads of these facts."""
    facts = Recorded(facts_of(body))
    try:
        list(check.run(facts))
    except CannotTell:
        pass
    return facts.read


READS = {name: {check: reads(check, body) for check in ALL_CHECKS} for name, body in BODIES.items()}


def is_declared(probe: str, path: tuple[str, ...]) -> bool:
    declared = [tuple(one.split(".")) for one in SHAPES.get(probe, {})]
    return any(matches(path, one) for one in declared) or any(
        (probe, *path)[: len(words)] == words or matches((probe, *path), words)
        for words in (tuple(one.split(".")) for one in BY_RIGHT)
    )


def matches(path: tuple[str, ...], declared: tuple[str, ...]) -> bool:
    return len(path) == len(declared) and all(
        wanted in ("*", key) for key, wanted in zip(path, declared, strict=True)
    )


def test_whatever_a_check_reads_is_declared() -> None:
    """A new fact needs its kind in shapes/declared.py, or a reason why it may be missing."""
    paths = {path for of_body in READS.values() for found in of_body.values() for path in found}
    unknown = sorted(".".join(path) for path in paths if path[1:] and not is_declared(*split(path)))
    assert not unknown


def split(path: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return path[0], path[1:]


def instances(value: object, declared: tuple[str, ...]) -> Iterator[tuple[str | int, ...]]:
    """The places in a probe's facts that a declared path leads to."""
    if not declared:
        yield ()
        return
    key, rest = declared[0], declared[1:]
    keys: list[str | int]
    if isinstance(value, list):
        keys = list(range(len(value))) if key == "*" else []
    elif isinstance(value, Mapping):
        keys = [name for name in value if key in ("*", name)]
    else:
        keys = []
    for one in keys[:2]:
        for more in instances(value[one], rest):  # type: ignore[index]
            yield (one, *more)


MISSING = object()
WRONG: tuple[object, ...] = (MISSING, None, {"error": "no answer"}, "text", 7, [7], {"a": 7}, True)


def replaced(value: Any, place: tuple[str | int, ...], wrong: object) -> Any:
    changed = copy.deepcopy(value)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    if wrong is not MISSING:
        parent[place[-1]] = wrong
    elif isinstance(parent, dict):
        del parent[place[-1]]
    return changed


def allowed(kinds: str, wrong: object, path: str) -> bool:
    """Whether that is an answer all the same."""
    if wrong is MISSING:
        return "absent" in kinds.split("|") or path.endswith("*")
    return any(KINDS[kind](wrong) for kind in kinds.split("|"))


def rests_on(read: set[tuple[str, ...]], probe: str, place: tuple[str | int, ...]) -> bool:
    """Whether a check read the fact, or one that it is part of, or a part of it."""
    path = (probe, *map(str, place))
    return any(one[: len(path)] == path or path[: len(one)] == one for one in read if len(one) > 1)


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("probe", SHAPES)
def test_no_check_passes_without_what_it_rests_on(name: str, probe: str) -> None:
    body = BODIES[name]
    if body[probe].get("asked") is False:
        return  # there is nothing to tell
    wrongly = []
    for declared, kinds in SHAPES[probe].items():
        for place in instances(body[probe], tuple(declared.split("."))):
            resting = [c for c, read in READS[name].items() if rests_on(read, probe, place)]
            for wrong in WRONG:
                if allowed(kinds, wrong, declared):
                    continue
                facts = facts_of({**body, probe: replaced(body[probe], place, wrong)})
                for check in resting:
                    (outcome,) = advance([check], facts, {})
                    assert not outcome.error, (check.name, place, wrong, outcome.error)
                    if outcome.state == "passed":
                        wrongly.append((check.name, probe, place, wrong))
    assert not wrongly


@pytest.mark.parametrize("name", BODIES)
def test_a_healthy_body_lacks_nothing(name: str) -> None:
    missing = {
        (item.probe, item.detail) for each in outcomes_of(BODIES[name]) for item in each.missing
    }
    assert not missing


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "path", "uuid", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
PLACES = [(probe, declared) for probe, facts in SHAPES.items() for declared in facts]


@given(
    st.sampled_from(sorted(BODIES)),
    st.lists(st.tuples(st.sampled_from(PLACES), ANY), min_size=1, max_size=4),
)
def test_whatever_is_told_no_check_fails(
    name: str, changes: list[tuple[tuple[str, str], object]]
) -> None:
    body = copy.deepcopy(BODIES[name])
    for (probe, declared), value in changes:
        for place in instances(body[probe], tuple(declared.split("."))):
            body[probe] = replaced(body[probe], place, value)
            break
    outcomes_of(body)  # asserts that none has an error


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("torch",), {"error": "AttributeError"}, "torch: AttributeError"),
        (("torch", "devices", "0", "unread"), "TypeError", "torch.devices.0.unread: TypeError"),
        (("torch", "devices"), None, "no torch.devices"),
        (("modules",), [], "modules is no object"),
    ],
)
def test_a_kernel_whose_torch_cannot_be_read_is_not_called_well(
    path: tuple[str, ...], value: object, why: str
) -> None:
    """The false green that this file is for: torch in a kernel answers with an error."""
    body = running()
    keys = [int(key) if key.isdigit() else key for key in path]
    place: Any = body["asked"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    states = {each.check.name: each.state for each in outcomes_of(body)}
    if path[0] == "torch":
        assert states["its_memory_is_enough"] == states["gpu_still_works_for_it"] == "unexamined"
    else:
        assert states["loaded_packages_are_installed"] == "unexamined"
    found = findings_of(body)
    assert set(found) == {"GC902"}
    assert why in found["GC902"].evidence[0]


def test_a_device_whose_error_is_told_hides_no_other() -> None:
    """CUDA's own word breaks the context (GC722); of the memory nothing is known then."""
    body = running()
    body["asked"]["torch"]["devices"] = [
        {"index": 0, "error": "CUDA error: an illegal memory access was encountered"}
    ]
    states = {each.check.name: each.state for each in outcomes_of(body)}
    assert states["its_memory_is_enough"] == "unexamined"
    assert set(findings_of(body)) == {"GC722"}
    body["asked"]["torch"]["devices"].append(
        {
            "index": 1,
            "allocated": 39 * GIB,
            "reserved": 39 * GIB,
            "unusable": 0,
            "out_of_memory": 3,
            "total": 40 * GIB,
        }
    )
    assert set(findings_of(body)) == {"GC722", "GC723"}
