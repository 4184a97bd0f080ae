"""The ledger: devices, leases, the queue, environments, operations and the audit trail."""

from .store import Ledger

__all__ = ["Ledger"]
