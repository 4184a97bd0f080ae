"""torchvision's Python side without its compiled one, as when its version is another."""

import torch


@torch.library.register_fake("torchvision::nms")
def meta_nms(dets, scores, iou_threshold):
    return dets.new_empty(0)
