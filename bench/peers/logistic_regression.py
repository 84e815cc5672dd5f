"""scikit-learn's logistic regression on features that Serval computed, its penalty by cross-validation. Prints the accuracy.

Usage: logistic_regression.py FOLDER WIDTH      FOLDER: x and held-x, float32 [ROWS, WIDTH]; y and held-y, int32 [ROWS]
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(folder: str, width: str) -> None:
    x, held_x = (np.fromfile(Path(folder) / name, dtype=np.float32).reshape(-1, int(width)) for name in ("x", "held-x"))
    y, held_y = (np.fromfile(Path(folder) / name, dtype=np.int32) for name in ("y", "held-y"))
    model = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=np.logspace(-5, 1, 7), cv=5, scoring="neg_log_loss", max_iter=2000))
    print((model.fit(x, y).predict(held_x) == held_y).mean())


if __name__ == "__main__":
    main(*sys.argv[1:])
