"""The settings that a process of gpucamp works with, as admins may see them. Pure but for one read.

What this module guarantees: each setting has its value, its default, its help, and where it was
set; what is or may hold a secret is told as "set" and never shown (of settings that gpucamp did not
define only those of PLAIN are shown, and of URLs neither names nor passwords); what cannot be
shown as JSON is not shown. It reads the files' text to name lines, and runs nothing of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from inspect import cleandoc
from pathlib import Path as File
from typing import Any

from traitlets import HasTraits
from traitlets.config import Config, Configurable
from traitlets.traitlets import DefaultHandler

from .config_lines import line_of
from .policy_settings import configured_value

DEFAULT, COMMAND_LINE, FROM_START, IN_CONFIGURATION = "default", "command line", "start", "file"

# of DockerSpawner and Spawner: what gpucamp works with and can hold no secret
PLAIN = frozenset(
    {
        *("image", "prefix", "network_name", "mem_limit", "mem_guarantee", "cpu_limit"),
        *("cpu_guarantee", "default_url", "start_timeout", "http_timeout", "poll_interval"),
        *("notebook_dir", "consecutive_failure_limit", "remove", "use_internal_ip", "port"),
    }
)
OVERRIDES = "group_overrides"
_SECRET = re.compile(r"pass(word|wd|phrase)?$|secret|token|credential|api_?key", re.IGNORECASE)
# a password may hold a slash: all up to the last @ is the name and the password
_IN_URL = re.compile(r"(?<=://)[^\s\"'<>]*@")
_IN_QUERY = re.compile(
    r"([?&;][^=&;\s\"']*(?:pass|secret|token|key)[^=&;\s\"']*=)[^&;\s\"']*", re.IGNORECASE
)
HIDDEN = "…"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `value` and `default` are JSON values; None with `hidden`: not shown.

    `computed`: its default is worked out at the start. `source` is one of the names above or where
    it is set: FILE:LINE.
    """

    section: str
    name: str
    value: Any
    default: Any
    source: str
    help: str
    hidden: bool = False
    computed: bool = False

    @property
    def changed(self) -> bool:
        """Whether somebody set it."""
        return self.source not in (DEFAULT, FROM_START)


def settings_of(
    cls: type[Configurable],
    config: Config,
    *,
    command_line: Mapping[str, Mapping[str, object]] | None = None,
    files: Sequence[File] = (),
    inherited: bool = False,
    effective: Callable[[str], object] | None = None,
) -> tuple[Setting, ...]:
    """The settings of a class in this configuration, in order of their names.

    With `inherited` also those of its base classes that the configuration sets. `effective` gives
    what the process works with, where the configuration alone does not say it.
    """
    traits = cls.class_traits(config=True)
    own = set(cls.class_own_traits(config=True))
    sections = [each.__name__ for each in cls.__mro__ if issubclass(each, Configurable)]
    found = []
    for name, trait in sorted(traits.items()):
        section = next((each for each in sections if name in config.get(each, {})), None)
        if name not in own and (section is None or not inherited):
            continue
        computed = _computed(cls, name)
        default = None if computed else trait.default()
        value = default
        if effective is not None:
            value = effective(name)
        elif section is not None:
            value = configured_value(config[section][name], trait)
        shown = name in own or name in PLAIN or name == OVERRIDES
        safe_value, value_hidden = _safe(name, value) if shown else (None, True)
        safe_default, default_hidden = _safe(name, default)
        found.append(
            Setting(
                cls.__name__,
                name,
                safe_value,
                None if default_hidden else safe_default,
                _source(section, name, value == default, command_line or {}, files, computed),
                cleandoc(trait.help or ""),
                hidden=value_hidden,
                computed=computed,
            )
        )
    return tuple(found)


def _computed(cls: type[HasTraits], name: str) -> bool:
    return any(
        isinstance(member, DefaultHandler) and member.trait_name == name
        for each in cls.__mro__
        for member in vars(each).values()
    )


def _source(
    section: str | None,
    name: str,
    is_default: bool,
    command_line: Mapping[str, Mapping[str, object]],
    files: Sequence[File],
    computed: bool,
) -> str:
    if section is None:
        return FROM_START if computed and not is_default else DEFAULT
    if name in command_line.get(section, {}):
        return COMMAND_LINE
    return line_of((section, name), files) or IN_CONFIGURATION


def _safe(name: str, value: object) -> tuple[Any, bool]:
    """A value as JSON without secrets, and whether it is hidden as a whole."""
    if name == OVERRIDES and isinstance(value, Mapping):
        return {str(each): _override(said) for each, said in value.items()}, False
    if _SECRET.search(name) and value not in (None, ""):
        return None, True
    if name == "ledger_url" and isinstance(value, str) and not value.startswith("sqlite:"):
        # what else stands in it differs from driver to driver
        return value.partition("://")[0] + "://" + HIDDEN if value else "", False
    try:
        return json.loads(json.dumps(_plain(value), allow_nan=False)), False
    except (TypeError, ValueError, RecursionError):
        return None, True


def _override(said: object) -> Any:
    """One of `group_overrides`: for whom, and which settings, of which some are shown."""
    if not isinstance(said, Mapping):
        return HIDDEN
    settings = said.get("spawner_override")
    return {
        "groups": _safe("groups", said.get("groups"))[0],
        "spawner_override": {
            str(name): _safe(str(name), value)[0] if name in PLAIN | {"max_gpus"} else HIDDEN
            for name, value in settings.items()
        }
        if isinstance(settings, Mapping)
        else HIDDEN,
    }


def _plain(value: object) -> object:
    if isinstance(value, str):
        return _IN_QUERY.sub(rf"\1{HIDDEN}", _IN_URL.sub(f"{HIDDEN}@", value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN if _SECRET.search(str(key)) and item else _plain(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return value


def to_text(settings: Sequence[Setting]) -> str:
    """JSON, for the ledger."""
    return json.dumps([asdict(each) for each in settings], sort_keys=True)


def from_text(text: str) -> tuple[Setting, ...]:
    """The inverse; of what a later version wrote, what this one understands, or nothing."""
    names = {each.name for each in fields(Setting)}
    try:
        return tuple(
            Setting(**{name: value for name, value in row.items() if name in names})
            for row in json.loads(text)
        )
    except (TypeError, ValueError, AttributeError):
        return ()


def different(before: Sequence[Setting], after: Sequence[Setting]) -> tuple[str, ...]:
    """The names of the settings whose values are others, as far as they are shown."""
    old = {(each.section, each.name): (each.value, each.hidden) for each in before}
    new = {(each.section, each.name): (each.value, each.hidden) for each in after}
    return tuple(
        f"{section}.{name}"
        for section, name in sorted({*old, *new})
        if old.get((section, name)) != new.get((section, name))
    )
