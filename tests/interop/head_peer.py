"""scikit-learn's logistic regression on the same rows and the same penalty.

Usage: head_peer.py X.bin Y.bin ROWS WIDTH PENALTY      X: float32 [ROWS, WIDTH], Y: int32 [ROWS]      Prints one JSON object.
"""

import json
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression


def main(x_path: str, y_path: str, rows: str, width: str, penalty: str) -> None:
    x = np.fromfile(x_path, dtype=np.float32).reshape(int(rows), int(width)).astype(np.float64)
    y = np.fromfile(y_path, dtype=np.int32)
    # scikit-learn sums the loss over the rows and weighs it with C; Serval takes the mean and weighs the squares.
    model = LogisticRegression(C=1 / (float(penalty) * len(x)), tol=1e-8, max_iter=5000).fit(x, y)
    print(json.dumps({"probabilities": model.predict_proba(x).tolist(), "squares": float((model.coef_**2).sum())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
