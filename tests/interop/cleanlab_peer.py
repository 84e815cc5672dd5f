"""cleanlab's quality of each label, and the labels that it takes for wrong, from the same held-out probabilities.

Usage: cleanlab_peer.py FOLDER CLASSES      labels.bin: int32 [N], probabilities.bin: float32 [N, CLASSES]      Prints one JSON object.
"""

import json
import pathlib
import sys

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores


def main(folder: str, classes: str) -> None:
    path = pathlib.Path(folder)
    labels = np.fromfile(path / "labels.bin", dtype=np.int32)
    probabilities = np.fromfile(path / "probabilities.bin", dtype=np.float32).reshape(-1, int(classes)).astype(np.float64)
    quality = get_label_quality_scores(labels, probabilities)
    issues = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    print(json.dumps({"quality": quality.tolist(), "issues": np.flatnonzero(issues).tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
