"""Serval's networks in PyTorch, with the names that their weights have in a bundle."""

import torch
from torch import nn
from torch.nn import functional as F


class Cnn4(nn.Module):
    """Blocks of conv 3x3 -> batchnorm -> relu -> maxpool 2x2, global average pooling, a linear classifier."""

    def __init__(self, channels: list[int], classes: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip([3, *channels[:-1]], channels))
        self.bns = nn.ModuleList(nn.BatchNorm2d(o) for o in channels)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(channels[-1], classes)

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
        self.downsample = None
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNet(nn.Module):
    """A stem of two convolutions, stages with a maxpool before each but the first, and the same classifier."""

    def __init__(self, channels: list[int], blocks: int, classes: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        first, second, *rest = channels
        # A convolution and its batchnorm, twice.
        self.stem = nn.ModuleDict(
            {
                "0": nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False),
                "1": nn.BatchNorm2d(first),
                "2": nn.Conv2d(first, second, 3, padding=1, bias=False),
                "3": nn.BatchNorm2d(second),
            }
        )
        stages, width = [], second
        for outputs in [second, *rest]:
            stages.append(nn.Sequential(*(Block(width if block == 0 else outputs, outputs) for block in range(blocks))))
            width = outputs
        self.layers = nn.ModuleList(stages)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem["1"](self.stem["0"](x)), inplace=True)
        x = F.max_pool2d(F.relu(self.stem["3"](self.stem["2"](x)), inplace=True), 2)
        for stage, layer in enumerate(self.layers):
            x = layer(x if stage == 0 else F.max_pool2d(x, 2))
        return self.fc(self.drop(x.mean((2, 3))))


def network(architecture: str, channels: list[int], blocks: int, classes: int = 2, dropout: float = 0.0) -> nn.Module:
    return Cnn4(channels, classes, dropout) if architecture == "cnn4" else ResNet(channels, blocks, classes, dropout)
