"""Loads a model with MLflow's own client, as ONNX and as pyfunc, and says what both answer to the same pixels."""

import json
import sys

import mlflow
import numpy
import onnxruntime

uri, model_uri, height, width = sys.argv[1:]
mlflow.set_tracking_uri(uri)
pixels = (numpy.arange(2 * int(height) * int(width) * 3) % 251).astype(numpy.uint8).reshape(2, int(height), int(width), 3)
graph = mlflow.onnx.load_model(model_uri)
session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
pyfunc = mlflow.pyfunc.load_model(model_uri)
signature = pyfunc.metadata.signature
print(
    json.dumps(
        {
            "onnx": session.run(["probabilities"], {"images": pixels})[0].tolist(),
            "pyfunc": pyfunc.predict(pixels)["probabilities"].tolist(),
            "inputs": [[str(spec.type), list(spec.shape)] for spec in signature.inputs.inputs],
            "outputs": [spec.name for spec in signature.outputs.inputs],
            "run_id": pyfunc.metadata.run_id,
            "model_id": pyfunc.metadata.model_id,
        }
    )
)
