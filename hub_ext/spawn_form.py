"""The spawn form: how many GPUs, and what is free now.

What this module guarantees: the form is a view of a snapshot; it offers what `options` accepts,
says when devices are simulated, and needs no script. Nothing in it comes from a participant
unescaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from jinja2 import Environment, PackageLoader

from .fair_queue import line_up
from .i18n import _, language, ngettext
from .models import Snapshot
from .options import Limits
from .placement import free_devices, usable_count

RADIO_CHOICES = 9  # more than this many choices are asked for with a number field


@dataclass(frozen=True, slots=True)
class FormFacts:
    """What the form shows."""

    total: int
    free: int
    waiting: int
    simulated: bool
    kinds: tuple[str, ...]


def facts_of(snapshot: Snapshot) -> FormFacts:
    """The form's facts of a snapshot."""
    present = [each for each in snapshot.devices if each.state != "missing"]
    return FormFacts(
        total=usable_count(snapshot.devices),
        free=len(free_devices(snapshot.devices)),
        waiting=len(line_up(snapshot)),
        simulated=any(each.device.simulated for each in present),
        kinds=tuple(sorted({each.device.name for each in present})),
    )


def render(facts: FormFacts, limits: Limits, chosen: int) -> str:
    """The form's HTML, in the language of the running request."""
    template = _environment().get_template("spawn_form.html")
    return template.render(
        facts=facts,
        limits=limits,
        chosen=min(chosen, limits.most),
        choices=range(limits.most + 1) if limits.most < RADIO_CHOICES else (),
        gettext=_,
        ngettext=ngettext,
        language=language().replace("_", "-"),
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(loader=PackageLoader("hub_ext"), autoescape=True)
