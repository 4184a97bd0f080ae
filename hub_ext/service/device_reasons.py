"""Why a device is not in order, in the reader's language. Pure.

The ledger keeps a reason in English: what NVML or an XID says, in sentences of ours, perhaps with
words of the driver. What this module guarantees: sentences of ours are translated, everything else
stays as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ..health import CATALOGUE, UNKNOWN_XID
from ..i18n import N_, _
from ..inventory import illnesses
from ..ledger.devices import NOT_FOUND

_OTHERS = (N_("Last seen"), N_("NVML cannot read the card"), N_("the host may need a reboot"))


def device_reason(reason: str) -> str:
    """`reason` as the ledger has it, for the reader."""
    return _ours().sub(lambda found: _(found[0]), reason)


@lru_cache(maxsize=1)
def _ours() -> re.Pattern[str]:
    # the longest first, of those that begin alike
    return re.compile("|".join(re.escape(each) for each in sorted(sentences(), key=len)[::-1]))


def sentences() -> frozenset[str]:
    """All sentences of ours."""
    xids = (*CATALOGUE.values(), UNKNOWN_XID)
    return frozenset(
        {
            *(text for xid in xids for text in xid),
            *illnesses.RECOVERY_ACTIONS.values(),
            illnesses.REMAP_FAILED,
            illnesses.REMAP_PENDING,
            illnesses.RETIREMENT_PENDING,
            illnesses.PROHIBITED,
            NOT_FOUND,
            *_OTHERS,
        }
    )
