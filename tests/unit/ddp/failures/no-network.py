"""A data set that is to be downloaded, without a way to the internet."""

import urllib.request

import torch
import torch.distributed as dist

dist.init_process_group("gloo")
if dist.get_rank() == 0:
    urllib.request.urlopen("http://127.0.0.1:9/cifar-10-python.tar.gz")
dist.all_reduce(torch.ones(2))
