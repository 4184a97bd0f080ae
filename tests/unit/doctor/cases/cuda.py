"""torch with the card."""

from __future__ import annotations

from bodies import GIB
from breakages import Case, add_fails, second_gpu, torch_says

CASES: list[Case] = [
    ("torch refuses", torch_says("CUDA unknown error - this may be due to"), "GC141"),
    (
        "torch hangs with the GPU",
        [("torch.cut_short", {"kind": "timeout", "detail": "no answer in time"})],
        "GC149",
    ),
    ("one of two seen", second_gpu(), "GC142"),
    ("old card", [("torch.torch.devices.0.capability", [6, 1])], "GC143"),
    ("no kernel image", add_fails("CUDA error: no kernel image is available"), "GC143"),
    ("memory full", add_fails("CUDA out of memory. Tried to allocate 20.00 MiB."), "GC144"),
    ("busy", add_fails("CUDA error: CUDA-capable device(s) is/are busy or unavailable"), "GC145"),
    ("ECC", add_fails("CUDA error: uncorrectable ECC error encountered"), "GC146"),
    ("compute fails", add_fails("CUDA error: an illegal instruction was encountered"), "GC147"),
    ("memory nearly full", [("nvml.devices.0.memory.used", 39 * GIB)], "GC148"),
]
