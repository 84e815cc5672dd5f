"""Reads a run back with MLflow's own client: parameters, tags, every point of every metric, inputs, files and models."""

import hashlib
import json
import pathlib
import sys

import mlflow
from mlflow import MlflowClient

uri, run_name, download_dir = sys.argv[1:]
mlflow.set_tracking_uri(uri)


def hashes(folder):
    root = pathlib.Path(folder)
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


client = MlflowClient(tracking_uri=uri)
experiments = {experiment.experiment_id: experiment.name for experiment in client.search_experiments()}
runs = [run for run in client.search_runs(list(experiments)) if run.info.run_name == run_name]
answer = {"count": len(runs)}
if runs:
    run = runs[0]
    models = client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'")
    (pathlib.Path(download_dir) / "run").mkdir()
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
        "inputs": [
            [item.dataset.name, item.dataset.digest, json.loads(item.dataset.profile), [tag.value for tag in item.tags]]
            for item in run.inputs.dataset_inputs
        ],
        "files": hashes(client.download_artifacts(run.info.run_id, "", f"{download_dir}/run")),
        "models": {
            model.name: {
                "id": model.model_id,
                "status": str(model.status),
                "metrics": {metric.key: metric.value for metric in model.metrics},
                "files": hashes(mlflow.artifacts.download_artifacts(model.model_uri, dst_path=f"{download_dir}/{model.name}")),
            }
            for model in models
        },
    }
print(json.dumps(answer))
