"""The clock, proxies and log-ins."""

from __future__ import annotations

from typing import Any

from bodies import VENV
from breakages import Case

_WANDB = {
    "directory": VENV,
    "base": False,
    "writable": True,
    "distributions": [{"name": "wandb", "version": "0.23.0", "modules": ["wandb"]}],
}


def _clock(**facts: Any) -> list[tuple[str, Any]]:
    return [("network.clock", {"asked": True, "now": 1764165600.0, **facts})]


CASES: list[Case] = [
    ("a clock that is an hour late", _clock(hub=1764169200.0), "GC501"),
    ("a clock that is a year early", _clock(hub=1764165600.0 - 365 * 86400), "GC501"),
    (
        "a clock before the image, and no hub",
        [("network.clock", {"asked": False, "now": 1000.0})],
        "GC501",
    ),
    (
        "the hub's certificate is not valid yet",
        _clock(problem="SSLCertVerificationError: not yet valid", certificate=True),
        "GC501",
    ),
    (
        "a proxy without http://",
        [("network.proxies", [{"variable": "HTTPS_PROXY", "problem": "no http://"}])],
        "GC502",
    ),
    ("wandb without a log-in", [("packages.directories.0", _WANDB)], "GC503"),
    ("offline", [("environment.variables.HF_HUB_OFFLINE", "1")], "GC504"),
    (
        "offline, as the administrator said",
        [
            ("environment.variables.HF_HUB_OFFLINE", "1"),
            ("environment.variables.GPUCAMP_OFFLINE", "1"),
        ],
        set(),
    ),
]
