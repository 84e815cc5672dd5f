"""One training step of torchvision's and timm's networks, for comparison with Serval's.

Usage: network_peer.py NETWORK STATISTICS DIR N SIDE

NETWORK: resnet18, resnet34 or efficientnet-lite0. STATISTICS: batch, or frozen (batch normalisation in evaluation mode).
Writes to DIR: weights.safetensors (random, by the library's own names, the classifier's as fc.*), images.bin (uint8 [N, SIDE, SIDE, 3]),
targets.bin (float32 [N, 3]), and of the step logits.bin (float32 [N, 3]) and gradients.safetensors (by the same names).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

# torchvision's compiled operators do not load beside a CPU build of PyTorch, and these networks need none of them.
operators = torch.library.Library("torchvision", "DEF")
operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

CLASSES = 3
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def network(name: str) -> tuple[nn.Module, tuple[list[float], list[float]]]:
    """The library's network, and the mean and the deviation of colours from 0 to 1 that it expects."""
    if name == "efficientnet-lite0":
        import timm

        return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=CLASSES), ([127 / 255] * 3, [128 / 255] * 3)
    import torchvision

    return getattr(torchvision.models, name)(num_classes=CLASSES), IMAGENET


def main(name: str, statistics: str, folder: str, n: str, side: str) -> None:
    torch.manual_seed(7)
    model, (mean, std) = network(name)
    # Numbers that are not 0 and 1, or a mistake in them would not show.
    for key, buffer in model.named_buffers():
        if key.endswith("running_mean"):
            buffer.normal_(0, 0.2)
        elif key.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    # What goes into an activation is around 3, and seldom below 0 or above 6: where a rounding moves a number over one of them, its gradient
    # comes or goes as a whole, in PyTorch's 32 bits as well. With frozen statistics, which are not those of the maps, numbers spread further.
    gain = 0.17 if statistics == "frozen" else 0.8
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.9 * gain, 1.1 * gain)
            nn.init.uniform_(module.bias, 2.8, 3.2)
    model.train()
    if statistics == "frozen":
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def renamed(key: str) -> str:
        return key.replace("classifier.", "fc.")

    state = {renamed(key): value.clone() for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    images = torch.randint(0, 256, (int(n), int(side), int(side), 3), dtype=torch.uint8)
    targets = torch.softmax(torch.randn(int(n), CLASSES), 1)
    # In 64 bits, so that what is left between the two sides is Serval's own rounding.
    model = model.double()
    pictures = images.permute(0, 3, 1, 2).double() / 255
    pictures = (pictures - torch.tensor(mean).double().view(1, 3, 1, 1)) / torch.tensor(std).double().view(1, 3, 1, 1)
    logits = model(pictures)
    F.cross_entropy(logits, targets.double()).backward()

    out = Path(folder)
    save_file(state, out / "weights.safetensors")
    images.numpy().tofile(out / "images.bin")
    targets.numpy().astype(np.float32).tofile(out / "targets.bin")
    logits.detach().numpy().astype(np.float32).tofile(out / "logits.bin")
    gradients = {renamed(key): parameter.grad.float().contiguous() for key, parameter in model.named_parameters()}
    save_file(gradients, out / "gradients.safetensors")


if __name__ == "__main__":
    main(*sys.argv[1:])
