"""Python's garbage collector in the hub and the service.

Each of them is some 300,000 objects of libraries and tables. A full collection, which happens every
few minutes or in the middle of many starts, looks at all of them, and the event loop stands still
meanwhile: for 0.4 s on a slow host (`make storm`). They stay until the process ends, so there is
nothing to find.

What this module guarantees: what there is when the process has started is looked at once more, then
no longer; what comes later is collected as ever.
"""

from __future__ import annotations

import gc


def pass_over_what_is_there() -> None:
    """Collect, and let later collections pass over what is left."""
    gc.collect()
    gc.freeze()
