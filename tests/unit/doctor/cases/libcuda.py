"""CUDA's driver library."""

from __future__ import annotations

from breakages import CRASHED, HUNG, Case, cu_init

CASES: list[Case] = [
    ("no libcuda", [("libcuda", {"library": {"error": "libcuda.so.1: cannot open"}})], "GC131"),
    ("driver too old", [("libcuda.version", 11080)], "GC132"),
    (
        "driver too old for a newer torch",
        [("torch.torch.cuda", "13.0"), ("libcuda.version", 12080)],
        "GC132",
    ),
    (
        "cuInit 100",
        [("libcuda", cu_init(100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device"))],
        "GC133",
    ),
    (
        "cuInit 803",
        [("libcuda", cu_init(803, "", "system has unsupported display driver"))],
        "GC134",
    ),
    ("cuInit 804", [("libcuda", cu_init(804, "", "forward compatibility was attempted"))], "GC135"),
    ("cuInit 802", [("libcuda", cu_init(802, "", "system not yet initialized"))], "GC136"),
    ("cuInit 34", [("libcuda", cu_init(34, "CUDA_ERROR_STUB_LIBRARY", "stub"))], "GC130"),
    ("cuInit 46", [("libcuda", cu_init(46, "CUDA_ERROR_DEVICE_UNAVAILABLE", "busy"))], "GC138"),
    ("cuInit 3", [("libcuda", cu_init(3, "", "initialization error"))], "GC139"),
    ("cuInit 304", [("libcuda", cu_init(304, "", "OS call failed"))], "GC139"),
    ("cuInit hangs", [("libcuda", HUNG)], "GC137"),
    ("cuInit 999", [("libcuda", cu_init(999, "CUDA_ERROR_UNKNOWN", "unknown error"))], "GC139"),
    ("libcuda crashes", [("libcuda", CRASHED)], "GC139"),
]
