"""The training step of Serval's networks in PyTorch, for bench/train-step.ts.

Usage: train_step.py NETWORK SIZE CHANNELS BLOCKS LAYOUT [compile]     (CHANNELS: 32,64,…   LAYOUT: nchw or channels_last)

Prints "ready", then answers each line "BATCH STEPS" on stdin with the seconds that these steps took.
"""

import sys
import time

import torch
from networks import network
from torch.nn import functional as F


def main(architecture: str, size: str, channels: str, blocks: str, layout: str, *options: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = network(architecture, [int(width) for width in channels.split(",")], int(blocks), dropout=0.2)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = model.to(memory_format=memory_format).train()
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
