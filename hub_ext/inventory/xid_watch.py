"""Waits for XIDs on all cards and prints them; run as a program, because a driver may hang.

One JSON object per line:
- first {"watching": [UUID, ...], "deaf": {"GPU 1": why, ...}, "silent": [UUID, ...]}: cards, not
  MIG instances, that are watched, that cannot be, and that have no events;
- {"card": UUID, "xid": 79, "at": ISO 8601} for each XID; the UUID is "" if the driver did not say
  which card it was;
- {} at least every WAIT_SECONDS, which tells that it is alive;
- last {"error": NVML's code, "text": ...} if NVML cannot be used any more. Exit status 1.

`--leave=1,3` names indices of cards that it must not open, so that an admin can reset them.

It ends when its standard input does, so also when its parent was killed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import sys
import threading
import time
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import pynvml

WAIT_SECONDS = 5.0
_DOUBLE_BIT_ECC_XID = 48  # the driver may report it as an event of its own
_TYPES = pynvml.nvmlEventTypeXidCriticalError | pynvml.nvmlEventTypeDoubleBitEccError


def main() -> None:
    """Watch until the standard input ends, or NVML does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--leave", default="", help="indices of cards that are not to be opened")
    leave = [int(index) for index in parser.parse_args().leave.split(",") if index]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        watch(leave)
    except pynvml.NVMLError as error:
        _tell({"error": error.value, "text": str(error)})
        sys.exit(1)


def watch(leave: Collection[int]) -> None:
    """Raises NVMLError if it cannot go on."""
    pynvml.nvmlInit()
    event_set = pynvml.nvmlEventSetCreate()
    uuids: dict[int, str] = {}
    deaf: dict[str, str] = {}
    silent: list[str] = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        if index in leave:
            continue
        try:
            card = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(pynvml.nvmlDeviceGetUUID(card))
        except pynvml.NVMLError as error:
            deaf[f"GPU {index}"] = str(error)  # the inventory quarantines it
            continue
        try:
            types = pynvml.nvmlDeviceGetSupportedEventTypes(card) & _TYPES
            pynvml.nvmlDeviceRegisterEvents(card, types, event_set)
            uuids[_address(card)] = uuid
        except pynvml.NVMLError_NotSupported:
            silent.append(uuid)
        except pynvml.NVMLError as error:
            deaf[uuid] = str(error)
    _tell({"watching": sorted(uuids.values()), "deaf": deaf, "silent": silent})
    while True:
        if not uuids:
            time.sleep(WAIT_SECONDS)
            _tell({})
            continue
        try:
            event = pynvml.nvmlEventSetWait_v2(event_set, int(WAIT_SECONDS * 1000))
        except pynvml.NVMLError_Timeout:
            _tell({})
            continue
        at = datetime.now(UTC).isoformat()
        if event.eventType == pynvml.nvmlEventTypeXidCriticalError:
            xid = int(event.eventData)
        elif event.eventType == pynvml.nvmlEventTypeDoubleBitEccError:
            xid = _DOUBLE_BIT_ECC_XID
        else:
            continue
        _tell({"card": uuids.get(_address(event.device), ""), "xid": xid, "at": at})


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin: Python aborts if it ends while a thread waits there
        pass
    os._exit(0)  # the main thread may be in the driver


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()
