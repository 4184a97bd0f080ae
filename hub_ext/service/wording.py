"""Words for steps, states, failures, notices and verdicts, in the reader's language. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ..i18n import N_, _, gap, ngettext
from ..models import Link, NoticeKind, OperationKind, OperationStep
from ..verdicts import Word
from .device_reasons import device_reason
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
    OperationKind.UNDO: N_("Bringing the earlier environment back"),
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
    reason = gap() + _("The reason given: “{reason}”.").format(reason=detail) if detail else ""
    return f"{text.happened}{reason}{gap()}{text.todo}"


def expiry_text(resets_left: int) -> str:
    """When a generation that is kept for an undo is deleted."""
    return ngettext(
        "Kept until the next reset.", "Kept for {number} more resets.", resets_left
    ).format(number=resets_left)


def step_text(step: OperationStep, kind: OperationKind) -> str:
    """What is done in this step, in a few words."""
    if step is OperationStep.SWITCHING:
        return _(_SWITCH_TEXT[kind])
    return _(_STEP_TEXT[step])


_NOTICES: dict[NoticeKind, str] = {
    NoticeKind.MESSAGE: N_("{by} writes: {text}"),
    NoticeKind.DEVICE_QUARANTINED: N_(
        "{device} of this server is not in order. Save your work and start the server again to get "
        "another one. For your instructor: {reason}."
    ),
    NoticeKind.DEVICE_BACK: N_("{device} of this server is in order again."),
    NoticeKind.DRAINING: N_(
        "{device} of this server is needed for maintenance: the server is stopped at {until} at "
        "the latest. Save your work; files in ~/work stay. The reason: {reason}."
    ),
    NoticeKind.LEASE_EXPIRED: N_(
        "The server was stopped because the time of its GPU lease was over. Files in ~/work are "
        "as they were; you can start it again."
    ),
    NoticeKind.LEASE_RECLAIMED: N_(
        "The server was stopped because its GPUs did nothing while others waited for one. Files in "
        "~/work are as they were; you can start it again."
    ),
    NoticeKind.QUOTA_USED_UP: N_(
        "The server was stopped because the device-hours are used up. Files in ~/work are as they "
        "were; you can start it without a GPU, or ask your instructor for more hours."
    ),
    NoticeKind.LEASE_REVOKED: N_(
        "{by} takes the GPUs of this server back: it is stopped at {until}. Save your work; files "
        "in ~/work stay. The reason: {reason}."
    ),
    NoticeKind.REVOCATION_UNDONE: N_(
        "{by} took that back: the GPUs stay with this server, and its lease ends as before."
    ),
    NoticeKind.STOPPED_AS_REVOKED: N_(
        "The server was stopped because {by} took its GPUs back: “{reason}”. Files in ~/work are "
        "as they were; you can start it again."
    ),
    NoticeKind.QUEUE_CANCELLED: N_(
        "{by} took this server out of the line for a GPU: “{reason}”. You can start it again."
    ),
    NoticeKind.LEASE_EXTENDED: N_(
        "{by} extended the GPU lease of this server to {until}: “{reason}”."
    ),
    NoticeKind.ENVIRONMENT_RESET: N_(
        "{by} reset the environment of this server: “{reason}”. Files in ~/work are as they were, "
        "and you can undo it."
    ),
    NoticeKind.ENVIRONMENT_UNDONE: N_(
        "{by} brought an earlier environment of this server back: “{reason}”. Files in ~/work are "
        "as they were, and you can undo it."
    ),
    NoticeKind.STOP_ANNOUNCED: N_(
        "{by} stops the servers of your group at {until}. Save your work; files in ~/work stay. "
        "The reason: {reason}."
    ),
    NoticeKind.STOPPED_WITH_GROUP: N_(
        "{by} stopped the servers of your group: “{reason}”. Files in ~/work are as they were; you "
        "can start it again."
    ),
    NoticeKind.SPACE_SHORT: N_(
        "The disk space of {what} is nearly used up: {used} of {limit}. Delete what you do not "
        "need."
    ),
    NoticeKind.SPACE_FULL: N_(
        "The disk space of {what} is used up: {used} of {limit}. Delete what you do not need, or "
        "installing packages and saving files may fail."
    ),
    NoticeKind.START_LOST: N_(
        "JupyterHub was restarted while this server waited for a GPU, and its start was given up. "
        "You can start it again. The reason: {reason}."
    ),
}


def notice_text(kind: NoticeKind, detail: Mapping[str, str]) -> str:
    """What happened to a server, and what to do."""
    values = {
        "device": detail.get("name") or detail.get("device") or _("A GPU"),
        "reason": device_reason(detail.get("reason") or _("no reason was given")).rstrip(".。"),
        "until": _clock(detail.get("until", "")),
        "by": detail.get("by", ""),
        "text": detail.get("text", ""),
        "what": _(_SPACE.get(detail.get("what", ""), "-")),
        "used": _size(detail.get("used", "")),
        "limit": _size(detail.get("limit", "")),
    }
    return _(_NOTICES[kind]).format(**values)


def size_text(size: int) -> str:
    """Bytes, as "812 MiB" or "3.4 GiB"."""
    mebibytes = size / 2**20
    return f"{mebibytes:.0f} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GiB"


def bytes_text(size: int) -> str:
    """The size of a file, as "812 B", "3.4 KiB" or above."""
    if size < 1024:
        return f"{size} B"
    return f"{size / 1024:.1f} KiB" if size < 1000 * 1024 else size_text(size)


def _size(text: str) -> str:
    return size_text(int(text)) if text.isdecimal() else "-"


_SPACE = {"environments": N_("your environments"), "work": N_("~/work")}


def _clock(moment: str) -> str:
    """An ISO 8601 time for people who read it anywhere."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return moment or "-"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def someone_waits(number: int) -> str:
    """Why a lease cannot be extended: others wait for its devices."""
    return ngettext(
        "{number} other person waits for a GPU like yours, so the lease cannot be extended.",
        "{number} others wait for a GPU like yours, so the lease cannot be extended.",
        number,
    ).format(number=number)


def hours_used_up(used: float, limit: float, *, daily: bool, group: str) -> str:
    """Why a lease cannot be extended: a quota of device-hours ends it."""
    if daily and group:
        text = N_("The group {group} may use {limit} device-hours a day, and {used} are used.")
    elif daily:
        text = N_("You may use {limit} device-hours a day, and {used} are used.")
    elif group:
        text = N_("The group {group} may use {limit} device-hours, and {used} are used.")
    else:
        text = N_("You may use {limit} device-hours, and {used} are used.")
    said = _(text).format(group=group, limit=f"{limit:g}", used=f"{used:.1f}")
    return said + gap() + _("So the lease cannot last longer.")


_VERDICTS = {
    Word.BLOCKED: N_("cannot work"),
    Word.DEGRADED: N_("works badly"),
    Word.ADVICE: N_("well, with advice"),
    Word.HEALTHY: N_("well"),
}


def verdict_word(verdict: str) -> str:
    """GPU doctor's verdict in a word or two."""
    return _(_VERDICTS[Word(verdict)])


_LINKS = (
    (Link.NVLINK, N_("NVLink with {names}")),
    (Link.BOARD, N_("on one card with {names}")),
    (Link.ONE_SWITCH, N_("one PCIe switch with {names}")),
    (Link.SWITCHES, N_("PCIe switches with {names}")),
    (Link.HOST_BRIDGE, N_("one PCIe host bridge with {names}")),
    (Link.SAME_NODE, N_("one NUMA node with {names}")),
)


def link_text(score: int, names: str) -> str:
    """How a device is linked best, and with which others; "" for none worth a word."""
    for level, text in _LINKS:
        if score >= level:
            return _(text).format(names=names)
    return ""
