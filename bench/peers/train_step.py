"""The training step of Serval's networks in PyTorch, for bench/train-step.ts.

Usage: train_step.py NETWORK SIZE CHANNELS BLOCKS LAYOUT [compile]     (CHANNELS: 32,64,…   LAYOUT: nchw or channels_last)

Prints "ready", then answers each line "BATCH STEPS" on stdin with the seconds that these steps took.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Cnn4(nn.Module):
    """Blocks of conv 3x3 -> batchnorm -> relu -> maxpool 2x2, global average pooling, a linear classifier."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip([3, *channels[:-1]], channels))
        self.bns = nn.ModuleList(nn.BatchNorm2d(o) for o in channels)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(channels[-1], 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, bn in zip(self.convs, self.bns):
            x = F.max_pool2d(F.relu(bn(conv(x)), inplace=True), 2)
        return self.fc(self.drop(x.mean((2, 3))))


class Block(nn.Module):
    """Two convolutions beside a shortcut, which is a 1x1 convolution between different widths."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class ResNet(nn.Module):
    """A stem of two convolutions, stages that begin with a maxpool, and the same classifier."""

    def __init__(self, channels: list[int], blocks: int) -> None:
        super().__init__()
        first, second, *rest = channels
        self.stem0, self.norm0 = nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(first)
        self.stem1, self.norm1 = nn.Conv2d(first, second, 3, padding=1, bias=False), nn.BatchNorm2d(second)
        stages, width = [], second
        for stage, outputs in enumerate([second, *rest]):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if stage > 0 else []
            for _ in range(blocks):
                layers.append(Block(width, outputs))
                width = outputs
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.drop = nn.Dropout(0.2)
        self.fc = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm0(self.stem0(x)), inplace=True)
        x = F.max_pool2d(F.relu(self.norm1(self.stem1(x)), inplace=True), 2)
        return self.fc(self.drop(self.stages(x).mean((2, 3))))


def main(network: str, size: str, channels: str, blocks: str, layout: str, *options: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    widths = [int(width) for width in channels.split(",")]
    model = Cnn4(widths) if network == "cnn4" else ResNet(widths, int(blocks))
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
