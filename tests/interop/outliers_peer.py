"""pytorch-ood's scores of the same features.

Usage: outliers_peer.py TRAINING.bin ROWS.bin CHANNELS K      float32 [n, CHANNELS] each      Prints a JSON list of scores.
"""

import json
import sys

import numpy as np
import torch

# torchvision's compiled operators do not load beside a CPU build of PyTorch, and this score needs none of them.
operators = torch.library.Library("torchvision", "DEF")
operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from pytorch_ood.detector import KNN  # noqa: E402


def main(training: str, rows: str, channels: str, k: str) -> None:
    def read(path: str) -> torch.Tensor:
        return torch.from_numpy(np.fromfile(path, dtype=np.float32).reshape(-1, int(channels)).astype(np.float64))

    known = read(training)
    detector = KNN(None, k=int(k)).fit_features(known, torch.zeros(len(known), dtype=torch.long))
    print(json.dumps(detector.predict_features(read(rows)).tolist()))


if __name__ == "__main__":
    main(*sys.argv[1:])
