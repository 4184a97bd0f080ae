"""Sets up a host for gpucamp and runs it: `python3 -m setup_host help`.

Guarantees:
- Only the standard library of the host's Python (3.11 or newer) is needed.
- Every step is idempotent and skips itself when its inputs (by content, not by time) are unchanged.
- An interrupted step leaves a state from which the next run continues.
- It ends only processes that it started, and never removes a work volume that was not named.
"""
