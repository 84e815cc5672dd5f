"""The training step of Serval's networks in PyTorch, of timm's and of torchvision's, for bench/train-step.ts.

Usage: train_step.py NETWORK SIZE CHANNELS BLOCKS THREADS LAYOUT [compile] [frozen]     (CHANNELS: 32,64,…   LAYOUT: nchw or channels_last)

CHANNELS and BLOCKS are for cnn4 and resnet. frozen: batch normalisation with its running statistics, as they are.

Prints "ready", then answers each line "BATCH STEPS" on stdin with the seconds that these steps took.
"""

import sys
import time

import torch
from networks import network
from torch import nn
from torch.nn import functional as F


def library_network(name: str) -> nn.Module:
    """timm's or torchvision's, with dropout in front of two classes, as Serval's has."""
    # torchvision's compiled operators do not load beside a CPU build of PyTorch, and these networks need none of them.
    operators = torch.library.Library("torchvision", "DEF")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    if name == "efficientnet-lite0":
        import timm

        return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=2, drop_rate=0.2)
    import torchvision

    model = getattr(torchvision.models, name)(num_classes=2)
    model.fc = nn.Sequential(nn.Dropout(0.2), model.fc)
    return model


def main(architecture: str, size: str, channels: str, blocks: str, threads: str, layout: str, *options: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(threads))
    if architecture in ("cnn4", "resnet"):
        model = network(architecture, [int(width) for width in channels.split(",")], int(blocks), dropout=0.2)
    else:
        model = library_network(architecture)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = model.to(memory_format=memory_format).train()
    if "frozen" in options:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    forward = torch.compile(model) if "compile" in options else model
    batches: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def step(batch: int) -> torch.Tensor:
        if batch not in batches:
            pictures = torch.randn(batch, 3, int(size), int(size)).contiguous(memory_format=memory_format)
            batches[batch] = pictures, torch.randint(0, 2, (batch,))
        pictures, targets = batches[batch]
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(forward(pictures), targets)
        loss.backward()
        optimizer.step()
        return loss

    print("ready", flush=True)
    for line in sys.stdin:
        batch, steps = map(int, line.split())
        started = time.perf_counter()
        for _ in range(steps):
            loss = step(batch)
        loss.item()
        print(time.perf_counter() - started, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
