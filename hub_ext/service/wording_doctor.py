"""Why an examination from outside gave no report, in the reader's language. Pure."""

from __future__ import annotations

from ..i18n import N_, _, gap
from .examinations import Trouble

_TROUBLES: dict[Trouble, tuple[str, str]] = {
    Trouble.SERVER_STOPPED: (
        N_("The server was stopped, or paused, before the examination was over."),
        N_("Start it and examine it again."),
    ),
    Trouble.NO_COMMAND: (
        N_("The server's image has no GPU doctor, or it cannot be started there."),
        N_("Give people an image of this gpucamp (make image), and start the server again."),
    ),
    Trouble.ENGINE_SILENT: (
        N_("The Docker Engine did not answer."),
        N_("Try again in a minute. If it stays so, look at the Engine on the host."),
    ),
    Trouble.ENGINE_REFUSED: (
        N_("The Docker Engine could not run GPU doctor in the container."),
        N_("Look at the Engine's log on the host, or start the server again."),
    ),
    Trouble.TIMEOUT: (
        N_("GPU doctor was not done in time."),
        N_("Look whether the disk or the driver of the host hangs (dmesg), then try again."),
    ),
    Trouble.TOO_LONG: (
        N_("GPU doctor printed more than a report can have."),
        N_("Reset the environment; if it stays so, report it to those who maintain gpucamp."),
    ),
    Trouble.GARBLED: (
        N_("What GPU doctor printed is no report."),
        N_("Try again. If it stays so, start the server again with the present image."),
    ),
    Trouble.KILLED: (
        N_("GPU doctor was killed in the container, for want of memory perhaps."),
        N_("Have kernels shut down there, or start the server again, then try again."),
    ),
    Trouble.FAILED: (
        N_("GPU doctor failed in the container."),
        N_("Try again. If it stays so, start the server again with the present image."),
    ),
    Trouble.UNEXPECTED: (
        N_("Something unexpected happened in gpucamp."),
        N_("Try again. If it stays so, the service's log says more."),
    ),
}


def trouble_text(trouble: Trouble, detail: str) -> str:
    """What happened, in whose words, and what to do, in one paragraph."""
    happened, todo = (_(text) for text in _TROUBLES[trouble])
    said = gap() + _("The reason given: “{reason}”.").format(reason=detail) if detail else ""
    return f"{happened}{said}{gap()}{todo}"
