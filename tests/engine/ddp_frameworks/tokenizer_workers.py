"""A tokenizer is used before a DataLoader's workers are started, and in them."""

import torch.distributed as dist
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import DataLoader, Dataset

tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()


class Texts(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return [encoded.ids for encoded in tokenizer.encode_batch(["a b"] * 8)][0]


dist.init_process_group("gloo")
data = Texts()
print("first:", data[0], flush=True)
if dist.get_rank() == 0:
    print("batches:", len(list(DataLoader(data, num_workers=1))), flush=True)
dist.barrier()
dist.destroy_process_group()
