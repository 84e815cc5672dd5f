"""Checks a model.onnx with the ONNX project's own checker and runs it in onnxruntime for Python.

Usage: onnx_peer.py MODEL.onnx IMAGES.bin N H W     (IMAGES: uint8 N*H*W*3)     Prints one JSON object.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime


def main(model_path: str, images_path: str, *shape: str) -> None:
    model = onnx.load(model_path)
    # full_check also runs shape inference in strict mode.
    onnx.checker.check_model(model, full_check=True)
    domains = sorted({node.domain for node in model.graph.node})

    n, h, w = map(int, shape)
    images = np.fromfile(images_path, dtype=np.uint8).reshape(n, h, w, 3)
    session = onnxruntime.InferenceSession(model_path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {"images": images})))
    print(
        json.dumps(
            {
                "checker": "passed",
                "domains": domains,
                "opset": {entry.domain: entry.version for entry in model.opset_import},
                "inputs": [[i.name, i.type, i.shape] for i in session.get_inputs()],
                "outputs": names,
                "logits": outputs["logits"].tolist(),
                "probabilities": outputs["probabilities"].tolist(),
                "features_shape": list(outputs["features"].shape),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
