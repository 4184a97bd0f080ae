"""Forgets the verdicts about servers that are no more, and the hands of users who are no more.

Guarantees: what is forgotten has no lease, and JupyterHub says that there is no such user or named
server; while it does not answer, everything stays.
"""

from __future__ import annotations

import asyncio

from ..errors import HubRefused, HubUnavailable, NotFound
from ..ledger import Ledger
from .hub_api import HubClient


async def forget_lost_servers(ledger: Ledger, hub: HubClient) -> None:
    """One round. Raises LedgerUnavailable."""
    known, leases = await asyncio.to_thread(lambda: (ledger.verdicts(), ledger.leases()))
    gone = []
    for user, server in known.keys() - {(lease.user, lease.server) for lease in leases}:
        try:
            if await hub.server(user, server) is None and server:
                gone.append((user, server))
        except NotFound:
            gone.append((user, server))
        except (HubUnavailable, HubRefused):
            break  # nobody can say; the next round asks again
    if gone:
        await asyncio.to_thread(ledger.forget_verdicts, gone)


async def forget_lost_hands(ledger: Ledger, hub: HubClient) -> None:
    """One round. Raises LedgerUnavailable."""
    gone = []
    for hand in await asyncio.to_thread(ledger.hands):
        try:
            await hub.user(hand.user)
        except NotFound:
            gone.append(hand.user)
        except (HubUnavailable, HubRefused):
            break
    if gone:
        await asyncio.to_thread(ledger.forget_hands, gone)
