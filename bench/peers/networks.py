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


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: where the padding is odd, the larger half comes after the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        rows, columns = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return F.conv2d(x, self.weight, None, self.stride, 0, 1, self.groups)


class MobileBlock(nn.Module):
    """Widened by a 1x1 convolution (not in the first stage), convolved channel by channel, narrowed; a shortcut where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, widening: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * widening
        depthwise = SameConv(width, width, kernel, stride, groups=width, bias=False)
        narrow = nn.Conv2d(width, outputs, 1, bias=False)
        norm = lambda channels: nn.BatchNorm2d(channels, eps=1e-3)  # noqa: E731
        if widening == 1:
            self.conv_dw, self.bn1, self.conv_pw, self.bn2 = depthwise, norm(width), narrow, norm(outputs)
            self.steps = [(self.conv_dw, self.bn1, True), (self.conv_pw, self.bn2, False)]
        else:
            self.conv_pw, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), norm(width)
            self.conv_dw, self.bn2, self.conv_pwl, self.bn3 = depthwise, norm(width), narrow, norm(outputs)
            self.steps = [(self.conv_pw, self.bn1, True), (self.conv_dw, self.bn2, True), (self.conv_pwl, self.bn3, False)]
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for conv, bn, is_active in self.steps:
            y = bn(conv(y))
            if is_active:
                y = F.relu6(y, inplace=True)
        return x + y if self.has_shortcut else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 by timm's names, and Serval's classifier: linear, on the square root of each feature's mean."""

    # Widening, kernel, stride of the first block, outputs, blocks.
    STAGES = [(1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)]

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        stages, width = [], 32
        for widening, kernel, stride, outputs, count in self.STAGES:
            blocks = []
            for block in range(count):
                blocks.append(MobileBlock(width, outputs, widening, kernel, stride if block == 0 else 1))
                width = outputs
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = nn.Conv2d(width, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(F.relu6(self.bn1(self.conv_stem(x)), inplace=True))
        x = F.relu6(self.bn2(self.conv_head(x)), inplace=True)
        return self.fc(x.mean((2, 3)).sqrt())


def network(architecture: str, channels: list[int], blocks: int, classes: int = 2, dropout: float = 0.0) -> nn.Module:
    if architecture == "efficientnet-lite0":
        return EfficientNetLite0(classes)
    return Cnn4(channels, classes, dropout) if architecture == "cnn4" else ResNet(channels, blocks, classes, dropout)
