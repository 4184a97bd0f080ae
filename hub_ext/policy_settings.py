"""GpuPolicy: the settings that decide who gets which devices, for how long, and in which order.

What this module guarantees: what the hub and its service work with is what these settings say, or
the hub does not start: everything that is wrong is listed at once, each with the setting, what is
wrong with it, what to write instead, and the line of the file. Nothing is read from the settings
after the start (the ledger has the policy), so hub and service always agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as File
from typing import Any

from traitlets import Bool, Dict, Float, Int, List, TraitError, TraitType, Unicode
from traitlets.config import Config, Configurable, LazyConfigValue
from traitlets.config.loader import DeferredConfig

from .config_lines import line_of
from .models import Device
from .policy import Policy
from .policy_checks import read_policy
from .setting_readers import Problem, closest, said

SECTION = "GpuPolicy"
SPAWNER = "GPUDockerSpawner"


class GpuPolicy(Configurable):
    """What the admin allows: pools, sharing, terms, quotas, the queue's order."""

    pools = Dict(
        help="""Devices with a purpose, by name: `devices` are UUIDs as `nvidia-smi -L` prints
        them, or `"*"` for all that no other pool names; `slots` above 1 lets that many servers
        share each of them (memory is not protected between them); `groups` are those who may have
        them, everyone if there is none. A device in no pool is for one server at a time, and for
        everyone. Example: `{"class": {"devices": "*", "slots": 4, "groups": ["class-a"]}}`."""
    ).tag(config=True)

    group_rules = Dict(
        help="""What holds for members of a JupyterHub group instead of the settings for everyone:
        `priority`, `lease_hours`, `max_devices`, `max_servers`, `device_hours_per_day`,
        `device_hours`, `environments_gib`, `work_gib`; `"unlimited"` lifts a limit. Of several
        groups the most generous value counts. Example: `{"instructors": {"priority": 5,
        "lease_hours": "unlimited"}}`."""
    ).tag(config=True)

    group_limits = Dict(
        help="""Limits of all members of a group together: `max_devices` at once (more wait in the
        queue), `device_hours_per_day`, `device_hours`. Example: `{"class-a": {"max_devices": 4}}`.
        """
    ).tag(config=True)

    priority = Int(
        0,
        help="""From 0 to 10: a higher one goes first in the queue. For everyone; `group_rules` set
        it by group.""",
    ).tag(config=True)

    lease_hours = Float(
        8.0,
        allow_none=True,
        help="""Hours after which a lease ends; its user is warned before and may extend it while
        nobody waits. None: leases do not end by themselves.""",
    ).tag(config=True)

    max_devices_per_user = Int(
        None,
        allow_none=True,
        help="""How many devices a user may have or wait for at once, over all their servers; a
        shared device counts as one. None: not limited.""",
    ).tag(config=True)

    max_servers_per_user = Int(
        None,
        allow_none=True,
        help="""How many servers a user may have or wait for at once, where
        `c.JupyterHub.allow_named_servers` allows several. None: not limited.""",
    ).tag(config=True)

    device_hours_per_day = Float(
        None,
        allow_none=True,
        help="""Device-hours that a user may use in a day (UTC). A lease ends when they are used
        up; a share of a device counts in proportion. None: not limited.""",
    ).tag(config=True)

    device_hours = Float(
        None,
        allow_none=True,
        help="""Device-hours that a user may use since `event_start`. None: not limited.""",
    ).tag(config=True)

    environments_gib = Float(
        None,
        allow_none=True,
        help="""GiB of disk for a user's environments together, with those that are kept for an
        undo: they are deleted, oldest first, before their user is warned at 80 %. What is above is
        only told, unless `GPUDockerSpawner.limit_volumes` is set. None: not limited.""",
    ).tag(config=True)

    work_gib = Float(
        None,
        allow_none=True,
        help="""GiB of disk for a user's work, with a warning at 80 %. What is above is only told,
        unless `GPUDockerSpawner.limit_volumes` is set. None: not limited.""",
    ).tag(config=True)

    event_start = Unicode(
        "",
        help="""Since when `device_hours` are counted: a date (`2026-11-24`), or a time with its
        zone (`2026-11-24T09:00+01:00`). Default: since the ledger was made.""",
    ).tag(config=True)

    half_life_hours = Float(
        6.0,
        help="""Hours after which a use of devices counts half in the queue's order: whoever used
        less lately goes first.""",
    ).tag(config=True)

    aging_minutes = Float(
        60.0,
        help="""Minutes in the queue that are worth one more priority, so that nobody waits for
        ever.""",
    ).tag(config=True)

    extension_minutes = Float(
        60.0, help="""Minutes that a user adds to a lease at a time, while nobody waits."""
    ).tag(config=True)

    auto_extend = Bool(
        True,
        help="""Whether a lease whose term is over goes on by itself until somebody waits for its
        devices.""",
    ).tag(config=True)

    warning_minutes = List(
        [30.0, 10.0, 5.0], help="""Minutes before its end at which a lease's user is warned."""
    ).tag(config=True)

    idle_minutes = Float(
        None,
        allow_none=True,
        help="""Minutes without a compute process and with next to no utilization after which
        devices are taken back while somebody waits for them. None: they are not.""",
    ).tag(config=True)

    idle_answer_minutes = Float(
        10.0,
        help="""Minutes that a user has to answer the warning before idle devices are taken back.
        """,
    ).tag(config=True)

    idle_utilization_percent = Int(
        3, help="""Up to this utilization, in percent, a device without a process is idle."""
    ).tag(config=True)


def policy_from(
    config: Config, known: Sequence[Device] | None
) -> tuple[Policy, tuple[Problem, ...]]:
    """The policy of a configuration, and everything that is wrong with it (see policy_checks)."""
    section = config[SECTION] if SECTION in config else {}
    traits = GpuPolicy.class_traits(config=True)
    values = {
        name: configured_value(section[name], trait) if name in section else trait.default()
        for name, trait in traits.items()
    }
    policy, wrong = read_policy(values, known)
    return policy, (*_misspelt(config, section, tuple(traits)), *wrong, *_spawner(config))


def configured_value(given: object, trait: TraitType[Any, Any]) -> object:
    """A configured value; one of the command line or made with .update() or .append() as well."""
    if isinstance(given, DeferredConfig):
        try:
            return given.get_value(trait)
        except (TraitError, ValueError):
            return str(given)
    if isinstance(given, LazyConfigValue):
        return given.get_value(trait.default())
    return given


def _misspelt(
    config: Config, section: Mapping[str, object], traits: Sequence[str]
) -> list[Problem]:
    problems = [
        Problem(
            (SECTION, name),
            f"there is no setting {name!r}{closest(name, traits)}",
            "write one of " + ", ".join(traits),
        )
        for name in section
        if name not in traits
    ]
    problems.extend(
        Problem((name,), f"there is nothing of the name {name}", f"write c.{SECTION}")
        for name in config
        if name.lower() in ("gpupolicy", "gpupolicies", "gpu_policy", "policy") and name != SECTION
    )
    return problems


def _spawner(config: Config) -> list[Problem]:
    """Settings of the spawner that contradict each other."""
    section = config[SPAWNER] if SPAWNER in config else {}
    wanted, most = section.get("default_gpus"), section.get("max_gpus", 8)
    if not isinstance(wanted, int) or not isinstance(most, int) or wanted <= most:
        return []
    return [
        Problem(
            (SPAWNER, "default_gpus"),
            f"{wanted} GPUs are the default, but one server may have at most {most} (max_gpus)",
            f"write a number up to {most}, or raise c.{SPAWNER}.max_gpus",
        )
    ]


def refusal(problems: Sequence[Problem], files: Sequence[File]) -> str:
    """All problems as one text for the terminal and the hub's log."""
    number = len(problems)
    head = f"{number} setting{' is' if number == 1 else 's are'} wrong:"
    lines = [head]
    for each in problems:
        where = line_of(each.path, files)
        lines.append(f"  {where + ': ' if where else ''}{said(each.path)}: {each.wrong}.")
        lines.append(f"      To mend it, {each.instead}.")
    return "\n".join(lines)
