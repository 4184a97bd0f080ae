"""The spawn form: what there is for this user, how long they would wait, and what they asked for.

What this module guarantees: the form is a view of a snapshot; it offers what `options` accepts from
this user and nothing else, keeps what they chose, says when devices are simulated or shared, and
needs no script. Nothing in it comes from a participant unescaped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from jinja2 import Environment, PackageLoader

from .eta import Eta
from .fair_queue import decide, line_up
from .i18n import _, gap, language, ngettext
from .models import Device, QueueEntry
from .options import GPUS, MIN_MEMORY, MODEL, SHARE, Asker, gib
from .placement import capacity, free_count, promised_count
from .progress import clock
from .quotas import allowance, most_devices, standing, term_of

RADIO_CHOICES = 9  # more than this many choices are asked for with a number field


@dataclass(frozen=True, slots=True)
class Kind:
    """Devices of one name, whole or to share, that this user may have."""

    name: str
    memory: str
    total: int
    free: int
    shared: bool = False


@dataclass(frozen=True, slots=True)
class FormFacts:
    """What the form shows. `eta` None: a request for one GPU would be served at once."""

    kinds: tuple[Kind, ...]
    most: int  # whole GPUs
    may_share: bool
    sharers: int  # at most so many share a device
    waiting: int
    eta: Eta | None
    term: timedelta | None
    extension: timedelta
    quotas: tuple[str, ...]
    simulated: bool
    now: datetime

    @property
    def whole(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in self.kinds if not kind.shared)

    @property
    def shared(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in self.kinds if kind.shared)

    @property
    def total(self) -> int:
        return sum(kind.total for kind in self.whole)

    @property
    def free(self) -> int:
        return sum(kind.free for kind in self.whole)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is filled in."""

    gpus: int
    share: bool = False
    model: str = ""
    memory: str = ""


def facts_of(asker: Asker) -> FormFacts:
    """The form's facts for this user."""
    snapshot, policy = asker.snapshot, asker.snapshot.policy
    whole, share = asker.request(1), asker.request(1, share=True)
    most = min(asker.limits.max_gpus, _largest(asker))
    allowed = most_devices(asker.user, asker.groups, asker.key, snapshot)
    if allowed is not None:
        most = min(most, allowed)
    may_share = (
        asker.limits.max_gpus > 0
        and promised_count(snapshot.devices, share, policy) > 0
        and allowed != 0
    )
    first = whole if most else share
    slots = [each.device.slots for each in snapshot.devices if each.device.shared]
    return FormFacts(
        kinds=(*_kinds(asker, share=False), *_kinds(asker, share=True)),
        most=most,
        may_share=may_share,
        sharers=max(slots, default=0),
        waiting=len(line_up(snapshot)),
        eta=_eta(asker, share=not most) if most or may_share else None,
        term=term_of(first, snapshot, asker.use),
        extension=policy.extension,
        quotas=tuple(_quotas(asker, share=not most)),
        simulated=any(
            each.device.simulated for each in snapshot.devices if each.state != "missing"
        ),
        now=snapshot.now,
    )


def chosen_of(asker: Asker, facts: FormFacts, kept: Mapping[str, object]) -> Chosen:
    """What to fill in: the options kept of the last start, or a form that was refused (texts)."""

    def text(name: str) -> str:
        value = kept.get(name, "")
        value = value[0] if isinstance(value, list) and value else value
        return f"{value:g}" if isinstance(value, float) else str(value)

    gpus = text(GPUS)
    share = gpus == SHARE or text(SHARE).lower() in ("true", "1", "on")
    if not gpus:
        share = facts.may_share and not facts.most and asker.limits.default_gpus > 0
    # what was refused may have thousands of digits, which int() refuses, too
    number = int(gpus[:9]) if gpus.isascii() and gpus.isdigit() else asker.limits.default_gpus
    memory = text(MIN_MEMORY)
    return Chosen(
        gpus=min(number, facts.most) if not share else 1,
        share=share and facts.may_share,
        model=text(MODEL)[:100],
        memory=memory[:12] if memory != "0" else "",
    )


def render(facts: FormFacts, chosen: Chosen) -> str:
    """The form's HTML, in the language of the running request."""
    template = _environment().get_template("spawn_form.html")
    choices = range(facts.most + 1) if facts.most < RADIO_CHOICES else ()
    return template.render(
        facts=facts,
        chosen=chosen,
        choices=choices,
        term=duration(facts.term) if facts.term is not None else "",
        extension=duration(facts.extension),
        clock=lambda at: clock(at, facts.now),
        gap=gap(),
        gettext=_,
        ngettext=ngettext,
        language=language().replace("_", "-"),
    )


def duration(length: timedelta) -> str:
    """A length of time for people: "8 hours", "1 hour 30 minutes", "45 minutes"."""
    minutes = max(1, int(length.total_seconds() // 60))
    hours, minutes = divmod(minutes, 60)
    parts = []
    if hours:
        parts.append(ngettext("%(count)d hour", "%(count)d hours", hours) % {"count": hours})
    if minutes and hours < 24:
        parts.append(
            ngettext("%(count)d minute", "%(count)d minutes", minutes) % {"count": minutes}
        )
    return " ".join(parts)


def _largest(asker: Asker) -> int:
    """The most whole GPUs that one server could have: MIG instances do not go together."""
    devices, policy = asker.snapshot.devices, asker.snapshot.policy
    many = capacity(devices, asker.request(2), policy).devices
    return many if many >= 2 else min(1, capacity(devices, asker.request(1), policy).devices)


def _kinds(asker: Asker, *, share: bool) -> list[Kind]:
    snapshot = asker.snapshot
    request = asker.request(1, share=share)
    here = [each for each in snapshot.devices if each.state != "missing"] or snapshot.devices
    by_name: dict[str, list[Device]] = defaultdict(list)
    for record in here:
        if promised_count([record], request, snapshot.policy):
            by_name[record.device.name].append(record.device)
    kinds = []
    for name, devices in sorted(by_name.items()):
        records = [each for each in here if each.device.name == name]
        if share:
            total = sum(each.slots for each in devices)
            uuids = {each.uuid for each in devices}
            free = sum(each.free_slots for each in records if each.device.uuid in uuids)
        else:
            total = len(devices)
            free = free_count(records, request, snapshot.policy)
        memory = max(each.memory_bytes for each in devices)
        kinds.append(Kind(name, gib(memory), total, free, share))
    return kinds


def _eta(asker: Asker, *, share: bool) -> Eta | None:
    """When a request for one GPU would be served if it came now; None: at once."""
    snapshot = asker.snapshot
    last = max((entry.sequence for entry in snapshot.queue), default=0)
    others = tuple(
        entry for entry in snapshot.queue if (entry.request.user, entry.request.server) != asker.key
    )
    request = asker.request(1, share=share)
    term = term_of(request, snapshot, asker.use)
    entry = QueueEntry(replace(request, term=term), last + 1, snapshot.now, snapshot.run)
    asked = replace(snapshot, queue=(*others, entry))
    if asker.key in decide(asked).grants:
        return None
    places = {(p.entry.request.user, p.entry.request.server): p for p in line_up(asked)}
    place = places.get(asker.key)
    return place.eta if place is not None else Eta()


def _quotas(asker: Asker, *, share: bool) -> list[str]:
    """What is left of the limits that hold for this user."""
    snapshot = asker.snapshot
    rule = snapshot.policy.rule_for(asker.groups)
    have = standing(asker.user, asker.key, snapshot)
    said = []
    if rule.max_devices is not None:
        left = max(0, rule.max_devices - have.devices)
        said.append(
            _("GPUs at a time over all your servers: %(left)d of %(limit)d left")
            % {"left": left, "limit": rule.max_devices}
        )
    if rule.max_servers is not None:
        left = max(0, rule.max_servers - have.servers)
        said.append(
            _("servers at a time: %(left)d of %(limit)d left")
            % {"left": left, "limit": rule.max_servers}
        )
    tight = allowance(asker.request(1, share=share), snapshot, asker.use)
    if tight is not None:
        numbers = {
            "left": f"{max(0.0, tight.limit_hours - tight.used_hours):.1f}".removesuffix(".0"),
            "limit": f"{tight.limit_hours:g}",
            "group": tight.group,
        }
        words = {
            (False, False): _("device-hours: %(left)s of %(limit)s left"),
            (False, True): _("device-hours for today (UTC): %(left)s of %(limit)s left"),
            (True, False): _("device-hours of group %(group)s: %(left)s of %(limit)s left"),
            (True, True): _(
                "device-hours of group %(group)s for today (UTC): %(left)s of %(limit)s left"
            ),
        }[bool(tight.group), tight.daily]
        said.append(words % numbers)
    return said


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(loader=PackageLoader("hub_ext"), autoescape=True)
