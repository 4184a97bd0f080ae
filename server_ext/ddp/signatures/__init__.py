"""How DDP runs fail: what to look for, why it happens, what to do. Data, no decisions.

model.py says what a signature is; the other modules hold them by subject.
"""

from __future__ import annotations

from .devices import DEVICES
from .distributed import DISTRIBUTED
from .files import FILES
from .model import (
    EXCEPTION,
    LAUNCHER,
    LOGIC_ERRORS,
    SIGNAL,
    SILENT_EXIT,
    SURVIVED,
    Signature,
)
from .programs import PROGRAMS
from .signals import SIGNALS
from .waiting import WAITING

__all__ = [
    "EXCEPTION",
    "LAUNCHER",
    "LOGIC_ERRORS",
    "SIGNAL",
    "SIGNALS",
    "SIGNATURES",
    "SILENT_EXIT",
    "SURVIVED",
    "Signature",
]

# The first pattern that matches an exception names it, so the special come before the general.
SIGNATURES: tuple[Signature, ...] = (*DISTRIBUTED, *DEVICES, *FILES, *PROGRAMS, *WAITING)
