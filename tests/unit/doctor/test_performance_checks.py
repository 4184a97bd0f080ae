"""What a GPU should reach, and what is said of one that does not. Pure: facts written down here."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_ext.doctor.checks import CATALOGUE, ON_DEMAND
from server_ext.doctor.facts import Facts, Failure, ProbeResult
from server_ext.doctor.performance import figures, table
from server_ext.doctor.performance.figures import Skipped
from server_ext.doctor.performance.in_terminal import amount
from server_ext.doctor.performance.ranks_text import problem_of
from server_ext.doctor.report import advance

A100 = "NVIDIA A100-SXM4-40GB"
SOUND: dict[str, Any] = {
    "torch": "2.9.1+cu128",
    "devices": [
        {
            "index": 0,
            "name": A100,
            "light": False,
            "shared": False,
            "memory": {"free": 39 * 2**30, "total": 40 * 2**30},
            "busy": {"used_bytes": 0, "utilization": 0},
            "figures": [
                {"name": "matmul-fp16", "value": 250e12, "size": 8192},
                {"name": "matmul-bf16", "value": 250e12, "size": 8192},
                {"name": "matmul-tf32", "value": 120e12, "size": 8192},
                {"name": "matmul-fp32", "value": 18e12, "size": 8192},
                {"name": "copy-d2d", "value": 1.3e12, "size": 2**28},
                {"name": "copy-h2d-pinned", "value": 25e9, "size": 2**28},
                {"name": "copy-d2h-pinned", "value": 25e9, "size": 2**28},
                {"name": "copy-h2d-pageable", "value": 3e9, "size": 2**28},
            ],
            # a sound card at work is at its power limit
            "load": {
                "readings": 50,
                "reasons": {"4": 45},
                "temperature": 61,
                "power": 398,
                "power_limit": 400,
                "power_default": 400,
                "sm_clock": 1215,
            },
            "link": {"generation": 4, "width": 16, "max_generation": 4, "max_width": 16},
        }
    ],
    "cpu": {
        "threads": 8,
        "quota": 8.0,
        "figures": [{"name": "cpu-matmul-fp32", "value": 3e11, "size": 1024}],
        "throttled_share": 0.01,
        "memory_pressure": 0.0,
    },
    "skipped": [],
    "step": "",
    "steps": 12,
    "done": 12,
}


def changed(**changes: Any) -> dict[str, Any]:
    """SOUND with values at paths: device__load__reasons is of the first device."""
    facts = copy.deepcopy(SOUND)
    for path, value in changes.items():
        target: Any = facts
        first, *rest = path.split("__")
        if first == "device":
            target, first, *rest = facts["devices"][0], *rest
        for key in rest:
            target, first = target[first], key
        target[first] = value
    return facts


def with_figure(facts: dict[str, Any], name: str, value: float) -> dict[str, Any]:
    for figure in facts["devices"][0]["figures"]:
        if figure["name"] == name:
            figure["value"] = value
    return facts


def judged(facts: dict[str, Any], reduced: dict[str, Any] | None = None) -> dict[str, Any]:
    results = {
        "performance": ProbeResult("performance", value=facts),
        "all_reduce": ProbeResult("all_reduce", value=reduced or {}),
    }
    outcomes = advance(ON_DEMAND, Facts(results), {})
    assert len(outcomes) == len(ON_DEMAND)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return {finding.code.code: finding for outcome in outcomes for finding in outcome.findings}


SLOW = {"name": "matmul-fp16", "value": 60e12}
CASES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("a sound card at its power limit", SOUND, set()),
    ("half of the tensor speed", with_figure(changed(), "matmul-fp16", 60e12), {"GC601"}),
    ("half of the memory speed", with_figure(changed(), "copy-d2d", 5e11), {"GC601"}),
    (
        "a model nobody knows",
        with_figure(changed(device__name="NVIDIA X1"), "matmul-fp16", 1e9),
        set(),
    ),
    (
        "slow, but used by another program",
        with_figure(changed(device__light=True), "matmul-fp16", 60e12),
        {"GC609"},
    ),
    ("slow, but shared", with_figure(changed(device__shared=True), "matmul-fp16", 60e12), set()),
    ("hot", changed(device__load__reasons={"4": 45, "64": 25}), {"GC602"}),
    ("hot by the driver's account", changed(device__load__reasons={"32": 20}), {"GC602"}),
    ("hot for a moment", changed(device__load__reasons={"64": 5}), set()),
    ("one reading is none", changed(device__load={"readings": 1, "reasons": {"64": 1}}), set()),
    (
        "hot and slow is one illness",
        with_figure(changed(device__load__reasons={"64": 50}), "matmul-fp16", 60e12),
        {"GC602"},
    ),
    ("power brake", changed(device__load__reasons={"128": 50}), {"GC603"}),
    (
        "a low limit, and slow",
        with_figure(changed(device__load__power_limit=150), "matmul-fp16", 60e12),
        {"GC603"},
    ),
    ("a low limit that costs little", changed(device__load__power_limit=300), set()),
    (
        "a narrow link",
        with_figure(
            with_figure(changed(device__link__width=4), "copy-h2d-pinned", 6e9),
            "copy-d2h-pinned",
            6.2e9,
        ),
        {"GC604"},
    ),
    ("a link that carries more than it says", changed(device__link__generation=1), set()),
    (
        "slow copies over a whole link",
        with_figure(changed(), "copy-d2h-pinned", 5e9),
        {"GC605"},
    ),
    (
        "slow copies by a CPU that is held back",
        with_figure(changed(cpu__throttled_share=0.6), "copy-d2h-pinned", 5e9),
        {"GC610"},
    ),
    ("a link of which nothing is known", changed(device__link={}), set()),
    ("memory is short", changed(cpu__memory_pressure=40.0), {"GC613"}),
    (
        "the card is lost",
        changed(device__error="AcceleratorError: CUDA error: unknown error"),
        {"GC611"},
    ),
    (
        "killed",
        changed(cut_short={"kind": "crashed", "detail": "it was killed", "stderr": ""}),
        {"GC612"},
    ),
]
RANKS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("both work", {"gloo": {"backend": "gloo", "seconds": 0.01, "bytes": 1}}, set()),
    ("gloo fails", {"gloo": {"backend": "gloo", "problem": "a rank failed"}}, {"GC608"}),
    ("NCCL fails", {"nccl": {"backend": "nccl", "problem": "x"}}, {"GC607"}),
    (
        "NCCL works without P2P",
        {"nccl": {"backend": "nccl", "problem": "x", "works_without_p2p": True}},
        {"GC606"},
    ),
    (
        "NCCL fails without P2P, too",
        {"nccl": {"backend": "nccl", "problem": "x", "works_without_p2p": False}},
        {"GC607"},
    ),
]


@pytest.mark.parametrize(("facts", "codes"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_slowness_gives_its_code_and_no_other(facts: dict[str, Any], codes: set[str]) -> None:
    assert set(judged(facts)) == codes


@pytest.mark.parametrize(("reduced", "codes"), [c[1:] for c in RANKS], ids=[c[0] for c in RANKS])
def test_ranks(reduced: dict[str, Any], codes: set[str]) -> None:
    assert set(judged(SOUND, reduced)) == codes


def test_the_cases_reach_every_code_of_performance() -> None:
    reached = {code for _, _, codes in [*CASES, *RANKS] for code in codes}
    own = {code for code, known in CATALOGUE.items() if known.layer == "performance"}
    assert reached == own == {code.code for check in ON_DEMAND for code in check.codes}


def test_evidence_has_the_figures_and_the_cause() -> None:
    finding = judged(with_figure(changed(device__load__reasons={"64": 50}), "matmul-fp16", 60e12))
    evidence = " ".join(finding["GC602"].evidence)
    assert "60.0 TFLOPS" in evidence and "187.2 TFLOPS" in evidence
    assert "thermal slowdown by the hardware" in evidence and "61 °C" in evidence
    slow = judged(with_figure(changed(), "matmul-fp16", 60e12))["GC601"]
    assert slow.describe(lambda text: text, "")["title"] == (
        "NVIDIA A100-SXM4-40GB (cuda:0) computes at 32 percent of what its model should reach."
    )


def test_of_an_error_of_cuda_the_first_line_is_evidence() -> None:
    text = "AcceleratorError: CUDA error: uncorrectable ECC error encountered\nSearch for it\n"
    assert judged(changed(device__error=text))["GC611"].evidence == (text.partition("\n")[0],)


def test_two_slow_cards_are_one_finding_with_both() -> None:
    facts = with_figure(changed(), "matmul-fp16", 60e12)
    facts["devices"].append({**copy.deepcopy(facts["devices"][0]), "index": 1})
    evidence = judged(facts)["GC601"].evidence
    assert any("cuda:0" in line for line in evidence)
    assert any("cuda:1" in line for line in evidence)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.data())
def test_no_answer_whatsoever_breaks_a_check_or_a_figure(data: st.DataObject) -> None:
    facts = copy.deepcopy(SOUND)
    for _ in range(data.draw(st.integers(1, 4))):
        target: Any = facts
        while True:
            keys = list(target) if isinstance(target, dict) else list(range(len(target)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(target[key], dict | list) and data.draw(st.booleans()):
                target = target[key]
                continue
            target[key] = data.draw(JSON)
            break
    judged(facts, data.draw(st.dictionaries(st.sampled_from(["gloo", "nccl", "x"]), JSON)))
    for figure in figures.figures(facts):
        assert math.isfinite(figure.value) and figure.value > 0
        assert figure.describe(lambda text: text)["title"]
    for item in figures.skipped(facts):
        assert item.describe(lambda text: text)["text"]
    now = figures.step(facts)
    assert 0 <= now.done <= now.steps and now.name.isprintable()
    figures.backends(facts, simulated=False)
    assert figures.all_reduce_bytes("nccl", facts) <= figures.NCCL_BYTES


@given(st.floats(0.01, 3), st.sampled_from(["matmul-fp16", "matmul-fp32", "copy-d2d"]))
def test_only_less_than_the_stated_share_is_slow(share: float, name: str) -> None:
    should = table.expected(A100, name)
    assert should is not None
    facts = with_figure(changed(), name, should * share)
    assert ("GC601" in judged(facts)) == (share < table.JUDGED_BELOW)


# -- the table


@pytest.mark.parametrize(
    ("name", "figure", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", "copy-d2d", 2039e9),
        ("NVIDIA A100-PCIE-40GB", "copy-d2d", 1555e9),
        ("NVIDIA A100 80GB PCIe", "copy-d2d", 1935e9),
        ("NVIDIA H100 80GB HBM3", "matmul-bf16", 989.5e12),
        ("NVIDIA H100 PCIe", "matmul-tf32", 378e12),
        ("NVIDIA H200", "copy-d2d", 4800e9),
        ("NVIDIA L4", "matmul-fp16", 121e12),
        ("NVIDIA L40S", "matmul-fp32", 91.6e12),
        ("NVIDIA A10", "matmul-fp16", 125e12),
        ("Tesla T4", "matmul-fp16", 65e12),
        ("Tesla V100-SXM2-16GB", "matmul-fp32", 15.7e12),
        ("NVIDIA GeForce RTX 3090", "matmul-tf32", 35.6e12),
        ("NVIDIA GeForce RTX 4090", "matmul-fp16", 165.2e12),
        ("NVIDIA RTX A6000", "matmul-fp16", 154.8e12),
        ("NVIDIA RTX 6000 Ada Generation", "matmul-fp32", 91.1e12),
    ],
)
def test_a_model_is_expected_to_reach_a_careful_share_of_its_peak(
    name: str, figure: str, peak: float
) -> None:
    should = table.expected(name, figure)
    assert should is not None and 0.3 * peak <= should <= 0.75 * peak


@pytest.mark.parametrize(
    "name",
    ["", "NVIDIA A10G", "NVIDIA GeForce RTX 4090 D", "NVIDIA A100X", "Simulated A100 (practice)"]
    + ["NVIDIA H100", "NVIDIA L4 MIG 1g.3gb", "NVIDIA A100-SXM4-40GB-LC", "NVIDIA RTX A6000-8Q"],
)
def test_nothing_is_expected_of_a_name_that_is_only_similar(name: str) -> None:
    assert all(table.expected(name, figure) is None for figure in figures.FIGURES)


def test_old_cards_have_no_new_numbers() -> None:
    assert table.expected("Tesla T4", "matmul-tf32") is None
    assert table.expected("Tesla V100-SXM2-32GB", "matmul-bf16") is None


@pytest.mark.parametrize(
    ("name", "compute", "memory"),
    [
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 1 / 7, 1 / 8),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", 3 / 7, 4 / 8),
        ("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", 1 / 7, 4 / 8),
        ("NVIDIA A100-SXM4-40GB MIG 7g.40gb", 1, 1),
        ("NVIDIA A100 80GB PCIe MIG 2g.20gb", 2 / 7, 2 / 8),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb+me", 1 / 7, 1 / 8),
        ("NVIDIA H200 MIG 1g.18gb", 1 / 7, 1 / 8),
        ("NVIDIA A30 MIG 1g.6gb", 1 / 4, 1 / 4),
        ("NVIDIA A30 MIG 2g.12gb", 2 / 4, 2 / 4),
    ],
)
def test_a_part_of_a_card_is_expected_to_reach_its_share(
    name: str, compute: float, memory: float
) -> None:
    whole = name.partition(" MIG")[0]
    assert table.is_mig(name) and not table.is_mig(whole)
    for figure, share in (("matmul-fp16", compute), ("copy-d2d", memory)):
        part, all_of_it = table.expected(name, figure), table.expected(whole, figure)
        assert part is not None and all_of_it is not None
        assert part == pytest.approx(share * all_of_it)


def test_the_link_of_a_part_is_not_judged() -> None:
    facts = with_figure(
        changed(device__name=A100 + " MIG 3g.20gb", device__link__width=1), "copy-h2d-pinned", 1e8
    )
    assert not {"GC604", "GC605"} & set(judged(facts))


def test_every_row_has_its_source_and_names_one_model() -> None:
    for model in table.MODELS:
        assert re.search(r"NVIDIA .*(data sheet|white paper).*20\d\d", model.source)
        assert model.fp32 < model.half
        assert model.gigabytes if model.slices else not model.gigabytes
    plain = ["A100-SXM4-40GB", "A30", "A40", "A10", "H100 PCIe", "H200", "H200 NVL", "L4", "L40"]
    for name in [*plain, "L40S", "T4", "GeForce RTX 3090", "GeForce RTX 3090 Ti", "RTX A6000"]:
        assert sum(bool(re.fullmatch(model.names, name)) for model in table.MODELS) == 1, name


def test_a_link_of_an_unknown_generation_is_not_judged() -> None:
    assert table.expected_of_link(9, 16) is None
    assert table.expected_of_link(4, 0) is None
    assert table.expected_of_link(None, None) is None
    fourth = table.expected_of_link(4, 16)
    assert fourth is not None and fourth < 26e9  # what a sound link of this kind reaches


# -- what is skipped, and words


def test_ranks_by_nccl_take_two_whole_cards() -> None:
    def by(facts: dict[str, Any], simulated: bool = False) -> list[str | Skipped]:
        return figures.backends(facts, simulated=simulated)

    two = changed()
    two["devices"].append({**copy.deepcopy(two["devices"][0]), "index": 1})
    assert by(two) == ["gloo", "nccl"]
    assert by(SOUND) == ["gloo", Skipped("all-reduce-nccl", "one-gpu")]
    assert by(changed(devices=[]), True) == ["gloo", Skipped("all-reduce-nccl", "practice")]
    two["devices"][1]["name"] += " MIG 1g.5gb"
    assert by(two) == ["gloo", Skipped("all-reduce-nccl", "mig")]
    two["devices"][1]["error"] = "x"
    assert by(two) == ["gloo", Skipped("all-reduce-nccl", "not-measured")]
    little = changed(memory_free=300 * 2**20)
    assert by(little) == [Skipped("all-reduce-gloo", "memory", "300 MiB")]
    assert by({}) == [Skipped("all-reduce-gloo", "not-measured")]


def test_on_a_gpu_in_use_ranks_add_up_little() -> None:
    assert figures.all_reduce_bytes("nccl", SOUND) == figures.NCCL_BYTES
    assert figures.all_reduce_bytes("nccl", changed(device__light=True)) == (
        figures.NCCL_BYTES_LIGHT
    )
    small = changed(device__memory={"free": 2**28, "total": 2**33})
    assert figures.all_reduce_bytes("nccl", small) == figures.NCCL_BYTES_LIGHT


def rank(name: str, value: dict[str, Any] | None = None, **failure: Any) -> ProbeResult:
    return ProbeResult(name, value=value or {}, failure=Failure(**failure) if failure else None)


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (
            [rank("rank 0", {"ok": False, "error": {"type": "X", "message": "ncclSystemError"}})],
            "a system call failed under NCCL",
        ),
        (
            [rank("rank 0", kind="timeout", detail="x", stderr="rank 0: torch is imported\n")],
            "the ranks did not come to an end",
        ),
        (
            [rank("rank 0", kind="timeout", detail="x", stderr="")],
            "the ranks did not start in time: the server is very busy",
        ),
        ([rank("rank 1", kind="crashed", detail="SIGABRT", exit_code=-6)], "a rank crashed"),
        (
            [rank("rank 1", kind="crashed", detail="SIGKILL", exit_code=-9)],
            "a rank was killed, as happens when memory runs out",
        ),
        (
            [rank("rank 1", kind="crashed", detail="x", stderr="Duplicate GPU detected")],
            "both ranks were given one GPU",
        ),
        ([rank("rank 0", {"ok": False, "missing": "gloo"})], "this torch has no gloo"),
        (
            [rank("rank 0", {"ok": False, "error": {"type": "WrongSum", "message": "m"}})],
            "the sum was wrong",
        ),
        (
            [
                rank(
                    "rank 0", {"ok": False, "error": {"type": "X", "message": "CUDA out of memory"}}
                )
            ],
            "there was not enough free memory",
        ),
        ([rank("rank 0", {"ok": 7, "error": 3})], "a rank failed"),
        ([], "a rank failed"),
    ],
)
def test_why_ranks_fail_is_said_in_plain_words(results: list[ProbeResult], words: str) -> None:
    assert problem_of("gloo", results)[0] == words


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(19.5e12, "FLOPS", "19.5 TFLOPS"), (2.5e9, "FLOPS", "2.5 GFLOPS")]
    + [(1.3e12, "B/s", "1300.0 GB/s"), (5e6, "B/s", "5.0 MB/s"), (12, "B/s", "12 B/s")],
)
def test_amounts(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text
