"""The network of a bundle in PyTorch, with the bundle's weights, and what both services share."""

import json
from pathlib import Path

import torch
from networks import network
from safetensors import safe_open
from torch import nn


class Normalised(nn.Module):
    """The network behind the normalisation of its pictures."""

    def __init__(self, inner: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """images: float [N,3,H,W], 0 to 255."""
        return self.inner((images / 255 - self.mean) / self.std)


class Model:
    def __init__(self, folder: str) -> None:
        path = Path(folder)
        manifest = json.loads((path / "bundle.json").read_text())
        with safe_open(path / "weights.safetensors", framework="pt") as file:
            metadata = file.metadata()
            state = {name: file.get_tensor(name).float() for name in file.keys()}
        self.labels = manifest["labels"]
        inner = network(metadata["architecture"], json.loads(metadata.get("channels", "[]")), int(metadata.get("blocks", 0)), len(self.labels))
        counters = {name: value for name, value in inner.state_dict().items() if name.endswith("num_batches_tracked")}
        inner.load_state_dict({**counters, **state}, strict=True)
        self.network = Normalised(inner, json.loads(metadata["mean"]), json.loads(metadata["std"])).eval()
        self.temperature = float(metadata.get("temperature", 1))
        preprocess = manifest["preprocess"]
        self.size = (preprocess["width"], preprocess["height"])
        crop = preprocess["crop"] or preprocess
        left, top = (self.size[0] - crop["width"]) // 2, (self.size[1] - crop["height"]) // 2
        self.box = (left, top, left + crop["width"], top + crop["height"])
        self.input = (crop["height"], crop["width"])

    def answer(self, probabilities: list[float]) -> dict:
        best = max(range(len(self.labels)), key=probabilities.__getitem__)
        return {"label": self.labels[best], "confidence": probabilities[best], "probabilities": dict(zip(self.labels, probabilities))}
