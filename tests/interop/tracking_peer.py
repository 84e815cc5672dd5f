"""One script of MLflow's own client against each of the tracking servers that it is given, as URI FOLDER URI FOLDER …

What it saw is written to FOLDER/seen.json. Ids, times and names that the server draws differ from run to run: ids are replaced by the order in which they appeared,
times are left out.
"""

import json
import math
import os
import pathlib
import sys

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "GIT_PYTHON_REFRESH": "quiet"}

import mlflow
import numpy
import onnx
import onnx.helper
import requests
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelParameter, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

# The client takes seconds to import; a process for each server goes on from here.
for uri, folder in zip(sys.argv[1::2], map(pathlib.Path, sys.argv[2::2])):
    if os.fork() == 0:
        break
else:
    sys.exit(any(os.wait()[1] for _ in sys.argv[1::2]))
mlflow.set_tracking_uri(uri)
client = MlflowClient(tracking_uri=uri)
seen = {}
ids = {}


def name_id(value, kind):
    ids.setdefault(value, f"<{kind}-{sum(known.startswith(f'<{kind}-') for known in ids.values()) + 1}>")
    return value


def note(name, look):
    """Records the answer, or the code of the error."""
    assert name not in seen, name
    try:
        seen[name] = look()
    except MlflowException as error:
        seen[name] = {"error": error.error_code, "status": error.get_http_status_code()}
    except requests.HTTPError as error:
        seen[name] = {"http": error.response.status_code}


def number(value):
    return repr(value) if math.isnan(value) or math.isinf(value) else value


def show_run(run):
    drawn = {"mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit", "mlflow.log-model.history"}
    return {
        "id": run.info.run_id,
        "name": run.info.run_name,
        "experiment": run.info.experiment_id,
        "status": run.info.status,
        "stage": run.info.lifecycle_stage,
        "user": run.info.user_id,
        "start": run.info.start_time,
        "end": run.info.end_time,
        "artifacts": run.info.artifact_uri,
        "metrics": {key: number(value) for key, value in sorted(run.data.metrics.items())},
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key not in drawn},
        "inputs": [
            [d.dataset.name, d.dataset.digest, d.dataset.source_type, d.dataset.source, d.dataset.schema, d.dataset.profile, {t.key: t.value for t in d.tags}]
            for d in run.inputs.dataset_inputs
        ],
    }


def show_experiment(experiment):
    return [experiment.experiment_id, experiment.name, experiment.artifact_location, experiment.lifecycle_stage, experiment.tags]


def show_points(points):
    return [[point.key, number(point.value), point.timestamp, point.step] for point in points]


def names(runs):
    return [run.info.run_name for run in runs]


# Experiments
note("default experiment", lambda: show_experiment(client.get_experiment("0")))
lab = client.create_experiment("lab", tags={"team": "vision", "note": "first one"})
other = client.create_experiment("other")
away = client.create_experiment("away", artifact_location="s3://bucket/away")
note("experiment", lambda: show_experiment(client.get_experiment(lab)))
note("experiment by name", lambda: show_experiment(client.get_experiment_by_name("lab")))
note("no such name", lambda: client.get_experiment_by_name("nowhere"))
note("experiment elsewhere", lambda: show_experiment(client.get_experiment(away)))
note("name taken", lambda: client.create_experiment("lab"))
note("name empty", lambda: client.create_experiment(""))
note("name too long", lambda: client.create_experiment("x" * 501))
note("no such experiment", lambda: client.get_experiment("999"))
note("experiment id not a number", lambda: client.get_experiment("abc"))
client.set_experiment_tag(lab, "team", "vision-2")
client.set_experiment_tag(lab, "gone", "x")
client.delete_experiment_tag(lab, "gone")
note("experiment tags", lambda: client.get_experiment(lab).tags)
note("no such experiment tag", lambda: client.delete_experiment_tag(lab, "gone"))
for filter_string in ["name = 'lab'", "name LIKE '%a%'", "name ILIKE 'LA%'", "name LIKE 'LA%'", "tags.team = 'vision-2'", "tags.team != 'x' AND name != 'other'", "creation_time > 0", f"experiment_id IN ('{lab}', '{away}')", "tags.team IS NULL", "tags.team IS NOT NULL", "bogus = 'x'", "name > 'a'", "name = lab", "name = 'a' OR name = 'b'"]:
    note(f"experiments where {filter_string}", lambda: sorted(e.name for e in client.search_experiments(filter_string=filter_string)))
note("experiments by name", lambda: [e.name for e in client.search_experiments(order_by=["name DESC"])])
page = client.search_experiments(max_results=2, order_by=["name"])
note("experiment pages", lambda: [[e.name for e in page], [e.name for e in client.search_experiments(max_results=2, order_by=["name"], page_token=page.token)]])
note("experiments order unknown", lambda: client.search_experiments(order_by=["colour"]))
note("experiments none at a time", lambda: client.search_experiments(max_results=0))

# Runs: three with known times, one nested in another
runs = []
for i, (run_name, owner) in enumerate([("alpha", lab), ("beta", lab), ("gamma", other)]):
    run = client.create_run(owner, start_time=1_700_000_000_000 + i, tags={"colour": ["red", "blue", "red"][i]}, run_name=run_name)
    runs.append(name_id(run.info.run_id, "run"))
alpha, beta, gamma = runs
note("new run", lambda: show_run(client.get_run(alpha)))
note("run of a name and another tag", lambda: client.create_run(lab, run_name="one", tags={"mlflow.runName": "two"}))
note("run named by tag", lambda: client.create_run(other, start_time=5, tags={"mlflow.runName": "tagged"}).info.run_name)
note("run in no experiment", lambda: client.create_run("12345"))
note("no such run", lambda: client.get_run("0123456789abcdef0123456789abcdef"))
note("log to no such run", lambda: client.log_metric("0123456789abcdef0123456789abcdef", "a", 1))

client.log_metric(alpha, "loss", 0.5, timestamp=1000, step=0)
client.log_metric(alpha, "loss", 0.25, timestamp=2000, step=1)
client.log_metric(alpha, "loss", 0.75, timestamp=500, step=1)
client.log_metric(alpha, "loss", 0.25, timestamp=2000, step=1)
client.log_metric(beta, "loss", math.nan, timestamp=1000, step=3)
client.log_metric(beta, "up", math.inf, timestamp=1000, step=-2)
client.log_metric(beta, "down", -math.inf, timestamp=1000)
client.log_metric(beta, "down", -math.inf, timestamp=1000)
client.log_metric(beta, "mixed", math.nan, timestamp=1, step=1)
client.log_metric(beta, "mixed", 1.0, timestamp=1, step=1)
client.log_metric(beta, "val/accuracy top-1: 5", 1e-300, timestamp=1, step=1)
note("history", lambda: show_points(client.get_metric_history(alpha, "loss")))
note("history of NaN", lambda: show_points(client.get_metric_history(beta, "loss")))
note("history of infinity", lambda: show_points(client.get_metric_history(beta, "up") + client.get_metric_history(beta, "down")))
note("history of both", lambda: show_points(client.get_metric_history(beta, "mixed")))
note("history of nothing", lambda: show_points(client.get_metric_history(beta, "nothing")))
note("history of no such run", lambda: client.get_metric_history("f" * 32, "loss"))
note("metric name with a bad character", lambda: client.log_metric(alpha, "lo#ss", 1))
note("metric name that is a path", lambda: client.log_metric(alpha, "../loss", 1))
note("metric name too long", lambda: client.log_metric(alpha, "x" * 251, 1))
note("metric before 1970", lambda: client.log_metric(alpha, "loss", 1, timestamp=-1))

client.log_param(alpha, "depth", 3)
client.log_param(alpha, "depth", 3)
client.log_param(alpha, "lr", "0.1")
client.log_param(beta, "depth", "10")
client.log_param(beta, "empty", "")
note("param changed", lambda: client.log_param(alpha, "depth", 4))
note("param too long", lambda: client.log_param(alpha, "long", "y" * 7000) and None)
note("param was cut", lambda: len(client.get_run(alpha).data.params.get("long", "")))
client.set_tag(alpha, "colour", "green")
client.set_tag(alpha, "mlflow.note.content", "# Über\n'quoted' \"twice\" 日本")
client.set_tag(alpha, "gone", 1)
client.delete_tag(alpha, "gone")
note("no such tag", lambda: client.delete_tag(alpha, "gone"))
client.set_tag(gamma, "mlflow.runName", "gamma-renamed")
note("renamed by tag", lambda: client.get_run(gamma).info.run_name)
client.update_run(gamma, status="KILLED", name="gamma")
note("renamed by update", lambda: [client.get_run(gamma).info.run_name, client.get_run(gamma).info.status, client.get_run(gamma).data.tags["mlflow.runName"]])

batch = [Metric("acc", i / 10, 100 + i, i) for i in range(5)] + [Metric("acc", 0.9, 50, 9)]
client.log_batch(beta, batch, [Param("width", "64"), Param("height", "32")], [RunTag("batch", "yes"), RunTag("colour", "blue2")])
note("batch", lambda: [show_points(client.get_metric_history(beta, "acc")), client.get_run(beta).data.metrics["acc"]])
note("batch with a changed param", lambda: client.log_batch(beta, [Metric("lost", 1, 1, 1)], [Param("width", "65")], []))
note("nothing of it was kept", lambda: "lost" in client.get_run(beta).data.metrics)
note("batch with a param twice", lambda: client.log_batch(beta, params=[Param("d", "1"), Param("d", "1")]))
# The client cuts batches that are too large; the server is asked itself.
for what, content in {
    "1001 metrics": {"metrics": [{"key": "m", "value": i, "timestamp": 1, "step": i} for i in range(1001)]},
    "101 params": {"params": [{"key": f"p{i}", "value": "1"} for i in range(101)]},
    "101 tags": {"tags": [{"key": f"t{i}", "value": "1"} for i in range(101)]},
    "no key": {"metrics": [{"value": 1, "timestamp": 1}]},
    "no value": {"metrics": [{"key": "a", "timestamp": 1}]},
    "no timestamp": {"metrics": [{"key": "a", "value": 1}]},
    "a list that is a text": {"metrics": "many"},
    "texts for numbers": {"metrics": [{"key": "texts", "value": "0.5", "timestamp": "17", "step": "2"}]},
    "fields from the future": {"tags": [{"key": "future", "value": "x", "weight": 1}], "colour": "red"},
}.items():
    answer = requests.post(f"{uri}/api/2.0/mlflow/runs/log-batch", json={"run_id": beta} | content)
    is_json = answer.headers["content-type"].startswith("application/json")
    seen[f"raw batch: {what}"] = [answer.status_code, answer.json().get("error_code") if is_json else None]
note("after the raw batches", lambda: [client.get_run(beta).data.metrics.get("texts"), client.get_run(beta).data.tags.get("future")])
for what, method, path, content in [
    ("no run id", "POST", "runs/log-metric", {"key": "a", "value": 1, "timestamp": 1}),
    ("empty run id", "POST", "runs/log-metric", {"run_id": "", "key": "a", "value": 1, "timestamp": 1}),
    ("no experiment name", "POST", "experiments/create", {}),
    ("an unknown address", "POST", "runs/fly", {}),
]:
    answer = requests.request(method, f"{uri}/api/2.0/mlflow/{path}", json=content)
    # What MLflow says of an unknown address is a page; its client makes a code of the status.
    is_json = answer.headers["content-type"].startswith("application/json")
    seen[f"raw: {what}"] = [answer.status_code, answer.json().get("error_code") if is_json and answer.status_code == 400 else None]
client.log_inputs(
    beta,
    [
        DatasetInput(Dataset("cats", "abc123", "local", '{"uri": "data"}', '{"schema": 1}', '{"rows": 5}'), [InputTag("mlflow.data.context", "training")]),
        DatasetInput(Dataset("dogs", "def456", "http", "https://example.com"), []),
    ],
)
client.log_inputs(beta, [DatasetInput(Dataset("cats", "abc123", "local", "changed"), [InputTag("mlflow.data.context", "test")])])
note("run with everything", lambda: show_run(client.get_run(beta)))
client.set_terminated(alpha, "FINISHED", end_time=1_700_000_100_000)
note("finished run", lambda: show_run(client.get_run(alpha)))

# Searches
both = [lab, other]
for filter_string in [
    "metrics.loss < 0.5", "metrics.loss != 0.5", "metrics.loss > -1", "metrics.`val/accuracy top-1: 5` <= 1", "metric.acc = 0.9", "metrics.up > 1e300", "metrics.down < -1e300", "metrics.acc >= .9",
    "params.depth = '3'", "params.depth != '3'", "param.depth LIKE '1%'", 'parameters."depth" ILIKE \'1%\'', "params.nope IS NULL", "params.depth IS NOT NULL", "params.empty = ''",
    "tags.colour = 'green'", "tags.colour LIKE 'BL%'", "tags.colour ILIKE 'BL%'", "tags.mlflow.runName = 'alpha'", "tags.`mlflow.runName` != 'alpha'", 'tag.colour = "green"',
    "attributes.status = 'FINISHED'", "attributes.run_name = 'beta'", "run_name LIKE 'b%'", "attribute.start_time > 1700000000000", "start_time <= 1700000000001", "end_time > 0", "attributes.artifact_uri LIKE '%artifacts'",
    f"attributes.run_id IN ('{alpha}', '{gamma}')", f"run_id NOT IN ('{alpha}')", "attributes.`run_name` = 'beta'", "user_id = 'nobody'", "created > 0",
    "dataset.name = 'cats'", "datasets.digest LIKE 'def%'", "dataset.context = 'training'", "dataset.name IN ('dogs', 'x')",
    "metrics.loss < 0.5 AND params.depth = '3'", "metrics.loss < 0.5 and tags.colour = 'blue'", "  ",
    "metrics.loss < '0.5'", "params.depth = 3", "params.depth > '3'", "metrics.loss LIKE '1'", "status IN ('FINISHED')", "attributes.colour = 'x'", "colour = 'x'", "dataset.size = '1'", "params.a = 'b' OR params.a = 'c'", "params.a", "params.a = ", "metrics.a IS NULL", "foo.bar = 'x'", "run_id IN ()", "metrics.loss < 0.5 AND", "start_time = 'x'",
]:
    note(f"runs where {filter_string}", lambda: names(client.search_runs(both, filter_string, order_by=["start_time"])))
for order in [["metrics.loss"], ["metrics.loss DESC"], ["metrics.acc desc", "start_time asc"], ["params.depth"], ["params.`depth` DESC"], ["tags.colour ASC"], ["attributes.run_name DESC"], ["start_time"], ["end_time"], ["created DESC"], ["status"], [], ["colour"], ["metrics.loss SIDEWAYS"], ["dataset.name"], ["metrics.loss ASC NULLS"]]:
    note(f"runs by {order}", lambda: [n for n in names(client.search_runs(both, "tags.mlflow.runName != 'tagged'", order_by=order))])
first = client.search_runs(both, order_by=["start_time"], max_results=2)
second = client.search_runs(both, order_by=["start_time"], max_results=2, page_token=first.token)
note("pages of runs", lambda: [names(first), names(second), bool(first.token), bool(second.token)])
note("a token that is none", lambda: client.search_runs(both, page_token="bogus!"))
note("too many at a time", lambda: client.search_runs(both, max_results=50_001))
note("runs of no experiment", lambda: names(client.search_runs([])))
note("runs of an experiment that is not there", lambda: names(client.search_runs(["987"])))
note("runs of an id that is none", lambda: names(client.search_runs(["abc"])))
note("as a table", lambda: sorted(mlflow.search_runs(both, "metrics.loss < 0.5").filter(regex="^(params|tags.colour|metrics)").dropna(axis=1).columns.tolist()))

# Deleting and restoring
client.delete_run(gamma)
note("deleted run", lambda: [client.get_run(gamma).info.lifecycle_stage, names(client.search_runs(both, "tags.colour = 'red'")), names(client.search_runs(both, run_view_type=ViewType.DELETED_ONLY)), len(client.search_runs(both, run_view_type=ViewType.ALL))])
note("logging to a deleted run", lambda: client.log_metric(gamma, "a", 1))
note("tagging a deleted run", lambda: client.set_tag(gamma, "a", 1))
note("batch to a deleted run", lambda: client.log_batch(gamma, [Metric("a", 1, 1, 1)]))
client.restore_run(gamma)
client.log_metric(gamma, "a", 1)
note("restored run", lambda: client.get_run(gamma).info.lifecycle_stage)
client.delete_experiment(other)
note("deleted experiment", lambda: [show_experiment(client.get_experiment(other)), client.get_run(gamma).info.lifecycle_stage, sorted(e.name for e in client.search_experiments(view_type=ViewType.DELETED_ONLY)), len(client.search_experiments(view_type=ViewType.ALL))])
note("deleting it twice", lambda: client.delete_experiment(other))
note("run in a deleted experiment", lambda: client.create_run(other))
note("renaming a deleted experiment", lambda: client.rename_experiment(other, "new"))
note("tagging a deleted experiment", lambda: client.set_experiment_tag(other, "a", "b"))
note("its name is still taken", lambda: client.create_experiment("other"))
client.restore_experiment(other)
note("restored experiment", lambda: [client.get_experiment(other).lifecycle_stage, client.get_run(gamma).info.lifecycle_stage])
note("restoring it twice", lambda: client.restore_experiment(other))
client.rename_experiment(other, "renamed")
note("renamed experiment", lambda: client.get_experiment(other).name)

# Artifacts
tree = folder / "tree"
(tree / "sub" / "deep").mkdir(parents=True)
(tree / "a.txt").write_text("alpha")
(tree / "sub" / "b c.json").write_text('{"b": 1}')
(tree / "sub" / "deep" / "ünï 100%.bin").write_bytes(bytes(range(256)) * 4000)
(tree / "empty").write_bytes(b"")
client.log_artifacts(alpha, str(tree))
client.log_artifacts(alpha, str(tree), "copy/here")
client.log_artifact(alpha, str(tree / "a.txt"), "sub")
client.log_text(alpha, "replaced", "a.txt")
client.log_dict(alpha, {"k": [1, 2]}, "dict.yaml")


def show_files(run_id, path=None):
    return [[f.path, f.is_dir, f.file_size] for f in client.list_artifacts(run_id, path)]


note("files", lambda: show_files(alpha))
note("files in a folder", lambda: show_files(alpha, "sub"))
note("files deep down", lambda: show_files(alpha, "copy/here/sub/deep"))
note("files of a file", lambda: show_files(alpha, "a.txt"))
note("files of nothing", lambda: show_files(alpha, "nothing"))
note("files above", lambda: show_files(alpha, "../"))
target = folder / "down"
target.mkdir()
root = pathlib.Path(client.download_artifacts(alpha, "", str(target)))
note("downloaded", lambda: {p.relative_to(root).as_posix(): p.stat().st_size for p in sorted(root.rglob("*")) if p.is_file()})
note("downloaded bytes", lambda: (root / "sub" / "deep" / "ünï 100%.bin").read_bytes() == bytes(range(256)) * 4000 and (root / "a.txt").read_text())
note("download of nothing", lambda: client.download_artifacts(alpha, "nothing.txt", str(target)))
proxy = f"{uri}/api/2.0/mlflow-artifacts/artifacts/{client.get_run(alpha).info.artifact_uri.split(':/')[1]}"
note("deleted file", lambda: [requests.delete(f"{proxy}/copy").status_code, show_files(alpha, "copy"), requests.delete(f"{proxy}/copy").status_code])
note("file of a folder's address", lambda: requests.get(f"{proxy}/sub").status_code)
note("file that is not there", lambda: [requests.get(f"{proxy}/nothing").status_code, requests.get(f"{proxy}/nothing").json()["error_code"]])

# The fluent interface: nested runs, a logged ONNX model that is registered and loaded back
mlflow.set_experiment("lab")
graph = onnx.helper.make_graph(
    [onnx.helper.make_node("Add", ["x", "x"], ["y"])],
    "double",
    [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])],
    [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])],
)
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
model.ir_version = 9
example = numpy.array([[1, 2], [3, 4]], dtype=numpy.float32)
with mlflow.start_run(run_name="parent") as parent:
    name_id(parent.info.run_id, "run")
    mlflow.log_params({"a": 1, "b": "two"})
    mlflow.log_metrics({"m": 1.0, "n": 2.0}, step=4)
    with mlflow.start_run(run_name="child", nested=True) as child:
        name_id(child.info.run_id, "run")
        mlflow.log_metric("m", 3)
    info = mlflow.onnx.log_model(model, name="net", signature=infer_signature(example, example * 2), registered_model_name="doubler", pip_requirements=["onnxruntime"])
    name_id(info.model_id, "model")
    mlflow.log_metric("quality", 0.5, model_id=info.model_id, step=2)
note("nested", lambda: [client.get_run(child.info.run_id).data.tags["mlflow.parentRunId"], client.get_run(parent.info.run_id).info.status, client.get_run(parent.info.run_id).data.params])
note("children", lambda: names(client.search_runs([lab], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")))
note("outputs of the run", lambda: [[o.model_id, o.step] for o in client.get_run(parent.info.run_id).outputs.model_outputs])


def show_model(logged):
    return [logged.model_id, logged.experiment_id, logged.name, logged.model_type, logged.source_run_id, str(logged.status), logged.artifact_location, logged.params,
            {k: json.loads(v) if k == "mlflow.modelVersions" else v for k, v in logged.tags.items() if not k.startswith("mlflow.source") and k not in ("mlflow.user", "mlflow.log-model.history")},
            [[m.key, m.value, m.step, m.model_id, m.run_id] for m in logged.metrics or []]]


note("logged model", lambda: show_model(mlflow.get_logged_model(info.model_id)))
client.set_logged_model_tags(info.model_id, {"stage": "tried", "gone": "1"})
client.delete_logged_model_tag(info.model_id, "gone")
note("logged model's tags", lambda: show_model(client.get_logged_model(info.model_id)))
note("no such tag of a logged model", lambda: client.delete_logged_model_tag(info.model_id, "gone"))
note("no such logged model", lambda: client.get_logged_model("m-" + "0" * 32))
second_model = client.create_logged_model(lab, name="other", params={"size": "3"}, tags={"stage": "new"}, model_type="classifier")
name_id(second_model.model_id, "model")
note("new logged model", lambda: show_model(second_model))
client.log_model_params(second_model.model_id, {"more": "4"}) if hasattr(client, "log_model_params") else None
note("logged model that is ready", lambda: show_model(client.finalize_logged_model(second_model.model_id, "READY")))
note("logged model with a bad name", lambda: client.create_logged_model(lab, name="a/b"))
for filter_string in ["name = 'net'", "name LIKE 'o%'", "metrics.quality > 0.4", "metrics.quality > 0.6", "params.size = '3'", "tags.stage = 'new'", "model_type = 'classifier'", "creation_time > 0", f"source_run_id = '{parent.info.run_id}'", "bogus.x = 'y'", "name > 'a'"]:
    note(f"logged models where {filter_string}", lambda: [m.name for m in client.search_logged_models([lab], filter_string)])
note("logged models by metric", lambda: [m.name for m in client.search_logged_models([lab], order_by=[{"field_name": "metrics.quality", "ascending": False}])])
note("logged models by name", lambda: [m.name for m in client.search_logged_models([lab], order_by=[{"field_name": "name"}])])
models_page = client.search_logged_models([lab], max_results=1)
note("pages of logged models", lambda: [len(models_page), len(client.search_logged_models([lab], max_results=1, page_token=models_page.token))])
note("files of the logged model", lambda: sorted(f.path for f in client.list_logged_model_artifacts(info.model_id)))
note("model loaded by its id", lambda: mlflow.pyfunc.load_model(f"models:/{info.model_id}").predict(example)["y"].tolist())
note("model loaded as ONNX", lambda: mlflow.onnx.load_model(info.model_uri).graph.name)
note("model loaded by name", lambda: mlflow.onnx.load_model("models:/doubler/1").graph.name)
note("model loaded from the run", lambda: mlflow.onnx.load_model(f"runs:/{parent.info.run_id}/net").graph.name)
note("signature", lambda: mlflow.models.get_model_info("models:/doubler/1").signature.to_dict())
client.delete_logged_model(second_model.model_id)
note("deleted logged model", lambda: client.get_logged_model(second_model.model_id))
note("logged models that are left", lambda: [m.name for m in client.search_logged_models([lab])])


# The registry
def show_version(version):
    return [version.name, str(version.version), version.current_stage, version.description, version.source, version.run_id, version.status, version.run_link, version.tags, sorted(version.aliases)]


def show_registered(registered):
    return [registered.name, registered.description, registered.tags, {a: str(v) for a, v in registered.aliases.items()}, [show_version(v) for v in registered.latest_versions]]


note("registered", lambda: show_registered(client.get_registered_model("doubler")))
note("registered twice", lambda: client.create_registered_model("doubler"))
note("registered with a bad name", lambda: client.create_registered_model("a/b"))
note("registered with no name", lambda: client.create_registered_model(" "))
note("no such registered model", lambda: client.get_registered_model("nothing"))
client.create_registered_model("tagged", tags={"task": "images", "x": "1"}, description="for tests")
client.update_registered_model("tagged", "for more tests")
client.set_registered_model_tag("tagged", "owner", "me")
client.delete_registered_model_tag("tagged", "x")
note("deleting a tag that is not there", lambda: client.delete_registered_model_tag("tagged", "nothing"))
note("registered with tags", lambda: show_registered(client.get_registered_model("tagged")))
version = client.create_model_version("doubler", f"runs:/{parent.info.run_id}/net", run_id=parent.info.run_id, tags={"v": "2"}, description="second")
note("second version", lambda: show_version(version))
note("version of another run's files", lambda: client.create_model_version("doubler", f"runs:/{alpha}/net", run_id=parent.info.run_id))
note("version of the server's disk", lambda: client.create_model_version("doubler", "/etc"))
note("version of a file address", lambda: client.create_model_version("doubler", "file:///etc"))
note("version that climbs", lambda: client.create_model_version("doubler", f"mlflow-artifacts:/{lab}/{parent.info.run_id}/artifacts/../../x", run_id=parent.info.run_id))
note("version of files elsewhere", lambda: show_version(client.create_model_version("doubler", "s3://bucket/model")))
note("version of no model", lambda: client.create_model_version("nothing", "s3://bucket/model"))
note("copied version", lambda: [c.name if (c := client.copy_model_version("models:/doubler/2", "copied")) else None, c.source])
note("where it lies", lambda: [client.get_model_version_download_uri("doubler", v) for v in ("1", "2", "3")] + [client.get_model_version_download_uri("copied", "1")])
client.update_model_version("doubler", "2", "better")
client.set_model_version_tag("doubler", "2", "checked", "yes")
client.set_model_version_tag("doubler", "2", "gone", "yes")
client.delete_model_version_tag("doubler", "2", "gone")
client.set_registered_model_alias("doubler", "champion", "1")
client.set_registered_model_alias("doubler", "previous", "1")
client.set_registered_model_alias("doubler", "champion", "2")
note("by alias", lambda: show_version(client.get_model_version_by_alias("doubler", "champion")))
note("by the alias latest", lambda: show_version(client.get_model_version_by_alias("doubler", "latest")))
note("aliases", lambda: show_registered(client.get_registered_model("doubler")))
note("model loaded by alias", lambda: mlflow.onnx.load_model("models:/doubler@previous").graph.name)
note("no such alias", lambda: client.get_model_version_by_alias("doubler", "nobody"))
note("reserved alias", lambda: client.set_registered_model_alias("doubler", "latest", "1"))
note("alias like a version", lambda: client.set_registered_model_alias("doubler", "v1", "1"))
note("alias with a bad character", lambda: client.set_registered_model_alias("doubler", "a b", "1"))
note("alias of no version", lambda: client.set_registered_model_alias("doubler", "x", "99"))
client.delete_registered_model_alias("doubler", "previous")
note("deleting an alias that is not there", lambda: client.delete_registered_model_alias("doubler", "previous"))
note("no such version", lambda: client.get_model_version("doubler", "99"))
note("version that is no number", lambda: client.get_model_version("doubler", "one"))
for filter_string in ["name = 'doubler'", "name LIKE '%e%'", "name ILIKE 'DOU%'", "tags.task = 'images'", "tag.task != 'images'", "name IN ('doubler', 'tagged')", "bogus = 'x'", "name > 'a'"]:
    note(f"registered models where {filter_string}", lambda: [m.name for m in client.search_registered_models(filter_string)])
note("registered models by name", lambda: [m.name for m in client.search_registered_models(order_by=["name DESC"])])
models = client.search_registered_models(max_results=2)
note("pages of registered models", lambda: [[m.name for m in models], [m.name for m in client.search_registered_models(max_results=2, page_token=models.token)]])
for filter_string in ["name = 'doubler'", f"run_id = '{parent.info.run_id}'", f"run_id IN ('{parent.info.run_id}')", "version_number = 2", "version_number > 1 AND name = 'doubler'", "tags.checked = 'yes'", "source_path LIKE 's3%'", "name = 'nothing'", "bogus = 'x'"]:
    note(f"versions where {filter_string}", lambda: [[v.name, str(v.version)] for v in client.search_model_versions(filter_string, order_by=["name", "version_number"])])
note("versions by number", lambda: [str(v.version) for v in client.search_model_versions("name = 'doubler'", order_by=["version_number DESC"])])
note("stage", lambda: show_version(client.transition_model_version_stage("doubler", "1", "production")))
note("stage with archive", lambda: show_version(client.transition_model_version_stage("doubler", "3", "Production", archive_existing_versions=True)))
note("stage that is none", lambda: client.transition_model_version_stage("doubler", "1", "Somewhere"))
note("latest versions", lambda: sorted(show_version(v) for v in client.get_latest_versions("doubler")))
note("latest of a stage", lambda: [show_version(v) for v in client.get_latest_versions("doubler", ["Production"])])
client.delete_model_version("doubler", "2")
note("deleted version", lambda: client.get_model_version("doubler", "2"))
note("alias of a deleted version", lambda: client.get_model_version_by_alias("doubler", "champion"))
note("number is not given again", lambda: str(client.create_model_version("doubler", "s3://bucket/again").version))
note("renamed model", lambda: [client.rename_registered_model("doubler", "trebler"), show_registered(client.get_registered_model("trebler"))])
note("renamed to a taken name", lambda: client.rename_registered_model("trebler", "tagged"))
client.delete_registered_model("trebler")
note("deleted model", lambda: client.get_registered_model("trebler"))
note("its versions", lambda: client.get_model_version("trebler", "1"))
note("deleting the model twice", lambda: client.delete_registered_model("trebler"))

text = json.dumps(seen, ensure_ascii=False)
for value, shown in ids.items():
    text = text.replace(value, shown)
(folder / "seen.json").write_text(text, encoding="utf-8")
