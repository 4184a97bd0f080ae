"""Of packages, the script and its arguments. Data."""

from __future__ import annotations

from ...i18n import N_
from .model import Signature, signature

PROGRAMS: tuple[Signature, ...] = (
    signature(
        "torch-missing",
        r"No module named '?torch'?(?:$|\n|\.)",
        N_("The environment's Python does not find PyTorch."),
        N_("Run the GPU doctor; Reset environment brings PyTorch back."),
        anywhere=r"No module named '?torch'?(?:$|\n|\.)",
        of_torchrun=True,
    ),
    signature(
        "module-missing",
        r"No module named '(?P<name>[\w.]+)'",
        N_("The Python package {name} is not installed."),
        N_("Install it in a terminal or a notebook cell: pip install {name}"),
    ),
    signature(
        "broken-library",
        r"undefined symbol|cannot open shared object file|cuDNN version incompatibility"
        r"|operator torchvision::nms does not exist",
        N_("A compiled package does not fit the installed PyTorch."),
        N_("Run the GPU doctor; Reset environment brings the matching versions back."),
    ),
    signature(
        "syntax-error",
        r"(?m)^(?P<error>(?:SyntaxError|IndentationError|TabError): .*)$",
        N_("Python cannot read the script: {error}"),
        N_("Correct the line that is shown."),
    ),
    signature(
        "script-gone",
        r"can't open file '(?P<name>[^']*)'",
        N_("The script {name} was not there any more."),
        N_("Save the script and start again."),
        anywhere=r"can't open file '(?P<name>[^']*)'",
        exit_code=2,
    ),
    signature(
        "bad-arguments",
        r"(?m)^\S+: error: (?P<error>.*)$",
        N_("The script did not accept its arguments: {error}"),
        N_("Correct the arguments. Options of your script come after its name."),
        anywhere=r"(?m)^(?:\S+: error|Error|ERROR): (?P<error>.*)$",
        exit_code=2,
    ),
)
