"""`python3 -m setup_host COMMAND`: what the Makefile's targets call."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - before anything that an older one cannot read
    sys.exit(
        "This is Python %d.%d; gpucamp needs 3.11 or newer.\n"  # noqa: UP031
        "What to do: install one, and name it: `make run PYTHON=python3.12`." % sys.version_info[:2]
    )

from .command_line import main

sys.exit(main(sys.argv[1:]))
