"""gpucamp beside the hub: the spawner, the ledger of GPU leases, and the service."""

__version__ = "0.1.0"
