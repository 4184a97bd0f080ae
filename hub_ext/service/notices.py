"""Notices that are written once, whatever is killed in between.

A step that tells a user something may be taken again (the reply was lost, the service was killed):
`notify_once` looks for an unread notice of the same occasion first. One that was read meanwhile may
come a second time; none is ever lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ..ledger import Ledger
from ..models import NoticeKind

OCCASION = "occasion"  # in a notice's detail: what it is about, such as a lease's id


def notify_once(
    ledger: Ledger,
    user: str,
    server: str,
    kind: NoticeKind,
    occasion: str,
    detail: Mapping[str, str],
    now: datetime,
) -> None:
    """Tell a server's user, unless they were told of this occasion. Raises LedgerUnavailable."""
    for notice in ledger.notices(user, server):
        if notice.kind is kind and notice.detail.get(OCCASION) == occasion:
            return
    ledger.notify(user, server, kind, {**detail, OCCASION: occasion}, now)
