"""Of packages, the script and its arguments. Data."""

from __future__ import annotations

import sys

from ...i18n import N_
from .model import Signature, signature

# Of the modules that a file beside the script may hide, those that are asked for by others.
_NAMES = sorted({*sys.stdlib_module_names, "torch", "torchvision", "numpy"})
_HIDDEN = f"(?:{'|'.join(_NAMES)})"

# Where a package is installed by another name than it is imported by.
PACKAGES = {
    "Crypto": "pycryptodome",
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "hydra": "hydra-core",
    "mpl_toolkits": "matplotlib",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "umap": "umap-learn",
    "yaml": "pyyaml",
}

PROGRAMS: tuple[Signature, ...] = (
    signature(
        "shadowed-module",
        r"(?:No module named '(?=(\w+)\.[\w.]+'; '\1' is not a package)"
        rf"|partially initialized module '(?={_HIDDEN}')"
        rf"|cannot import name '\w+' from '(?={_HIDDEN}' "
        r"\((?![^)\n]*(?:site-packages|/lib/python))))"
        r"(?P<name>\w+)",
        N_("A file of yours, {name}.py, has the name of a module that is needed."),
        N_("Rename it, delete the __pycache__ beside it, and start again."),
        logic_error=True,
    ),
    signature(
        "torch-missing",
        r"No module named '?torch'?(?:[.)\s]|$)",
        N_("The environment's Python does not find PyTorch."),
        N_("Run the GPU doctor; Reset environment brings PyTorch back."),
        anywhere=r"No module named '?torch'?(?:[.)\s]|$)",
        of_torchrun=True,
    ),
    signature(
        "module-missing",
        r"No module named '(?P<name>[\w.]+)'",
        N_("The Python package {name} is not installed."),
        N_(
            "Install it in a terminal or a notebook cell: pip install {package}. A module of your "
            "own is looked for beside the script: put it there, or choose Module in the form."
        ),
        packages=PACKAGES,
    ),
    signature(
        "relative-import",
        r"attempted relative import with no known parent package",
        N_("The file belongs to a package (from . import ...), and was started as a script."),
        N_(
            "Choose Module in the form (or gpucamp-ddp -m), name it package.module, and start in "
            "the folder that holds the package."
        ),
    ),
    signature(
        "system-library",
        r"(?P<name>lib(?!cu|nv|nccl|torch|c10|caffe|shm)[\w.+-]+): cannot open shared object file",
        N_("A package needs the library {name} of the system, which the image does not have."),
        N_(
            "For OpenCV: pip install opencv-python-headless in its place. Else look for a package "
            "that brings the library along, or ask the instructor."
        ),
    ),
    signature(
        "broken-library",
        r"undefined symbol|cannot open shared object file|cuDNN version incompatibility"
        r"|operator torchvision::nms does not exist",
        N_("A compiled package does not fit the installed PyTorch."),
        N_("Run the GPU doctor; Reset environment brings the matching versions back."),
    ),
    signature(
        "no-network",
        r"^(?P<error>(?:urllib\.error\.URLError|socket\.gaierror|httpx\.\w*Connect\w*"
        r"|requests\.exceptions\.(?:Connect|Proxy|SSL)\w*|(?:\w+\.)*LocalEntryNotFoundError"
        r"|(?:\w+\.)*OfflineModeIsEnabled|OSError: We couldn't connect to)\b[^\n]{0,300})",
        N_("The script could not reach the network: {error}"),
        N_(
            "Fetch data and models once before the run, by one process. Whether there is a way to "
            "the internet, such as a proxy or a mirror, your instructor knows."
        ),
    ),
    signature(
        "syntax-error",
        r"(?m)^(?P<error>(?:SyntaxError|IndentationError|TabError): .*)$",
        N_("Python cannot read the script: {error}"),
        N_("Correct the line that is shown."),
    ),
    signature(
        "crashed-at-exit",
        r"(?!)",
        N_(
            "A rank crashed while it was ending: threads of PyTorch still worked as Python shut "
            "down."
        ),
        N_(
            "This is a flaw of PyTorch with gloo. If the last lines are there, the training was "
            "over, and what was saved is whole. time.sleep(0.1) after destroy_process_group() "
            "avoids it."
        ),
        anywhere=r"(?m)^terminate called without an active exception$",
        exit_code=-6,
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
        r"(?m)^[\w./-]+(?: [\w.-]+){0,3}: error: (?P<error>.*)$",
        N_("The script did not accept its arguments: {error}"),
        N_("Correct the arguments. Options of your script come after its name."),
        anywhere=r"(?m)^(?:[\w./-]+(?: [\w.-]+){0,3}: error|Error|ERROR): (?P<error>.*)$",
        exit_code=2,
    ),
)
