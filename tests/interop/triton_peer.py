"""Asks a service through NVIDIA's client for the Open Inference Protocol. Prints what it answered as JSON."""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, model, images_file, count, height, width = sys.argv[1:7]
images = np.fromfile(images_file, dtype=np.uint8).reshape(int(count), int(height), int(width), 3)
client = triton.InferenceServerClient(address)


def infer(binary: bool, **options):
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "logits", "features")]
    return client.infer(model, [tensor], outputs=outputs, request_id="seven", **options)


def refused(call) -> str:
    try:
        call()
    except InferenceServerException as error:
        return f"{error.status()} {error.message()}"
    return "not refused"


metadata = client.get_model_metadata(model)
version = metadata["versions"][0]
json_result = infer(False)
binary_result = infer(True, model_version=version)
wrong = triton.InferInput("images", [1, 2, 2, 3], "UINT8")
wrong.set_data_from_numpy(np.zeros((1, 2, 2, 3), np.uint8), binary_data=False)
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready(model, version),
            "other_ready": client.is_model_ready("other"),
            "server": client.get_server_metadata(),
            "metadata": metadata,
            "answer": {key: json_result.get_response()[key] for key in ("id", "model_name", "model_version")},
            "probabilities": json_result.as_numpy("probabilities").tolist(),
            "features_shape": list(json_result.as_numpy("features").shape),
            "binary_is_equal": all(
                np.array_equal(json_result.as_numpy(name), binary_result.as_numpy(name)) for name in ("probabilities", "logits", "features")
            ),
            "wrong_shape": refused(lambda: client.infer(model, [wrong])),
            "wrong_model": refused(lambda: client.infer("other", [wrong])),
        }
    )
)
