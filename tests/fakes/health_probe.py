"""health_probe.py URL FILE: ask until killed; a line of seconds and status for each answer."""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request

PAUSE = 0.02  # seconds between an answer and the next question


def probe(url: str, file: str) -> None:
    """Status 0 is no answer within a minute."""
    with open(file, "w", buffering=1) as out:
        while True:
            began = time.perf_counter()
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  (loopback)
                    status = answer.status
            except (urllib.error.URLError, OSError):
                status = 0
            out.write(f"{time.perf_counter() - began:.6f} {status}\n")
            time.sleep(PAUSE)


if __name__ == "__main__":
    probe(sys.argv[1], sys.argv[2])
