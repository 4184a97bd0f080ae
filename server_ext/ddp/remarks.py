"""What a run that ended well should still hear: warnings of its libraries -> advice. Pure.

Guarantees: only what PyTorch and its companions print themselves is remarked on, in their own
words and at the start of a line or behind their mark; each remark is made once, however many ranks
printed it how often.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..i18n import N_

HEAD_BYTES = 128 * 1024  # of the log: most of these come early


@dataclass(frozen=True)
class Remark:
    """message: a msgid."""

    code: str
    pattern: re.Pattern[str]
    message: str


REMARKS: tuple[Remark, ...] = (
    Remark(
        "device-guessed",
        re.compile(r"(?m)\] *[^\n]{0,300}Guessing device ID based on global rank"),
        N_(
            "PyTorch guessed which GPU each process uses, and a wrong guess hangs. Tell it: "
            'init_process_group(device_id=torch.device("cuda", local_rank)).'
        ),
    ),
    Remark(
        "not-destroyed",
        re.compile(r"(?m)\] *[^\n]{0,200}WARNING: destroy_process_group\(\) was not called"),
        N_("Call torch.distributed.destroy_process_group() at the end of the script."),
    ),
    Remark(
        "tokenizers-fork",
        re.compile(
            r"(?m)^(?:\[default\d+\]:)?huggingface/tokenizers: The current process just got forked"
        ),
        N_(
            "A tokenizer was used before DataLoader workers were started, and now runs on one "
            "core. Start the run with the variable TOKENIZERS_PARALLELISM=false, or tokenize the "
            "data set before the training."
        ),
    ),
    Remark(
        "unused-search",
        re.compile(
            r"(?m)\] *[^\n]{0,200}find_unused_parameters=True was specified in DDP constructor, "
            r"but did not find any unused parameters"
        ),
        N_("Every parameter was used: find_unused_parameters=True only slows the training down."),
    ),
)
MESSAGES = {remark.code: remark.message for remark in REMARKS}


def remarks(log: str) -> tuple[str, ...]:
    """Codes of the remarks on a log, in the order of REMARKS."""
    return tuple(remark.code for remark in REMARKS if remark.pattern.search(log))
