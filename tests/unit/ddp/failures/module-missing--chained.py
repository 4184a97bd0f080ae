"""The known cause is the first of two exceptions."""

import torch.distributed as dist

dist.init_process_group("gloo")
try:
    import flash_attention_of_ours  # noqa: F401
except ImportError as error:
    raise RuntimeError("the model cannot be built") from error
