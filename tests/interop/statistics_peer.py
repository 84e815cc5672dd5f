"""The monitor's tests by SciPy. Usage: statistics_peer.py FILE, JSON with `cases`; prints one JSON list, a result for each case."""

import json
import sys

import numpy as np
from scipy import stats


def result(case: dict) -> dict:
    if case["test"] == "kolmogorov_smirnov":
        a, b = case["values"], case["reference"]
        d = stats.ks_2samp(a, b).statistic
        return {"statistic": d, "pValue": stats.kstwobign.sf(np.sqrt(len(a) * len(b) / (len(a) + len(b))) * d)}
    if case["test"] == "chi_square":
        found = stats.chi2_contingency([case["values"], case["reference"]], correction=False)
        return {"statistic": found.statistic, "pValue": found.pvalue}
    a, b = np.asarray(case["values"]), np.asarray(case["reference"])
    d = a.mean(axis=0) - b.mean(axis=0)
    t2 = len(a) * len(b) / (len(a) + len(b)) * d @ np.linalg.solve(np.cov(b, rowvar=False, bias=True), d)
    return {"statistic": t2, "pValue": stats.chi2.sf(t2, len(d))}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print(json.dumps([{key: float(value) for key, value in result(case).items()} for case in json.load(file)["cases"]]))
