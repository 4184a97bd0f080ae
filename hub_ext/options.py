"""What a participant may ask for: the spawn form, or `user_options` over REST -> Request.

What this module guarantees: what comes out can be granted on this host, as far as is known, and is
within what the policy allows this user; everything else is refused at once with a sentence that
says why and what would be accepted. Nothing but the four options can be chosen: not the image, not
mounts, not environment variables.

Over REST the options have the types of JSON: `gpus` is an integer (true, 1.0 and "1" are not),
`model` text, `min_memory_gib` a number, `share` true or false. A form sends text, so there, and
only there, it is text. An option that is absent has its default. With 0 GPUs the others mean
nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from .errors import BadRequest
from .i18n import _, gap, ngettext
from .models import Key, Request, Snapshot
from .placement import capacity
from .quotas import check_quotas, term_of
from .usage import QuotaUse

GPUS, MODEL, MIN_MEMORY, SHARE = "gpus", "model", "min_memory_gib", "share"
OPTIONS = (GPUS, MODEL, MIN_MEMORY, SHARE)
GIB = 1024**3
LONGEST_MODEL = 100
MOST_MEMORY_GIB = 1_000_000

_DIGITS = re.compile(r"[0-9]{1,4}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,6}([.,][0-9]{1,3})?", re.ASCII)
_YES = ("1", "on", "true")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the spawner's settings allow one server."""

    max_gpus: int
    default_gpus: int = 1


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for a server, and what is known of the devices and of this user's use of them."""

    user: str
    server: str
    groups: tuple[str, ...]  # sorted
    limits: Limits
    snapshot: Snapshot
    use: QuotaUse = field(default_factory=QuotaUse)

    @property
    def key(self) -> Key:
        """The server."""
        return (self.user, self.server)

    def request(self, gpus: int, *, share: bool = False) -> Request:
        """A request of this user for any devices; without term."""
        rule = self.snapshot.policy.rule_for(self.groups)
        return Request(
            self.user,
            self.server,
            gpus,
            share=share,
            groups=self.groups,
            priority=rule.priority or 0,
        )

    def existing(self, *, share: bool) -> int:
        """How many devices there are for this user, whole or to share, whoever has them now."""
        one = self.request(1, share=share)
        return capacity(self.snapshot.devices, one, self.snapshot.policy).devices


def options_from_form(form: Mapping[str, object]) -> dict[str, object]:
    """A submitted spawn form (lists of text) as user_options, or BadRequest."""
    _refuse_unknown(form)
    said = {name: _one_text(name, form[name]) for name in OPTIONS if name in form}
    options: dict[str, object] = {}
    if (gpus := said.get(GPUS)) is not None:
        if gpus == SHARE:  # the choice "a share of one GPU"
            options |= {GPUS: 1, SHARE: True}
        elif _DIGITS.fullmatch(gpus):
            options[GPUS] = int(gpus)
        else:
            raise BadRequest(
                _("The number of GPUs must be one whole number in decimal digits, such as 1.")
            )
    if model := said.get(MODEL, "").strip():
        options[MODEL] = model
    if memory := said.get(MIN_MEMORY, "").strip():
        if not _DECIMAL.fullmatch(memory):
            raise BadRequest(_("The memory of a GPU must be a number of GiB, such as 40."))
        options[MIN_MEMORY] = float(memory.replace(",", "."))
    if said.get(SHARE, "").lower() in _YES:
        options[SHARE] = True
    return options


def request_from(options: object, asker: Asker) -> Request:
    """Validated user_options as a Request, or BadRequest."""
    wish = _wish(options, asker)
    if wish.gpus:
        _check_existence(wish, asker)
    check_quotas(wish, asker.key, asker.snapshot, asker.use)
    return replace(wish, term=term_of(wish, asker.snapshot, asker.use))


# -- what the options say


def _wish(options: object, asker: Asker) -> Request:
    """The options as a Request, each right by itself."""
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        raise BadRequest(
            _("Options must be an object such as %(example)s.") % {"example": f'{{"{GPUS}": 1}}'}
        )
    _refuse_unknown(options)
    share = _share(options, asker)
    gpus = _gpus(options, asker, share)
    if gpus == 0:
        return asker.request(0)
    if share and gpus > 1:
        raise BadRequest(
            _(
                "A share is a part of one GPU, so it goes with 1 GPU only. Ask for 1 with a share, "
                "or for %(count)d whole GPUs."
            )
            % {"count": gpus}
        )
    return replace(
        asker.request(gpus, share=share),
        model=_model(options.get(MODEL, "")),
        min_memory_bytes=_memory(options.get(MIN_MEMORY, 0)),
    )


def _gpus(options: Mapping[str, object], asker: Asker, share: bool) -> int:
    limits = asker.limits
    if GPUS not in options:
        if share:
            return min(1, limits.max_gpus)
        return min(limits.default_gpus, limits.max_gpus, asker.existing(share=False))
    wanted = options[GPUS]
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise BadRequest(_allowed(limits, ""))
    if wanted > limits.max_gpus:
        raise BadRequest(_allowed(limits, " " + _("(the limit for one server)")))
    return wanted


def _allowed(limits: Limits, why: str) -> str:
    if limits.max_gpus == 0:
        return _("The number of GPUs must be 0: GPUs are switched off here.")
    words = _("The number of GPUs must be a whole number from 0 to %(most)d%(why)s.")
    return words % {"most": limits.max_gpus, "why": why}


def _share(options: Mapping[str, object], asker: Asker) -> bool:
    if SHARE not in options:
        # who says nothing at all gets what there is
        return (
            GPUS not in options
            and asker.limits.default_gpus > 0
            and asker.existing(share=False) == 0
            and asker.existing(share=True) > 0
        )
    value = options[SHARE]
    if not isinstance(value, bool):
        raise BadRequest(_("Whether a GPU may be shared must be true or false."))
    return value


def _model(value: object) -> str:
    if isinstance(value, str) and len(value) <= LONGEST_MODEL and value.isprintable():
        return value.strip()
    raise BadRequest(
        _("The model must be a part of a GPU's name, such as A100, in at most %(most)d characters.")
        % {"most": LONGEST_MODEL}
    )


def _memory(value: object) -> int:
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= MOST_MEMORY_GIB  # NaN is not
    ):
        return math.ceil(value * GIB)
    raise BadRequest(_("The least memory of a GPU must be a number of GiB of at least 0."))


def _one_text(name: str, values: object) -> str:
    if isinstance(values, list) and len(values) == 1 and isinstance(values[0], str):
        return values[0]
    if name == GPUS:
        raise BadRequest(
            _("The number of GPUs must be one whole number in decimal digits, such as 1.")
        )
    raise BadRequest(_("The form must say %(name)s once.") % {"name": repr(name)})


def _refuse_unknown(options: Mapping[str, object]) -> None:
    unknown = sorted(repr(key)[:40] for key in options if key not in OPTIONS)
    if unknown:
        raise BadRequest(
            _("Unknown option %(unknown)s. There are only %(known)s.")
            % {"unknown": ", ".join(unknown[:5]), "known": ", ".join(map(repr, OPTIONS))}
        )


# -- what there is


def _check_existence(wish: Request, asker: Asker) -> None:
    """Refuse what this host does not have for this user, whoever has it now."""
    snapshot = asker.snapshot
    there = capacity(snapshot.devices, wish, snapshot.policy)
    if there.devices >= wish.gpus:
        return
    if not there.models:
        raise BadRequest(_nothing(wish, asker))
    if not _of_model(there.models, wish.model):
        raise BadRequest(
            _("There is no GPU %(model)s here. There are: %(models)s.")
            % {"model": repr(wish.model), "models": ", ".join(there.models)}
        )
    if wish.min_memory_bytes > there.largest_memory_bytes:
        words = (
            _("No %(model)s here has %(wanted)s of memory; ask for at most %(largest)s.")
            if wish.model
            else _("No GPU here has %(wanted)s of memory; ask for at most %(largest)s.")
        )
        raise BadRequest(
            words
            % {
                "model": wish.model,
                "wanted": gib(wish.min_memory_bytes),
                "largest": gib(there.largest_memory_bytes, down=True),
            }
        )
    raise BadRequest(_too_many(wish, asker, there.devices, there.with_mig))


def _too_many(wish: Request, asker: Asker, devices: int, with_mig: int) -> str:
    any_kind = replace(wish, model="", min_memory_bytes=0)
    whole = capacity(asker.snapshot.devices, any_kind, asker.snapshot.policy).devices
    most, whole = min(devices, asker.limits.max_gpus), min(whole, asker.limits.max_gpus)
    if with_mig > devices:
        words = _(
            "MIG instances cannot talk to each other, so DDP does not run on several of them: ask "
            "for 1."
        )
        if whole >= 2:
            words += gap() + _("Of whole GPUs you may ask for up to %(most)d.") % {"most": whole}
        return words
    if not wish.model and not wish.min_memory_bytes:
        words = ngettext(
            "This machine has %(count)d GPU for you: ask for at most %(count)d.",
            "This machine has %(count)d GPUs for you: ask for at most %(count)d.",
            most,
        )
        return words % {"count": most}
    words = ngettext(
        "Only %(count)d GPU here is what you ask for (%(kind)s): ask for at most %(count)d.",
        "Only %(count)d GPUs here are what you ask for (%(kind)s): ask for at most %(count)d.",
        most,
    ) % {"count": most, "kind": kind_words(wish)}
    if whole > most:
        words += gap() + _("Of any model you may ask for up to %(most)d.") % {"most": whole}
    return words


def _nothing(wish: Request, asker: Asker) -> str:
    """There is no device at all in the mode that is asked for."""
    if wish.share:
        if asker.existing(share=False):
            return _("Sharing a GPU is not offered to you here. Ask for 1 whole GPU.")
        return _("There is no GPU for you here. Ask for 0 GPUs.")
    if asker.existing(share=True):
        return _(
            'Here you may have a share of a GPU only. Ask for 1 GPU with "share": true; its memory '
            "is not protected from those who share it with you."
        )
    return _("No GPU can be leased here now. Ask for 0 GPUs.")


def _of_model(models: Collection[str], wanted: str) -> bool:
    return any(wanted.casefold() in name.casefold() for name in models)


# -- words


def gib(size: int, *, down: bool = False) -> str:
    """A size in bytes as "80 GiB" or "79.6 GiB"; with `down` it can be asked for as it stands."""
    tenths = size * 10 / GIB
    value = (math.floor(tenths) if down else round(tenths)) / 10
    return f"{value:g} GiB"


def kind_words(request: Request) -> str:
    """What kind of device a request is for, such as "A100, 40 GiB"; "" for any."""
    parts = [request.model] if request.model else []
    if request.min_memory_bytes:
        parts.append(_("%(size)s or more") % {"size": gib(request.min_memory_bytes)})
    return ", ".join(parts)


def user_options_of(request: Request) -> dict[str, object]:
    """The user_options that ask for this request again."""
    options: dict[str, object] = {GPUS: request.gpus}
    if request.model:
        options[MODEL] = request.model
    if request.min_memory_bytes:
        options[MIN_MEMORY] = request.min_memory_bytes / GIB
    if request.share:
        options[SHARE] = True
    return options
