"""Why a lease ended, in the reader's language. Pure.

The ledger keeps a reason in English. What this module guarantees: a sentence of ours is translated,
everything else (an error of the Engine) stays as it is.
"""

from __future__ import annotations

import re

from ..i18n import N_, _

SENTENCES = (
    N_("hold expired"),
    N_("its container is gone"),
    N_("left by an earlier start"),
    N_("no container was made for it"),
    N_("out of memory"),
    N_("replaced: the server asked for other devices"),
    N_("the container is gone"),
    N_("the container was created and never started"),
    N_("the reset failed"),
    N_("the server was stopped"),
    N_("the undo failed"),
)
_EXIT_CODE = re.compile(r"exit code (\d+)")


def end_reason(reason: str) -> str:
    """`reason` as the ledger has it, for the reader."""
    if reason in SENTENCES:
        return _(reason)
    return _EXIT_CODE.sub(lambda found: _("exit code {code}").format(code=found[1]), reason)
