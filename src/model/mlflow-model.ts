import { stringify } from "yaml";
import type { Bundle } from "./bundle.ts";
import { readFeatureShape } from "./feature-shape.ts";
import { modelFile } from "./manifest.ts";

/** What only the server knows of a model. */
export interface MlflowIds {
  readonly modelId?: string;
  readonly runId?: string;
}

/**
 * The files that make a bundle a model for MLflow as well: `MLmodel` with the ONNX and the pyfunc flavor and a signature
 * (https://mlflow.org/docs/latest/ml/model/), and what its own tools need to set up a Python that runs it. They lie beside
 * the bundle on a server only: they name a time and ids, which a bundle must not.
 */
export function mlflowModelFiles(
  { manifest, model }: Pick<Bundle, "manifest" | "model">,
  createdAt: Date,
  ids: MlflowIds = {},
): Record<string, string> {
  const { labels, preprocess } = manifest;
  const { width, height } = preprocess.crop ?? preprocess;
  const tensor = (dtype: string, shape: readonly number[]): object => ({ type: "tensor", "tensor-spec": { dtype, shape } });
  const scores = (name: string): object => ({ name, ...tensor("float32", [-1, labels.length]) });
  const features = {
    name: "features",
    ...tensor(
      "float32",
      readFeatureShape(model).map(() => -1),
    ),
  };
  return {
    MLmodel: stringify({
      flavors: {
        onnx: { code: null, data: modelFile, onnx_session_options: null, onnx_version: "1.16.0", providers: ["CPUExecutionProvider"] },
        python_function: {
          data: modelFile,
          env: { virtualenv: "python_env.yaml" },
          loader_module: "mlflow.onnx",
          python_version: pythonVersion,
        },
      },
      signature: {
        // Without a name a plain array is accepted as the input.
        inputs: JSON.stringify([tensor("uint8", [-1, height, width, 3])]),
        outputs: JSON.stringify([scores("logits"), scores("probabilities"), features]),
        params: null,
      },
      ...(ids.runId !== undefined && { run_id: ids.runId }),
      ...(ids.modelId !== undefined && { model_id: ids.modelId }),
      // The text that MLflow's own client writes: local time of nowhere, without a zone.
      utc_time_created: createdAt.toISOString().replace("T", " ").replace("Z", ""),
    }),
    "requirements.txt": "mlflow\nnumpy\nonnx\nonnxruntime\n",
    "python_env.yaml": stringify({ python: pythonVersion, build_dependencies: ["pip"], dependencies: ["-r requirements.txt"] }),
  };
}

/** What MLflow sets up to serve the model in its own environment; loading it takes the Python that is there. */
const pythonVersion = "3.11";
