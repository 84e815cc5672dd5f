"""Reads a run back with MLflow's own client: parameters, tags, every point of every metric, and the files."""

import hashlib
import json
import pathlib
import sys

from mlflow import MlflowClient

uri, run_name, download_dir = sys.argv[1:]
client = MlflowClient(tracking_uri=uri)
experiments = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
runs = [run for run in client.search_runs(list(experiments)) if run.info.run_name == run_name]
answer = {"count": len(runs)}
if runs:
    run = runs[0]
    root = pathlib.Path(client.download_artifacts(run.info.run_id, "", download_dir))
    answer |= {
        "run_id": run.info.run_id,
        "experiment": experiments[run.info.experiment_id],
        "status": run.info.status,
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {
            key: [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        },
        "files": {
            path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        },
    }
print(json.dumps(answer))
