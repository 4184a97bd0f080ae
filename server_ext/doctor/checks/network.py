"""What keeps programs from services in the network, as far as it shows in here. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...i18n import N_
from ..facts import Facts, text_of
from ..findings import Code, Finding, check
from . import reading

CLOCK = Code(
    "GC501",
    "network",
    "blocker",
    "instructor",
    N_("This server's clock is wrong by {difference}: secure connections fail."),
    N_("Tell your instructor: the host's clock must be set (NTP)."),
)
PROXY = Code(
    "GC502",
    "network",
    "degraded",
    "you",
    N_("Variables for a proxy are set to what programs cannot use: {variables}."),
    N_("Write them as http://HOST:PORT, or unset them where they are set."),
    "unset {variables}",
)
LOG_IN = Code(
    "GC503",
    "network",
    "advice",
    "you",
    N_("The package wandb is installed, but not logged in: wandb.init() waits for a key."),
    N_("Run `wandb login` in a terminal, or set WANDB_MODE=offline."),
    "wandb login",
)
OFFLINE = Code(
    "GC504",
    "network",
    "advice",
    "you",
    N_("Variables keep programs from downloading models and data: {names}."),
    N_("Unset them if something is to be downloaded."),
    "unset {names}",
)

# certificates are mostly valid from an hour or a day before they are handed out
_MOST_SECONDS = 300.0
_OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
_ON = {"1", "on", "yes", "true"}
_QUIET_MODES = {"offline", "disabled", "dryrun"}


@check("network", ("network",), (CLOCK,))
def clock_is_right(facts: Facts) -> Iterator[Finding]:
    """This clock is the hub's, and not before the image was made."""
    if facts.flag("network", "asked") is False:
        return
    reading.require(facts, "network", "clock")
    now, hub = facts.number("network", "clock", "now"), facts.number("network", "clock", "hub")
    made = facts.number("network", "made")
    problem = facts.text("network", "clock", "problem")
    if now is None:
        return
    if hub is not None and abs(now - hub) > _MOST_SECONDS:
        evidence = (f"here {now:.0f} s, the hub {hub:.0f} s since 1970",)
        yield Finding(CLOCK, evidence, {"difference": _said(abs(now - hub))})
    elif made is not None and now < made - 86400:
        evidence = (f"the image was made {_said(made - now)} later than it is by this clock",)
        yield Finding(CLOCK, evidence, {"difference": f"at least {_said(made - now)}"})
    elif problem is not None and facts.flag("network", "clock", "certificate"):
        yield Finding(CLOCK, (problem,), {"difference": "?"})


def _said(seconds: float) -> str:
    """A time for people."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


@check("network", ("network",), (PROXY,))
def proxies_are_urls(facts: Facts) -> Iterator[Finding]:
    """Variables for a proxy are written so that programs understand them; they may hold a password,
    so that their values are not shown.
    """
    if facts.flag("network", "asked") is False:
        return
    reading.require(facts, "network", "proxies")
    found = facts.objects("network", "proxies")
    if found:
        lines = tuple(f"{text_of(item, 'variable')}: {text_of(item, 'problem')}" for item in found)
        names = dict.fromkeys(text_of(item, "variable") for item in found)
        yield Finding(PROXY, lines, {"variables": " ".join(names)})


@check("network", ("network", "environment", "packages", "kernelspec"), (LOG_IN, OFFLINE))
def services_are_logged_into(facts: Facts) -> Iterator[Finding]:
    """What asks for a log-in has one, and nothing is kept off the network."""
    names = [
        name for name in _OFFLINE if (reading.variable(facts, name) or "").strip().lower() in _ON
    ]
    # where the administrator says that there is no internet, it is no mistake
    if names and reading.variable(facts, "GPUCAMP_OFFLINE") != "1":
        yield Finding(OFFLINE, tuple(f"{name}=1" for name in names), {"names": " ".join(names)})
    secrets = facts.get("kernelspec", "secrets")
    if not isinstance(secrets, list) or "wandb" not in reading.effective(facts):
        return
    mode = (reading.variable(facts, "WANDB_MODE") or "").lower()
    kept = facts.flag("network", "logins", "wandb")
    if kept is False and "WANDB_API_KEY" not in secrets and mode not in _QUIET_MODES:
        yield Finding(LOG_IN, ("no WANDB_API_KEY, nothing about wandb in ~/.netrc",))


CHECKS = (clock_is_right, proxies_are_urls, services_are_logged_into)
