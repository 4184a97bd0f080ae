"""Which names may be put into a command.

Guarantees: a name that fits as a whole (`fullmatch`) is one word and no path; that of a package, a
file or a variable is no option, either.
"""

from __future__ import annotations

import re

PACKAGE_OR_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Za-z_]\w*", re.ASCII)
KERNEL_ID = re.compile(r"[\w-]+", re.ASCII)  # of a kernel of Jupyter Server's
