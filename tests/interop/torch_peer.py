"""Loads weights.safetensors into the same network written in PyTorch and runs it.

Usage: torch_peer.py WEIGHTS.safetensors IMAGES.bin N H W     (IMAGES: uint8 N*H*W*3)     Prints one JSON object.
"""

import json
import sys

import numpy as np
import torch
from safetensors import safe_open
from torch import nn


class Cnn4(nn.Module):
    """Blocks of conv 3x3 -> batchnorm -> relu -> maxpool 2x2, global average pooling, a linear classifier."""

    def __init__(self, channels: list[int], classes: int, mean: list[float], std: list[float]) -> None:
        super().__init__()
        inputs = [3, *channels[:-1]]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip(inputs, channels))
        self.bns = nn.ModuleList(nn.BatchNorm2d(o) for o in channels)
        self.fc = nn.Linear(channels[-1], classes)
        self.mean = torch.tensor(mean).view(1, 3, 1, 1)
        self.std = torch.tensor(std).view(1, 3, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        for conv, bn in zip(self.convs, self.bns):
            x = nn.functional.max_pool2d(nn.functional.relu(bn(conv(x))), 2)
        return self.fc(x.mean(dim=(2, 3)))


def main(weights_path: str, images_path: str, *shape: str) -> None:
    with safe_open(weights_path, framework="pt") as file:
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}
    layers = sum(name.startswith("convs.") for name in state)
    channels = [state[f"convs.{layer}.weight"].shape[0] for layer in range(layers)]
    network = Cnn4(channels, state["fc.weight"].shape[0], json.loads(metadata["mean"]), json.loads(metadata["std"]))
    # PyTorch counts batches for its own bookkeeping; every other tensor has to be there, and nothing else.
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict({**counters, **state}, strict=True)
    network.eval()

    n, h, w = map(int, shape)
    images = torch.from_numpy(np.fromfile(images_path, dtype=np.uint8).reshape(n, h, w, 3))
    with torch.no_grad():
        logits = network(images)
    print(json.dumps({"channels": channels, "tensors": sorted(state), "metadata": metadata, "logits": logits.tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
