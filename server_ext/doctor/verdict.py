"""Tells the gpucamp service what an examination found, with the server's own token.

Guarantees: only codes with their severity, numbers, times, and names of a fixed form leave the
server, no text that a user wrote; what goes wrong on the way is a text for the log, never an error;
who examines does not wait for it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence

from .. import __version__
from ..errors import GpucampServerError, ServiceUnavailable
from .host_view import _client
from .report import Finished
from .threads import in_thread

SECONDS = 5.0  # for one attempt
PAUSES = (5.0, 30.0)  # before the next ones, for a service that is being restarted
MOST_FINDINGS = 200
_KERNEL = re.compile(r"[A-Za-z0-9._-]{0,100}", re.ASCII)
_LEASE = re.compile(r"[0-9a-z]{0,32}", re.ASCII)


def of(finished: Finished, lease: str = "") -> dict[str, object]:
    """The verdict as the service takes it; a name of another form is left out. Pure."""
    states = [outcome.state for outcome in finished.outcomes]
    found = [finding for outcome in finished.outcomes for finding in outcome.findings]
    return {
        "at": finished.started_at,
        "findings": [
            {"code": finding.code.code, "severity": finding.code.severity}
            for finding in found[:MOST_FINDINGS]
        ],
        "kernel": finished.kernel if _KERNEL.fullmatch(finished.kernel) else "",
        "seconds": round(finished.seconds, 3),
        "checks_passed": states.count("passed"),
        "checks_unexamined": states.count("unexamined"),
        "version": __version__,
        "lease": lease if _LEASE.fullmatch(lease) else "",
    }


async def tell(
    finished: Finished,
    environ: Mapping[str, str],
    *,
    pauses: Sequence[float] = PAUSES,
    seconds: float = SECONDS,
) -> str:
    """Tells it; "" if that was done or there is nobody to tell, else why not, for the log.

    A service that gives no answer is asked again after each of `pauses`; one that says no is not.
    """
    if not environ.get("GPUCAMP_SERVICE_URL"):
        return ""
    try:
        client = (await in_thread(_client)).from_environment(environ)
    except ServiceUnavailable:
        return ""
    body = of(finished, environ.get("GPUCAMP_LEASE", ""))
    problem = ""
    for pause in (0.0, *pauses):
        await asyncio.sleep(pause)
        try:
            async with asyncio.timeout(seconds):
                await client.call("POST", "/doctor/verdict", body)
            return ""
        except TimeoutError:
            problem = f"the gpucamp service gave no answer within {seconds:g} s"
        except ServiceUnavailable as error:
            problem = str(error)
        except GpucampServerError as error:
            return f"{type(error).__name__}: {error}"
    return problem


def may_be_told(finished: Finished) -> bool:
    """False if the service gave no answer during the examination: a terminal need not wait."""
    host = finished.results.get("host")
    return host is None or host.failure is None
