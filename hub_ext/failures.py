"""Errors of the domain -> what JupyterHub tells the participant. The one place that does it.

What this module guarantees: every failure of a start that gpucamp knows has a status, a reason for
the metrics, and a sentence that says what happened and what to do; what only an admin can use (the
Engine's words, the log's end) comes after it.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jupyterhub.spawner import SpawnException

from .engine import ContainerState
from .errors import (
    BadRequest,
    Conflict,
    EngineRefused,
    EngineUnavailable,
    GpucampError,
    ImageMissing,
    InventoryUnavailable,
    LedgerInUse,
    LedgerUnavailable,
    QueueTimeout,
    TakenOutOfLine,
)
from .i18n import _
from .models import OFFER_RESET_AFTER

LOG_LINES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Trouble:
    """Of a server that did not come to answer: how often in a row, and where it can be reset."""

    times: int = 1
    reset_url: str = ""


ONCE = Trouble()


@contextmanager
def told() -> Iterator[None]:
    """Within it an error of the domain becomes what JupyterHub tells the participant."""
    try:
        yield
    except GpucampError as error:
        raise spawn_failure(error) from error


def spawn_failure(error: GpucampError) -> SpawnException:
    """The exception to raise from a spawner's hook for this error."""
    match error:
        case BadRequest():
            return failure(400, "bad-options", str(error))
        case QueueTimeout():
            return failure(
                503,
                "queue-timeout",
                _("No GPU became free in time. Start again to wait on, or ask for fewer GPUs."),
            )
        case TakenOutOfLine(by=by, reason=reason) if reason:
            text = _("{by} took your server out of the line: “{reason}”. You can start it again.")
            return failure(409, "taken-out-of-line", text.format(by=by, reason=reason))
        case TakenOutOfLine():
            return failure(
                409,
                "taken-out-of-line",
                _("Your server was taken out of the line. You can start it again."),
            )
        case EngineUnavailable():
            return failure(
                503,
                "engine-unavailable",
                _(
                    "Your server cannot start, because the service that runs all servers (Docker) "
                    "does not answer. Nothing is reserved for you. Tell your instructor, and start "
                    "again when it is back."
                ),
                str(error),
            )
        case ImageMissing():
            return failure(
                503,
                "image-missing",
                _("The image for your server is missing on this machine. Tell your instructor."),
                str(error),
            )
        case EngineRefused() if "no quota support" in str(error):
            return failure(
                500,
                "volumes-without-limit",
                _(
                    "Your server could not be started, because this machine cannot limit how much "
                    "volumes hold. Tell your instructor what follows."
                ),
                f"{error}\nUnset c.GPUDockerSpawner.limit_volumes, or put the data of the Docker "
                "Engine on XFS mounted with pquota.",
            )
        case EngineRefused():
            return failure(
                500,
                "engine-refused",
                _("Your server could not be started. Tell your instructor what follows."),
                str(error),
            )
        case LedgerInUse() | LedgerUnavailable() | InventoryUnavailable():
            return failure(
                503,
                "leases-unavailable",
                _("GPUs cannot be reserved now, so nothing was started. Tell your instructor."),
                str(error),
            )
        case Conflict():
            return failure(
                409,
                "conflict",
                _("Your server is still in another state. Try again in a minute."),
                str(error),
            )
    return failure(500, "error", _("Your server could not be started."), str(error))


def server_stopped(
    state: ContainerState, log_tail: str, memory_bytes: int, trouble: Trouble = ONCE
) -> SpawnException:
    """The container ended while it was starting."""
    if state.oom_killed:
        limit = f" ({memory_bytes / 1024**3:.1f} GiB)" if memory_bytes else ""
        return failure(
            500,
            "out-of-memory",
            _("Your server ran out of memory while it was starting.") + limit,
            _last_lines(log_tail),
            trouble,
        )
    return failure(
        500,
        "server-stopped",
        _(
            "Your server stopped while it was starting. Reset its environment, or tell your "
            "instructor."
        )
        + f" ({describe_end(state)})",
        _last_lines(log_tail),
        trouble,
    )


def not_ready(seconds: float, log_tail: str, trouble: Trouble = ONCE) -> SpawnException:
    """The server did not answer in time."""
    return failure(
        504,
        "not-ready",
        _(
            "Your server started but did not answer in time. Start it again, or tell your "
            "instructor."
        )
        + f" ({seconds:g} s)",
        _last_lines(log_tail),
        trouble,
    )


def describe_end(state: ContainerState) -> str:
    """How a container ended, in a few words for logs and pages."""
    if state.never_started:
        return state.error or "the container was created and never started"
    if state.oom_killed:
        return "out of memory"
    if state.exit_code is None:
        return "the container is gone"
    return f"exit code {state.exit_code}" + (f", {state.error}" if state.error else "")


def failure(
    status: int, reason: str, message: str, detail: str = "", trouble: Trouble = ONCE
) -> SpawnException:
    """A SpawnException whose page shows `message` and, apart from it, `detail`.

    After some failed starts in a row it offers a reset, with the way there.
    """
    shown = html.escape(message)
    if trouble.times >= OFFER_RESET_AFTER and trouble.reset_url:
        offer = _(
            "It did not start {times} times in a row. A reset gives it a fresh environment; your "
            "files in ~/work stay, and you can undo it."
        ).format(times=trouble.times)
        message = f"{message} {offer}"
        shown += (
            f"<br>{html.escape(offer)}<br>"
            '<a id="offer-reset" class="btn btn-primary my-2" '
            f'href="{html.escape(trouble.reset_url)}">{html.escape(_("Reset environment…"))}</a>'
        )
    if detail:
        shown += f"<pre>{html.escape(detail)}</pre>"
    error = SpawnException(
        message,
        reason=reason,
        status_code=status,
        message_html=shown,
        log_message=f"{message} [{detail}]" if detail else message,
    )
    # what the progress page and the REST API show, instead of str(error)
    error.jupyterhub_message = f"{message} {detail}".strip()
    error.jupyterhub_html_message = shown
    return error


def _last_lines(log_tail: str) -> str:
    return "\n".join(log_tail.strip().splitlines()[-LOG_LINES_SHOWN:])
