"""The network of a bundle in PyTorch, with the bundle's weights, and what both peers share."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn


class Cnn4(nn.Module):
    def __init__(self, channels: list[int], classes: int, mean: list[float], std: list[float]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1, bias=False) for i, o in zip([3, *channels[:-1]], channels))
        self.bns = nn.ModuleList(nn.BatchNorm2d(o) for o in channels)
        for conv, bn in zip(self.convs, self.bns):
            blocks += [conv, bn, nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels[-1], classes)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """images: float [N,3,H,W], 0 to 255."""
        x = self.features((images / 255 - self.mean) / self.std)
        return self.fc(x.mean(dim=(2, 3)))


class Model:
    def __init__(self, folder: str) -> None:
        path = Path(folder)
        manifest = json.loads((path / "bundle.json").read_text())
        with safe_open(path / "weights.safetensors", framework="pt") as file:
            self.metadata = file.metadata()
            state = {name: file.get_tensor(name) for name in file.keys()}
        channels = [state[f"convs.{i}.weight"].shape[0] for i in range(sum(name.startswith("convs.") for name in state))]
        self.network = Cnn4(channels, state["fc.weight"].shape[0], json.loads(self.metadata["mean"]), json.loads(self.metadata["std"]))
        # The same tensors are registered twice: by their names, and in `features`.
        own = self.network.state_dict()
        missing = {name: value for name, value in own.items() if name.endswith("num_batches_tracked") or name.startswith("features.")}
        self.network.load_state_dict({**missing, **state}, strict=True)
        self.network.eval()
        self.labels = manifest["labels"]
        self.temperature = float(self.metadata.get("temperature", 1))
        preprocess = manifest["preprocess"]
        self.size = (preprocess["width"], preprocess["height"])
        crop = preprocess["crop"] or preprocess
        left, top = (self.size[0] - crop["width"]) // 2, (self.size[1] - crop["height"]) // 2
        self.box = (left, top, left + crop["width"], top + crop["height"])
        self.input = (crop["height"], crop["width"])

    def answer(self, probabilities: list[float]) -> dict:
        best = max(range(len(self.labels)), key=probabilities.__getitem__)
        return {"label": self.labels[best], "confidence": probabilities[best], "probabilities": dict(zip(self.labels, probabilities))}
