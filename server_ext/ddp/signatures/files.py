"""Of checkpoints, data and disks. Data."""

from __future__ import annotations

from ...i18n import N_
from .model import Signature, signature

FILES: tuple[Signature, ...] = (
    signature(
        "module-prefix",
        r"(?:Missing|Unexpected) key\(s\) in state_dict:[^\n]*[\"']module\.",
        N_(
            "The checkpoint was saved from the DDP wrapper, or is loaded into it: its names "
            "differ by 'module.'."
        ),
        N_("Save and load model.module.state_dict() when the model is wrapped."),
    ),
    signature(
        "checkpoint-broken",
        r"PytorchStreamReader failed|failed finding central directory|pickle data was truncated"
        r"|Ran out of input",
        N_(
            "A checkpoint file is incomplete: it was read while it was written, or by "
            "several ranks."
        ),
        N_("Save on rank 0 only, call torch.distributed.barrier() after it, and only then load."),
    ),
    signature(
        "pickling",
        r"Can't (?:get attribute|get local object|pickle)|can't pickle|cannot pickle",
        N_("An object is sent to another process that cannot be pickled."),
        N_("Define functions and classes at the top of the script, not inside others, no lambda."),
        logic_error=True,
    ),
    signature(
        "disk-full",
        r"No space left on device|Disk quota exceeded",
        N_("The disk is full."),
        N_("Delete old checkpoints, data sets and caches, then start again."),
        anywhere=r"No space left on device|Disk quota exceeded",
    ),
    signature(
        "file-missing",
        r"^FileNotFoundError: [^\n]*No such file or directory: b?'(?P<name>[^'\n]{1,300})'",
        N_("There is no file {name}."),
        N_(
            "A relative path begins at the working directory of the run, which is the script's "
            "folder if you choose none: correct the path, or put the file there."
        ),
    ),
)
