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
        "checkpoint-mismatch",
        r"Error\(s\) in loading state_dict for (?P<model>\w[\w.]*):\s*(?P<error>\S[^\n]{0,300})",
        N_("The checkpoint does not fit the model ({model}): {error}"),
        N_(
            "Build the model as it was when the checkpoint was saved, and load the model's own "
            'part of the file, such as checkpoint["model"].'
        ),
    ),
    signature(
        "optimizer-mismatch",
        r"loaded state dict (?:contains a parameter group that doesn't match|has a different number"
        r" of parameter groups)",
        N_("The optimizer's state in the checkpoint is that of other parameters."),
        N_(
            "Make the optimizer from the same parameters, in the same groups, as when it was saved."
        ),
        logic_error=True,
    ),
    signature(
        "checkpoint-device",
        r"Attempting to deserialize object on (?:a )?CUDA device",
        N_("The checkpoint was saved from a GPU that this process does not have."),
        N_('Say torch.load(..., map_location="cpu"), or the device of this rank.'),
    ),
    signature(
        "not-a-checkpoint",
        r"invalid load key|Weights only load failed(?s:.*)(?:Unsupported operand|Unsupported class)"
        r"|SafetensorError: Error while deserializing header",
        N_(
            "A file is no checkpoint of torch.save: a pointer of Git LFS, a web page, or another "
            "format."
        ),
        N_(
            "Look at its size and its beginning (head -c 200 FILE). Fetch it again (git lfs pull), "
            "or read it with what wrote it."
        ),
    ),
    signature(
        "weights-only",
        r"Weights only load failed",
        N_("The checkpoint holds more than tensors and plain values, which torch.load refuses."),
        N_(
            "Save state_dict() and plain values only. A file that you made, or whose author you "
            "trust: torch.load(..., weights_only=False)."
        ),
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
        "too-many-files",
        r"Too many open files|received \d+ items of ancdata",
        N_("The process has as many files open as it may."),
        N_(
            "Close files: with open(...). With DataLoader workers: "
            'torch.multiprocessing.set_sharing_strategy("file_system"), and keep no batches in a '
            "list."
        ),
    ),
    signature(
        "file-exists",
        r"^FileExistsError: \[Errno 17\] File exists: b?'(?P<name>[^'\n]{1,300})'",
        N_("{name} is there already: another rank made it, or an earlier run."),
        N_(
            "Make it on rank 0 only and call barrier() after it, or say exist_ok=True in "
            "os.makedirs()."
        ),
    ),
    signature(
        "folder-missing",
        r"Parent directory (?P<name>[^\n]{1,300}) does not exist",
        N_("There is no folder {name} to write to."),
        N_(
            "Make it first: os.makedirs(..., exist_ok=True). A relative path begins at the working "
            "directory of the run, which is the script's folder if you choose none."
        ),
    ),
    signature(
        "not-permitted",
        r"^(?:OSError|PermissionError): \[Errno \d+\] (?:Read-only file system|Permission denied"
        r"|Operation not permitted): b?'(?P<name>[^'\n]{1,300})'",
        N_("This run may not write (or not read) {name}."),
        N_("Write to your work folder (~/work) or to /tmp: the rest belongs to the image."),
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
