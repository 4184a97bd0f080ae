"""Causes told from what real programs print."""

from __future__ import annotations

import pytest

from setup_host.diagnosis import remedy_for


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("
            '"Failed to establish a new connection: [Errno -3] Temporary failure in name '
            "resolution\")': /simple/jupyterhub/",
            "GPUCAMP_PYPI_INDEX",
        ),
        ("npm error code ENOTFOUND\nnpm error network request to https://x failed", "GPUCAMP_NPM"),
        ("Err:1 http://deb.debian.org bookworm InRelease\n  Could not connect to x", "GPUCAMP_APT"),
        ("E: Unable to locate package docker.io", "does not have a locked package"),
        ("ERROR: No matching distribution found for jupyterhub==6.1.1", "does not have"),
        (
            "SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate "
            "verify failed: self-signed certificate in chain'))",
            "GPUCAMP_CA_BUNDLE",
        ),
        ("YN0001: RequestError: self-signed certificate in certificate chain", "GPUCAMP_CA_BUNDLE"),
        ("npm error code SELF_SIGNED_CERT_IN_CHAIN", "GPUCAMP_CA_BUNDLE"),
        ("OSError: [Errno 28] No space left on device", "df -h"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "make lock"),
        ("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12", "wait"),
        ("E: dpkg was interrupted, you must manually run 'dpkg --configure -a'", "--configure -a"),
        ("FATAL ERROR: Reached heap limit - JavaScript heap out of memory", "memory"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "as root"),
    ],
)
def test_known_causes_have_their_remedy(output: str, says: str) -> None:
    assert says in (remedy_for("noise\n" + output + "\nnoise") or "")


@pytest.mark.parametrize(
    "output", ["", "SyntaxError: invalid syntax", "src/index.ts: error TS2304"]
)
def test_an_unknown_cause_is_not_guessed(output: str) -> None:
    assert remedy_for(output) is None
