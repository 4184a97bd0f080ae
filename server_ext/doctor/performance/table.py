"""What a model of GPU should reach. Pure.

Guarantees: a model that is not in the table has no expectation, and neither has one of a similar
name (an A10G is no A10); a part of a card (MIG) is expected to reach its share of the card.

Where the peaks come from is named per row: NVIDIA's data sheets and white papers, dense, without
sparsity, tensor cores accumulating in fp32, as torch has them. No program reaches the peak, so what
is expected is a share of it: what a large matrix product or copy by torch reaches on a sound card,
rounded down. Cards of little power (T4, L4) cannot hold their clocks and reach less of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TERA, GIGA = 1e12, 1e9

# of the expectation: what is below is a finding. The expectations are careful, and neighbours, a
# virtual machine and an odd size each take a little; half of the speed is lost to none of them.
JUDGED_BELOW = 0.6

# shares of the peak
VECTOR_REACH, TENSOR_REACH, MEMORY_REACH, LINK_REACH = 0.7, 0.6, 0.75, 0.7
LITTLE_POWER = 0.4

# bytes/s of one lane in one direction, by generation (PCI-SIG, after line coding)
LANE = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}


@dataclass(frozen=True)
class Model:
    """A row. names: what NVML and torch call it, without NVIDIA or Tesla (regular expression);
    fp32, tf32, half: peaks in TFLOPS, None: it has none; brain: whether it has bf16, too; memory:
    GB/s; slices, memory_slices: into which MIG parts it; gigabytes: of its memory, where it has
    MIG; reach, vector_reach: shares of the tensor peaks and of fp32.
    """

    names: str
    fp32: float
    tf32: float | None
    half: float
    memory: float
    source: str
    brain: bool = True
    slices: int = 0
    memory_slices: int = 8
    gigabytes: int = 0
    reach: float = TENSOR_REACH
    vector_reach: float = VECTOR_REACH


_A100 = "NVIDIA A100 data sheet (2188504, 2022)"
_H100 = "NVIDIA H100 data sheet (2287922, 2022)"
_V100 = "NVIDIA V100 data sheet (1165301, 2020)"
_AMPERE = "NVIDIA Ampere GA102 white paper (2021), appendix A"
_ADA = "NVIDIA Ada white paper (2023), appendix A"

MODELS: tuple[Model, ...] = (
    Model(r"A100-(SXM4|PCIE)-40GB", 19.5, 156, 312, 1555, _A100, slices=7, gigabytes=40),
    Model(r"A100[- ]SXM4-80GB", 19.5, 156, 312, 2039, _A100, slices=7, gigabytes=80),
    Model(r"A100(-PCIE-80GB| 80GB PCIe)", 19.5, 156, 312, 1935, _A100, slices=7, gigabytes=80),
    Model(
        r"A30",
        10.3,
        82,
        165,
        933,
        "NVIDIA A30 data sheet (2021)",
        slices=4,
        memory_slices=4,
        gigabytes=24,
    ),
    # passively cooled, 300 W: sound ones were seen at 40 of half, 40 of tf32, 19 of fp32
    Model(
        r"A40",
        37.4,
        74.8,
        149.7,
        696,
        "NVIDIA A40 data sheet (2021)",
        reach=LITTLE_POWER,
        vector_reach=0.5,
    ),
    # 150 W
    Model(r"A10", 31.2, 62.5, 125, 600, "NVIDIA A10 data sheet (2021)", reach=LITTLE_POWER),
    Model(r"H100 80GB HBM3", 67, 494.5, 989.5, 3350, _H100, slices=7, gigabytes=80),
    # 350 W, half of what the SXM module has
    Model(r"H100 PCIe", 51, 378, 756, 2000, _H100, slices=7, gigabytes=80, reach=LITTLE_POWER),
    Model(
        r"H100 NVL",
        60,
        417.5,
        835.5,
        3900,
        "NVIDIA H100 NVL data sheet (2024)",
        slices=7,
        gigabytes=94,
        reach=LITTLE_POWER,
    ),
    Model(
        r"H200",
        67,
        494.5,
        989.5,
        4800,
        "NVIDIA H200 data sheet (3002446, 2024)",
        slices=7,
        gigabytes=141,
    ),
    Model(
        r"H200 NVL",
        60,
        417.5,
        835.5,
        4800,
        "NVIDIA H200 data sheet (3002446, 2024)",
        slices=7,
        gigabytes=141,
        reach=LITTLE_POWER,
    ),
    # 72 W
    Model(
        r"L4",
        30.3,
        60,
        121,
        300,
        "NVIDIA L4 data sheet (2023)",
        reach=LITTLE_POWER,
        vector_reach=LITTLE_POWER,
    ),
    Model(r"L40", 90.5, 90.5, 181, 864, "NVIDIA L40 data sheet (2022)", vector_reach=0.5),
    Model(
        r"L40S",
        91.6,
        183,
        362,
        864,
        "NVIDIA L40S data sheet (2023)",
        reach=0.45,
        vector_reach=0.5,
    ),
    # 70 W
    Model(
        r"T4",
        8.1,
        None,
        65,
        300,
        "NVIDIA T4 data sheet (2019)",
        brain=False,
        reach=0.35,
        vector_reach=0.5,
    ),
    Model(r"V100-SXM[23]-(16|32)GB", 15.7, None, 125, 900, _V100, brain=False),
    Model(r"V100-PCIE-(16|32)GB", 14, None, 112, 900, _V100, brain=False),
    Model(r"V100S-PCIE-32GB", 16.4, None, 130, 1134, _V100, brain=False),
    Model(r"GeForce RTX 3080", 29.8, 29.8, 59.5, 760, _AMPERE),
    Model(r"GeForce RTX 3090", 35.6, 35.6, 71, 936, _AMPERE),
    Model(r"GeForce RTX 3090 Ti", 40, 40, 80, 1008, _AMPERE),
    Model(r"RTX A5000", 27.8, 55.6, 111, 768, "NVIDIA RTX A5000 data sheet (2021)"),
    Model(r"RTX A6000", 38.7, 77.4, 154.8, 768, _AMPERE),
    Model(r"GeForce RTX 4080", 48.7, 48.7, 97.5, 717, _ADA),
    Model(r"GeForce RTX 4090", 82.6, 82.6, 165.2, 1008, _ADA),
    Model(
        r"RTX 6000 Ada Generation",
        91.1,
        182.1,
        364.2,
        960,
        "NVIDIA RTX 6000 Ada data sheet (2023)",
        reach=0.45,
        vector_reach=0.5,
    ),
    Model(
        r"GeForce RTX 5090",
        104.8,
        104.8,
        209.5,
        1792,
        "NVIDIA RTX Blackwell white paper (2025), appendix A",
    ),
)

_MIG = re.compile(r"\s+MIG\s+(?:(\d)c\.)?(\d)g\.(\d+)gb(?:\+.*)?$", re.IGNORECASE)
_MAKER = re.compile(r"^(NVIDIA |Tesla )+", re.IGNORECASE)


def find(name: str) -> Model | None:
    """The row of a card, or of the card that an instance is a part of."""
    plain = _MAKER.sub("", _MIG.sub("", " ".join(name.split())))
    found = [model for model in MODELS if re.fullmatch(model.names, plain, re.IGNORECASE)]
    return found[0] if found else None


def is_mig(name: str) -> bool:
    """Whether the name is one of a part of a card."""
    return _MIG.search(name) is not None


def expected(name: str, figure: str) -> float | None:
    """What a device of this name should reach in FLOPS or bytes/s, or None where nobody can say."""
    model = find(name)
    if model is None:
        return None
    compute, memory = _shares(name, model)
    peaks = {
        "matmul-fp32": (model.fp32, model.vector_reach),
        "matmul-tf32": (model.tf32, model.reach),
        "matmul-fp16": (model.half, model.reach),
        "matmul-bf16": (model.half if model.brain else None, model.reach),
    }
    if figure == "copy-d2d":
        return model.memory * GIGA * MEMORY_REACH * memory if memory else None
    peak, reach = peaks.get(figure, (None, 0.0))
    return peak * TERA * reach * compute if peak and compute else None


def _shares(name: str, model: Model) -> tuple[float, float]:
    """Of compute and of memory bandwidth; 0 where the part is of a kind that is not known."""
    part = _MIG.search(name)
    if part is None:
        return 1.0, 1.0
    if not model.slices:
        return 0.0, 0.0
    slices = int(part[1] or part[2])
    # the name has the memory, rounded to whole GB: 5 of 40 is an eighth
    eighths = round(int(part[3]) / model.gigabytes * model.memory_slices)
    return min(1.0, slices / model.slices), min(1.0, max(1, eighths) / model.memory_slices)


def expected_of_link(generation: int | None, width: int | None) -> float | None:
    """Bytes/s in one direction that copies from pinned memory should reach."""
    lane = LANE.get(generation or 0)
    return lane * width * LINK_REACH if lane and width and width > 0 else None


def peak_of_link(generation: int | None, width: int | None) -> float | None:
    """Bytes/s in one direction that a link can have at most."""
    lane = LANE.get(generation or 0)
    return lane * width if lane and width and width > 0 else None
