"""`python -m hub_ext.ledger SOURCE`: moves the ledger at SOURCE to $GPUCAMP_LEDGER_URL.

SOURCE is a SQLite file, or "-" to read a URL from standard input: a password is never an argument.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import GpucampError
from .moving import move


def main(arguments: list[str]) -> int:
    """The exit status."""
    target = os.environ.get("GPUCAMP_LEDGER_URL", "")
    if len(arguments) != 1 or not target:
        print(f"{__doc__}\nSet GPUCAMP_LEDGER_URL, and give SOURCE.", file=sys.stderr)
        return 2
    (source,) = arguments
    if source != "-" and not Path(source).is_file():
        print(f"There is no file {source}.", file=sys.stderr)
        return 2
    url = sys.stdin.readline().strip() if source == "-" else f"sqlite:///{Path(source).absolute()}"
    try:
        counts = move(url, target)
    except (GpucampError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(", ".join(f"{count} of {table}" for table, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
