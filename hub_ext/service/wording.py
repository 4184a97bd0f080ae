"""Words for steps, states and failures, in the reader's language. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..i18n import N_, _
from ..models import OperationKind, OperationStep
from .reset import Failure


@dataclass(frozen=True, slots=True)
class FailureText:
    """What happened and what to do; `at` is the step that failed."""

    at: OperationStep | None
    happened: str
    todo: str


_FAILURES: dict[Failure, FailureText] = {
    Failure.STARTED_MEANWHILE: FailureText(
        OperationStep.STOPPING,
        N_("The server was started while this was under way, so nothing was changed."),
        N_("Try again; the server will be restarted for you."),
    ),
    Failure.STOP_TIMEOUT: FailureText(
        OperationStep.STOPPING,
        N_("The server did not stop in time, so nothing was changed."),
        N_("Try again. If it stays so, tell your instructor that the container does not stop."),
    ),
    Failure.STOP_ENGINE_SILENT: FailureText(
        OperationStep.STOPPING,
        N_("The Docker Engine did not answer, so nothing was changed."),
        N_("Try again in a minute. If it stays so, tell your instructor."),
    ),
    Failure.STOP_HUB_SILENT: FailureText(
        OperationStep.STOPPING,
        N_("JupyterHub did not answer, so nothing was changed."),
        N_("Try again in a minute. If it stays so, tell your instructor."),
    ),
    Failure.SWITCH_REFUSED: FailureText(
        OperationStep.SWITCHING,
        N_("The environment could not be switched; it is as it was."),
        N_("Start your server; it runs with the environment as it was."),
    ),
    Failure.START_FAILED: FailureText(
        OperationStep.STARTING,
        N_("The environment was switched, but the server did not start."),
        N_("Start it from JupyterHub, which says why. If it fails again, tell your instructor."),
    ),
    Failure.START_TIMEOUT: FailureText(
        OperationStep.STARTING,
        N_("The environment was switched, and the server is still starting."),
        N_("Watch it in JupyterHub; it may be waiting for a GPU."),
    ),
    Failure.START_HUB_SILENT: FailureText(
        OperationStep.STARTING,
        N_("The environment was switched, but JupyterHub did not answer when starting the server."),
        N_("Start it from JupyterHub in a minute. If it stays so, tell your instructor."),
    ),
    Failure.USER_GONE: FailureText(
        None,
        N_("JupyterHub does not know this user any more."),
        N_("Ask an admin."),
    ),
    Failure.UNEXPECTED: FailureText(
        None,
        N_("Something unexpected happened in gpucamp."),
        N_("Try again. If it stays so, tell your instructor; the service's log says more."),
    ),
}

_STEP_TEXT = {
    OperationStep.STOPPING: N_("Stopping the server"),
    OperationStep.STARTING: N_("Starting the server"),
}
_SWITCH_TEXT = {
    OperationKind.RESET: N_("Making a fresh environment"),
    OperationKind.UNDO: N_("Going back to the previous environment"),
}


def split_error(error: str) -> tuple[Failure, str]:
    """The code and the detail of an Operation's `error`."""
    code, _separator, detail = error.partition(": ")
    try:
        return Failure(code), detail
    except ValueError:
        return Failure.UNEXPECTED, error


def failure_text(failure: Failure) -> FailureText:
    """Translated text for a failure."""
    text = _FAILURES[failure]
    return FailureText(text.at, _(text.happened), _(text.todo))


def failure_message(error: str) -> str:
    """What happened, why, and what to do, in one paragraph."""
    failure, detail = split_error(error)
    text = failure_text(failure)
    reason = " " + _("The reason given: “{reason}”.").format(reason=detail) if detail else ""
    return f"{text.happened}{reason} {text.todo}"


def step_text(step: OperationStep, kind: OperationKind) -> str:
    """What is done in this step, in a few words."""
    if step is OperationStep.SWITCHING:
        return _(_SWITCH_TEXT[kind])
    return _(_STEP_TEXT[step])
