"""Which trackers get the numbers of a run. Pure.

Guarantees: nothing is sent anywhere that the participant did not set up (a key, a folder) or ask
for; a script that logs to a tracker itself is not logged a second time, unless that is asked for;
what is asked for and cannot be is refused with what to do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import BadRequest
from ...i18n import N_

TENSORBOARD, WANDB = "tensorboard", "wandb"
NAMES = (TENSORBOARD, WANDB)

# their Trainers log by themselves to what is installed
_LOG_THEMSELVES = frozenset({"lightning", "pytorch_lightning", "transformers", "trl"})
# names in a script that log to a tracker
_OWN = {
    TENSORBOARD: frozenset({"SummaryWriter", "TensorBoardLogger"}),
    WANDB: frozenset({"wandb", "WandbLogger"}),
}


@dataclass(frozen=True)
class Surroundings:
    """What there is for trackers where a run starts.

    log_folder: TensorBoard's, absolute, "" without one; new_log_folder: where one would be made.
    wandb: "key", "offline", "" without a key, or "off" where a variable forbids it.
    """

    log_folder: str = ""
    new_log_folder: str = ""
    wandb: str = ""
    wandb_project: str = ""


@dataclass(frozen=True)
class Tracker:
    """One that gets the numbers. where: TensorBoard's folder, absolute, or the project of W&B."""

    name: str
    where: str
    offline: bool = False

    def record(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def own_trackers(names: Collection[str], framework: str) -> frozenset[str]:
    """The trackers that a script logs to itself. names: that it uses; framework: that trains."""
    if framework in _LOG_THEMSELVES:
        return frozenset(NAMES)
    return frozenset(name for name in NAMES if not _OWN[name].isdisjoint(names))


def choose(
    asked: Collection[str] | None, around: Surroundings, own: Collection[str]
) -> tuple[Tracker, ...]:
    """asked: names, None for what is there; own: that the script logs to itself.

    Raises BadRequest for Weights & Biases without a key.
    """
    wanted = set(NAMES) - set(own) if asked is None else set(asked)
    found = []
    folder = around.log_folder or (around.new_log_folder if asked is not None else "")
    if TENSORBOARD in wanted and folder:
        found.append(Tracker(TENSORBOARD, folder))
    if WANDB in wanted:
        if around.wandb in ("key", "offline"):
            offline = around.wandb == "offline"
            found.append(Tracker(WANDB, around.wandb_project, offline))
        elif asked is not None:
            raise BadRequest(
                N_(
                    "Weights & Biases has no key here: run `wandb login` in a terminal, or set "
                    "WANDB_API_KEY, or WANDB_MODE=offline to write to your work folder only."
                )
            )
    return tuple(found)


def parse_trackers(value: object) -> tuple[str, ...] | None:
    """The request's `trackers`: a list of NAMES; None for what is there. Raises BadRequest."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or any(one not in NAMES for one in value):
        raise BadRequest(
            N_("trackers must be a list of these: {allowed}."), allowed=", ".join(NAMES)
        )
    return tuple(name for name in NAMES if name in value)


def wandb_mode(environ: Mapping[str, str], *, key: bool) -> str:
    """Surroundings.wandb, of the variables that wandb itself obeys. key: whether one was found."""
    mode = environ.get("WANDB_MODE", "").strip().lower()
    disabled = environ.get("WANDB_DISABLED", "").strip().lower() in ("1", "true", "yes", "on")
    if mode == "disabled" or disabled:
        return "off"
    if mode in ("offline", "dryrun"):
        return "offline"
    return "key" if key else ""
