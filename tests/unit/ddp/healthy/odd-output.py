"""Colours, half lines, bytes that are no text, Windows' line ends, a long line."""

import os

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
os.write(1, b"\x1b[31mError:\x1b[0m none\r\n\xff\xfe\x00\n" + b"x" * 100_000)
os.write(2, "エラー: 没有错误 ✓\u2028[default1]:".encode())
dist.all_reduce(torch.ones(2))
dist.destroy_process_group()
