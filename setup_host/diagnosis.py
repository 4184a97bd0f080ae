"""The output of a failed command -> the remedy, where the cause can be told.

Guarantees: pure; None where the output says nothing known; the first matching cause wins, and
causes stand from the specific to the general.
"""

from __future__ import annotations

import re

_MIRRORS = (
    "check the network; where only mirrors can be reached, set GPUCAMP_APT_MIRROR, "
    "GPUCAMP_PYPI_INDEX, GPUCAMP_NPM_REGISTRY or GPUCAMP_REGISTRY; then run the command again, "
    "it continues where it stopped."
)

_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"No space left on device|ENOSPC|Disk quota exceeded",
        "make room on the disk (see `df -h`), then run the command again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT|self-signed certificate|"
        r"UNABLE_TO_GET_ISSUER_CERT|"
        r"UNABLE_TO_VERIFY_LEAF|certificate verify failed|x509: certificate|"
        r"server certificate verification failed",
        "a proxy seems to inspect TLS: set GPUCAMP_CA_BUNDLE to a PEM file with its certificate.",
    ),
    (
        r"DO NOT MATCH THE HASHES|EINTEGRITY",
        "a package differs from the locked one: try again without a mirror, or refresh the locks "
        "with `make lock` if you changed the requirements.",
    ),
    (
        r"Could not get lock /var/lib|Unable to lock directory|is another process using it",
        "another package manager is at work: wait until it has ended, then run the command again.",
    ),
    (
        r"dpkg was interrupted",
        "run `dpkg --configure -a`, then the command again.",
    ),
    (
        r"Temporary failure in name resolution|Temporary failure resolving|Name or service not "
        r"known|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|Connection refused|"
        r"Network is unreachable|Failed to establish a new connection|Connection timed out|"
        r"Could not connect to|Unable to connect to|Failed to fetch|no such host|"
        r"ReadTimeoutError|Max retries exceeded|request to \S+ failed",
        "a package registry cannot be reached: " + _MIRRORS,
    ),
    (
        r"No matching distribution found|Unable to locate package|E404|No candidates found",
        "a registry does not have a locked package: " + _MIRRORS,
    ),
    (
        r"MemoryError|Cannot allocate memory|JavaScript heap out of memory|^Killed$",
        "the machine ran out of memory: end other programs (4 GB free are enough), then try again.",
    ),
    (
        r"Permission denied|EACCES|Operation not permitted",
        "a file or folder belongs to someone else: run the command as the user who ran it first, "
        "or as root.",
    ),
)


def remedy_for(output: str) -> str | None:
    """The remedy for the first known cause in a command's output, or None."""
    for pattern, remedy in _CAUSES:
        if re.search(pattern, output, re.MULTILINE):
            return remedy
    return None
